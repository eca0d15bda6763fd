//! The stores of the suite: a folder, an S3 server of this process (`s3s-fs`), and `moto` as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::server::{ACCESS_KEY, S3Server, SECRET_KEY};
use crate::{Credentials, Place, Storage, StorageSettings};

/// Generous for a Python process on a busy machine.
const START: Duration = Duration::from_secs(120);

/// Which store a sentence is checked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Local,
    S3sFs,
    Moto,
}

/// One store with what keeps it alive.
pub(crate) struct Store {
    pub(crate) kind: Kind,
    pub(crate) settings: StorageSettings,
    folder: tempfile::TempDir,
    server: Option<S3Server>,
    moto: Option<Moto>,
}

impl Store {
    pub(crate) fn start(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut server, mut moto) = (None, None);
        let settings = match kind {
            Kind::Local => {
                let root = folder.path().join("root");
                StorageSettings::new(Place::Folder(root))
            }
            Kind::S3sFs => {
                let root = folder.path().join("buckets");
                std::fs::create_dir_all(root.join("bucket")).unwrap();
                let started = S3Server::start(&root, "127.0.0.1:0").unwrap();
                let settings = s3(folder.path(), &format!("http://{}", started.address));
                server = Some(started);
                settings
            }
            Kind::Moto => {
                let started = Moto::start();
                let settings = s3(folder.path(), &started.endpoint);
                moto = Some(started);
                settings
            }
        };
        Self {
            kind,
            settings,
            folder,
            server,
            moto,
        }
    }

    pub(crate) fn open(&self) -> Storage {
        Storage::connect(&self.settings).unwrap()
    }

    /// Folder for whatever a test needs.
    pub(crate) fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// Takes the bucket away with all that is in it, as a careless hand would.
    pub(crate) fn remove_bucket(&self) {
        if let Some(moto) = &self.moto {
            moto.post("/moto-api/reset");
        }
        if self.server.is_some() {
            std::fs::remove_dir_all(self.folder.path().join("buckets/bucket")).unwrap();
        }
    }

    /// Brings the bucket back, empty.
    pub(crate) fn make_bucket(&self) {
        if let Some(moto) = &self.moto {
            moto.put("/bucket");
        }
        if self.server.is_some() {
            std::fs::create_dir_all(self.folder.path().join("buckets/bucket")).unwrap();
        }
    }
}

/// Settings of an S3 server on this machine, with keys in a file.
fn s3(folder: &Path, endpoint: &str) -> StorageSettings {
    let keys = folder.join("keys");
    let text = format!("aws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\n");
    std::fs::write(&keys, text).unwrap();
    StorageSettings {
        prefix: "some/prefix".to_owned(),
        endpoint: Some(endpoint.to_owned()),
        allow_http: true,
        credentials: Credentials::File(keys),
        ..StorageSettings::new(Place::S3("bucket".to_owned()))
    }
}

struct Moto {
    process: Child,
    endpoint: String,
}

impl Moto {
    fn start() -> Self {
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
        moto.put("/bucket");
        moto
    }

    fn put(&self, path: &str) {
        self.say("PUT", path);
    }

    fn post(&self, path: &str) {
        self.say("POST", path);
    }

    /// One request by hand: making a bucket is nothing that the product does.
    fn say(&self, method: &str, path: &str) {
        use std::io::{Read, Write};
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
    let until = Instant::now() + START;
    let left = until.saturating_duration_since(Instant::now());
    told.recv_timeout(left)
        .expect("moto_server did not say where it listens")
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _gone_already = self.process.kill();
        let _reaped = self.process.wait();
    }
}
