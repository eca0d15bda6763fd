//! Repeating a journal: each line is checked, its event handed to a core that began as the journal's did, and what that core
//! does is held against what was done.

use super::{Body, FIRST_SUM, JournalError, LINE_BYTES_MAX, VERSION, done, state, sum};
use crate::{Actions, Core};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use types::Digest;

/// A core that repeats a journal, fed line by line.
#[derive(Debug, Default)]
pub struct Replay {
    core: Option<Core>,
    sum: Option<String>,
    /// A line that does not end: only the last one may be like that.
    torn: Option<JournalError>,
    told: Replayed,
}

/// What was repeated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Lines read.
    pub lines: usize,
    /// Cores that began.
    pub cores: usize,
    /// Events handled.
    pub events: usize,
    /// Actions that the cores asked for.
    pub actions: usize,
    /// Times that what the core knew was held against what the journal says.
    pub states: usize,
    /// Records that the last core knows, and a digest over them.
    pub records: usize,
    /// See `records`.
    pub digest: Option<Digest>,
    /// The last line was cut short: its writer was killed.
    pub torn: bool,
}

impl Replay {
    /// Before the first line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next line, without its end.
    ///
    /// # Errors
    /// Names the line that is damaged, or at which the core does or knows something else. After an error nothing more is
    /// to be fed.
    pub fn line(&mut self, line: &str) -> Result<(), JournalError> {
        if let Some(torn) = self.torn.take() {
            return Err(torn);
        }
        self.told.lines += 1;
        match self.checked(line) {
            Ok(body) => self.take(body),
            // Whether it is the last one shows when another follows.
            Err(what) => {
                self.torn = Some(self.damaged(what));
                Ok(())
            }
        }
    }

    /// After the last line: what was repeated.
    #[must_use]
    pub fn end(self) -> Replayed {
        let known = self.core.as_ref().map(state);
        let (records, digest) = known.map_or((0, None), |(n, digest)| (n, Some(digest)));
        Replayed {
            records,
            digest,
            torn: self.torn.is_some(),
            ..self.told
        }
    }

    fn damaged(&self, what: &'static str) -> JournalError {
        let line = self.told.lines;
        JournalError::Damaged { line, what }
    }

    /// The body of a line, where length and sum are right.
    fn checked(&mut self, line: &str) -> Result<Body, &'static str> {
        if line.len() > LINE_BYTES_MAX {
            return Err("it is too long");
        }
        let (told, len, body) = parts(line).ok_or("it is no line of a journal")?;
        if body.len() != len {
            return Err("its length is another");
        }
        let before = self.sum.as_deref().unwrap_or(FIRST_SUM);
        let sum = sum(before, body);
        if sum != told {
            return Err("its sum is another");
        }
        let body = serde_json::from_str(body).map_err(|_| "its body is none of a journal")?;
        self.sum = Some(sum);
        Ok(body)
    }

    fn take(&mut self, body: Body) -> Result<(), JournalError> {
        let line = self.told.lines;
        match body {
            Body::Begin { version, .. } if version != VERSION => {
                let found = version;
                return Err(JournalError::Version { line, found });
            }
            Body::Begin { config, .. } => {
                self.told.cores += 1;
                self.core = Some(Core::with_config(config));
            }
            Body::Event { at, event, does } => {
                let damaged = self.damaged("no core has begun");
                let core = self.core.as_mut().ok_or(damaged)?;
                let mut actions = Actions::new();
                core.handle(at, event, &mut actions);
                self.told.events += 1;
                self.told.actions += actions.len();
                return same(line, &does, &actions);
            }
            Body::State { records, digest } => {
                let damaged = self.damaged("no core has begun");
                let core = self.core.as_ref().ok_or(damaged)?;
                self.told.states += 1;
                let (now, knows) = state(core);
                let then = records;
                if (now, knows) != (then, digest) {
                    return Err(JournalError::Knows { line, now, then });
                }
            }
        }
        Ok(())
    }
}

fn same(line: usize, then: &str, actions: &Actions) -> Result<(), JournalError> {
    if done(actions) == then {
        return Ok(());
    }
    let now: Vec<String> = actions.iter().map(|action| format!("{action:?}")).collect();
    Err(JournalError::Differs {
        line,
        now: now.join(", "),
        then: then.to_string(),
    })
}

/// Sum, length and body of a line.
fn parts(line: &str) -> Option<(&str, usize, &str)> {
    let rest = line.strip_prefix("{\"sum\":\"")?;
    let (sum, rest) = rest.split_once("\",\"len\":")?;
    let (len, rest) = rest.split_once(",\"body\":")?;
    let body = rest.strip_suffix('}')?;
    Some((sum, len.parse().ok()?, body))
}
