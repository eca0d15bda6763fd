//! moto, an S3 server of Python, as a process of its own for suites: of this package, and of others by the feature `server`. `make setup`
//! installs it. Nothing that ships starts it.
#![expect(clippy::unwrap_used, reason = "a panic is a failure message of a test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Its one bucket.
const BUCKET: &str = "bucket";
/// Generous for a Python process on a busy machine.
const START: Duration = Duration::from_secs(120);

/// A server with one bucket; it ends with this.
#[derive(Debug)]
pub struct Moto {
    process: Child,
    endpoint: String,
}

impl Moto {
    /// Starts it and waits until it listens.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        let binary = PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../.moto/bin/moto_server"
        ));
        assert!(
            binary.exists(),
            "{} is not there; `make setup` installs it",
            binary.display()
        );
        let mut process = Command::new(&binary)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let endpoint = announced(&mut process);
        let moto = Self { process, endpoint };
        moto.make_bucket();
        moto
    }

    /// Where it listens, `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The URL of a prefix in its bucket, as the product takes it, with keys that are written to a file. Any do: this server wants requests to be
    /// signed and does not look by whom.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[must_use]
    pub fn url(&self, prefix: &str, keys: &Path) -> String {
        std::fs::write(keys, "aws_access_key_id=any\naws_secret_access_key=any\n").unwrap();
        let (endpoint, keys) = (self.endpoint(), keys.display());
        format!(
            "s3://{BUCKET}/{prefix}?endpoint={endpoint}&allow-http=true&credentials=file:{keys}"
        )
    }

    /// Makes the bucket, empty, where it is not there.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn make_bucket(&self) {
        self.say("PUT", &format!("/{BUCKET}"));
    }

    /// Takes the bucket away with all that is in it.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn remove_buckets(&self) {
        self.say("POST", "/moto-api/reset");
    }

    /// One request by hand: making a bucket is nothing that the product does.
    fn say(&self, method: &str, path: &str) {
        let host = self.endpoint.trim_start_matches("http://");
        let mut socket = TcpStream::connect(host).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

/// The address that the server prints once it listens. What it prints after that is read and dropped, or it would stop at a full
/// pipe.
fn announced(process: &mut Child) -> String {
    let (tell, told) = std::sync::mpsc::channel();
    let lines = BufReader::new(process.stderr.take().unwrap()).lines();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some(at) = line.find("http://127.0.0.1:") {
                let _nobody_waits_any_more = tell.send(line[at..].trim().to_owned());
            }
        }
    });
    told.recv_timeout(START)
        .expect("moto_server did not say where it listens")
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _gone_already = self.process.kill();
        let _reaped = self.process.wait();
    }
}
