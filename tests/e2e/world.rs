//! One cluster with one finished job over sound tracks, a broken one and a link, for all tests here that disturb nobody, and
//! scanctl to look at it.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tests::cluster::{Cluster, Options, scanctl};
use tests::music;

pub(crate) struct World {
    _folder: tempfile::TempDir,
    pub(crate) address: String,
    /// The finished job.
    pub(crate) job: String,
    /// Folder of the tracks that it scanned.
    pub(crate) tracks: PathBuf,
    /// The cluster's data folder.
    pub(crate) data: PathBuf,
}

impl World {
    /// Folder of a job's objects.
    pub(crate) fn objects(&self, job: &str) -> PathBuf {
        self.data.join("storage/default/1").join(job)
    }
}

/// How these clusters are started.
pub(crate) fn cpu() -> Options {
    Options {
        arguments: vec!["--device".into(), "cpu".into()],
        ..Options::default()
    }
}

/// It ends with the test process: `up` is its child and dies with it.
pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let tracks = folder.path().join("tracks");
        music::folder(&tracks, 12, 4.0);
        fs::write(tracks.join("broken.mp3"), b"").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", tracks.join("link.wav")).unwrap();
        let cluster = Cluster::start(&folder.path().join("data"), &cpu());
        let imported = cluster.import("music", &tracks);
        assert_eq!(imported["snapshot"]["rows"], 13, "{imported:#}");
        assert_eq!(imported["snapshot"]["rejected"], 1, "{imported:#}");
        let submitted = cluster.json(&[
            "scan",
            "submit",
            "--catalog",
            "music",
            "--accept-demonstration",
            "--wait",
            "--timeout",
            "5m",
        ]);
        let world = World {
            _folder: folder,
            address: cluster.address().to_owned(),
            data: cluster.data().to_owned(),
            tracks,
            job: submitted["job"].as_str().unwrap().to_owned(),
        };
        std::mem::forget(cluster);
        world
    })
}

pub(crate) fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = scanctl(&world().address, arguments);
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

pub(crate) fn json(arguments: &[&str]) -> Value {
    let (_, stdout, stderr) = run(&[arguments, &["-o", "json"]].concat());
    serde_json::from_str(&stdout).unwrap_or_else(|why| panic!("{arguments:?}: {why}: {stderr}"))
}

/// A finished scan of the committed demonstration catalogue, with its verdicts.
pub(crate) fn demonstration() -> &'static str {
    static JOB: OnceLock<String> = OnceLock::new();
    JOB.get_or_init(|| finished_demonstration(&[]))
}

/// The same by both engines, as `make demo` scans it.
pub(crate) fn demonstration_by_both() -> &'static str {
    static JOB: OnceLock<String> = OnceLock::new();
    JOB.get_or_init(|| finished_demonstration(&["--stages", "both"]))
}

fn finished_demonstration(more: &[&str]) -> String {
    let wait = [more, &["--wait", "-o", "name"]].concat();
    let (code, job, said) = run(&submit_demonstration(&wait));
    assert_eq!(code, Some(8), "two of its files are broken: {said}");
    job.trim().to_owned()
}

/// The line that submits a scan of the demonstration catalogue, which is imported for it.
pub(crate) fn submit_demonstration<'a>(more: &[&'a str]) -> Vec<&'a str> {
    static IMPORTED: OnceLock<()> = OnceLock::new();
    IMPORTED.get_or_init(|| {
        let tracks = tests::tree().join("demo/tracks");
        let imported = json(&["catalog", "import", "demo", text(&tracks)]);
        assert_eq!(imported["snapshot"]["rows"], 30, "{imported:#}");
    });
    let submit = ["scan", "submit", "--catalog", "demo"];
    [&submit[..], &["--accept-demonstration"], more].concat()
}

/// A job that no node here can run.
pub(crate) fn waiting_job() -> String {
    let memory = ["--require-memory", "1TiB"];
    let submitted = json(&[&["scan", "submit", "--catalog", "music"], &memory[..]].concat());
    submitted["job"].as_str().unwrap().to_owned()
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}
