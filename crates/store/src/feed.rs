//! The newest transactions of a store that lives in this process, kept for its followers.
//!
//! The embedded store and the model push into it what they applied; each watch reads from it at its own pace. It is bounded: a follower
//! that falls behind what is kept is told so, and nobody ever waits for a follower.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::watch::{Change, Seen, bytes};
use crate::{ReadError, Revision};

/// Transactions kept: some seconds of a busy coordinator, more than a follower is ever behind between two of its turns.
const TRANSACTIONS_MAX: usize = 1_024;

/// Bytes of keys and values kept: two of the largest transactions, and little beside a process's own memory.
const BYTES_MAX: usize = 2 * crate::REQUEST_BYTES_MAX;

/// The feed of one store.
#[derive(Debug)]
pub(crate) struct Feed {
    log: Arc<Mutex<Log>>,
    moved: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Log {
    /// Changes after this revision are kept; at or before it they are forgotten.
    forgotten: Revision,
    /// How far the store has come. `None` while what it holds is unknown.
    head: Option<Revision>,
    kept: VecDeque<(Revision, Vec<Change>)>,
    bytes: usize,
}

impl Feed {
    /// The feed of a store that has come to `head`; nothing before it is kept.
    pub(crate) fn at(head: Revision) -> Self {
        let log = Log {
            forgotten: head,
            head: Some(head),
            ..Log::default()
        };
        Self {
            log: Arc::new(Mutex::new(log)),
            moved: watch::Sender::new(()),
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    /// How far the followers may see.
    pub(crate) fn head(&self) -> Option<Revision> {
        self.log().head
    }

    /// Adds the transactions that brought the store to `head`, in order, and wakes whoever waits.
    pub(crate) fn push(
        &self,
        transactions: impl IntoIterator<Item = (Revision, Vec<Change>)>,
        head: Revision,
    ) {
        let mut log = self.log();
        for (revision, changes) in transactions {
            log.keep(revision, changes);
        }
        log.head = Some(head);
        drop(log);
        self.moved.send_replace(());
    }

    /// Nothing is known of what the store holds until [`Feed::begin_at`]: followers must read anew.
    pub(crate) fn lose(&self) {
        let mut log = self.log();
        *log = Log::default();
        drop(log);
        self.moved.send_replace(());
    }

    /// The store has come to `head`. Where the feed was lost it begins anew there.
    pub(crate) fn begin_at(&self, head: Revision) {
        let mut log = self.log();
        if log.head.is_none() {
            log.forgotten = head;
            log.head = Some(head);
        }
    }

    /// Forgets what happened before a revision.
    pub(crate) fn forget_before(&self, revision: Revision) {
        self.log().forget_before(revision);
    }

    /// A follower of the keys that start with `prefix`, from the first transaction after `after` on.
    pub(crate) fn follow(&self, prefix: &str, after: Revision) -> Follower {
        Follower {
            log: self.log.clone(),
            moved: self.moved.subscribe(),
            prefix: prefix.to_owned(),
            after,
        }
    }

    /// Wakes at each change of the store, also of what is in no feed.
    pub(crate) fn moves(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    // Each change of the log is whole or not begun, so that a panic elsewhere leaves it sound.
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    fn keep(&mut self, revision: Revision, changes: Vec<Change>) {
        self.bytes += bytes(&changes);
        self.kept.push_back((revision, changes));
        while self.kept.len() > TRANSACTIONS_MAX || self.bytes > BYTES_MAX {
            let Some((revision, changes)) = self.kept.pop_front() else {
                break;
            };
            self.bytes -= bytes(&changes);
            self.forgotten = revision;
        }
    }

    fn forget_before(&mut self, revision: Revision) {
        let gone = self.kept.partition_point(|(kept, _)| *kept < revision);
        for (_, changes) in self.kept.drain(..gone) {
            self.bytes -= bytes(&changes);
        }
        let before = Revision(revision.0.saturating_sub(1));
        self.forgotten = self.forgotten.max(before);
    }

    /// What follows `after`; `None` where nothing does yet.
    fn next(&self, prefix: &str, after: Revision) -> Result<Option<Seen>, ReadError> {
        let head = self.head.filter(|head| after <= *head);
        let (Some(head), true) = (head, after >= self.forgotten) else {
            return Err(ReadError::Compacted { revision: after });
        };
        let first = self
            .kept
            .partition_point(|(revision, _)| *revision <= after);
        let changed = self.kept.range(first..).find_map(|(revision, changes)| {
            let wanted = |change: &&Change| change.key.starts_with(prefix);
            let changes: Vec<Change> = changes.iter().filter(wanted).cloned().collect();
            (!changes.is_empty()).then_some(Seen::Changed {
                revision: *revision,
                changes,
            })
        });
        let progress = (head > after).then_some(Seen::Progress { revision: head });
        Ok(changed.or(progress))
    }
}

/// One watch of a feed.
#[derive(Debug)]
pub(crate) struct Follower {
    log: Arc<Mutex<Log>>,
    moved: watch::Receiver<()>,
    prefix: String,
    after: Revision,
}

impl Follower {
    /// What comes next.
    pub(crate) async fn next(&mut self) -> Result<Seen, ReadError> {
        loop {
            self.moved.borrow_and_update();
            let next = lock(&self.log).next(&self.prefix, self.after)?;
            if let Some(seen) = next {
                self.after = seen.revision();
                return Ok(seen);
            }
            let moved = self.moved.changed().await;
            moved.map_err(|_| ReadError::Unavailable {
                cause: "the store is closed".to_owned(),
            })?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, bytes: usize) -> Vec<Change> {
        vec![Change {
            key: key.to_owned(),
            value: Some(vec![0; bytes]),
        }]
    }

    fn push(feed: &Feed, revision: u64, bytes: usize) {
        let revision = Revision(revision);
        feed.push([(revision, put("k", bytes))], revision);
    }

    #[tokio::test]
    async fn a_follower_that_falls_behind_what_is_kept_must_read_anew() {
        let feed = Feed::at(Revision(0));
        let mut follower = feed.follow("", Revision(0));
        for revision in 1..=TRANSACTIONS_MAX as u64 {
            push(&feed, revision, 1);
        }
        assert_eq!(
            follower.next().await.map(|seen| seen.revision()),
            Ok(Revision(1))
        );
        push(&feed, 1_025, 1);
        push(&feed, 1_026, 1);
        assert_eq!(
            follower.next().await,
            Err(ReadError::Compacted {
                revision: Revision(1)
            })
        );
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_in_bytes_too() {
        let feed = Feed::at(Revision(0));
        for revision in 1..=3 {
            push(&feed, revision, BYTES_MAX / 2);
        }
        let mut behind = feed.follow("", Revision(0));
        assert!(behind.next().await.is_err());
        let mut near = feed.follow("", Revision(2));
        assert_eq!(
            near.next().await.map(|seen| seen.revision()),
            Ok(Revision(3))
        );
    }

    #[tokio::test]
    async fn what_happened_before_a_revision_is_forgotten_and_what_happened_at_it_is_not() {
        let feed = Feed::at(Revision(0));
        for revision in 1..=4 {
            push(&feed, revision, 1);
        }
        feed.forget_before(Revision(3));
        let gone = Err(ReadError::Compacted {
            revision: Revision(1),
        });
        assert_eq!(feed.follow("", Revision(1)).next().await, gone);
        let next = feed.follow("", Revision(2)).next().await;
        assert_eq!(next.map(|seen| seen.revision()), Ok(Revision(3)));
        feed.forget_before(Revision(1));
        assert_eq!(feed.follow("", Revision(1)).next().await, gone);
    }

    #[tokio::test]
    async fn changes_elsewhere_are_progress_and_no_change() {
        let feed = Feed::at(Revision(4));
        let mut follower = feed.follow("other/", Revision(4));
        push(&feed, 5, 1);
        let revision = Revision(5);
        assert_eq!(follower.next().await, Ok(Seen::Progress { revision }));
    }

    #[tokio::test]
    async fn after_a_loss_every_follower_must_read_anew() {
        let feed = Feed::at(Revision(4));
        let mut follower = feed.follow("", Revision(4));
        feed.lose();
        let gone = Err(ReadError::Compacted {
            revision: Revision(4),
        });
        assert_eq!(follower.next().await, gone);
        assert_eq!(feed.follow("", Revision(4)).next().await, gone);
        feed.begin_at(Revision(5));
        push(&feed, 6, 1);
        let next = feed.follow("", Revision(5)).next().await;
        assert_eq!(next.map(|seen| seen.revision()), Ok(Revision(6)));
    }
}
