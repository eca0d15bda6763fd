//! Watching a range: a task that keeps one stream open, makes it anew when it fails, ends or falls silent, and goes on after the last
//! revision given.
//!
//! A stream that is silent is asked how far it has come; one that does not answer either is left, with its member. What was compacted away
//! meanwhile ends the watch, and so does a cluster that cannot be reached for a while.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, WatchOptions, WatchResponse, WatchStream};
use tokio::time::{Instant, MissedTickBehavior};

use super::assembly::{self, Assembly};
use super::failure::{Class, Failure};
use super::keys::{Keys, end_of, revision_in};
use super::members::{Begun, Members};
use super::read;
use super::settings::READ_DEADLINE;
use super::versions;
use crate::watch::Out;
use crate::{Change, ReadError, Revision, Seen, Watch};

/// Between two questions how far a stream has come: a follower that is asked knows its age by them.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// A stream that says nothing for this long is left: two questions and a little.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Streams made in a row that gave nothing before the watch says that the store is not to be had: with the pauses between them and their own
/// deadlines some twenty seconds, longer than a cluster takes to elect a leader.
const REMAKES_MAX: u32 = 10;

/// The first pause before a stream is made again; it doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What is watched.
#[derive(Clone, Debug)]
pub(super) enum Range {
    /// All data keys that start with this.
    Data(String),
    /// One key, of where it stands; its changes are given without key and value.
    Key(String),
}

/// A range of a store.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) members: Arc<Members>,
    pub(super) keys: Keys,
    pub(super) range: Range,
}

/// Begins a watch.
pub(super) fn begin(watched: Watched, after: Revision) -> Watch {
    let (out, watch) = Watch::fed_by_a_task();
    let watcher = Watcher {
        watched,
        after,
        ordered_progress: false,
        out,
    };
    tokio::spawn(watcher.run());
    watch
}

struct Watcher {
    watched: Watched,
    /// The last revision given.
    after: Revision,
    /// Whether the stream's member answers how far a watch has come after everything before it. Of others the answer only shows that they
    /// live.
    ordered_progress: bool,
    out: Out,
}

/// Why a stream is over.
enum Ended {
    /// Nobody listens any more.
    Unheard,
    /// The watch cannot go on.
    Over(ReadError),
    /// Another stream may go on.
    Broken(String),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        match failure.class {
            Class::Elsewhere => Self::Over(ReadError::Unavailable {
                cause: failure.cause,
            }),
            Class::Compacted
            | Class::NotExecuted
            | Class::NoSpace
            | Class::TooLarge
            | Class::TooMany
            | Class::AnswerTooLarge
            | Class::NoLease
            | Class::Certificate
            | Class::Unknown => Self::Broken(failure.cause),
        }
    }
}

impl Watcher {
    async fn run(mut self) {
        let (mut in_a_row, mut again) = (0, false);
        loop {
            let before = self.after;
            let ended = self.stream(again).await;
            again = true;
            let cause = match ended {
                Ended::Unheard => return,
                Ended::Over(error) => return self.end(error).await,
                Ended::Broken(cause) => cause,
            };
            in_a_row = if self.after > before { 1 } else { in_a_row + 1 };
            if in_a_row > REMAKES_MAX {
                return self.end(ReadError::Unavailable { cause }).await;
            }
            tracing::debug!(%cause, in_a_row, "a watch of etcd is made anew");
            let pause = PAUSE_FIRST.saturating_mul(1 << (in_a_row - 1).min(10));
            tokio::select! {
                () = self.out.closed() => return,
                () = tokio::time::sleep(pause.min(PAUSE_MAX)) => {}
            }
        }
    }

    async fn end(&self, error: ReadError) {
        // Nobody listens any more where this fails.
        let _ = self.out.send(Err(error)).await;
    }

    /// Opens one stream and gives what it says, until it is over; `again` where it takes the place of another one.
    async fn stream(&mut self, again: bool) -> Ended {
        let member = self.watched.members.current();
        if again && let Err(ended) = self.check_not_behind(member).await {
            return ended;
        }
        let opened = match self.open(member).await {
            Ok(opened) => opened,
            Err(failure) => return failure.into(),
        };
        if matches!(self.watched.range, Range::Data(_)) {
            let asked = versions::has_ordered_progress(&self.watched.members, member).await;
            self.ordered_progress = match asked {
                Ok(ordered) => ordered,
                Err(failure) => return failure.into(),
            };
        }
        let ended = self.follow(opened).await;
        if let Ended::Broken(_) = ended {
            self.watched.members.leave(member);
        }
        ended
    }

