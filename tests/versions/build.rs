//! Compiles the `.proto` files of the version before into a descriptor set in `OUT_DIR`: tests read messages by its words alone.

use std::path::{Path, PathBuf};

/// Where those files are kept, and the root of their names.
const BEFORE: &str = "before";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let entries = std::fs::read_dir(Path::new(BEFORE).join("trackscan/v1"))?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<PathBuf>>>()?;
    files.sort();
    let words = protox::compile(files, [BEFORE])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("before.bin");
    std::fs::write(out, protox::prost::Message::encode_to_vec(&words))?;
    println!("cargo::rerun-if-changed={BEFORE}/trackscan");
    Ok(())
}
