//! The S3 server of this project's suites as a process, over a folder with one bucket, and files of keys that it takes or refuses. Suites call it;
//! it is `crates/storage/examples/s3_server.rs`, and no shipped process knows it.

use crate::process::spawn_bound;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The secret that belongs to the server's one key.
const SECRET: &str = "test-secret-hunter2";
/// A secret that does not: what is signed with it is denied.
pub const WRONG_SECRET: &str = "another-secret-hunter3";

/// A running server; it ends with this.
#[derive(Debug)]
pub struct Server {
    process: Child,
    address: String,
}

impl Server {
    /// Starts it over a folder, in which it has one bucket, and waits until it listens.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        fs::create_dir_all(folder.join("bucket")).expect("the bucket's folder can be made");
        let mut command = Command::new(crate::binaries().join("examples/s3_server"));
        command.arg(folder).arg("127.0.0.1:0");
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = spawn_bound(command);
        let stdout = process.stdout.take().expect("its stdout is a pipe");
        let mut address = String::new();
        let read = BufReader::new(stdout).read_line(&mut address);
        read.expect("the S3 server says its address");
        assert!(!address.is_empty(), "the S3 server ended before it served");
        let address = address.trim().to_owned();
        Self { process, address }
    }

    /// A place in its bucket as the product takes it, with the keys that stand in a file.
    #[must_use]
    pub fn url(&self, keys: &Path) -> String {
        let (address, keys) = (&self.address, keys.display());
        format!(
            "s3://bucket/scans?endpoint=http://{address}&allow-http=true&credentials=file:{keys}"
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone_already = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// Puts keys into a file that the server takes.
///
/// # Panics
/// When the file cannot be written.
pub fn permit(keys: &Path) {
    write(keys, SECRET);
}

/// Puts keys into a file that the server denies.
///
/// # Panics
/// When the file cannot be written.
pub fn deny(keys: &Path) {
    write(keys, WRONG_SECRET);
}

/// In one step, so that nobody reads half of them.
fn write(keys: &Path, secret: &str) {
    let whole = keys.with_extension("new");
    let text = format!("aws_access_key_id=test-key\naws_secret_access_key={secret}\n");
    fs::write(&whole, text).expect("keys can be written");
    fs::rename(&whole, keys).expect("keys can be put in place");
}
