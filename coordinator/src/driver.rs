//! The one task that owns the core of a reign. It feeds the core with calls, results of effects and time, in bounded
//! batches, and carries out what the core asks. Handlers talk to it through a `Handle`; nobody else touches the core.
//!
//! It never decides: which write, which answer and when are the core's. It never repeats an effect either. After a pause longer than
//! the leadership lives (a stopped process, a hung store) it takes no message before a renewal has shown that it still leads.

use std::collections::BTreeMap;
use std::time::Duration;

use runtime::shutdown::Shutdown;
use scheduler::{Action, Actions, Answer, CallId, Config, Core, Event, StepDown};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use types::{Epoch, Generation, Millis, Problem};

use crate::effects::{Effect, Effects, Kept};
use crate::handle::{Desk, Handle, Message};
use crate::journal::Journal;
use crate::{audit, clock, gauges};

/// Events handled before their actions are carried out: large enough to share one synced write, small enough that no
/// call waits behind more than a few milliseconds of work.
pub(crate) const BATCH_MAX: usize = 256;

/// Time between two renewals of leadership: the leadership time is 5 s, so two may fail.
const KEEP_EVERY: Duration = Duration::from_millis(1_500);

/// Renewals while what is under way at the end is settled: some nine seconds with the last one, so that the leadership is given up within a drain of
/// the default ten. A leadership is not
/// kept for longer from those who may lead instead; what takes longer, be it for a storage that does not answer, is the next leader's to find or
/// to do again. It is given up then, so that nobody waits for it to run out: a late write of an epoch that was given up is refused.
const SETTLING_RENEWALS_MAX: u32 = 5;

/// How long after the begin of a renewal that succeeded this process takes itself for the leader without asking: the leadership time less
/// a tenth, for clocks that run apart.
const SURE_FOR: Duration = Duration::from_millis(4_500);

/// Why the driver ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The end was asked for, and what was under way is settled as far as that could be waited for.
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
    desk: Desk,
    calls: BTreeMap<CallId, oneshot::Sender<Result<Answer, Problem>>>,
    last_call: u64,
    begun: Instant,
    keeping: bool,
    /// When the last renewal that succeeded was begun.
    kept: Instant,
    /// How the last renewal ended: the store could not be asked.
    in_doubt: bool,
}

impl Driver {
    /// A driver whose core begins its reign with the first turn of [`Driver::run`]. `led` is when the leadership was asked for.
    #[must_use]
    pub(crate) fn new(
        (epoch, led): (Epoch, Instant),
        policy: Config,
        effects: Effects,
        journal: Option<Journal>,
    ) -> (Self, Handle) {
        let (desk, handle) = Desk::new();
        let driver = Self {
            core: Core::with_config(policy),
            journal,
            epoch,
            effects,
            running: JoinSet::new(),
            desk,
            calls: BTreeMap::new(),
            last_call: 0,
            begun: Instant::now(),
            keeping: false,
            kept: led,
            in_doubt: false,
        };
        (driver, handle)
    }

    /// Runs until `closing` is asked for, or the reign ends. Effects under way are settled before it returns, as far as they end soon.
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
                () = closing.asked() => return self.settle(keep).await,
                received = self.desk.inbox.recv_many(&mut messages, BATCH_MAX), if messages.is_empty() => match received {
                    0 => return self.settle(keep).await,
                    _ => self.take_messages(&mut messages),
                },
                Some(effect) = self.running.join_next() => match self.take_effects(effect) {
                    Ok(events) => self.and_held_back(events, &mut messages),
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

    fn is_sure(&self) -> bool {
        self.kept.elapsed() < SURE_FOR
    }

    /// Messages that were held back follow what came of the renewal: they are taken where it succeeded, and else told that nobody leads
    /// here.
    fn and_held_back(&mut self, mut events: Vec<Event>, messages: &mut Vec<Message>) -> Vec<Event> {
        if messages.is_empty() || self.keeping {
            return events;
        }
        match self.in_doubt && !self.is_sure() {
            true => messages.clear(),
            false => events.extend(self.take_messages(messages)),
        }
        events
    }

    /// Takes messages, or holds them back until a renewal has shown that this process still leads.
    fn take_messages(&mut self, messages: &mut Vec<Message>) -> Vec<Event> {
        if !self.is_sure() {
            self.keep();
            return Vec::new();
        }
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
                // A leader shows whatever was stored before it is asked.
                Message::CatchUp(answer) => _ = answer.send(Ok(())),
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
                    self.in_doubt = matches!(kept, Kept::Unknown);
                    match kept {
                        Kept::Since(begun) => self.kept = begun,
                        Kept::Unknown => {}
                        Kept::Lost => events.push(Event::Lost),
                    }
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
            self.desk.changed();
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
                self.desk.ready();
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
    /// leadership, which is kept for so long, is given up. What ends no sooner is left.
    async fn settle(mut self, mut keep: Interval) -> End {
        let mut renewals = 0;
        loop {
            let effect = tokio::select! {
                biased;
                effect = self.running.join_next() => effect,
                _ = keep.tick() => {
                    if renewals < SETTLING_RENEWALS_MAX {
                        renewals += 1;
                        self.keep();
                        continue;
                    }
                    None
                }
            };
            let Some(effect) = effect else {
                break;
            };
            let turn = self
                .take_effects(effect)
                .and_then(|events| self.turn(events));
            if let Err(end) = turn {
                return end;
            }
        }
        if !self.running.is_empty() {
            let left = self.running.len();
            tracing::warn!(left, "what is still under way is left to the next leader");
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use storage::Storage;
    use store::{Modelled, Store};

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_is_told_to_end_leaves_what_nobody_answers_to_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Arc::new(Storage::open_folder(folder.path()).unwrap());
        let store: Arc<dyn Store> = Arc::new(Modelled::new(7));
        let epoch = store.lead("a").await.unwrap();
        let effects = Effects::new(store.clone(), storage, Generation(1));
        let led = (epoch, Instant::now());
        let (mut driver, _handle) = Driver::new(led, Config::default(), effects, None);
        driver.running.spawn(std::future::pending());
        let mut keep = tokio::time::interval(KEEP_EVERY);
        keep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let begun = Instant::now();
        assert!(matches!(driver.settle(keep).await, End::Drained));
        assert!(begun.elapsed() < (SETTLING_RENEWALS_MAX + 2) * KEEP_EVERY);
        assert!(store.lead("b").await.is_ok(), "the leadership is free");
    }
}
