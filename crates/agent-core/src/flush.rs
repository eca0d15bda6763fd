//! Parts on their way: when a grant is flushed, what is written, what is committed, and what answers mean.

use types::{Code, Millis, Session, TrackSet, is_renewed};

use crate::action::{Action, Actions, Cause};
use crate::core::Core;
use crate::event::{CallError, Care, CommitOutcome, Committed, Flush, Found, Order};
use crate::grant::Grant;
use crate::limits::{
    COMMITS_AT_ONCE_MAX, FLUSHES_PER_SHARD, PART_BYTES_ASSUMED, WRITES_AT_ONCE_MAX, call_back_off,
    storage_back_off,
};
use crate::mutants::{self, Mutant};
use crate::part::{Part, State};
use crate::session::Link;
use crate::{GrantKey, PartNo};

impl Core {
    pub(crate) fn found(&mut self, now: Millis, found: &Found) {
        self.next_part = self.next_part.max(found.part.0 + 1);
        self.arrivals += 1;
        let arrival = self.arrivals;
        let grant = self
            .grants
            .entry(found.grant.clone())
            .or_insert_with(|| Grant::found(found, arrival, now));
        for ordinal in found.tracks.iter() {
            grant.adopt(ordinal, found.part);
        }
        // Whether its object was ever put is not known; the same bytes under the same name are put again.
        let (tracks, state) = (found.tracks.clone(), State::ToWrite { at: now });
        let part = Part {
            grant: found.grant.clone(),
            tracks,
            onward: TrackSet::new(),
            withheld: TrackSet::new(),
            borderline: TrackSet::new(),
            device: None,
            state,
            bytes: PART_BYTES_ASSUMED,
            failures: 0,
            trouble: None,
        };
        self.parts.insert(found.part, part);
    }

    pub(crate) fn parts_of(&self, key: &GrantKey) -> Vec<PartNo> {
        self.parts
            .iter()
            .filter(|(_, part)| part.grant == *key)
            .map(|(number, _)| *number)
            .collect()
    }

    /// Least time between flushes of a grant: the configured one, or a share of the shard's expected time.
    fn flush_every(&self, grant: &Grant) -> Millis {
        let rate = self
            .devices
            .iter()
            .filter_map(|device| device.rate(grant.key.stage()).tracks_per_1000_s())
            .max();
        let shard = rate.map_or(0, |rate| u64::from(grant.shard_tracks) * 1_000_000 / rate);
        Millis(self.config.flush_every.0.max(shard / FLUSHES_PER_SHARD))
    }

    pub(crate) fn flush_deadline(&self, grant: &Grant) -> Option<Millis> {
        // What is written while a suspect has the node would be in hand beside it.
        let may = grant.has_made() && !self.is_clogged() && self.apart.is_none();
        let timed = may && grant.flush == Flush::AsConfigured && !grant.is_whole();
        timed.then(|| grant.flushed + self.flush_every(grant))
    }

    pub(crate) fn flush(&mut self, now: Millis) {
        let due: Vec<GrantKey> = self
            .grants
            .values()
            .filter(|grant| self.is_flush_due(now, grant))
            .map(|grant| grant.key.clone())
            .collect();
        for key in due {
            let part = PartNo(self.next_part);
            self.next_part += 1;
            let Some(grant) = self.grants.get_mut(&key) else {
                continue;
            };
            let flushed = grant.take_made(part, now);
            let device = grant.device.filter(|_| flushed.screened);
            let state = if device.is_some() {
                State::Unsung
            } else {
                State::ToWrite { at: now }
            };
            self.parts.insert(
                part,
                Part {
                    grant: key,
                    tracks: flushed.tracks,
                    onward: flushed.chosen.onward,
                    withheld: flushed.chosen.withheld,
                    borderline: flushed.chosen.borderline,
                    device,
                    state,
                    bytes: PART_BYTES_ASSUMED,
                    failures: 0,
                    trouble: None,
                },
            );
        }
    }

    /// Whether a grant's rows are to be written now: in time, at its end, or before a suspect may take them down with it.
    pub(crate) fn is_flush_due(&self, now: Millis, grant: &Grant) -> bool {
        let may = grant.has_made() && !self.is_clogged() && self.apart.is_none();
        let at_end = grant.open() == 0;
        let timed = self.flush_deadline(grant).is_some_and(|at| at <= now);
        let divisible = grant.care != Care::Apart && !grant.is_whole();
        let threatened = || divisible && self.is_wanted_apart();
        may && (at_end || timed || threatened())
    }

    pub(crate) fn write(&mut self, now: Millis, actions: &mut Actions) {
        let mut writing = self.writing();
        for (&number, part) in &mut self.parts {
            let due = matches!(part.state, State::ToWrite { at } if at <= now);
            if due && writing < WRITES_AT_ONCE_MAX {
                writing += 1;
                part.state = State::Writing;
                actions.push(Action::WritePart {
                    part: number,
                    grant: part.grant.clone(),
                    tracks: part.tracks.clone(),
                    onward: part.onward.clone(),
                    withheld: part.withheld.clone(),
                    borderline: part.borderline.clone(),
                    device: part.device,
                });
            }
        }
    }

    /// A part is on the node's disk.
    pub(crate) fn part_saved(&mut self, number: PartNo, bytes: u64) {
        if let Some(part) = self.parts.get_mut(&number) {
            part.bytes = bytes;
        }
    }

