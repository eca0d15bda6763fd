//! Builds of two versions side by side: a small cluster of real processes from one or two folders of binaries, and a relay that
//! writes down what passes between them. Used by the program `versions-record`, which makes what `tests/versions/before` holds, and by the
//! suite `live`. It decides nothing of the product, and reads what processes say as anybody may: reports, scanctl's JSON, the wire.

pub mod build;
pub mod process;
pub mod relay;
pub mod site;

/// The `.proto` files of the version before, compiled: an encoded descriptor set.
pub const WORDS_BEFORE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/before.bin"));

pub use build::Build;
pub use process::Process;
pub use site::Site;
