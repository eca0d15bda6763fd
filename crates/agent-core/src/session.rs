//! The node's session with the coordinator: who may speak next, and when.

use types::{Millis, PullNo, Session};

use crate::apart::Trial;
use crate::event::{CallError, Joined};
use crate::limits::call_back_off;
use crate::mutants::{self, Mutant};

/// The link to the coordinator.
#[derive(Debug)]
pub(crate) enum Link {
    /// No session: join from this time on.
    Apart { at: Millis },
    /// A join is unanswered.
    Joining,
    /// In session.
    Joined(Live),
    /// A farewell is unanswered, or to be said again.
    Leaving { session: Session, tries: u8 },
    /// The process is to end.
    Gone,
}

/// A live session.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) session: Session,
    pub(crate) grant_lives: Millis,
    beat_every: Millis,
    /// The number of the last beat.
    pub(crate) beats: u64,
    beat_due: Millis,
    /// What the unanswered beat carried.
    pub(crate) beat: Option<SentBeat>,
    pub(crate) pull: PullNo,
    pub(crate) pull_due: Millis,
    /// When the unanswered pull was sent.
    pub(crate) pulling: Option<Millis>,
    pull_failures: u8,
}

/// An unanswered beat.
#[derive(Clone, Debug)]
pub(crate) struct SentBeat {
    pub(crate) at: Millis,
    /// How many of the releases it told, from the front.
    pub(crate) released: usize,
    /// The highest number of a death that it told.
    pub(crate) deaths: u64,
    /// The suspect that it named to be alone in hand.
    pub(crate) apart: Option<Trial>,
}

impl Live {
    pub(crate) fn new(joined: Joined, now: Millis) -> Self {
        Self {
            session: joined.session,
            grant_lives: joined.grant_lives,
            beat_every: joined.beat_every,
            beats: 0,
            beat_due: now,
            beat: None,
            pull: PullNo(1),
            pull_due: now,
            pulling: None,
            pull_failures: 0,
        }
    }

    /// Numbers rise for as long as the agent lives: between two coordinators, one of which does not know yet that its state
    /// was restored elsewhere, an agent may come back to a session that it had with the other.
    pub(crate) fn numbered_after(self, before: &Self) -> Self {
        Self {
            beats: before.beats,
            pull: before.pull.next(),
            ..self
        }
    }

    /// The same session, joined again: its numbers go on, for the coordinator goes on with them.
    pub(crate) fn resumed(self, now: Millis) -> Self {
        Self {
            beat_due: now,
            beat: None,
            pull_due: now,
            pulling: None,
            pull_failures: 0,
            ..self
        }
    }

    /// The number of the beat to send now, if one is due.
    pub(crate) fn next_beat(&mut self, now: Millis, sent: SentBeat) -> Option<u64> {
        if self.beat.is_some() || now < self.beat_due {
            return None;
        }
        self.beat = Some(sent);
        self.beats += 1;
        self.beat_due = now + self.beat_every;
        Some(self.beats)
    }

    /// Asks for a beat without waiting, so that news or a renewal comes soon.
    pub(crate) fn hurry_beat(&mut self, now: Millis) {
        self.beat_due = self.beat_due.min(now);
    }

    /// When the next beat is due, unless one is unanswered.
    pub(crate) fn beat_deadline(&self) -> Option<Millis> {
        self.beat.is_none().then_some(self.beat_due)
    }

    /// A pull was answered: the next one has the next number.
    pub(crate) fn pulled(&mut self, now: Millis, again_after: Millis) {
        self.pull = self.pull.next();
        self.pull_due = now + again_after;
        self.pull_failures = 0;
    }

    /// A pull was not answered: the same number goes out again.
    pub(crate) fn pull_failed(&mut self, now: Millis) {
        self.pull_failures = self.pull_failures.saturating_add(1);
        self.pull_due = now + call_back_off(self.pull_failures);
    }
}

/// What a refusal says about the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The session stands; try again or give the matter up.
    Same,
    /// The coordinator does not know the session; what is in hand may still count.
    Unknown,
    /// Another life of this node has begun, or the store was restored: what is in hand is void.
    Void,
}

/// Reads a failed call for what it says about the session.
pub(crate) fn standing(error: CallError) -> Standing {
    use types::Code;
    match error {
        CallError::Refused(_) if mutants::on(Mutant::SessionKept) => Standing::Same,
        CallError::Refused(Code::SessionOld | Code::GenerationOld) => Standing::Void,
        CallError::Refused(Code::NodeUnknown) => Standing::Unknown,
        CallError::Refused(_) | CallError::Unanswered => Standing::Same,
    }
}
