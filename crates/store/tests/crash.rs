//! The embedded store in real processes: a writer killed with SIGKILL at random moments, again and again, a second opener,
//! and a folder whose file is gone or replaced.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use store::{Embedded, OpenError, Outcome, Store, Txn, conformance, read_all};

/// Set for a test process that is to be the writer; its value is the folder.
const WRITER_FOLDER: &str = "STORE_TEST_WRITER_FOLDER";

/// Not a check by itself: run by the other tests as a process of its own, which writes and prints each number that was
/// acknowledged until it is killed.
#[test]
fn writer_process() {
    let Ok(folder) = std::env::var(WRITER_FOLDER) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Embedded::open(folder).unwrap();
        let epoch = store.lead("writer").await.unwrap();
        let mut n = last_number(&store).await;
        loop {
            n += 1;
            let txn = Txn::under(epoch).put("n", n.to_string()).put(
                format!("k{:02}", n % 50),
                format!("{n} {}", "x".repeat((n % 700) as usize)),
            );
            assert!(matches!(store.write(txn).await, Outcome::Applied { .. }));
            println!("acknowledged {n}");
        }
    });
}

async fn last_number(store: &Embedded) -> u64 {
    let entry = store.get("n").await.unwrap();
    entry.map_or(0, |entry| {
        String::from_utf8(entry.value).unwrap().parse().unwrap()
    })
}

struct Writer {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Writer {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "writer_process",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(WRITER_FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next acknowledged number; none once the writer is dead and all it said has been read.
    fn acknowledged(&mut self) -> Option<u64> {
        let mut lines = self.lines.by_ref().map(|line| line.unwrap_or_default());
        lines.find_map(|line| line.split("acknowledged ").nth(1)?.trim().parse().ok())
    }

    /// SIGKILL, then everything that was acknowledged before it took effect.
    fn kill(mut self) -> Option<u64> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::iter::from_fn(|| self.acknowledged()).last()
    }
}

#[tokio::test]
async fn no_acknowledged_commit_is_lost_to_sigkill() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut last = 0;
    for run in 0..25 {
        let mut writer = Writer::start(folder.path());
        for _ in 0..rng.random_range(1..40) {
            last = writer.acknowledged().unwrap();
        }
        last = writer.kill().unwrap_or(last);
        let store = Embedded::open(folder.path()).unwrap();
        let found = last_number(&store).await;
        assert!(
            (last..=last + 1).contains(&found),
            "run {run}: {found} found, {last} acknowledged"
        );
        check_contents(&store, found).await;
        last = found;
    }
}

async fn check_contents(store: &Embedded, n: u64) {
    let (_, entries) = read_all(store, "k").await.unwrap();
    assert_eq!(entries.len() as u64, n.min(50));
    for entry in entries {
        let text = String::from_utf8(entry.value).unwrap();
        let value: u64 = text.split(' ').next().unwrap().parse().unwrap();
        assert!(value <= n && value + 50 > n && entry.key == format!("k{:02}", value % 50));
    }
}

#[test]
fn a_second_opener_is_told_so_whichever_process_it_is_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::start(folder.path());
    writer.acknowledged().unwrap();
    assert!(matches!(
        Embedded::open(folder.path()),
        Err(OpenError::Locked { .. })
    ));
    writer.kill();
    let first = Embedded::open(folder.path()).unwrap();
    assert!(matches!(
        Embedded::open(folder.path()),
        Err(OpenError::Locked { .. })
    ));
    drop(first);
    assert!(Embedded::open(folder.path()).is_ok());
}

#[tokio::test]
async fn the_embedded_store_on_a_file_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let mut number = 0;
    let make = || {
        number += 1;
        let folder = folder.path().join(number.to_string());
        async move { Embedded::open(folder).unwrap() }
    };
    conformance::all(make).await;
}

#[tokio::test]
async fn a_store_names_itself_the_same_for_life_and_refuses_another_s_file() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    let mut numbers = Vec::new();
    for place in [&here, &here, &there] {
        numbers.push(
            Embedded::open(place)
                .unwrap()
                .status()
                .await
                .unwrap()
                .cluster,
        );
    }
    assert_eq!(numbers[0], numbers[1]);
    assert_ne!(numbers[0], numbers[2]);
    std::fs::copy(there.join("state.redb"), here.join("state.redb")).unwrap();
    assert!(matches!(
        Embedded::open(&here),
        Err(OpenError::Damaged { .. })
    ));
}

#[test]
fn a_state_file_that_is_gone_or_empty_is_refused_rather_than_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    drop(Embedded::open(folder.path()).unwrap());
    let file = folder.path().join("state.redb");
    std::fs::write(&file, b"").unwrap();
    assert!(matches!(
        Embedded::open(folder.path()),
        Err(OpenError::Damaged { .. })
    ));
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(
        Embedded::open(folder.path()),
        Err(OpenError::Damaged { .. })
    ));
    assert!(!file.exists());
}
