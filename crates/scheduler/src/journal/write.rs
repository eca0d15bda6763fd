//! Writing a journal: lines to append to a file, in the order in which things happened. The writer holds the last sum and
//! nothing else; where its lines go is its owner's business.

use super::{Body, FIRST_SUM, VERSION, done, state, sum};
use crate::{Action, Config, Core, Event};
use alloc::format;
use alloc::string::{String, ToString};
use types::Millis;

/// Gives the lines of one journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    sum: String,
}

/// An event that is about to be handled, noted before the core takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    at: Millis,
    event: Event,
}

impl Noted {
    /// Notes an event and the time that the core is told.
    #[must_use]
    pub fn new(at: Millis, event: &Event) -> Self {
        Self {
            at,
            event: event.clone(),
        }
    }
}

impl Writer {
    /// A journal's writer. Its first line is that of [`Writer::begin`].
    #[must_use]
    pub fn new() -> Self {
        Self {
            sum: FIRST_SUM.to_string(),
        }
    }

    /// The line with which a new core begins, after this policy.
    pub fn begin(&mut self, config: &Config) -> String {
        self.line(&Body::Begin {
            version: VERSION,
            config: config.clone(),
        })
    }

    /// The line of an event that was handled, with what the core appended for it.
    pub fn event(&mut self, noted: Noted, actions: &[Action]) -> String {
        self.line(&Body::Event {
            at: noted.at,
            event: noted.event,
            does: done(actions),
        })
    }

    /// A line with what the core knows now: written at the end, and now and then before.
    pub fn state(&mut self, core: &Core) -> String {
        let (records, digest) = state(core);
        self.line(&Body::State { records, digest })
    }

    fn line(&mut self, body: &Body) -> String {
        let body = serde_json::to_string(body).expect("a journal's line has text keys only");
        self.sum = sum(&self.sum, &body);
        format!(
            "{{\"sum\":\"{}\",\"len\":{},\"body\":{body}}}\n",
            self.sum,
            body.len()
        )
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}
