//! What a follower sees: the changes of a range after a revision, one transaction after the other.
//!
//! Every backend gives a [`Watch`]; it is read by followers, which keep a copy of a range, and by whoever waits for a change. A watch
//! never skips a change, gives none twice and never splits a transaction; where it cannot go on, it says so and ends.

use tokio::sync::mpsc;

use crate::feed::Follower;
use crate::{ReadError, Revision};

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
pub(crate) const WAITING_MAX: usize = 64;

/// The changes of a range, from one revision on. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    source: Source,
    ended: Option<ReadError>,
}

#[derive(Debug)]
enum Source {
    Follower(Follower),
    Task(mpsc::Receiver<Result<Seen, ReadError>>),
}

impl Watch {
    pub(crate) const fn following(follower: Follower) -> Self {
        Self {
            source: Source::Follower(follower),
            ended: None,
        }
    }

    pub(crate) const fn fed_by_a_task(seen: mpsc::Receiver<Result<Seen, ReadError>>) -> Self {
        Self {
            source: Source::Task(seen),
            ended: None,
        }
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
            Source::Task(seen) => seen.recv().await.unwrap_or_else(|| {
                Err(ReadError::Unavailable {
                    cause: "the watch's task is gone".to_owned(),
                })
            }),
        };
        self.ended = next.as_ref().err().cloned();
        next
    }
}
