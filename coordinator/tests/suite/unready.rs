//! A coordinator that is given the leadership and cannot begin to lead, since its storage takes nothing: it leaves the leadership to others for
//! longer each time, follows meanwhile, and leads once storage is back. Storage is a real server behind the fault layer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::v1;
use storage::moto::Moto;
use store::Store;
use types::Code;

use crate::odd::{Odd, Oddity, Turn, come};
use crate::people::{People, caller, submission};
use crate::several::until;
use crate::world::{Running, World};

/// The shortest wait after a first failure; each further one is twice as long at least.
const WAIT_FIRST: Duration = Duration::from_millis(250);

/// A storage that takes nothing once it is told so, and a store that tells who led when.
struct Scene {
    world: World,
    store: Arc<Odd>,
    moto: Moto,
    keys: PathBuf,
    faults: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let world = World::new(0);
        let beside = |name| world.data().with_file_name(name);
        Self {
            keys: beside("keys"),
            faults: beside("faults"),
            store: Odd::new(Oddity::Tells(Default::default())),
            moto: Moto::start(),
            world,
        }
    }

    fn sound(&self) -> String {
        self.moto.url("some/prefix", &self.keys)
    }

    /// A coordinator whose storage takes nothing from the moment on at which it may lead.
    async fn start_refused(&self) -> Running {
        std::fs::write(&self.faults, "").unwrap();
        let url = format!("{}&faults=file:{}", self.sound(), self.faults.display());
        let refuse = || std::fs::write(&self.faults, "seed:1,full:1").unwrap();
        self.world
            .start_over(self.store.clone(), "one", &url, refuse)
            .await
    }

    /// How long the leadership was left alone between each two times that it was taken.
    fn waits(&self) -> Vec<Duration> {
        let mut back = None;
        let turns = self.turns(|turn| match turn {
            Turn::Given(at) => back.take().map(|back| at.duration_since(back)),
            Turn::GivenBack(at) => {
                back = Some(*at);
                None
            }
        });
        turns.into_iter().flatten().collect()
    }

    fn taken(&self) -> usize {
        let given = self.turns(|turn| matches!(turn, Turn::Given(_)));
        given.into_iter().filter(|given| *given).count()
    }

    /// When it was given back each time.
    fn given_back(&self) -> Vec<Instant> {
        let back = self.turns(|turn| match turn {
            Turn::GivenBack(at) => Some(*at),
            Turn::Given(_) => None,
        });
        back.into_iter().flatten().collect()
    }

    fn turns<T>(&self, told: impl FnMut(&Turn) -> T) -> Vec<T> {
        let Oddity::Tells(turns) = &self.store.1 else {
            panic!("it tells");
        };
        turns.lock().unwrap().iter().map(told).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leadership_that_comes_to_nothing_is_left_alone_for_longer_each_time_until_storage_is_back()
 {
    let scene = Scene::new();
    let one = scene.start_refused().await;
    let channel = one.channel().await;
    // It follows meanwhile, and answers from the records.
    until(&channel, |said| !said.here && said.revision > 0).await;
    let mut people = People::new(channel.clone());
    let bundles = || v1::ListBundlesRequest { caller: caller() };
    let listed = people.bundles.list_bundles(bundles()).await.unwrap();
    assert_eq!(listed.into_inner().bundles, []);
    come(|| scene.waits().len() >= 3).await;
    for (n, wait) in scene.waits().into_iter().enumerate() {
        assert!(wait >= WAIT_FIRST * (1 << n), "{n}: {wait:?}");
    }
    let refused = people.jobs.submit_job(submission("r-1")).await.unwrap_err();
    assert_eq!(proto::problem::code(&refused), Some(Code::StorageFull));
    std::fs::write(&scene.faults, "").unwrap();
    until(&channel, |said| said.here).await;
    let listed = people.bundles.list_bundles(bundles()).await.unwrap();
    assert_eq!(listed.into_inner().bundles.len(), 1);
    one.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_one_cannot_begin_to_lead_another_leads_and_the_first_points_to_it() {
    let scene = Scene::new();
    let one = scene.start_refused().await;
    come(|| scene.given_back().len() >= 2).await;
    let sound = scene.sound();
    let other = scene
        .world
        .start_over(scene.store.clone(), "other", &sound, || {})
        .await;
    until(&other.channel().await, |said| said.here).await;
    let taken = scene.taken();
    let address = format!("http://{}", other.address);
    let channel = one.channel().await;
    until(&channel, |said| !said.here && said.leader == address).await;
    let mut people = People::new(channel);
    let submitted = people.jobs.submit_job(submission("r-1")).await;
    let refused = submitted.unwrap_err();
    assert_eq!(proto::problem::code(&refused), Some(Code::NotLeader));
    assert_eq!(proto::problem::leader(&refused), Some(address));
    one.stop().await.unwrap();
    assert_eq!(scene.taken(), taken, "nobody takes it from who leads");
    other.stop().await.unwrap();
    assert_eq!(scene.store.led_by().await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_asked_for_waits_for_no_leadership_that_is_left_alone() {
    let scene = Scene::new();
    let one = scene.start_refused().await;
    come(|| scene.given_back().len() >= 4).await;
    let due = scene.given_back()[3] + WAIT_FIRST * 8;
    one.stop().await.unwrap();
    assert!(Instant::now() < due, "it waited on");
    assert_eq!(scene.taken(), 4);
}
