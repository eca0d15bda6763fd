//! Calls that wait until a mirror shows what was stored before they came. The store is asked how far it has come, once for all that came since
//! the last question, and each goes on when the mirror has come as far.
//!
//! Called by the follower alone. A call that goes away is forgotten; how long one waits is its own business.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use scheduler::Revision;
use store::{ReadError, Status, Store};
use tokio::sync::oneshot;
use types::Problem;

use crate::bridge;
use crate::handle::INBOX_MAX;
use crate::shelf::read_problem;

/// Calls that wait at once; a further one is told to go elsewhere. As many as wait at the channel.
const WAITING_MAX: usize = INBOX_MAX;

/// Whoever waits.
type Waiter = oneshot::Sender<Result<(), Problem>>;

/// The calls that wait.
pub(super) struct CatchUps {
    store: Arc<dyn Store>,
    /// The question under way, and those whom it is asked for.
    question: Option<BoxFuture<'static, Result<Status, ReadError>>>,
    asked: Vec<Waiter>,
    /// Those who came after it was asked.
    unasked: Vec<Waiter>,
    /// Those who wait for a revision, in the order in which these rise.
    waiting: VecDeque<(Revision, Waiter)>,
}

impl CatchUps {
    pub(super) const fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            question: None,
            asked: Vec::new(),
            unasked: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Somebody waits.
    pub(super) fn ask(&mut self, waiter: Waiter) {
        if self.len() >= WAITING_MAX {
            self.forget();
        }
        if self.len() < WAITING_MAX {
            self.unasked.push(waiter);
        }
        self.question();
    }

    fn len(&self) -> usize {
        self.asked.len() + self.unasked.len() + self.waiting.len()
    }

    /// Forgets those who went away.
    fn forget(&mut self) {
        self.asked.retain(|waiter| !waiter.is_closed());
        self.unasked.retain(|waiter| !waiter.is_closed());
        self.waiting.retain(|(_, waiter)| !waiter.is_closed());
    }

    fn question(&mut self) {
        if self.question.is_none() && !self.unasked.is_empty() {
            self.asked = std::mem::take(&mut self.unasked);
            let store = self.store.clone();
            self.question = Some(async move { store.status().await }.boxed());
        }
    }

    /// Waits for the store's answer, for ever where nothing was asked.
    pub(super) async fn answered(&mut self) {
        let Some(question) = &mut self.question else {
            return std::future::pending().await;
        };
        let answer = question.await;
        self.question = None;
        let asked = std::mem::take(&mut self.asked);
        match answer {
            Ok(status) => {
                let revision = bridge::revision_in(status.revision);
                let waiting = asked.into_iter().map(|waiter| (revision, waiter));
                self.waiting.extend(waiting);
            }
            Err(error) => refuse(asked, &read_problem("how far the store has come", &error)),
        }
        self.question();
    }

    /// Lets those go on who waited for what is shown.
    pub(super) fn settle(&mut self, shown: Option<Revision>) {
        let due = self.waiting.partition_point(|(at, _)| Some(*at) <= shown);
        for (_, waiter) in self.waiting.drain(..due) {
            // It may have gone away; then nobody wants to know.
            let _ = waiter.send(Ok(()));
        }
    }
}

/// Tells those who wait why they are not answered here.
fn refuse(waiting: Vec<Waiter>, problem: &Problem) {
    tracing::debug!(%problem, "the store does not say how far it has come");
    for waiter in waiting {
        let _ = waiter.send(Err(problem.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::{Modelled, Txn};

    async fn put(store: &Modelled) {
        let _ = store.write(Txn::default().put("k", b"v".to_vec())).await;
    }

    fn wait(calls: &mut CatchUps) -> oneshot::Receiver<Result<(), Problem>> {
        let (waiter, told) = oneshot::channel();
        calls.ask(waiter);
        told
    }

    #[tokio::test]
    async fn a_call_goes_on_when_all_that_was_stored_before_it_is_shown() {
        let store = Arc::new(Modelled::new(1));
        put(&store).await;
        let mut calls = CatchUps::new(store.clone());
        let mut told = wait(&mut calls);
        calls.answered().await;
        let stood = store.status().await.unwrap().revision.0;
        calls.settle(Some(Revision(stood - 1)));
        assert!(told.try_recv().is_err(), "one is missing");
        calls.settle(Some(Revision(stood)));
        assert_eq!(told.try_recv(), Ok(Ok(())));
    }

    #[tokio::test]
    async fn a_call_that_comes_while_the_store_is_asked_needs_a_question_of_its_own() {
        let store = Arc::new(Modelled::new(1));
        let mut calls = CatchUps::new(store.clone());
        let (mut first, mut second) = (wait(&mut calls), wait(&mut calls));
        calls.answered().await;
        put(&store).await;
        let early = store.status().await.unwrap().revision.0 - 1;
        calls.settle(Some(Revision(early)));
        assert_eq!(first.try_recv(), Ok(Ok(())));
        calls.answered().await;
        calls.settle(Some(Revision(early)));
        assert!(second.try_recv().is_err());
        calls.settle(Some(Revision(early + 1)));
        assert_eq!(second.try_recv(), Ok(Ok(())));
    }

    #[tokio::test]
    async fn nothing_shown_lets_nobody_go_on() {
        let mut calls = CatchUps::new(Arc::new(Modelled::new(1)));
        let mut told = wait(&mut calls);
        calls.answered().await;
        calls.settle(None);
        assert!(told.try_recv().is_err());
    }
}
