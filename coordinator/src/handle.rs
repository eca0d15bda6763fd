//! How handlers reach whoever owns the core: a channel of messages, answered in order. The other end is a [`Desk`], which the driver of
//! a reign holds, or a follower with its mirror; handlers cannot tell which.

use scheduler::{Answer, Caller, Core, Request};
use tokio::sync::{mpsc, oneshot, watch};
use types::{Code, Millis, Problem};

use crate::journal::Written;

/// Messages that wait. Beyond it callers wait at the channel, and the server's limits hold them.
pub(crate) const INBOX_MAX: usize = 1024;

/// A question about the core's state, answered between two batches.
type Look = Box<dyn FnOnce(&Core, Millis) + Send>;

/// What handlers want.
pub(crate) enum Message {
    /// To make a call.
    Call {
        caller: Caller,
        request: Box<Request>,
        answer: oneshot::Sender<Result<Answer, Problem>>,
    },
    /// To look.
    Look(Look),
    /// To be told when everything is shown that was stored before this message, or why that is not known.
    CatchUp(oneshot::Sender<Result<(), Problem>>),
    /// The journal so far; none where none is written.
    Journal(oneshot::Sender<Option<Written>>),
}

/// What handlers hold.
#[derive(Clone)]
pub(crate) struct Handle {
    inbox: mpsc::Sender<Message>,
    changes: watch::Receiver<u64>,
    ready: watch::Receiver<bool>,
}

/// The other end.
pub(crate) struct Desk {
    pub(crate) inbox: mpsc::Receiver<Message>,
    changes: watch::Sender<u64>,
    ready: watch::Sender<bool>,
}

impl Desk {
    /// Both ends.
    pub(crate) fn new() -> (Self, Handle) {
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        let (changes, ready) = (watch::Sender::new(0), watch::Sender::new(false));
        let handle = Handle {
            inbox: sender,
            changes: changes.subscribe(),
            ready: ready.subscribe(),
        };
        let desk = Self {
            inbox,
            changes,
            ready,
        };
        (desk, handle)
    }

    /// Records may have changed: watchers look again.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|version| *version += 1);
    }

    /// The stored state is read.
    pub(crate) fn ready(&self) {
        self.ready.send_replace(true);
    }
}

impl Handle {
    /// Makes a call and waits for its answer.
    ///
    /// # Errors
    /// What the core refuses, or `NOT_LEADER` where nobody leads here.
    pub(crate) async fn call(&self, caller: Caller, request: Request) -> Result<Answer, Problem> {
        let (answer, answered) = oneshot::channel();
        let message = Message::Call {
            caller,
            request: Box::new(request),
            answer,
        };
        self.send(message).await?;
        answered.await.map_err(|_| ended())?
    }

    /// Reads the core's state, as of all that was handled before.
    ///
    /// # Errors
    /// `NOT_LEADER` where the stored state is not read, or this end has gone.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Core, Millis) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let (answer, answered) = oneshot::channel();
        let look = move |core: &Core, now| {
            // The asker may be gone; then nobody wants to know.
            let _ = answer.send(core.shows().map(|_| question(core, now)));
        };
        self.send(Message::Look(Box::new(look))).await?;
        answered.await.ok().flatten().ok_or_else(ended)
    }

    /// Waits until everything is shown that was stored before this was asked.
    ///
    /// # Errors
    /// The problem of a store that does not say how far it has come; `NOT_LEADER` where this end has gone.
    pub(crate) async fn catch_up(&self) -> Result<(), Problem> {
        let (answer, answered) = oneshot::channel();
        self.send(Message::CatchUp(answer)).await?;
        answered.await.map_err(|_| ended())?
    }

    /// The journal of this reign so far, with what the core knows as its last line; none where none is written.
    ///
    /// # Errors
    /// `NOT_LEADER` where nobody leads here.
    pub(crate) async fn journal(&self) -> Result<Option<Written>, Problem> {
        let (answer, answered) = oneshot::channel();
        self.send(Message::Journal(answer)).await?;
        answered.await.map_err(|_| ended())
    }

    /// A number that rises whenever records may have changed, for watchers.
    #[must_use]
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Waits until the stored state is read.
    ///
    /// # Errors
    /// `NOT_LEADER` where the other end went first.
    pub(crate) async fn ready(&self) -> Result<(), Problem> {
        let mut ready = self.ready.clone();
        ready
            .wait_for(|ready| *ready)
            .await
            .map(|_| ())
            .map_err(|_| ended())
    }

    async fn send(&self, message: Message) -> Result<(), Problem> {
        self.inbox.send(message).await.map_err(|_| ended())
    }
}

fn ended() -> Problem {
    Problem::new(
        Code::NotLeader,
        "ask the coordinator while it does not lead",
    )
}
