//! One short line for what goes into a core and what comes out of it: what the event log is made of.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what has no shorter words is shown as it is"
)]

use std::fmt::{self, Display, Formatter};

use scheduler::{Action, Answer, Event, Outcome, ReadOutcome, Reading, Request};

/// Something that is shown as a line.
pub(crate) struct Line<'a, T>(&'a T);

pub(crate) fn scheduler_event(event: &Event) -> Line<'_, Event> {
    Line(event)
}

pub(crate) fn scheduler_action(action: &Action) -> Line<'_, Action> {
    Line(action)
}

pub(crate) fn agent_event(event: &agent_core::Event) -> Line<'_, agent_core::Event> {
    Line(event)
}

pub(crate) fn agent_action(action: &agent_core::Action) -> Line<'_, agent_core::Action> {
    Line(action)
}

impl Display for Line<'_, Event> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Event::Led { epoch, .. } => write!(f, "led {epoch}"),
            Event::Lost => f.write_str("lost"),
            Event::Read { id, outcome } => match outcome {
                ReadOutcome::Page { entries, .. } => {
                    write!(f, "read {} {} entries", id.0, entries.len())
                }
                ReadOutcome::Compacted => write!(f, "read {} compacted", id.0),
                ReadOutcome::Unavailable { .. } => write!(f, "read {} unavailable", id.0),
                ReadOutcome::Damaged { key, .. } => write!(f, "read {} damaged {key}", id.0),
            },
            Event::Written { id, outcome } => match outcome {
                Outcome::Applied { revision } => write!(f, "written {} at {}", id.0, revision.0),
                Outcome::Refused(refusal) => write!(f, "written {} {refusal:?}", id.0),
                Outcome::NotApplied { code, .. } => write!(f, "written {} not, {code}", id.0),
                Outcome::Unknown { .. } => write!(f, "written {} unknown", id.0),
            },
            Event::Call { call, request, .. } => write!(f, "call {} {}", call.0, Line(&**request)),
            Event::CancelMarked { job, .. } => write!(f, "marked {job}"),
            Event::RevocationMarked { revocation, .. } => write!(f, "revoked {revocation}"),
            Event::ManifestWritten { job, outcome, .. } => write!(f, "manifest {job} {outcome:?}"),
            Event::Tick => f.write_str("tick"),
        }
    }
}

impl Display for Line<'_, Request> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Request::Join(info) => write!(f, "join {} {}", info.node, info.nonce),
            Request::Pull(pull) => write!(
                f,
                "pull {} {}.{} want {}",
                pull.node, pull.session, pull.number, pull.want_tracks
            ),
            Request::Beat(beat) => {
                write!(f, "beat {} {}.{}", beat.node, beat.session, beat.number)?;
                for held in &beat.held {
                    write!(
                        f,
                        " {}/{}#{}{:?}",
                        held.job, held.shard, held.attempt, held.in_hand
                    )?;
                    if let Some(at) = held.yielded_at {
                        write!(f, "<{at}")?;
                    }
                }
                for gone in &beat.released {
                    write!(
                        f,
                        " -{}/{}#{} {:?}",
                        gone.job, gone.shard, gone.attempt, gone.cause
                    )?;
                }
                Ok(())
            }
            Request::Commit(commit) => {
                write!(
                    f,
                    "commit {} {} {}/{}#{}",
                    commit.node, commit.session, commit.job, commit.shard, commit.attempt
                )?;
                for part in &commit.parts {
                    write!(f, " {:?}{:?} {:?}", part.kind, part.tracks, part.sha256)?;
                }
                Ok(())
            }
            other => write!(f, "{other:?}"),
        }
    }
}

impl Display for Line<'_, Action> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Action::Read { id, reading } => match reading {
                Reading::Keys(keys) => write!(f, "read {} {}", id.0, keys.join(" ")),
                Reading::Prefix { after, .. } => write!(f, "read {} after {after:?}", id.0),
            },
            Action::Write { id, txn } => {
                write!(f, "write {}", id.0)?;
                for compare in &txn.compares {
                    match compare {
                        scheduler::Compare::At { key, revision } => {
                            write!(f, " {key}@{}", revision.0)?;
                        }
                        scheduler::Compare::Absent { key } => write!(f, " {key}@-")?,
                    }
                }
                for op in &txn.ops {
                    match op {
                        scheduler::Op::Put { key, value } => {
                            write!(f, " put {key} {}", value.len())?;
                        }
                        scheduler::Op::Delete { key } => write!(f, " del {key}")?,
                    }
                }
                Ok(())
            }
            Action::Answer { call, answer } => match answer {
                Ok(answer) => write!(f, "answer {} {}", call.0, Line(answer)),
                Err(problem) => write!(f, "answer {} {}", call.0, problem.code),
            },
            Action::MarkCancelled { job, .. } => write!(f, "mark {job}"),
            Action::MarkRevoked { revocation, .. } => write!(f, "revoke {revocation}"),
            Action::WriteManifest { plan } => {
                write!(f, "manifest {} {} parts", plan.job, plan.parts.len())
            }
            Action::Audit { change, .. } => write!(f, "audit {:?}", change.what),
            Action::Ready { epoch } => write!(f, "ready {epoch}"),
            Action::StepDown { reason, .. } => write!(f, "step down {reason:?}"),
        }
    }
}

impl Display for Line<'_, Answer> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Answer::Pulled(pulled) => {
                write!(f, "pulled {}", pulled.number)?;
                for grant in &pulled.grants {
                    write!(
                        f,
                        " {}/{}#{}{} {:?}",
                        grant.job.job, grant.shard, grant.attempt, grant.range, grant.care
                    )?;
                }
                Ok(())
            }
            Answer::Beaten(beaten) => {
                f.write_str("beaten")?;
                for order in &beaten.orders {
                    write!(
                        f,
                        " {}/{}#{} {:?}",
                        order.job, order.shard, order.attempt, order.order
                    )?;
                }
                Ok(())
            }
            Answer::Committed(committed) => write!(f, "{:?}", committed.outcome),
            Answer::Joined(joined) => write!(f, "joined {}", joined.session),
            other => write!(f, "{other:?}"),
        }
    }
}

impl Display for Line<'_, agent_core::Event> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            agent_core::Event::Beaten {
                session, number, ..
            } => write!(f, "beaten {session}.{number}"),
            agent_core::Event::Pulled {
                session,
                number,
                answer,
            } => write!(
                f,
                "pulled {session}.{number} {:?}",
                answer.as_ref().map(|pulled| pulled.grants.len())
            ),
            other => write!(f, "{other:?}"),
        }
    }
}

impl Display for Line<'_, agent_core::Action> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            agent_core::Action::Beat(beat) => write!(f, "beat {}.{}", beat.session, beat.number),
            other => write!(f, "{other:?}"),
        }
    }
}
