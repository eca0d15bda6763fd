//! The one task that owns the scheduler's core. It feeds the core with calls, results of effects and time, in bounded
//! batches, and carries out what the core asks. Handlers talk to it through a [`Handle`]; nobody else touches the core.
//!
//! It never decides: which write, which answer and when are the core's. It never repeats an effect either.

use std::collections::BTreeMap;
use std::time::Duration;

use runtime::shutdown::Shutdown;
use scheduler::{Action, Actions, Answer, CallId, Caller, Config, Core, Event, Request, StepDown};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use types::{Code, Epoch, Generation, Millis, Problem};

use crate::effects::{Effect, Effects};
use crate::journal::{Journal, Written};
use crate::{audit, clock, gauges};

/// Messages that wait for the driver. Beyond it callers wait at the channel, and the server's limits hold them.
const INBOX_MAX: usize = 1024;

/// Events handled before their actions are carried out: large enough to share one synced write, small enough that no
/// call waits behind more than a few milliseconds of work.
const BATCH_MAX: usize = 256;

/// Time between two renewals of leadership: the leadership time is 5 s, so two may fail.
const KEEP_EVERY: Duration = Duration::from_millis(1_500);

/// A question about the core's state, answered between two batches.
type Look = Box<dyn FnOnce(&Core, Millis) + Send>;

enum Message {
    Call {
        caller: Caller,
        request: Box<Request>,
        answer: oneshot::Sender<Result<Answer, Problem>>,
    },
    Look(Look),
    /// The journal so far; none where none is written.
    Journal(oneshot::Sender<Option<Written>>),
}

/// What handlers hold of the driver.
#[derive(Clone)]
pub(crate) struct Handle {
    inbox: mpsc::Sender<Message>,
    changes: watch::Receiver<u64>,
    ready: watch::Receiver<bool>,
}

/// Why the driver ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The end was asked for and all that was under way is settled.
    Drained,
    /// The core stepped down.
    SteppedDown(StepDown),
    /// An effect's task was lost, so the core would wait for its result for ever.
    EffectLost(String),
}

/// The task's state.
pub(crate) struct Driver {
    core: Core,
    journal: Option<Journal>,
    epoch: Epoch,
    effects: Effects,
    running: JoinSet<Effect>,
    inbox: mpsc::Receiver<Message>,
    calls: BTreeMap<CallId, oneshot::Sender<Result<Answer, Problem>>>,
    last_call: u64,
    begun: Instant,
    changes: watch::Sender<u64>,
    ready: watch::Sender<bool>,
    keeping: bool,
}

impl Handle {
    /// Makes a call and waits for its answer.
    ///
    /// # Errors
    /// What the core refuses, or `NOT_LEADER` where the driver has ended.
    pub(crate) async fn call(&self, caller: Caller, request: Request) -> Result<Answer, Problem> {
        let (answer, answered) = oneshot::channel();
        let message = Message::Call {
            caller,
            request: Box::new(request),
            answer,
        };
        self.inbox.send(message).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }

    /// Reads the core's state, as of all that was handled before.
    ///
    /// # Errors
    /// `NOT_LEADER` where the core does not lead or the driver has ended.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Core, Millis) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let (answer, answered) = oneshot::channel();
        let look = move |core: &Core, now| {
            // The asker may be gone; then nobody wants to know.
            let _ = answer.send(core.leads().map(|_| question(core, now)));
        };
        self.inbox
            .send(Message::Look(Box::new(look)))
            .await
            .map_err(|_| ended())?;
        answered.await.ok().flatten().ok_or_else(ended)
    }

    /// The journal of this reign so far, with what the core knows as its last line; none where none is written.
    ///
    /// # Errors
    /// `NOT_LEADER` where the driver has ended.
    pub(crate) async fn journal(&self) -> Result<Option<Written>, Problem> {
        let (answer, answered) = oneshot::channel();
        let message = Message::Journal(answer);
        self.inbox.send(message).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())
    }

    /// A number that rises whenever records may have changed, for watchers.
    #[must_use]
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Waits until the core has read the stored state.
    ///
    /// # Errors
    /// `NOT_LEADER` where the driver ended first.
    pub(crate) async fn ready(&self) -> Result<(), Problem> {
        let mut ready = self.ready.clone();
        ready
            .wait_for(|ready| *ready)
            .await
            .map(|_| ())
            .map_err(|_| ended())
    }
}

