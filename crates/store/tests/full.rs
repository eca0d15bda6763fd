//! The embedded store on a file that may not grow: a real refusal of the system, in a process of its own, since the limit is
//! one of the whole process.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use store::{Embedded, NotAppliedCause, Outcome, Store, Txn, read_all};

/// Set for a test process that is to fill its store; its value is the folder.
const FOLDER: &str = "STORE_TEST_FULL_FOLDER";

/// Bytes of one value, so that few of them fill what room there is.
const VALUE_BYTES: usize = 64 * 1024;

/// Lets no file grow beyond so many bytes, or lets all grow.
fn limit(bytes: Option<u64>) {
    let most = getrlimit(Resource::Fsize).maximum;
    let limit = Rlimit {
        current: bytes.or(most),
        maximum: most,
    };
    setrlimit(Resource::Fsize, limit).unwrap();
}

/// Puts numbered values until one is not applied; gives the last that was, and why the next was not.
async fn fill(store: &Embedded, from: usize, most: usize) -> (usize, Option<NotAppliedCause>) {
    for n in from..from + most {
        let txn = Txn::default().put(format!("k{n:06}"), vec![n as u8; VALUE_BYTES]);
        match store.write(txn).await {
            Outcome::Applied { .. } => {}
            Outcome::NotApplied(cause) => return (n, Some(cause)),
            other @ (Outcome::Refused(_) | Outcome::Unknown { .. }) => panic!("{other:?}"),
        }
    }
    (from + most, None)
}

/// Not a check by itself: run by the other test as a process of its own.
#[tokio::test]
async fn filling_process() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    // SAFETY: ignoring a signal installs no handler. By default this one ends the process that writes past its limit.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let store = Embedded::open(folder).unwrap();
    let (n, _) = fill(&store, 0, 4).await;
    let now = std::fs::metadata(folder.join("state.redb")).unwrap().len();
    limit(Some(now + 1024 * 1024));
    let (held, why) = fill(&store, n, 1_000).await;
    assert!(matches!(why, Some(NotAppliedCause::Full { .. })), "{why:?}");
    for _ in 0..3 {
        let (still, why) = fill(&store, held, 1).await;
        assert_eq!(still, held);
        assert!(matches!(why, Some(NotAppliedCause::Full { .. })), "{why:?}");
    }
    // Reading goes on, and everything acknowledged is there.
    check(&store, held).await;
    limit(None);
    let (more, why) = fill(&store, held, 50).await;
    assert_eq!((more, why), (held + 50, None));
    check(&store, more).await;
    drop(store);
    check(&Embedded::open(folder).unwrap(), more).await;
    println!("filled {held}");
}

async fn check(store: &Embedded, count: usize) {
    let (_, entries) = read_all(store, "k").await.unwrap();
    assert_eq!(entries.len(), count);
    for (n, entry) in entries.iter().enumerate() {
        assert_eq!(entry.value, vec![n as u8; VALUE_BYTES]);
    }
}

#[test]
fn a_file_that_may_not_grow_is_said_to_be_full_and_goes_on_once_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "filling_process",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("filled "), "{said}\n{complained}");
}
