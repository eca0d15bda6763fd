//! Storage that is not there, or is not the one that it was: what a rebuild and coordinators make of it. Storage is a folder or a real server;
//! it is taken away and put back by hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::v1;
use storage::moto::Moto;
use store::Modelled;
use types::{Code, Report};

use crate::odd::{CLUSTER, ends, mark};
use crate::people::People;
use crate::restore::{said, submitted};
use crate::several::until;
use crate::world::{Running, World};

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

/// A bucket and a store that a coordinator has led over it. Faults of the bucket are what a file says.
struct Scene {
    world: World,
    store: Arc<Modelled>,
    moto: Moto,
    keys: PathBuf,
    faults: PathBuf,
}

impl Scene {
    async fn led_once() -> Self {
        let world = World::new(0);
        let beside = |name| world.data().with_file_name(name);
        let scene = Self {
            keys: beside("keys"),
            faults: beside("faults"),
            store: Arc::new(Modelled::new(CLUSTER)),
            moto: Moto::start(),
            world,
        };
        scene.leader("first").await.stop().await.unwrap();
        scene
    }

    async fn leader(&self, name: &str) -> Running {
        let url = self.moto.url("some/prefix", &self.keys);
        let leads = self.started(name, &url).await;
        until(&leads.channel().await, |said| said.here).await;
        leads
    }

    /// A coordinator whose storage does not answer.
    async fn without_storage(&self, name: &str, prefix: &str) -> Running {
        std::fs::write(&self.faults, "seed:1,unavailable:1").unwrap();
        let url = self.moto.url(prefix, &self.keys);
        let url = format!("{url}&faults=file:{}", self.faults.display());
        self.started(name, &url).await
    }

    fn storage_is_back(&self) {
        std::fs::write(&self.faults, "").unwrap();
    }

    async fn started(&self, name: &str, url: &str) -> Running {
        let store = self.store.clone();
        self.world.start_over(store, name, url, || {}).await
    }
}

fn lacks(said: &v1::GetLeaderResponse, code: Code) -> bool {
    said.unready.starts_with(code.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_of_several_that_starts_without_storage_says_so_follows_and_leads_once_it_is_back()
 {
    let scene = Scene::led_once().await;
    let one = scene.without_storage("one", "some/prefix").await;
    let channel = one.channel().await;
    let waits = |said: &v1::GetLeaderResponse| {
        !said.here && said.revision > 0 && lacks(said, Code::StorageUnavailable)
    };
    let said = until(&channel, waits).await;
    let why = Code::StorageUnavailable.as_str();
    assert!(said.why.starts_with(why), "{said:?}");
    scene.storage_is_back();
    until(&channel, |said| said.here && said.unready.is_empty()).await;
    one.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_started_without_storage_and_follows_ends_once_it_shows_to_be_another_s() {
    let scene = Scene::led_once().await;
    let leads = scene.leader("leads").await;
    let one = scene.without_storage("one", "another/prefix").await;
    let address = format!("http://{}", leads.address);
    let points = |said: &v1::GetLeaderResponse| {
        said.leader == address && lacks(said, Code::StorageUnavailable)
    };
    until(&one.channel().await, points).await;
    scene.storage_is_back();
    assert_eq!(ends(one).await, Code::StorageOther);
    leads.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_storage_is_emptied_goes_on_says_so_and_does_not_take_it_for_its_own() {
    let (world, store) = (World::new(0), Arc::new(Modelled::new(CLUSTER)));
    let leads = world.start_on(store, "one").await;
    let channel = leads.channel().await;
    until(&channel, |said| said.here && said.unready.is_empty()).await;
    let unmounted = Unmounted::new(&world.storage_folder());
    let says = |said: &v1::GetLeaderResponse| said.here && lacks(said, Code::StorageOther);
    until(&channel, says).await;
    assert_eq!(world.storage().marks().await.unwrap(), []);
    unmounted.mount();
    until(&channel, |said| said.here && said.unready.is_empty()).await;
    leads.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_storage_became_another_cluster_s_ends() {
    let (world, store) = (World::new(0), Arc::new(Modelled::new(CLUSTER)));
    let leads = world.start_on(store, "one").await;
    until(&leads.channel().await, |said| said.here).await;
    let _unmounted = Unmounted::new(&world.storage_folder());
    let theirs = world.storage().put_mark(mark(CLUSTER + 1, 1)).await;
    theirs.unwrap();
    assert_eq!(ends(leads).await, Code::StorageOther);
}
