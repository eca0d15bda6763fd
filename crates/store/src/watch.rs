//! What a follower sees: the changes of a range after a revision, one transaction after the other.
//!
//! Every backend gives a [`Watch`]; it is read by followers, which keep a copy of a range, and by whoever waits for a change. A watch
//! never skips a change, gives none twice and never splits a transaction; where it cannot go on, it says so and ends.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::feed::Follower;
use crate::{REQUEST_BYTES_MAX, ReadError, Revision};

/// What became of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// Its new value; `None` where it was removed.
    pub value: Option<Vec<u8>>,
}

/// What a watch gives next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// All that one transaction changed in the range.
    Changed {
        /// The transaction's revision.
        revision: Revision,
        /// Its changes, at most one for each key.
        changes: Vec<Change>,
    },
    /// Every change in the range up to this revision has been given.
    Progress {
        /// How far the watch has come.
        revision: Revision,
    },
}

impl Seen {
    /// How far whoever has been given this has come: a watch after this revision goes on from here.
    pub const fn revision(&self) -> Revision {
        match self {
            Self::Changed { revision, .. } | Self::Progress { revision } => *revision,
        }
    }
}

/// Changes that wait for their reader, where a task of the backend feeds the watch: a few round trips' worth. Beyond them the task waits, and
/// the cluster keeps what follows.
const WAITING_MAX: usize = 64;

/// Bytes of their keys and values: two of the largest transactions, for so many changes as may wait could each be that large.
const WAITING_BYTES_MAX: usize = 2 * REQUEST_BYTES_MAX;

/// Bytes of keys and values.
pub(crate) fn bytes(changes: &[Change]) -> usize {
    let sizes = changes.iter().map(|change| {
        let value = change.value.as_ref().map_or(0, Vec::len);
        change.key.len() + value
    });
    sizes.sum()
}

/// Something that waits for its reader, with the room that it takes.
#[derive(Debug)]
struct Waiting {
    seen: Result<Seen, ReadError>,
    _room: OwnedSemaphorePermit,
}

/// Nobody reads the watch any more.
#[derive(Debug)]
pub(crate) struct Unheard;

/// Where a task of a backend puts what its watch is to give.
#[derive(Debug)]
pub(crate) struct Out {
    waiting: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

impl Out {
    /// Puts what comes next, once there is room for it. What is larger than all the room has it for itself.
    ///
    /// # Errors
    /// [`Unheard`] where the watch was dropped.
    pub(crate) async fn send(&self, seen: Result<Seen, ReadError>) -> Result<(), Unheard> {
        let size = match &seen {
            Ok(Seen::Changed { changes, .. }) => bytes(changes).min(WAITING_BYTES_MAX),
            Ok(Seen::Progress { .. }) | Err(_) => 0,
        };
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let room = self.room.clone().acquire_many_owned(size).await;
        // Nobody closes it: what waits gives its room back when it is read or dropped.
        let _room = room.map_err(|_| Unheard)?;
        let waiting = Waiting { seen, _room };
        self.waiting.send(waiting).await.map_err(|_| Unheard)
    }

    /// Waits until nobody reads any more.
    pub(crate) async fn closed(&self) {
        self.waiting.closed().await;
    }
}

/// The changes of a range, from one revision on. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    source: Source,
    ended: Option<ReadError>,
}

#[derive(Debug)]
enum Source {
    Follower(Follower),
    Task(mpsc::Receiver<Waiting>),
}

impl Watch {
    pub(crate) const fn following(follower: Follower) -> Self {
        Self {
            source: Source::Follower(follower),
            ended: None,
        }
    }

    /// A watch, and where a task puts what it is to give.
    pub(crate) fn fed_by_a_task() -> (Out, Self) {
        let (waiting, read) = mpsc::channel(WAITING_MAX);
        let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX));
        let watch = Self {
            source: Source::Task(read),
            ended: None,
        };
        (Out { waiting, room }, watch)
    }

    /// Waits for what comes next. Whoever stops waiting loses nothing.
    ///
    /// # Errors
    /// [`ReadError::Compacted`] where changes after the last one given are no longer kept: read the range anew and watch after that.
    /// [`ReadError::Unavailable`] where the store could not be asked for a while: watch again after the last revision given. The watch is
    /// over then, and says the same again.
    pub async fn next(&mut self) -> Result<Seen, ReadError> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        let next = match &mut self.source {
            Source::Follower(follower) => follower.next().await,
            Source::Task(waiting) => match waiting.recv().await {
                Some(waiting) => waiting.seen,
                None => Err(ReadError::Unavailable {
                    cause: "the watch's task is gone".to_owned(),
                }),
            },
        };
        self.ended = next.as_ref().err().cloned();
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(revision: u64, bytes: usize) -> Result<Seen, ReadError> {
        let change = Change {
            key: String::new(),
            value: Some(vec![0; bytes]),
        };
        Ok(Seen::Changed {
            revision: Revision(revision),
            changes: vec![change],
        })
    }

    /// Whether something can be put without waiting.
    async fn has_room(out: &Out, seen: Result<Seen, ReadError>) -> bool {
        tokio::select! {
            biased;
            // What is asked is whether there is room, not whether it is this task's turn.
            sent = tokio::task::unconstrained(out.send(seen)) => sent.is_ok(),
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn what_waits_for_its_reader_is_bounded_in_bytes_as_in_number() {
        let (out, mut watch) = Watch::fed_by_a_task();
        for revision in 1..=2 {
            assert!(has_room(&out, changed(revision, REQUEST_BYTES_MAX)).await);
        }
        assert!(!has_room(&out, changed(3, 1)).await);
        assert_eq!(watch.next().await, changed(1, REQUEST_BYTES_MAX));
        assert!(has_room(&out, changed(3, 1)).await);
        let (out, _watch) = Watch::fed_by_a_task();
        for revision in 1..=WAITING_MAX as u64 {
            assert!(has_room(&out, changed(revision, 1)).await);
        }
        assert!(!has_room(&out, changed(65, 1)).await);
    }

    #[tokio::test]
    async fn what_is_larger_than_all_the_room_goes_alone_and_nobody_waits_for_a_watch_that_is_gone()
    {
        let (out, mut watch) = Watch::fed_by_a_task();
        let large = || changed(1, WAITING_BYTES_MAX + 1);
        assert!(has_room(&out, large()).await);
        assert!(!has_room(&out, changed(2, 1)).await);
        assert_eq!(watch.next().await, large());
        assert!(has_room(&out, large()).await);
        drop(watch);
        assert!(out.send(changed(3, 1)).await.is_err());
        out.closed().await;
    }
}
