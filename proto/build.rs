//! Compiles `trackscan/v1/*.proto` with protox, so that no `protoc` is needed, into `OUT_DIR`: messages, clients,
//! servers, and the descriptor set that the reflection service answers from.

use std::path::{Path, PathBuf};

/// File in `OUT_DIR` that holds the encoded descriptor set.
const DESCRIPTORS: &str = "trackscan_descriptors.bin";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = proto_files(Path::new("trackscan/v1"))?;
    let descriptors = protox::compile(&files, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(
        out.join(DESCRIPTORS),
        protox::prost::Message::encode_to_vec(&descriptors),
    )?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    println!("cargo::rerun-if-changed=trackscan");
    Ok(())
}

/// Every `.proto` file of one folder, in name order, so that the generated code does not depend on the file system.
fn proto_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
