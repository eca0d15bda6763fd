//! The restore drill where a cluster stands in earnest: the records on a real etcd, the objects on a real S3 server. The etcd is lost, and an
//! older copy of its files is put back, or an empty one stands in its place; an operator has the records made anew from what stands in
//! storage, or from a backup and that.

use std::path::Path;
use std::process::{Command, Output};

use proto::v1;
use storage::Storage;
use storage::moto::Moto;
use store::server::{Cluster, Line, Options};
use tempfile::TempDir;
use types::{Code, Rebuilt, Report};

use crate::agent::Agent;
use crate::people::People;
use crate::restore::{backup, commit, said, submitted};
use crate::several::until;
use crate::world::{Process, World};

const TRACKS: usize = 64;

/// A coordinator's surroundings, none of which is a folder of its own.
struct Site {
    world: World,
    etcd: Cluster,
    moto: Moto,
    folder: TempDir,
}

/// What stands before anything of it is lost.
struct Opening {
    process: Process,
    people: People,
    agent: Agent,
    /// The job that is done.
    published: String,
    /// The job of which one grant is committed.
    half: String,
    /// All that was granted of it.
    pulled: v1::PullResponse,
}

impl Site {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = folder.path().join("etcd");
        std::fs::create_dir(&files).unwrap();
        Self {
            world: World::new(TRACKS),
            etcd: Cluster::start(&files, Options::one(Line::V3_7)).await,
            moto: Moto::start(),
            folder,
        }
    }

    fn storage(&self) -> String {
        self.moto.url("scans", &self.folder.path().join("keys"))
    }

    fn flags(&self) -> Vec<String> {
        let mut flags = self.world.among_others("one");
        *flags.last_mut().unwrap() = self.storage();
        flags.extend(["--store", "etcd", "--etcd-endpoint"].map(str::to_owned));
        flags.extend(self.etcd.endpoints());
        flags
    }

    fn command(&self) -> Command {
        let flags = self.flags();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        self.world.command(&flags)
    }

    async fn leads(&self) -> Process {
        let flags = self.flags();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let process = self.world.spawn(&flags);
        until(&process.channel().await, |said| said.here).await;
        process
    }

    /// Runs a restore's process, told what to do before the usual flags.
    fn restoring(&self, words: &[&str]) -> Output {
        let usual = self.command();
        let mut command = Command::new(usual.get_program());
        command.args(words).args(usual.get_args()).output().unwrap()
    }

    async fn agent(&self, process: &Process, node: &str) -> Agent {
        let storage = Storage::open(&self.storage()).unwrap();
        let mut agent = Agent::new(process.channel().await, storage, node);
        agent.join().await.unwrap();
        agent
    }

    /// One job done and another begun.
    async fn opening(&self) -> Opening {
        let process = self.leads().await;
        let mut people = People::new(process.channel().await);
        people.imported(&self.world.music()).await;
        let published = submitted(&mut people, "published").await;
        let mut agent = self.agent(&process, "n1").await;
        agent.work().await;
        check_whole(&mut people, &published).await;
        let half = submitted(&mut people, "half").await;
        let pulled = agent.pull(16).await.unwrap();
        commit(&mut agent, &pulled, 1).await;
        Opening {
            process,
            people,
            agent,
            published,
            half,
            pulled,
        }
    }

    /// Copies the files of etcd while it is down.
    async fn copy_etcd(&mut self) {
        self.etcd.kill(0);
        copy(self.etcd.folder(), &self.folder.path().join("copy"));
        self.etcd.restart(0).await;
    }

    /// Takes a backup as an operator does, and says where it lies.
    async fn back_up(&self, process: &Process) -> String {
        let file = self.folder.path().join("store.backup");
        std::fs::write(&file, backup(process).await).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// Puts the copy back in place of what stands there.
    async fn put_copy_back(&mut self) {
        self.etcd.kill(0);
        std::fs::remove_dir_all(self.etcd.folder()).unwrap();
        copy(&self.folder.path().join("copy"), self.etcd.folder());
        self.etcd.restart(0).await;
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").args([from, to]).status();
    assert!(copied.unwrap().success());
}

async fn check_whole(people: &mut People, job: &str) {
    let last = people.watch(job).await.pop().unwrap();
    assert_eq!(last.state(), v1::JobState::Published, "{job}");
    let (findings, done) = people.verify(job).await;
    let whole = (Vec::new(), TRACKS as u64);
    assert_eq!((findings, done.rows_found), whole, "{job}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_an_older_etcd_nothing_starts_until_its_records_are_made_anew_from_a_bucket() {
    let mut site = Site::new().await;
    let Opening {
        process,
        mut agent,
        published,
        half,
        pulled,
        ..
    } = site.opening().await;
    assert!(process.terminate());
    site.copy_etcd().await;

    // What the copy does not know: the rest of one job, all of another, a part of a third, and a fourth without any.
    let process = site.leads().await;
    let mut people = People::new(process.channel().await);
    agent.reconnect(process.channel().await);
    let rest = v1::PullResponse {
        grants: pulled.grants[1..].to_vec(),
        ..pulled
    };
    commit(&mut agent, &rest, rest.grants.len()).await;
    let later = submitted(&mut people, "later").await;
    agent.work().await;
    check_whole(&mut people, &half).await;
    check_whole(&mut people, &later).await;
    let begun = submitted(&mut people, "begun").await;
    let pulled = agent.pull(16).await.unwrap();
    commit(&mut agent, &pulled, 1).await;
    let none = submitted(&mut people, "none").await;
    process.kill();
    site.put_copy_back().await;

    assert_eq!(failed(&site.command().output().unwrap()), Code::StoreOlder);
    assert_eq!(failed(&site.restoring(&["rebuild"])), Code::StoreNotEmpty);
    let rebuilt = rebuilt(&site.restoring(&["rebuild", "--replace"]));
    assert_eq!((rebuilt.replaced, rebuilt.generation), (1, 2));
    assert_eq!((rebuilt.published, rebuilt.open), (3, 2), "{rebuilt:?}");
    // The copy knows nothing of it, and nobody has worked on it: it might have been refused.
    let [warning] = &rebuilt.warnings[..] else {
        panic!("{rebuilt:?}");
    };
    assert!(warning.contains(&none), "{warning}");

    let process = site.leads().await;
    let mut people = People::new(process.channel().await);
    let mut agent = site.agent(&process, "n2").await;
    agent.work().await;
    for job in [&published, &half, &later, &begun, &none] {
        check_whole(&mut people, job).await;
    }
    assert!(process.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_lost_is_restored_from_a_backup_into_an_empty_one() {
    let mut site = Site::new().await;
    let Opening {
        process,
        mut people,
        agent: _joined,
        published,
        half,
        ..
    } = site.opening().await;
    let copy = site.back_up(&process).await;
    let later = submitted(&mut people, "later").await;
    process.kill();
    site.etcd.replace().await;

    assert_eq!(
        failed(&site.command().output().unwrap()),
        Code::StorageForeign
    );
    let rebuilt = rebuilt(&site.restoring(&["restore", &copy]));
    assert_eq!((rebuilt.replaced, rebuilt.generation), (1, 2));
    assert_eq!((rebuilt.published, rebuilt.open), (1, 2), "{rebuilt:?}");
    // The backup knows how one of the open jobs stood in line, and nothing of the other.
    assert_eq!((rebuilt.parts_taken, rebuilt.ranked), (1, 1), "{rebuilt:?}");
    let warned = |warning: &String| warning.contains(&later);
    assert!(rebuilt.warnings.iter().any(warned), "{rebuilt:?}");
    let again = failed(&site.restoring(&["restore", &copy]));
    assert_eq!(again, Code::StoreNotEmpty);

    let process = site.leads().await;
    let mut people = People::new(process.channel().await);
    let mut agent = site.agent(&process, "n2").await;
    agent.work().await;
    for job in [&published, &half, &later] {
        check_whole(&mut people, job).await;
    }
    assert!(process.terminate());
}

fn failed(output: &Output) -> Code {
    let Report::Failed(problem) = said(output) else {
        panic!("{output:?}");
    };
    problem.code
}

fn rebuilt(output: &Output) -> Rebuilt {
    let Report::Rebuilt(rebuilt) = said(output) else {
        panic!("{output:?}");
    };
    rebuilt
}
