//! The embedded store on media that fail: power cuts that lose and tear what was not synced, syncs that fail, media that
//! fill up, and bits that change.

use std::collections::VecDeque;
use std::sync::Mutex;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{Compare, conformance, read_all};

/// A medium whose power can be cut.
#[derive(Debug)]
struct Disk(Mutex<DiskState>);

#[derive(Debug, Default)]
struct DiskState {
    /// What survives a cut for certain.
    synced: Vec<u8>,
    /// What is read while the power is on.
    cached: Vec<u8>,
    /// What was changed since the last sync, in order.
    pending: Vec<Change>,
    /// Operations until the power is cut; never, where there is none.
    operations_left: Option<u32>,
    /// Largest length; more is refused as a full disk would.
    room: Option<u64>,
    /// How the next syncs end; after them, well.
    syncs: VecDeque<SyncEnd>,
}

#[derive(Clone, Copy, Debug)]
enum SyncEnd {
    Well,
    /// Nothing more is on the medium than before.
    Failed,
    /// All is on the medium and the caller is told otherwise.
    FailedAfterwards,
}

#[derive(Debug)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

/// What disks write whole, or not at all.
const SECTOR_BYTES: usize = 512;

fn write_into(image: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let end = offset as usize + bytes.len();
    image.resize(image.len().max(end), 0);
    image[offset as usize..end].copy_from_slice(bytes);
}

impl Disk {
    fn new(bytes: Vec<u8>) -> Arc<Self> {
        let state = DiskState {
            synced: bytes.clone(),
            cached: bytes,
            ..DiskState::default()
        };
        Arc::new(Self(Mutex::new(state)))
    }

    fn with_a_store() -> Arc<Self> {
        let disk = Self::new(Vec::new());
        Engine::create(disk.clone(), 7).unwrap();
        disk
    }

    fn set(&self, change: impl FnOnce(&mut DiskState)) {
        change(&mut self.0.lock().unwrap());
    }

