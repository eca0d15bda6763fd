//! What a coordinator asks its storage when it starts: a lack that it can do without stands in its log, and it leads; a storage that it cannot
//! work with is refused before anything is written. The storage is a real server behind the fault layer.

use std::path::PathBuf;

use serde_json::Value;
use storage::moto::Moto;
use types::Code;

use crate::misuse::{TRACKS, alone, clusters, connected, refused, scanned, spawn};
use crate::world::{Process, World};

/// A server, and a world that has not met it yet.
struct Scene {
    world: World,
    moto: Moto,
    keys: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let world = World::new(TRACKS);
        Self {
            keys: world.data().with_file_name("keys"),
            moto: Moto::start(),
            world,
        }
    }

    fn sound(&self, prefix: &str) -> String {
        self.moto.url(prefix, &self.keys)
    }

    fn with(&self, prefix: &str, faults: &str) -> String {
        format!("{}&faults={faults}", self.sound(prefix))
    }
}

/// What a coordinator has logged of a question to its storage: how loud, and the answer.
fn logged(process: &Process, question: &str) -> (String, String) {
    let lines = process.lines.lock().unwrap();
    let mut parsed = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = parsed.find(|line| line["question"] == question);
    let found = found.unwrap_or_else(|| panic!("`{question}` is in no line of {lines:#?}"));
    let text = |name: &str| found[name].as_str().unwrap().to_owned();
    (text("level"), text("answer"))
}

fn said(level: &str, answer: &str) -> (String, String) {
    (level.to_owned(), answer.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_conditions_is_warned_of_at_the_start_and_a_job_is_scanned_on_it() {
    let scene = Scene::new();
    let sound = scene.sound("sound");
    let process = spawn(&scene.world, &alone(&scene.world, "sound", &sound));
    assert_eq!(logged(&process, "create-once"), said("INFO", "yes"));
    assert!(process.terminate());

    let url = scene.with("lax", "seed:1,condition-ignored:1");
    let process = spawn(&scene.world, &alone(&scene.world, "lax", &url));
    assert_eq!(logged(&process, "create-once"), said("WARN", "no"));
    assert_eq!(logged(&process, "put-get-remove"), said("INFO", "yes"));
    let storage = connected(&scene.sound("lax"));
    scanned(&process, &scene.world, storage, "r-1").await;
    assert!(process.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_gives_back_other_bytes_is_refused_before_it_is_marked() {
    let scene = Scene::new();
    let url = scene.with("some/prefix", "seed:1,flipped:1");
    let problem = refused(&scene.world, &alone(&scene.world, "one", &url));
    assert_eq!(problem.code, Code::StorageUnavailable, "{problem}");
    let why = "use storage `s3://bucket/some/prefix`: What came back is not what was put.";
    assert!(problem.message.contains(why), "{problem}");
    let sound = scene.sound("some/prefix");
    assert_eq!(clusters(&sound).await, Vec::<u64>::new());
    // It was the storage alone: the same folder is led once bytes come back as they were put.
    let process = spawn(&scene.world, &alone(&scene.world, "one", &sound));
    assert!(process.terminate());
}
