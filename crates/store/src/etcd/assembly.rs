//! Whole transactions out of a watch's answers: a server may cut the events of one transaction into several answers.
//!
//! Pure: takes what each answer says and gives what is whole. What is not yet whole waits here, within a bound.

use etcd_client::Event;

use super::keys::{Keys, revision_in};
use crate::{Change, OPERATIONS_MAX, ReadError, Revision};

/// The kinds of event that a server knows.
const PUT: i32 = 0;
const DELETE: i32 = 1;

/// Events that wait for the rest of their transaction: no transaction of ours has more.
const WAITING_EVENTS_MAX: usize = OPERATIONS_MAX;

/// One change with its transaction.
pub(super) type Event1 = (Revision, Change);

/// Puts transactions together.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    waiting: Vec<Event1>,
}

impl Assembly {
    /// Takes the events of one answer; `fragment` where the next answer goes on with them. Gives the transactions that are whole.
    pub(super) fn take(
        &mut self,
        events: impl IntoIterator<Item = Event1>,
        fragment: bool,
    ) -> Result<Vec<(Revision, Vec<Change>)>, ReadError> {
        let mut transactions: Vec<(Revision, Vec<Change>)> = Vec::new();
        for (revision, change) in self.waiting.drain(..).chain(events) {
            match transactions.last_mut().filter(|last| last.0 == revision) {
                Some(last) => last.1.push(change),
                None => transactions.push((revision, vec![change])),
            }
        }
        if fragment && let Some((revision, changes)) = transactions.pop() {
            check_bound(&changes)?;
            let waiting = changes.into_iter().map(|change| (revision, change));
            self.waiting = waiting.collect();
        }
        Ok(transactions)
    }

    /// Whether nothing waits for its rest.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

fn check_bound(changes: &[Change]) -> Result<(), ReadError> {
    match changes {
        [first, ..] if changes.len() > WAITING_EVENTS_MAX => Err(ReadError::Damaged {
            key: first.key.clone(),
            cause: "one transaction changes more keys than any of ours; something else writes here"
                .to_owned(),
        }),
        _ => Ok(()),
    }
}

/// One event as a change.
pub(super) fn read(keys: &Keys, event: &Event) -> Result<Event1, ReadError> {
    let damaged = |key: &[u8], cause: String| ReadError::Damaged {
        key: String::from_utf8_lossy(key).into_owned(),
        cause,
    };
    let Some(kv) = event.kv() else {
        return Err(damaged(b"", "an event without a key".to_owned()));
    };
    // The client's own accessor panics on a kind that it does not know.
    let value = match event.0.r#type {
        PUT => Some(kv.value().to_vec()),
        DELETE => None,
        other => return Err(damaged(kv.key(), format!("an event of kind {other}"))),
    };
    let key = keys.key_of(kv.key())?;
    Ok((revision_in(kv.mod_revision()), Change { key, value }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(revision: u64, key: &str) -> Event1 {
        let change = Change {
            key: key.to_owned(),
            value: None,
        };
        (Revision(revision), change)
    }

    fn shape(transactions: &[(Revision, Vec<Change>)]) -> Vec<(u64, usize)> {
        let shape = transactions.iter().map(|(r, changes)| (r.0, changes.len()));
        shape.collect()
    }

    #[test]
    fn a_transaction_cut_anywhere_comes_out_whole_and_once() {
        let events: Vec<Event1> = [(3, "a"), (3, "b"), (5, "a"), (5, "b"), (5, "c"), (6, "a")]
            .map(|(revision, key)| event(revision, key))
            .to_vec();
        for first in 0..=events.len() {
            for second in first..=events.len() {
                let mut assembly = Assembly::default();
                let mut whole = assembly.take(events[..first].to_vec(), true).unwrap();
                whole.extend(assembly.take(events[first..second].to_vec(), true).unwrap());
                whole.extend(assembly.take(events[second..].to_vec(), false).unwrap());
                assert_eq!(shape(&whole), [(3, 2), (5, 3), (6, 1)], "{first} {second}");
                assert!(assembly.is_empty());
            }
        }
    }

    #[test]
    fn what_waits_for_its_rest_is_bounded() {
        let mut assembly = Assembly::default();
        let events = |count: usize| (0..count).map(|n| event(3, &format!("k{n}")));
        assert!(assembly.take(events(OPERATIONS_MAX), true).is_ok());
        assert!(assembly.take(events(1), true).is_err());
    }
}
