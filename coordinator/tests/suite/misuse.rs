//! What people do wrong with an installation: each is refused or told by its own code, changes nothing, and is over once it is put right. The
//! list of all of it, with where each is shown, is docs/operations/misuse.md.

use std::path::Path;
use std::sync::Arc;

use proto::v1;
use storage::Storage;
use storage::moto::Moto;
use store::server::{Authority, Cluster, Dates, Line, Options};
use store::{EtcdTls, Modelled};
use types::{Code, Problem, Report};

use crate::agent::{Agent, begun, brief};
use crate::people::{People, caller, code, submission};
use crate::several::{leader, until};
use crate::world::{Process, World};

pub(crate) const TRACKS: usize = 32;

/// A coordinator that does not start, and why.
pub(crate) fn refused(world: &World, flags: &[String]) -> Problem {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let ended = world.command(&flags).output().unwrap();
    let said = String::from_utf8(ended.stdout.clone()).unwrap();
    match serde_json::from_str(&said) {
        Ok(Report::Failed(problem)) => problem,
        _ => panic!("{ended:?}"),
    }
}

pub(crate) fn spawn(world: &World, flags: &[String]) -> Process {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    world.spawn(&flags)
}

/// Flags of a coordinator of its own on a storage that is named.
pub(crate) fn alone(world: &World, name: &str, storage: &str) -> Vec<String> {
    let own = world.data().with_file_name(name);
    let flags = ["--folder-sources", "--data", own.to_str().unwrap()];
    let storage = ["--storage", storage];
    [&flags[..], &storage]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect()
}

/// Flags of a coordinator on an etcd, with the storage of all.
fn on_etcd(world: &World, name: &str, etcd: &Cluster, prefix: &str) -> Vec<String> {
    let mut flags = world.among_others(name);
    let named = [
        "--store",
        "etcd",
        "--etcd-prefix",
        prefix,
        "--etcd-endpoint",
    ];
    flags.extend(named.map(str::to_owned));
    flags.extend(etcd.endpoints());
    flags
}

/// A whole job on a coordinator whose storage that is.
pub(crate) async fn scanned(
    process: &Process,
    world: &World,
    storage: Storage,
    request: &str,
) -> String {
    let mut people = People::new(process.channel().await);
    people.imported(&world.music()).await;
    let job = people.submit(request).await.job.unwrap().spec.unwrap().job;
    let mut agent = Agent::new(process.channel().await, storage, request);
    agent.join().await.unwrap();
    agent.work().await;
    let told = people.watch(&job).await;
    assert_eq!(told.last().unwrap().state(), v1::JobState::Published);
    let (findings, done) = people.verify(&job).await;
    assert_eq!((findings, done.rows_found), (Vec::new(), TRACKS as u64));
    job
}

pub(crate) fn connected(url: &str) -> Storage {
    Storage::open(url).unwrap()
}