fn ended() -> Problem {
    Problem::new(
        Code::NotLeader,
        "ask the coordinator while it does not lead",
    )
}

impl Driver {
    /// A driver whose core begins its reign with the first turn of [`Driver::run`].
    #[must_use]
    pub(crate) fn new(
        epoch: Epoch,
        policy: Config,
        effects: Effects,
        journal: Option<Journal>,
    ) -> (Self, Handle) {
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        let (changes, ready) = (watch::Sender::new(0), watch::Sender::new(false));
        let handle = Handle {
            inbox: sender,
            changes: changes.subscribe(),
            ready: ready.subscribe(),
        };
        let driver = Self {
            core: Core::with_config(policy),
            journal,
            epoch,
            effects,
            running: JoinSet::new(),
            inbox,
            calls: BTreeMap::new(),
            last_call: 0,
            begun: Instant::now(),
            changes,
            ready,
            keeping: false,
        };
        (driver, handle)
    }

    /// Runs until `closing` is asked for, or the reign ends. Effects under way are settled before it returns.
    pub(crate) async fn run(mut self, generation: Generation, closing: Shutdown) -> End {
        let mut keep = tokio::time::interval(KEEP_EVERY);
        keep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let led = Event::Led {
            epoch: self.epoch,
            generation,
        };
        if let Err(end) = self.turn(vec![led]) {
            return end;
        }
        let mut messages = Vec::with_capacity(BATCH_MAX);
        loop {
            let wake = self.wake();
            let events = tokio::select! {
                () = closing.asked() => return self.settle().await,
                received = self.inbox.recv_many(&mut messages, BATCH_MAX) => match received {
                    0 => return self.settle().await,
                    _ => self.take_messages(&mut messages),
                },
                Some(effect) = self.running.join_next() => match self.take_effects(effect) {
                    Ok(events) => events,
                    Err(end) => return end,
                },
                () = tokio::time::sleep_until(wake) => vec![Event::Tick],
                _ = keep.tick() => {
                    self.keep();
                    gauges::set(&self.core, self.now());
                    continue;
                }
            };
            if let Err(end) = self.turn(events) {
                return end;
            }
        }
    }