    fn spend(state: &mut DiskState) -> io::Result<()> {
        match &mut state.operations_left {
            Some(0) => Err(io::Error::other("the power is off")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// What the disk holds after the cut: of each unsynced write any of its sectors, of each unsynced length any.
    fn after_cut(&self, rng: &mut ChaCha8Rng) -> Arc<Self> {
        let state = self.0.lock().unwrap();
        let mut image = state.synced.clone();
        for change in &state.pending {
            match change {
                Change::Write(offset, bytes) => {
                    for (n, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                        if rng.random_bool(0.5) {
                            write_into(&mut image, offset + (n * SECTOR_BYTES) as u64, sector);
                        }
                    }
                }
                Change::SetLen(len) if rng.random_bool(0.5) => image.resize(*len as usize, 0),
                Change::SetLen(_) => {}
            }
        }
        Self::new(image)
    }
}

impl Medium for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().cached.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let wanted = state
            .cached
            .get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(wanted.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        Self::spend(&mut state)?;
        write_into(&mut state.cached, offset, bytes);
        state.pending.push(Change::Write(offset, bytes.to_vec()));
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        Self::spend(&mut state)?;
        if state.room.is_some_and(|room| len > room) {
            return Err(io::Error::from_raw_os_error(
                rustix::io::Errno::NOSPC.raw_os_error(),
            ));
        }
        state.cached.resize(len as usize, 0);
        state.pending.push(Change::SetLen(len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        Self::spend(&mut state)?;
        let end = state.syncs.pop_front().unwrap_or(SyncEnd::Well);
        if let SyncEnd::Well | SyncEnd::FailedAfterwards = end {
            state.synced = state.cached.clone();
            state.pending.clear();
        }
        match end {
            SyncEnd::Well => Ok(()),
            SyncEnd::Failed | SyncEnd::FailedAfterwards => {
                Err(io::Error::other("the disk lost a write"))
            }
        }
    }

    /// A real disk that failed a sync shows what it holds once the cache is dropped.
    fn forget_cache(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.cached = state.synced.clone();
        state.pending.clear();
        Ok(())
    }
}

fn counting(n: u64, previous: Option<Revision>) -> Txn {
    let txn = Txn::default()
        .put("n", n.to_string())
        .put(format!("k{:02}", n % 40), vec![n as u8; 300]);
    let txn = if n.is_multiple_of(7) {
        txn.delete(format!("k{:02}", (n + 20) % 40))
    } else {
        txn
    };
    match previous {
        Some(revision) => txn.at("n", revision),
        None => txn.absent("n"),
    }
}

/// Writes counted transactions until one is not applied; gives the last acknowledged number.
async fn write_until_failure(store: &Embedded, most: u64) -> u64 {
    let entry = store.get("n").await.unwrap();
    let mut n = entry.as_ref().map_or(0, number);
    let mut revision = entry.map(|entry| entry.revision);
    for _ in 0..most {
        match store.write(counting(n + 1, revision)).await {
            Outcome::Applied { revision: at } => (n, revision) = (n + 1, Some(at)),
            Outcome::Refused(refusal) => panic!("{refusal:?}"),
            Outcome::NotApplied(_) | Outcome::Unknown { .. } => break,
        }
    }
    n
}

fn number(entry: &Entry) -> u64 {
    str::from_utf8(&entry.value).unwrap().parse().unwrap()
}

/// Every key is as the first `n` transactions left it.
async fn check_contents(store: &Embedded, n: u64) {
    let mut expected = std::collections::BTreeMap::new();
    for n in 1..=n {
        expected.insert(format!("k{:02}", n % 40), vec![n as u8; 300]);
        if n.is_multiple_of(7) {
            expected.remove(&format!("k{:02}", (n + 20) % 40));
        }
    }
    let (_, entries) = read_all(store, "k").await.unwrap();
    let found: std::collections::BTreeMap<_, _> = entries
        .into_iter()
        .map(|entry| (entry.key, entry.value))
        .collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_embedded_store_conforms() {
    conformance::all(|| async { Embedded::on_medium(Disk::with_a_store()).unwrap() }).await;
}

#[tokio::test]
async fn a_power_cut_at_any_moment_leaves_every_acknowledged_commit_and_at_most_the_next() {
    for seed in 0..60 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut disk = Disk::with_a_store();
        let mut acknowledged = 0;
        for round in 0..4 {
            let cut = rng.random_range(0..400);
            disk.set(|state| state.operations_left = Some(cut));
            if let Ok(store) = Embedded::on_medium(disk.clone()) {
                acknowledged = write_until_failure(&store, 60).await;
            }
            disk = disk.after_cut(&mut rng);
            let store = Embedded::on_medium(disk.clone());
            let store =
                store.unwrap_or_else(|fault| panic!("seed {seed} round {round}: {fault:?}"));
            let found = store
                .get("n")
                .await
                .unwrap()
                .map_or(0, |entry| number(&entry));
            let expected = acknowledged..=acknowledged + 1;
            assert!(
                expected.contains(&found),
                "seed {seed} round {round}: {found} not in {expected:?}"
            );
            check_contents(&store, found).await;
            acknowledged = found;
        }
    }
}

#[tokio::test]
async fn a_failed_sync_whose_write_is_not_there_did_not_happen() {
    let disk = Disk::with_a_store();
    let store = Embedded::on_medium(disk.clone()).unwrap();
    assert_eq!(write_until_failure(&store, 10).await, 10);
    let read = store.get("n").await.unwrap().unwrap().revision;
    disk.set(|state| state.syncs = [SyncEnd::Failed].into());
    let outcome = store.write(counting(11, Some(read))).await;
    assert!(
        matches!(
            outcome,
            Outcome::NotApplied(NotAppliedCause::Unavailable { .. })
        ),
        "{outcome:?}"
    );
    check_contents(&store, 10).await;
    assert_eq!(write_until_failure(&store, 5).await, 15);
}

#[tokio::test]
async fn a_write_on_a_medium_that_stays_away_is_unknown_and_the_same_write_settles_it() {
    let disk = Disk::with_a_store();
    let store = Embedded::on_medium(disk.clone()).unwrap();
    assert_eq!(write_until_failure(&store, 10).await, 10);
    let read = store.get("n").await.unwrap().unwrap().revision;
    disk.set(|state| state.syncs = [SyncEnd::Failed; 100].into());
    let outcome = store.write(counting(11, Some(read))).await;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    assert!(matches!(
        store.get("n").await,
        Err(ReadError::Unavailable { .. })
    ));
    let turned_away = store.write(counting(11, Some(read))).await;
    assert!(
        matches!(turned_away, Outcome::NotApplied(_)),
        "{turned_away:?}"
    );
    disk.set(|state| state.syncs.clear());
    let again = store.write(counting(11, Some(read))).await;
    assert!(matches!(again, Outcome::Applied { .. }), "{again:?}");
    check_contents(&store, 11).await;
}

/// The second sync of a commit is the one that makes it count.
const LOST_ANSWER: [SyncEnd; 2] = [SyncEnd::Well, SyncEnd::FailedAfterwards];

#[tokio::test]
async fn a_commit_that_landed_without_an_answer_is_unknown_and_found_by_its_own_value() {
    let disk = Disk::with_a_store();
    let store = Embedded::on_medium(disk.clone()).unwrap();
    assert_eq!(write_until_failure(&store, 10).await, 10);
    let read = store.get("n").await.unwrap().unwrap().revision;
    disk.set(|state| state.syncs = LOST_ANSWER.into());
    let outcome = store.write(counting(11, Some(read))).await;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    let again = store.write(counting(11, Some(read))).await;
    assert_eq!(again, Outcome::Refused(crate::Refusal::Key("n".into())));
    check_contents(&store, 11).await;
}

#[tokio::test]
async fn a_reign_that_nobody_was_told_of_keeps_nobody_from_leading() {
    let disk = Disk::with_a_store();
    let store = Embedded::on_medium(disk.clone()).unwrap();
    disk.set(|state| state.syncs = LOST_ANSWER.into());
    let lost = store.lead("here").await;
    assert!(
        matches!(lost, Err(LeadError::Unavailable { .. })),
        "{lost:?}"
    );
    let epoch = store.lead("here").await.unwrap();
    assert_eq!(store.keep(epoch).await, Ok(()));
    assert_eq!(
        store.lead("there").await,
        Err(LeadError::Held { by: "here".into() })
    );
    for before in 0..epoch.0 {
        let outcome = store.write(Txn::under(Epoch(before))).await;
        assert_eq!(outcome, Outcome::Refused(crate::Refusal::Epoch));
    }
}

#[tokio::test]
async fn a_failed_sync_keeps_the_leader_of_this_opening() {
    let disk = Disk::with_a_store();
    let store = Embedded::on_medium(disk.clone()).unwrap();
    let epoch = store.lead("here").await.unwrap();
    disk.set(|state| state.syncs = [SyncEnd::Failed].into());
    let outcome = store.write(Txn::under(epoch).put("k", "1")).await;
    assert!(matches!(outcome, Outcome::NotApplied(_)), "{outcome:?}");
    assert_eq!(store.keep(epoch).await, Ok(()));
    assert!(matches!(
        store.write(Txn::under(epoch).put("k", "2")).await,
        Outcome::Applied { .. }
    ));
}

#[tokio::test]
async fn a_full_disk_is_named_and_passes_once_there_is_room() {
    let disk = Disk::with_a_store();
    let store = Embedded::on_medium(disk.clone()).unwrap();
    assert_eq!(write_until_failure(&store, 10).await, 10);
    let room = disk.0.lock().unwrap().cached.len() as u64;
    disk.set(|state| state.room = Some(room));
    let fill = |n: usize| Txn::default().put(format!("big{n}"), vec![1; 1024 * 1024]);
    let mut refused = None;
    for n in 0..20 {
        let outcome = store.write(fill(n)).await;
        if let Outcome::NotApplied(cause) = outcome {
            refused = Some(cause);
            break;
        }
        assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
    }
    assert!(
        matches!(refused, Some(NotAppliedCause::Full { .. })),
        "{refused:?}"
    );
    assert_eq!(
        store.get("n").await.unwrap().map(|entry| number(&entry)),
        Some(10)
    );
    disk.set(|state| state.room = None);
    assert_eq!(write_until_failure(&store, 10).await, 20);
}

#[tokio::test]
async fn each_opening_ends_the_reign_before_and_the_next_epoch_is_greater() {
    let disk = Disk::with_a_store();
    let mut before = Epoch(0);
    for _ in 0..3 {
        let store = Embedded::on_medium(disk.clone()).unwrap();
        assert_eq!(store.keep(before).await, Err(LeadError::Lost));
        let epoch = store.lead("here").await.unwrap();
        assert!(epoch > before);
        let txn = Txn {
            compares: vec![Compare::Leads(before)],
            ..Txn::default()
        };
        assert!(matches!(store.write(txn).await, Outcome::Refused(_)));
        before = epoch;
    }
}

/// A store with a few hundred keys, closed cleanly or cut.
async fn grown(clean: bool) -> Vec<u8> {
    let disk = Disk::with_a_store();
    let store = Embedded::on_medium(disk.clone()).unwrap();
    for n in 0..300 {
        let txn = Txn::default().put(format!("key{n:04}"), vec![n as u8; 200]);
        assert!(matches!(store.write(txn).await, Outcome::Applied { .. }));
    }
    if clean {
        drop(store);
    }
    disk.0.lock().unwrap().synced.clone()
}

/// Opens a damaged image. Whole contents, or a refusal that changed nothing: both are sound.
async fn check_damage(image: Vec<u8>, what: &str) -> bool {
    let disk = Disk::new(image.clone());
    match Embedded::on_medium(disk.clone()) {
        Ok(store) => {
            let (_, entries) = read_all(&store, "").await.unwrap();
            assert_eq!(entries.len(), 300, "{what}");
            for (n, entry) in entries.iter().enumerate() {
                assert_eq!(entry.value, vec![n as u8; 200], "{what}");
            }
            false
        }
        Err(Fault::Damaged(damage)) => {
            assert!(!damage.cause.is_empty());
            assert_eq!(
                disk.0.lock().unwrap().cached,
                image,
                "{what}: the refused file was changed"
            );
            true
        }
        Err(Fault::Medium(cause)) => {
            assert_eq!(disk.0.lock().unwrap().cached, image, "{what}: {cause}");
            true
        }
    }
}

#[tokio::test]
async fn a_changed_bit_anywhere_is_refused_untouched_or_does_not_matter() {
    for clean in [true, false] {
        let image = grown(clean).await;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut refused = 0;
        for _ in 0..150 {
            let mut damaged = image.clone();
            let at = rng.random_range(0..image.len());
            damaged[at] ^= 1 << rng.random_range(0..8);
            refused += u32::from(check_damage(damaged, &format!("clean {clean}, byte {at}")).await);
        }
        assert!(
            refused > 0,
            "no flipped bit hit anything; the test looks at the wrong bytes"
        );
    }
}

#[tokio::test]
async fn a_truncated_or_zeroed_tail_never_loses_anything_in_silence() {
    for clean in [true, false] {
        let image = grown(clean).await;
        let mut refused = 0;
        for eighth in 0..8 {
            let keep = image.len() * eighth / 8;
            let truncated = image[..keep].to_vec();
            let mut zeroed = truncated.clone();
            zeroed.resize(image.len(), 0);
            refused +=
                u32::from(check_damage(truncated, &format!("clean {clean}, {keep} kept")).await);
            refused +=
                u32::from(check_damage(zeroed, &format!("clean {clean}, zero from {keep}")).await);
        }
        assert!(refused >= 6, "only {refused} refused");
    }
}