/// Whose marks stand there. How far each has come is another matter: a leader that lives marks that as time goes by.
pub(crate) async fn clusters(url: &str) -> Vec<u64> {
    let marks = connected(url).marks().await.unwrap();
    marks.iter().map(|mark| mark.cluster).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_cluster_on_the_bucket_prefix_of_another_is_refused_and_leaves_no_trace() {
    let world = World::new(TRACKS);
    let (moto, keys) = (Moto::start(), world.data().with_file_name("keys"));
    let url = moto.url("some/prefix", &keys);
    let first = spawn(&world, &alone(&world, "one", &url));
    let before = clusters(&url).await;
    let problem = refused(&world, &alone(&world, "two", &url));
    assert_eq!(problem.code, Code::StorageForeign, "{problem}");
    assert_eq!(clusters(&url).await, before);
    scanned(&first, &world, connected(&url), "r-1").await;
    // Once more after a start: what the stranger tried keeps nobody from their own storage.
    first.kill();
    let first = spawn(&world, &alone(&world, "one", &url));
    assert!(first.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_cluster_on_the_etcd_prefix_of_another_is_refused_for_its_storage() {
    let world = World::new(TRACKS);
    let folder = tempfile::tempdir().unwrap();
    let etcd = Cluster::start(folder.path(), Options::one(Line::V3_7)).await;
    let first = spawn(&world, &on_etcd(&world, "one", &etcd, "shared"));
    until(&first.channel().await, |said| said.here).await;

    let stranger = |name, prefix| {
        let mut flags = on_etcd(&world, name, &etcd, prefix);
        let at = flags.iter().position(|flag| flag == "--storage").unwrap();
        flags[at + 1] = types::file_url(&world.data().with_file_name("elsewhere"));
        flags
    };
    let problem = refused(&world, &stranger("stranger", "shared"));
    assert_eq!(problem.code, Code::StorageOther, "{problem}");
    assert!(problem.message.contains("elsewhere"), "{problem}");
    // With a prefix of its own it is welcome on the same etcd.
    let second = spawn(&world, &stranger("stranger", "its-own"));
    until(&second.channel().await, |said| said.here).await;
    // The same is said where the storage is in use by its own cluster.
    let problem = refused(&world, &stranger("its-fellow", "shared"));
    assert_eq!(problem.code, Code::StorageOther, "{problem}");
    scanned(&first, &world, world.storage(), "r-1").await;
    assert!(second.terminate() && first.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_folder_that_is_not_mounted_is_refused_and_once_it_is_all_is_there() {
    let world = World::new(TRACKS);
    let flags = ["--folder-sources"].map(str::to_owned);
    let process = spawn(&world, &flags);
    let job = scanned(&process, &world, world.storage(), "r-1").await;
    process.kill();
    let (mounted, away) = (world.storage_folder(), world.data().with_file_name("away"));
    std::fs::rename(&mounted, &away).unwrap();
    std::fs::create_dir(&mounted).unwrap();
    let problem = refused(&world, &flags);
    assert_eq!(problem.code, Code::StorageOther, "{problem}");
    std::fs::remove_dir(&mounted).unwrap();
    std::fs::rename(&away, &mounted).unwrap();
    let process = spawn(&world, &flags);
    let (findings, _) = People::new(process.channel().await).verify(&job).await;
    assert_eq!(findings, Vec::new());
    assert!(process.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_etcd_behind_the_same_address_is_refused_by_what_storage_knows() {
    let world = World::new(TRACKS);
    let folder = tempfile::tempdir().unwrap();
    let mut etcd = Cluster::start(folder.path(), Options::one(Line::V3_7)).await;
    let flags = on_etcd(&world, "one", &etcd, "p");
    let process = spawn(&world, &flags);
    until(&process.channel().await, |said| said.here).await;
    process.kill();
    etcd.replace().await;
    let problem = refused(&world, &flags);
    assert_eq!(problem.code, Code::StorageForeign, "{problem}");
}

/// Flags of a coordinator that shows its certificate to an etcd.
fn with_certificates(world: &World, etcd: &Cluster, tls: &EtcdTls) -> Vec<String> {
    let mut flags = on_etcd(world, "one", etcd, "p");
    let mut add = |name: &str, file: &Path| {
        flags.extend([name.to_owned(), file.to_str().unwrap().to_owned()]);
    };
    add("--etcd-ca", &tls.ca);
    if let Some(client) = &tls.client {
        add("--etcd-cert", &client.certificate);
        add("--etcd-key", &client.key);
    }
    flags
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_a_wrong_authority_or_out_of_date_are_named_as_that_on_either_side() {
    let world = World::new(0);
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(folder.path(), "ours");
    let other = Authority::new(folder.path(), "other");
    let servers = |dates| Options {
        authority: Some(ours.clone()),
        dates,
        ..Options::one(Line::V3_7)
    };
    let sound = EtcdTls {
        ca: ours.certificate(),
        client: Some(ours.client("coordinator", Dates::Valid)),
    };
    let (valid, past) = (folder.path().join("valid"), folder.path().join("past"));
    std::fs::create_dir_all(&valid).unwrap();
    std::fs::create_dir_all(&past).unwrap();
    let expired = Cluster::start(&past, servers(Dates::Past)).await;
    let etcd = Cluster::start(&valid, servers(Dates::Valid)).await;
    let with = |client| EtcdTls {
        client: Some(client),
        ..sound.clone()
    };
    let wrong_ca = EtcdTls {
        ca: other.certificate(),
        ..sound.clone()
    };
    for (what, etcd, tls) in [
        ("wrong authority", &etcd, wrong_ca),
        ("expired server", &expired, sound.clone()),
        (
            "expired client",
            &etcd,
            with(ours.client("coordinator", Dates::Past)),
        ),
        (
            "client of another",
            &etcd,
            with(other.client("coordinator", Dates::Valid)),
        ),
    ] {
        let problem = refused(&world, &with_certificates(&world, etcd, &tls));
        assert_eq!(problem.code, Code::StoreCertificate, "{what}: {problem}");
    }
    let process = spawn(&world, &with_certificates(&world, &etcd, &sound));
    until(&process.channel().await, |said| said.here).await;
    assert!(process.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_is_configured_otherwise_than_the_leader_says_in_what() {
    let (world, store) = (World::new(1), Arc::new(Modelled::new(7)));
    let leads = world.start_on(store.clone(), "one").await;
    until(&leads.channel().await, |said| said.here).await;
    let other = ["--quota", "default:jobs=1", "--grant-millis", "7000"];
    let follows = world.start_on_with(store, "other", &other).await;
    let shown = until(&follows.channel().await, |said| said.revision > 0).await;
    assert_eq!(shown.differs, ["grant-millis", "quota"]);
    assert_eq!(leader(leads.channel().await).await.differs, [""; 0]);
    // It leads by what it was told once it does, and then the first one would be the other.
    leads.stop().await.unwrap();
    let leads = until(&follows.channel().await, |said| said.here).await;
    assert_eq!(leads.differs, [""; 0]);
    follows.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_etcd_say_in_what_their_settings_differ() {
    let (world, folder) = (World::new(0), tempfile::tempdir().unwrap());
    let etcd = Cluster::start(folder.path(), Options::one(Line::V3_7)).await;
    let leads = spawn(&world, &on_etcd(&world, "one", &etcd, "p"));
    until(&leads.channel().await, |said| said.here).await;
    let mut flags = on_etcd(&world, "other", &etcd, "p");
    flags.extend(["--quota", "default:jobs=1"].map(str::to_owned));
    let follows = spawn(&world, &flags);
    let shown = until(&follows.channel().await, |said| said.revision > 0).await;
    assert_eq!(shown.differs, ["quota"]);
    assert_eq!(leader(leads.channel().await).await.differs, [""; 0]);
    assert!(follows.terminate() && leads.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_permission_is_said_at_the_start_and_in_the_midst_and_passes() {
    let world = World::new(TRACKS);
    let (moto, keys) = (Moto::start(), world.data().with_file_name("keys"));
    let faults = world.data().with_file_name("faults");
    std::fs::write(&faults, "seed:1,denied:1").unwrap();
    let url = moto.url("some/prefix", &keys);
    let url = format!("{url}&faults=file:{}", faults.display());
    let problem = refused(&world, &alone(&world, "one", &url));
    assert_eq!(problem.code, Code::StorageDenied, "{problem}");

    std::fs::write(&faults, "").unwrap();
    let process = spawn(&world, &alone(&world, "one", &url));
    let mut people = People::new(process.channel().await);
    people.imported(&world.music()).await;
    std::fs::write(&faults, "seed:1,denied:1").unwrap();
    let denied = refusal(&mut people, "denied", "STORAGE_DENIED").await;
    assert_eq!(denied, "STORAGE_DENIED");
    std::fs::write(&faults, "").unwrap();
    scanned_once_it_passes(
        &process,
        &world,
        connected(&moto.url("some/prefix", &keys)),
        &mut people,
    )
    .await;
    assert!(process.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_vanishes_half_way_is_said_and_work_goes_on_in_the_one_that_takes_its_place()
{
    let world = World::new(TRACKS);
    let (moto, keys) = (Moto::start(), world.data().with_file_name("keys"));
    let url = moto.url("some/prefix", &keys);
    let process = spawn(&world, &alone(&world, "one", &url));
    let mut people = People::new(process.channel().await);
    people.imported(&world.music()).await;
    moto.remove_buckets();
    assert_eq!(
        refusal(&mut people, "gone", "STORAGE_MISSING").await,
        "STORAGE_MISSING"
    );
    moto.make_bucket();
    scanned_once_it_passes(&process, &world, connected(&url), &mut people).await;
    process.kill();
    // What the vanished bucket held is gone, and with it the proof that this storage is the store's.
    moto.remove_buckets();
    moto.make_bucket();
    let problem = refused(&world, &alone(&world, "one", &url));
    assert_eq!(problem.code, Code::StorageOther, "{problem}");
}

/// The code by which a submission is refused: asked until it is the expected one, since the first requests may still meet what was before.
async fn refusal(people: &mut People, request: &str, expected: &str) -> String {
    let until = std::time::Instant::now() + crate::world::START_TIMEOUT;
    let mut number = 0;
    loop {
        number += 1;
        let submitted = people
            .jobs
            .submit_job(submission(&format!("{request}-{number}")))
            .await;
        let said = submitted
            .err()
            .map(|status| code(&status))
            .unwrap_or_default();
        if said == expected || std::time::Instant::now() > until {
            return said;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// A whole job, begun as soon as storage takes an import again.
async fn scanned_once_it_passes(
    process: &Process,
    world: &World,
    storage: Storage,
    people: &mut People,
) {
    let until = std::time::Instant::now() + crate::world::START_TIMEOUT;
    let music = world.music();
    while people
        .import(crate::people::import(music.to_str().unwrap()))
        .await
        .is_err()
    {
        assert!(
            std::time::Instant::now() < until,
            "storage does not come back"
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    scanned(process, world, storage, "after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_a_version_too_old_is_refused_by_name_and_leaves_no_node_behind() {
    let world = World::new(TRACKS);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    let mut agent = Agent::new(coordinator.channel().await, world.storage(), "n1");
    agent.version = "0.0.9".to_owned();
    let status = agent.join().await.unwrap_err();
    assert_eq!(code(&status), "VERSION_MISMATCH");
    let said = proto::problem::problem(&status);
    assert!(said.cause.contains("`0.0.9`") && said.cause.contains(env!("CARGO_PKG_VERSION")));
    let listed = people
        .nodes
        .list_nodes(v1::ListNodesRequest { caller: caller() });
    assert_eq!(listed.await.unwrap().into_inner().nodes, []);
    agent.version = env!("CARGO_PKG_VERSION").to_owned();
    agent.join().await.unwrap();
    coordinator.stop().await.unwrap();
}

/// What a hand does to a part.
#[derive(Clone, Copy)]
enum Hand {
    Deletes,
    Alters,
}

impl Hand {
    fn lay_on(self, part: &Path) {
        match self {
            Self::Deletes => std::fs::remove_file(part).unwrap(),
            Self::Alters => {
                let mut bytes = std::fs::read(part).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(part, bytes).unwrap();
            }
        }
    }
}

/// The parts in storage.
fn parts(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| parts(folder));
    let own = files.into_iter().filter(|path| {
        let shard = path.parent().and_then(Path::file_name);
        let is_shard = shard.is_some_and(|name| name.to_string_lossy().parse::<u32>().is_ok());
        is_shard
            && path
                .extension()
                .is_some_and(|extension| extension == "parquet")
    });
    own.chain(below).collect()
}

/// Nothing is said of the result but what is wrong: the part by its name, and the tracks that it held.
async fn check_named(people: &mut People, job: &str, part: &Path) {
    let (findings, done) = people.verify(job).await;
    let name = part.file_name().unwrap().to_str().unwrap();
    assert!(
        findings.iter().any(|found| found.subject.ends_with(name)),
        "{name}: {findings:?}"
    );
    assert_eq!(done.rows_found, TRACKS as u64 / 2, "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_a_hand_took_or_altered_before_or_after_publish_is_named_by_verify() {
    for hand in [Hand::Deletes, Hand::Alters] {
        let world = World::new(TRACKS);
        let (process, mut people, mut agent, pulled, job) =
            begun(&world, &["--folder-sources"]).await;
        let grant = &pulled.grants[0];
        let offer = agent.make(brief(&pulled, grant), grant).await;
        agent.commit(offer).await.unwrap();
        let first = parts(&world.storage_folder()).remove(0);
        hand.lay_on(&first);
        agent.work().await;
        let told = people.watch(&job).await;
        assert_eq!(told.last().unwrap().state(), v1::JobState::Published);
        check_named(&mut people, &job, &first).await;
        assert!(process.terminate());

        let world = World::new(TRACKS);
        let process = world.spawn(&["--folder-sources"]);
        let job = scanned(&process, &world, world.storage(), "r-1").await;
        let first = parts(&world.storage_folder()).remove(0);
        hand.lay_on(&first);
        let mut people = People::new(process.channel().await);
        check_named(&mut people, &job, &first).await;
        assert!(process.terminate());
    }
}