    /// When the core wants to be asked again; far away where it only waits for others.
    fn wake(&self) -> Instant {
        const FAR: Duration = Duration::from_secs(3600);
        let deadline = self
            .core
            .next_deadline()
            .map(|at| self.begun + Duration::from_millis(at.0));
        deadline.unwrap_or_else(|| Instant::now() + FAR)
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn take_messages(&mut self, messages: &mut Vec<Message>) -> Vec<Event> {
        let mut events = Vec::with_capacity(messages.len());
        for message in messages.drain(..) {
            match message {
                Message::Call {
                    caller,
                    request,
                    answer,
                } => {
                    self.last_call += 1;
                    let call = CallId(self.last_call);
                    self.calls.insert(call, answer);
                    events.push(Event::Call {
                        call,
                        caller,
                        at: clock::wall(),
                        request,
                    });
                }
                Message::Look(look) => look(&self.core, self.now()),
                Message::Journal(answer) => {
                    let journal = self.journal.as_mut();
                    // The asker may be gone; then nobody wants it.
                    let _ = answer.send(journal.map(|journal| journal.so_far(&self.core)));
                }
            }
        }
        events
    }

    /// The effect that came back and all others that are back too, within the batch's bound.
    fn take_effects(
        &mut self,
        first: Result<Effect, tokio::task::JoinError>,
    ) -> Result<Vec<Event>, End> {
        let mut events = Vec::new();
        let mut next = Some(first);
        while let Some(joined) = next {
            match joined.map_err(|error| End::EffectLost(error.to_string()))? {
                Effect::Event(event) => events.push(*event),
                Effect::Kept(kept) => {
                    self.keeping = false;
                    events.extend((!kept).then_some(Event::Lost));
                }
            }
            next = if events.len() < BATCH_MAX {
                self.running.try_join_next()
            } else {
                None
            };
        }
        Ok(events)
    }

    fn keep(&mut self) {
        if !self.keeping {
            self.keeping = true;
            self.running.spawn(self.effects.keep(self.epoch));
        }
    }

    /// Handles a batch of events and carries out what comes of it.
    fn turn(&mut self, events: Vec<Event>) -> Result<(), End> {
        metrics::histogram!("scan_core_batch_events").record(events.len() as f64);
        let changed = events.iter().any(changes_records);
        let (now, mut actions) = (self.now(), Actions::new());
        for event in events {
            self.handle(now, event, &mut actions);
        }
        if let Some(journal) = &mut self.journal {
            journal.flush();
        }
        for action in actions {
            self.carry_out(action)?;
        }
        if changed {
            self.changes.send_modify(|version| *version += 1);
        }
        metrics::gauge!("scan_calls_waiting").set(self.calls.len() as f64);
        Ok(())
    }

    /// Tells the core of an event; the journal of it too, where one is written.
    fn handle(&mut self, now: Millis, event: Event, actions: &mut Actions) {
        let noted = self.journal.is_some().then(|| Journal::note(now, &event));
        let before = actions.len();
        self.core.handle(now, event, actions);
        if let (Some(journal), Some(noted)) = (&mut self.journal, noted) {
            journal.did(noted, &actions[before..]);
        }
    }

    fn carry_out(&mut self, action: Action) -> Result<(), End> {
        match action {
            Action::Answer { call, answer } => {
                // The caller may have gone away; what was stored stands all the same.
                let _ = self.calls.remove(&call).map(|caller| caller.send(answer));
            }
            Action::Audit { by, change } => audit::change(by.as_ref(), &change),
            Action::Ready { epoch } => {
                tracing::info!(%epoch, "state is read, calls are answered");
                self.ready.send_replace(true);
            }
            Action::StepDown { reason, .. } => return Err(End::SteppedDown(reason)),
            Action::Read { id, reading } => {
                self.running.spawn(self.effects.read(id, reading));
            }
            Action::Write { id, txn } => {
                self.running.spawn(self.effects.write(id, txn));
            }
            Action::MarkCancelled {
                job,
                by,
                at,
                reason,
            } => {
                self.running
                    .spawn(self.effects.mark_cancelled(job, by, at, reason));
            }
            Action::MarkRevoked { revocation, record } => {
                self.running
                    .spawn(self.effects.mark_revoked(revocation, *record));
            }
            Action::WriteManifest { plan } => {
                self.running.spawn(self.effects.write_manifest(plan));
            }
        }
        Ok(())
    }

    /// Nobody asks any more: what is under way is settled, so that no answered write is left behind, and the
    /// leadership is given up.
    async fn settle(mut self) -> End {
        while let Some(effect) = self.running.join_next().await {
            let turn = self
                .take_effects(effect)
                .and_then(|events| self.turn(events));
            if let Err(end) = turn {
                return end;
            }
        }
        if let Some(journal) = &mut self.journal {
            journal.knows(&self.core);
        }
        self.effects.resign(self.epoch).await;
        End::Drained
    }
}

/// Whether watchers may see something new after this event.
fn changes_records(event: &Event) -> bool {
    match event {
        Event::Written { .. }
        | Event::ManifestWritten { .. }
        | Event::CancelMarked { .. }
        | Event::RevocationMarked { .. }
        | Event::Read { .. } => true,
        Event::Led { .. } | Event::Lost | Event::Call { .. } | Event::Tick => false,
    }
}
