//! Storage that is not there, or is not the one that it was: what a rebuild and coordinators make of it. Storage is a folder or a real server;
//! it is taken away and put back by hand.

use std::path::{Path, PathBuf};

use proto::v1;
use storage::moto::Moto;
use types::{Code, Report};

use crate::people::People;
use crate::restore::{said, submitted};
use crate::world::World;

const TRACKS: usize = 8;

/// Flags of a coordinator over a storage that is named.
fn over(storage: &str) -> [&str; 3] {
    ["--folder-sources", "--storage", storage]
}

/// What a restore's process says that is told what to do before the usual flags.
fn reported(world: &World, words: &[&str], storage: &str) -> Report {
    let usual = world.command(&over(storage));
    let mut command = std::process::Command::new(usual.get_program());
    said(&command.args(words).args(usual.get_args()).output().unwrap())
}

/// A job that is submitted to a coordinator over that storage, which is then killed.
async fn left_by_a_killed_one(world: &World, storage: &str) -> String {
    let process = world.spawn(&over(storage));
    let mut people = People::new(process.channel().await);
    people.imported(&world.music()).await;
    let job = submitted(&mut people, "r-1").await;
    process.kill();
    job
}

#[track_caller]
fn check_refused(world: &World, words: &[&str], storage: &str) {
    match reported(world, words, storage) {
        Report::Failed(problem) => {
            assert_eq!(problem.code, Code::StorageOther, "{problem}");
            assert!(
                problem.message.contains("--ignore-missing-marks"),
                "{problem}"
            );
        }
        other @ (Report::Ready { .. }
        | Report::Drained
        | Report::Rebuilt(_)
        | Report::Probed(_)) => panic!("{words:?}: {other:?}"),
    }
}

/// The job runs on under a coordinator over that storage.
async fn check_stands(world: &World, storage: &str, job: &str) {
    let process = world.spawn(&over(storage));
    let mut people = People::new(process.channel().await);
    assert_eq!(people.job(job).await.state(), v1::JobState::Running);
    assert!(process.terminate());
}

/// A folder in place of which an empty one stands, as where nothing is mounted.
struct Unmounted {
    place: PathBuf,
    away: PathBuf,
}

impl Unmounted {
    fn new(place: &Path) -> Self {
        let (place, away) = (place.to_owned(), place.with_file_name("away"));
        std::fs::rename(&place, &away).unwrap();
        std::fs::create_dir(&place).unwrap();
        Self { place, away }
    }

    fn mount(self) {
        std::fs::remove_dir_all(&self.place).unwrap();
        std::fs::rename(&self.away, &self.place).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_folder_that_is_not_mounted_a_rebuild_takes_no_record_of_a_store_in_use() {
    let world = World::new(TRACKS);
    let folder = world.storage_folder();
    let url = types::file_url(&folder);
    let job = left_by_a_killed_one(&world, &url).await;
    let unmounted = Unmounted::new(&folder);
    check_refused(&world, &["rebuild", "--replace"], &url);
    unmounted.mount();
    check_stands(&world, &url, &job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_another_bucket_a_rebuild_goes_on_only_where_it_is_told_that_the_first_is_gone() {
    let world = World::new(TRACKS);
    let (moto, keys) = (Moto::start(), world.data().with_file_name("keys"));
    let (url, wrong) = (moto.url("right", &keys), moto.url("wrong", &keys));
    let job = left_by_a_killed_one(&world, &url).await;
    check_refused(&world, &["rebuild", "--replace"], &wrong);
    check_stands(&world, &url, &job).await;
    let words = ["rebuild", "--replace", "--ignore-missing-marks"];
    let Report::Rebuilt(rebuilt) = reported(&world, &words, &wrong) else {
        panic!("it is told to go on");
    };
    assert_eq!((rebuilt.generation, rebuilt.published), (2, 0));
}