    pub(crate) fn part_written(&mut self, now: Millis, number: PartNo, outcome: Result<(), Code>) {
        let Some(part) = self.parts.get_mut(&number) else {
            return;
        };
        if part.state != State::Writing {
            return;
        }
        part.trouble = outcome.err();
        part.failures = match outcome {
            Ok(()) => 0,
            Err(_) => part.failures.saturating_add(1),
        };
        part.state = match outcome {
            Ok(()) => State::ToCommit { at: now },
            Err(_) => State::ToWrite {
                at: now + storage_back_off(part.failures),
            },
        };
    }

    /// Why parts cannot be stored, where the last write of one failed.
    pub(crate) fn storage_trouble(&self) -> Option<Code> {
        self.parts.values().find_map(|part| part.trouble)
    }

    pub(crate) fn commit(&mut self, now: Millis, actions: &mut Actions) {
        let Link::Joined(live) = &self.link else {
            return;
        };
        let (session, lives) = (live.session, live.grant_lives);
        let mut open = self.committing();
        for (&number, part) in &mut self.parts {
            let due = matches!(part.state, State::ToCommit { at } if at <= now);
            let alive = self
                .grants
                .get(&part.grant)
                .is_some_and(|grant| grant.lives(now, lives));
            if due && alive && open < COMMITS_AT_ONCE_MAX {
                let renewed = self.grants.get(&part.grant).and_then(|g| g.renewed);
                // I19, asked once more of each commit as it leaves.
                if !is_renewed(now, renewed, lives) && !mutants::on(Mutant::CommitUnrenewed) {
                    self.unrenewed += 1;
                    continue;
                }
                open += 1;
                part.state = State::Committing { session };
                actions.push(Action::Commit {
                    part: number,
                    session,
                });
            }
        }
    }

    pub(crate) fn committed(
        &mut self,
        now: Millis,
        number: PartNo,
        answer: Result<Committed, CallError>,
        actions: &mut Actions,
    ) {
        let Some(part) = self.parts.get_mut(&number) else {
            return;
        };
        let State::Committing { session } = part.state else {
            return;
        };
        let key = part.grant.clone();
        match answer {
            Ok(Committed {
                outcome: CommitOutcome::Counted | CommitOutcome::DoneAlready,
                order,
            }) => {
                let tracks = std::mem::take(&mut part.tracks);
                self.parts.remove(&number);
                actions.push(Action::ForgetPart { part: number });
                if let Some(grant) = self.grants.get_mut(&key) {
                    grant.settle(number, &tracks);
                }
                // An answer to a commit renews nothing: only beats do.
                match order {
                    Order::Continue => {}
                    Order::YieldAt(_) | Order::Stop => {
                        self.order(Millis(0), &key, order, None, actions)
                    }
                }
            }
            Ok(Committed {
                outcome: CommitOutcome::Superseded,
                ..
            }) => self.forget(&key, actions),
            Err(error) => {
                part.failures = part.failures.saturating_add(1);
                part.state = State::ToCommit {
                    at: now + call_back_off(part.failures),
                };
                self.commit_refused(now, (number, &key), session, error, actions);
            }
        }
    }

    fn commit_refused(
        &mut self,
        now: Millis,
        (part, key): (PartNo, &GrantKey),
        session: Session,
        error: CallError,
        actions: &mut Actions,
    ) {
        // What an older session is told says nothing about this one.
        let current = matches!(&self.link, Link::Joined(live) if live.session == session);
        match error {
            // It cannot count as it is, and made again it might not either: that costs, or it would be made without end.
            CallError::Refused(Code::CommitInvalid | Code::InvalidRequest) => {
                self.give_up(part, key, actions);
                self.give_back(key, Cause::Storage);
            }
            CallError::Refused(Code::JobClosed | Code::BeatUnknownGrant | Code::NotFound) => {
                self.forget(key, actions);
            }
            CallError::Refused(_) | CallError::Unanswered if current => {
                self.refused(now, error, actions)
            }
            CallError::Refused(_) | CallError::Unanswered => {}
        }
    }

    /// Forgets a part and gives its tracks back.
    fn give_up(&mut self, number: PartNo, key: &GrantKey, actions: &mut Actions) {
        let Some(part) = self.parts.remove(&number) else {
            return;
        };
        actions.push(Action::ForgetPart { part: number });
        if let Some(grant) = self.grants.get_mut(key) {
            grant.settle(number, &part.tracks);
        }
    }

    fn writing(&self) -> usize {
        self.parts
            .values()
            .filter(|part| part.state == State::Writing)
            .count()
    }

    fn committing(&self) -> usize {
        self.parts
            .values()
            .filter(|part| matches!(part.state, State::Committing { .. }))
            .count()
    }

    pub(crate) fn parts_deadline(&self) -> Option<Millis> {
        // A part for which there is no room waits for an answer, not for a time; so does one whose grant has run out.
        let (may_write, may_commit) = (
            self.writing() < WRITES_AT_ONCE_MAX,
            self.committing() < COMMITS_AT_ONCE_MAX,
        );
        let due = self.parts.values().filter_map(|part| match part.state {
            State::ToWrite { at } => may_write.then_some(at),
            State::ToCommit { at } if may_commit && self.can_commit(part, at) => Some(at),
            State::ToCommit { .. } | State::Unsung | State::Writing | State::Committing { .. } => {
                None
            }
        });
        due.min()
    }

    fn can_commit(&self, part: &Part, at: Millis) -> bool {
        let Link::Joined(live) = &self.link else {
            return false;
        };
        self.grants
            .get(&part.grant)
            .is_some_and(|grant| grant.lives(at, live.grant_lives))
    }
}