    /// Ends the watch of a store that was put back from a copy while there was no stream: its server would wait until the revision is
    /// reached once more, and never tell what happened on the way.
    async fn check_not_behind(&self, member: usize) -> Result<(), Ended> {
        let key = self.watched.keys.identity();
        let ask = |mut client: Client| async move { client.get(key, None).await };
        let members = &self.watched.members;
        let answer = members.call_at(member, READ_DEADLINE, ask).await?;
        match read::revision_of(&answer) < self.after {
            true => Err(Ended::Over(ReadError::Compacted {
                revision: self.after,
            })),
            false => Ok(()),
        }
    }

    async fn open(&self, member: usize) -> Result<WatchStream, Failure> {
        let first = i64::try_from(self.after.0).unwrap_or(i64::MAX - 1) + 1;
        let options = WatchOptions::new()
            .with_start_revision(first)
            .with_fragment();
        let (key, options) = match &self.watched.range {
            Range::Data(prefix) => {
                let prefix = self.watched.keys.data(prefix);
                let end = end_of(&prefix);
                (prefix, options.with_range(end))
            }
            Range::Key(key) => (key.clone(), options),
        };
        let ask =
            |mut client: Client| async move { client.watch(key, Some(options)).await.map(Begun) };
        let begun = self
            .watched
            .members
            .call_at(member, READ_DEADLINE, ask)
            .await?;
        Ok(begun.0)
    }

    async fn follow(&mut self, mut stream: WatchStream) -> Ended {
        let mut assembly = Assembly::default();
        let mut progress = tokio::time::interval(PROGRESS_EVERY);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                () = self.out.closed() => return Ended::Unheard,
                () = tokio::time::sleep_until(heard + SILENCE_MAX) => {
                    return Ended::Broken(format!("a watch was silent for {SILENCE_MAX:?}"));
                }
                _ = progress.tick() => if let Err(error) = stream.request_progress().await {
                    return Failure::of(&error).into();
                },
                said = stream.message() => {
                    let given = match said {
                        Ok(Some(answer)) => self.take(&mut assembly, &answer).await,
                        Ok(None) => Err(Ended::Broken("the server ended a watch".to_owned())),
                        Err(error) => Err(Failure::of(&error).into()),
                    };
                    if let Err(ended) = given {
                        return ended;
                    }
                    heard = Instant::now();
                }
            }
        }
    }

    async fn take(&mut self, assembly: &mut Assembly, answer: &WatchResponse) -> Result<(), Ended> {
        self.watched.members.check_cluster(answer.header())?;
        if answer.compact_revision() != 0 {
            let revision = self.after;
            return Err(Ended::Over(ReadError::Compacted { revision }));
        }
        if answer.canceled() {
            return Err(Ended::Broken(format!(
                "the server ended a watch: {}",
                answer.cancel_reason()
            )));
        }
        let events = answer.events().iter().map(|event| self.read(event));
        let events: Vec<_> = events.collect::<Result<_, _>>().map_err(Ended::Over)?;
        let quiet = events.is_empty() && !answer.created();
        let whole = assembly
            .take(events, answer.0.fragment)
            .map_err(Ended::Over)?;
        for (revision, changes) in whole {
            self.give(Seen::Changed { revision, changes }).await?;
        }
        if quiet && self.ordered_progress && assembly.is_empty() {
            let revision = revision_in(answer.header().map_or(0, |header| header.revision()));
            self.give(Seen::Progress { revision }).await?;
        }
        Ok(())
    }

    fn read(&self, event: &etcd_client::Event) -> Result<assembly::Event1, ReadError> {
        match &self.watched.range {
            Range::Data(_) => assembly::read(&self.watched.keys, event),
            Range::Key(key) => {
                let revision = event.kv().map_or(0, |kv| kv.mod_revision());
                let change = Change {
                    key: key.clone(),
                    value: None,
                };
                Ok((revision_in(revision), change))
            }
        }
    }

    /// Gives what lies after the last thing given; a stream made anew may say the rest again.
    async fn give(&mut self, seen: Seen) -> Result<(), Ended> {
        if seen.revision() <= self.after {
            return Ok(());
        }
        self.after = seen.revision();
        let sent = self.out.send(Ok(seen)).await;
        sent.map_err(|_| Ended::Unheard)
    }
}
