//! Writes into this package's binaries and tests where libtorch lies, so that they start with nothing exported.
//!
//! Run by cargo. Search order: the folder that `make setup` unpacks (`LIBTORCH`, set in `.cargo/config.toml`), then `../lib` and `../cuda`
//! beside an installed binary. `cuda` is listed so that opening `libtorch_cuda.so` by its bare name works; nothing is linked to it here.
//! The linker arguments of one package do not reach another's binaries, hence the same file in `crates/models` and `node-agent/worker`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        run_path(&format!("{libtorch}/lib"));
        run_path(&format!("{libtorch}/cuda"));
    }
    run_path("$ORIGIN/../lib");
    run_path("$ORIGIN/../cuda");
}

fn run_path(folder: &str) {
    println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
}
