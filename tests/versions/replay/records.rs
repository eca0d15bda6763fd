//! The store as the version before left it: its file is opened, and each record is read and would be written back as it stands.

use minicbor::{Decode, Encode};
use scheduler::RecordKey;
use scheduler::journal::{JournalError, Replay};
use scheduler::record::{
    JobRecord, JobState, NodeRecord, PartKind, RevocationRecord, ShardRecord, decode, encode,
};
use store::Embedded;
use types::{Generation, ShardId};

use crate::{moment, site};

/// Reads a record, whose bytes are to be those that this version writes.
#[track_caller]
fn kept<R: for<'b> Decode<'b, ()> + Encode<()>>(key: &str, bytes: &[u8]) -> R {
    let record: R = decode(bytes).unwrap_or_else(|why| panic!("read `{key}`: {why}"));
    assert_eq!(encode(&record), bytes, "{key}");
    record
}

#[tokio::test]
async fn every_record_of_the_version_before_is_read_and_would_be_written_back_as_it_is() {
    let site = site();
    let store = Embedded::open(site.folder("data/store")).unwrap();
    let (_, entries) = store::read_all(&store, "/").await.unwrap();
    let (mut jobs, mut shards, mut nodes) = (Vec::new(), Vec::new(), 0);
    for entry in entries {
        let (key, value) = (&entry.key, &entry.value);
        match RecordKey::parse(Generation(1), key) {
            Ok(RecordKey::Job(job)) => jobs.push((job, kept::<JobRecord>(key, value))),
            Ok(RecordKey::Shard(_, shard)) => shards.push((shard, kept::<ShardRecord>(key, value))),
            Ok(RecordKey::Node(_)) => {
                nodes += usize::from(!kept::<NodeRecord>(key, value).version.is_empty())
            }
            Ok(RecordKey::Revocation(_)) => drop(kept::<RevocationRecord>(key, value)),
            // Catalogs and bundles: whoever reads them is asked in `left`.
            Err(other) => assert!(key.starts_with("/shelf/"), "{other}"),
        }
    }
    let moment = moment();
    let state = |job: &str| {
        let found = jobs.iter().find(|(key, _)| key.job.as_str() == job);
        found.map(|(_, record)| &record.state)
    };
    assert!(matches!(
        state(&moment.published),
        Some(JobState::Published { .. })
    ));
    assert!(matches!(
        state(&moment.cancelled),
        Some(JobState::Cancelled { .. })
    ));
    assert!(matches!(state(&moment.open), Some(JobState::Running)));
    assert_eq!(nodes, 2);
    check_amid(&shards);
}

/// The records show what a job amid its tracks has: parts that count, both kinds of them, and live grants.
fn check_amid(shards: &[(ShardId, ShardRecord)]) {
    let parts = || shards.iter().flat_map(|(_, record)| &record.parts);
    for kind in [PartKind::Terminal, PartKind::Escalation] {
        assert!(parts().any(|part| part.kind == kind), "{kind:?}");
    }
    assert!(shards.iter().any(|(_, record)| !record.grants.is_empty()));
}

#[test]
fn the_journal_of_the_version_before_is_read_line_by_line() {
    let site = site();
    let journals = std::fs::read_dir(site.folder("data/journal")).unwrap();
    for journal in journals {
        let text = std::fs::read_to_string(journal.unwrap().path()).unwrap();
        let mut replay = Replay::new();
        let read = text.lines().map(|line| replay.line(line));
        // Another version's core may decide otherwise at some line; up to there each is read.
        match read.collect::<Result<Vec<()>, _>>() {
            Ok(_) | Err(JournalError::Differs { .. } | JournalError::Knows { .. }) => {}
            Err(unread) => panic!("{unread}"),
        }
        assert!(replay.end().events > 0);
    }
}
