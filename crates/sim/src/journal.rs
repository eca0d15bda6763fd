//! Journals: what happened to each core of a run, written as a coordinator writes it, and a journal's repetition from text.

use scheduler::journal::{JournalError, Noted, Replay, Replayed, Writer};
use scheduler::{Action, Config, Core};

/// Events between two lines that say what a core knows.
const STATE_EVERY: u32 = 100;

/// A journal being written.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    writer: Writer,
    text: String,
    events: u32,
}

impl Journal {
    pub(crate) fn begin(&mut self, policy: &Config) {
        self.text += &self.writer.begin(policy);
    }

    pub(crate) fn event(&mut self, noted: Noted, actions: &[Action], core: &Core) {
        self.text += &self.writer.event(noted, actions);
        self.events += 1;
        if self.events.is_multiple_of(STATE_EVERY) {
            self.text += &self.writer.state(core);
        }
    }

    pub(crate) fn end(mut self, core: &Core) -> String {
        self.text += &self.writer.state(core);
        self.text
    }
}

/// Repeats a journal through a core of its own.
///
/// # Errors
/// Names the line that is damaged, or at which the core does or knows something else.
pub fn replay_journal(text: &str) -> Result<Replayed, JournalError> {
    let mut replay = Replay::new();
    for line in text.lines() {
        replay.line(line)?;
    }
    Ok(replay.end())
}
