//! A coordinator that does not lead: it keeps a mirror of the records, and shows it to handlers. One task owns the mirror, reads pages
//! and takes the store's changes as they come; it never writes, and whoever asks for a write is told that nobody leads here.
//!
//! What it shows is as new as the question: a call waits until the mirror has come to the revision at which the store stood after
//! the call came (see [`CatchUps`]), so that nobody who wrote through the leader reads an older state here.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use scheduler::{Config, Mirror, ReadOutcome, Reading, StepDown, StoredChange, Want};
use store::{ReadError, Seen, Store, Watch};
use tokio::sync::watch;
use tokio::time::Instant;
use types::{Generation, Millis};

use crate::bridge;
use crate::driver::BATCH_MAX;
use crate::handle::{Desk, Handle, Message};

mod catch_up;

use catch_up::CatchUps;

/// What records of the shelf stand under; see `shelf`.
const SHELF: &str = "/shelf/";

/// The task's state.
pub(crate) struct Follower {
    store: Arc<dyn Store>,
    mirror: Mirror,
    desk: Desk,
    asked: CatchUps,
    /// Rises with each change of what the shelf holds.
    shelf: watch::Sender<u64>,
    begun: Instant,
}

/// What the task was told.
enum Told {
    Page(ReadOutcome),
    Waited,
    Watching(Result<Watch, ReadError>),
    Seen(Watch, Result<Seen, ReadError>),
}

impl Follower {
    /// A follower of a generation, with what handlers hold of it, and what tells of changes of the shelf.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        generation: Generation,
        policy: Config,
    ) -> (Self, Handle, watch::Receiver<u64>) {
        let (desk, handle) = Desk::new();
        let (shelf, shelved) = watch::channel(0);
        let follower = Self {
            asked: CatchUps::new(store.clone()),
            store,
            mirror: Mirror::new(generation, policy),
            desk,
            shelf,
            begun: Instant::now(),
        };
        (follower, handle, shelved)
    }

    /// Follows until every handle is gone.
    ///
    /// # Errors
    /// [`StepDown::Unreadable`] names a record that this version cannot read.
    pub(crate) async fn run(mut self) -> Result<(), StepDown> {
        let mut messages = Vec::with_capacity(BATCH_MAX);
        let mut next = self.next(None);
        loop {
            tokio::select! {
                received = self.desk.inbox.recv_many(&mut messages, BATCH_MAX) => match received {
                    0 => return Ok(()),
                    _ => messages.drain(..).for_each(|message| self.take_message(message)),
                },
                told = &mut next => {
                    let watch = self.take(told)?;
                    next = self.next(watch);
                }
                () = self.asked.answered() => {}
            }
            self.asked.settle(self.mirror.core().shows());
        }
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn take_message(&mut self, message: Message) {
        match message {
            Message::Look(look) => look(self.mirror.core(), self.now()),
            Message::CatchUp(answer) => self.asked.ask(answer),
            // Whoever asked hears that nobody leads here.
            Message::Call { .. } | Message::Journal(_) => {}
        }
    }

    /// What is to be waited for next.
    fn next(&self, watch: Option<Watch>) -> BoxFuture<'static, Told> {
        let store = self.store.clone();
        match (self.mirror.wants(), watch) {
            (Want::Page(reading), _) => {
                async move { Told::Page(page(store, reading).await) }.boxed()
            }
            (Want::Wait(wait), _) => async move {
                tokio::time::sleep(Duration::from_millis(wait.0)).await;
                Told::Waited
            }
            .boxed(),
            (Want::Changes { .. }, Some(mut watch)) => async move {
                let seen = watch.next().await;
                Told::Seen(watch, seen)
            }
            .boxed(),
            // All keys: a change of others moves the store's revision too, and that is waited for.
            (Want::Changes { after, .. }, None) => {
                async move { Told::Watching(store.watch("", bridge::revision_out(after)).await) }
                    .boxed()
            }
        }
    }

    /// Takes what came; gives the watch back where it goes on.
    fn take(&mut self, told: Told) -> Result<Option<Watch>, StepDown> {
        match told {
            Told::Page(outcome) => {
                self.mirror.page(self.now(), outcome)?;
                if self.mirror.core().shows().is_some() {
                    // What the shelf held before is not known to have been seen.
                    self.shelved();
                    self.desk.ready();
                    self.desk.changed();
                }
                Ok(None)
            }
            Told::Waited => {
                self.mirror.waited();
                Ok(None)
            }
            Told::Watching(Ok(watch)) => Ok(Some(watch)),
            Told::Seen(watch, Ok(seen)) => self.see(seen).map(|()| Some(watch)),
            Told::Watching(Err(error)) | Told::Seen(_, Err(error)) => {
                self.watch_ended(&error);
                Ok(None)
            }
        }
    }

    fn see(&mut self, seen: Seen) -> Result<(), StepDown> {
        let revision = bridge::revision_in(seen.revision());
        let Seen::Changed { changes, .. } = seen else {
            self.mirror.progressed(revision);
            return Ok(());
        };
        if changes.iter().any(|change| change.key.starts_with(SHELF)) {
            self.shelved();
        }
        let Want::Changes { prefix, .. } = self.mirror.wants() else {
            return Ok(());
        };
        let own = changes
            .into_iter()
            .filter(|change| change.key.starts_with(&prefix));
        let own = own.map(|change| StoredChange {
            key: change.key,
            value: change.value,
        });
        self.mirror.changed(self.now(), revision, own.collect())?;
        self.desk.changed();
        Ok(())
    }

    fn shelved(&self) {
        self.shelf.send_modify(|version| *version += 1);
    }

    fn watch_ended(&mut self, error: &ReadError) {
        metrics::counter!("scan_watches_ended_total").increment(1);
        match error {
            ReadError::Unavailable { cause } => {
                tracing::warn!(
                    cause,
                    "the store's changes could not be followed; tried again"
                );
                self.mirror.rest();
            }
            ReadError::Compacted { .. } | ReadError::Damaged { .. } | ReadError::Invalid(_) => {
                tracing::info!(%error, "the store's changes are no longer kept; all records are read anew");
                self.mirror.begin_again();
            }
        }
    }
}

async fn page(store: Arc<dyn Store>, reading: Reading) -> ReadOutcome {
    match reading {
        Reading::Prefix {
            prefix,
            after,
            at,
            limit,
        } => {
            let at = at.map(bridge::revision_out);
            let range = store::KeyRange {
                prefix,
                after,
                limit,
                at,
            };
            bridge::page(store.range(&range).await)
        }
        // A mirror reads pages alone; one that asked for keys would be read anew.
        Reading::Keys(_) => ReadOutcome::Compacted,
    }
}
