//! The product as suites of this package start it: where its binaries and its bundle lie, and what coordinators and agents of a cluster on etcd and
//! one S3 server are told. Nothing of it is linked; it starts nothing itself.

use crate::etcd;
use anyhow::{Context, Result};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use types::Digest;

/// Where a coordinator listens.
pub const GRPC_PORT: u16 = 7_700;
/// Where coordinators serve metrics on their host's loopback unless told.
pub const COORDINATOR_METRICS: u16 = 7_701;
/// Where agents do.
pub const NODE_METRICS: u16 = 7_702;
/// Where the S3 server listens.
pub const S3_PORT: u16 = 9_000;

/// The keys of the server of crates/storage's example.
const KEYS: &str = "aws_access_key_id = test-key\naws_secret_access_key = test-secret-hunter2\n";

/// Work of one pull, milliseconds: grants must end often enough for faults to meet each of their moments.
const GRANT_MILLIS: &str = "8000";

/// The root of the source tree.
#[must_use]
pub fn tree() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_owned()
}

/// The folder above this suite's own that holds the product's binaries.
///
/// # Errors
/// Where there is none, with what to do.
pub fn binaries() -> Result<PathBuf> {
    let own = std::env::current_exe().context("ask where this suite stands")?;
    let holds = |folder: &&Path| folder.join("scanctl").is_file();
    let found = own.ancestors().skip(1).find(holds);
    let found = found.context(
        "find the product's binaries above this suite: run `make build`, or `make chaos`",
    )?;
    Ok(found.to_owned())
}

/// The server that cargo builds among the examples; a folder of binaries may hold it beside them.
#[must_use]
pub fn s3_server(build: &Path) -> PathBuf {
    let beside = build.join("s3_server");
    match beside.is_file() {
        true => beside,
        false => build.join("examples/s3_server"),
    }
}

/// The committed bundle.
#[must_use]
pub fn bundle() -> PathBuf {
    tree().join("bundles/demo")
}

/// A cluster's places: what its processes are told of each other.
#[derive(Debug, Clone)]
pub struct Site {
    /// The folder for everything: each process's data by its name, the S3 server's below `s3`.
    pub folder: PathBuf,
    /// The host of the S3 server.
    pub storage: Ipv4Addr,
    /// The hosts of etcd's members.
    pub etcd: Vec<Ipv4Addr>,
    /// The hosts of the coordinators.
    pub coordinators: Vec<Ipv4Addr>,
    /// Where it is read how storage is to behave; it behaves as it should where there is none.
    pub faults: Option<PathBuf>,
}

impl Site {
    /// Lays out what stands before anything starts: buckets, keys and the bundle.
    ///
    /// # Errors
    /// Where something cannot be written.
    pub fn lay_out(&self) -> Result<()> {
        shelve(&bundle(), &self.folder.join("s3/scans/root"))?;
        std::fs::create_dir_all(self.music())
            .and_then(|()| std::fs::write(self.keys(), KEYS))
            .with_context(|| format!("lay a cluster out in `{}`", self.folder.display()))
    }

    /// The folder of the bucket that is the source `music`.
    #[must_use]
    pub fn music(&self) -> PathBuf {
        self.folder.join("s3/music")
    }

    /// The arguments of the S3 server.
    #[must_use]
    pub fn s3(&self) -> Vec<String> {
        let listen = SocketAddrV4::new(self.storage, S3_PORT).to_string();
        vec![text(&self.folder.join("s3")), listen]
    }

    /// The arguments of a coordinator on a host.
    ///
    /// # Errors
    /// Where the bundle's key cannot be read.
    pub fn coordinator(&self, name: &str, host: Ipv4Addr) -> Result<Vec<String>> {
        let own = SocketAddrV4::new(host, GRPC_PORT);
        let mut flags = self.common(name)?;
        let members = self.etcd.iter();
        flags.extend(members.map(|member| {
            let endpoint = format!("http://{member}:{}", etcd::PORT);
            ("etcd-endpoint", endpoint)
        }));
        flags.extend([
            ("store", "etcd".to_owned()),
            ("listen", own.to_string()),
            ("advertise", format!("http://{own}")),
            ("default-bundle", text(&bundle())),
            ("grant-millis", GRANT_MILLIS.to_owned()),
            ("collect-secs", "60".to_owned()),
        ]);
        let mut arguments = flagged(flags);
        arguments.push("--links-unencrypted".to_owned());
        Ok(arguments)
    }

    /// The arguments of an agent.
    ///
    /// # Errors
    /// Where the bundle's key cannot be read.
    pub fn node(&self, name: &str, decoders: u64, flush_secs: u64) -> Result<Vec<String>> {
        let mut flags = self.common(name)?;
        flags.extend([
            ("coordinator", self.addresses()),
            ("node", name.to_owned()),
            ("device", "cpu".to_owned()),
            ("decoders", decoders.to_string()),
            ("flush-secs", flush_secs.to_string()),
            ("drain-secs", "5".to_owned()),
        ]);
        Ok(flagged(flags))
    }

    /// All coordinators, as agents and scanctl take them.
    #[must_use]
    pub fn addresses(&self) -> String {
        let urls = self.coordinators.iter();
        let urls: Vec<String> = urls
            .map(|host| format!("http://{host}:{GRPC_PORT}"))
            .collect();
        urls.join(",")
    }

    fn common(&self, name: &str) -> Result<Vec<(&'static str, String)>> {
        let key = std::fs::read_to_string(tree().join("bundles/demo.pub"))
            .context("read the key of the committed bundle")?;
        Ok(vec![
            ("data", text(&self.folder.join(name).join("data"))),
            ("storage", self.bucket("scans/root")),
            ("source", format!("music={}", self.bucket("music"))),
            ("trusted-key", key.trim().to_owned()),
            ("log-format", "json".to_owned()),
        ])
    }

    /// A place in the storage's host. Faults go to both, since a store that is away is away for all it holds.
    fn bucket(&self, place: &str) -> String {
        let (host, keys) = (self.storage, text(&self.keys()));
        let faults = self.faults.as_ref();
        let faults = faults.map(|file| format!("&faults=file:{}", file.display()));
        format!(
            "s3://{place}?endpoint=http://{host}:{S3_PORT}&allow-http=true&credentials=file:{keys}{}",
            faults.unwrap_or_default()
        )
    }

    fn keys(&self) -> PathBuf {
        self.folder.join("keys")
    }
}

/// Puts a bundle where a coordinator would put it in a bucket. The server keeps notes of an upload in pieces in a file that it names
/// after the whole key, and a bundle's keys are too long for that; a coordinator that finds a file of a bundle leaves it.
fn shelve(bundle: &Path, root: &Path) -> Result<()> {
    let manifest = read(&bundle.join("manifest.json"))?;
    let shelf = root
        .join("default/bundles")
        .join(Digest::of(&manifest).to_string());
    std::fs::create_dir_all(&shelf)
        .with_context(|| format!("make the folder `{}`", shelf.display()))?;
    let listed = std::fs::read_dir(bundle);
    let listed = listed.with_context(|| format!("list `{}`", bundle.display()))?;
    for entry in listed {
        let bytes = read(&entry.context("list the bundle")?.path())?;
        let file = shelf.join(Digest::of(&bytes).to_string());
        std::fs::write(&file, bytes).with_context(|| format!("write `{}`", file.display()))?;
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("read `{}`", file.display()))
}

fn flagged(flags: Vec<(&str, String)>) -> Vec<String> {
    let pairs = flags.into_iter();
    pairs
        .flat_map(|(name, value)| [format!("--{name}"), value])
        .collect()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
