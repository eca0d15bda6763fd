//! The one thread that writes: it takes what has queued up, evaluates it in order inside one redb transaction,
//! syncs once, and only then answers. Callers wait on the answer, never on the file.
//!
//! After a failed commit the file is closed and read again from the medium; what it might have written all the same is
//! answered with `Unknown`, the rest with `NotApplied`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::{mpsc, oneshot};
use types::Epoch;

use super::engine::{Engine, SNAPSHOT_LIVES, begin_write};
use super::record::Head;
use super::tables::{self, Applied, Fault};
use crate::feed::Feed;
use crate::{Change, LeadError, NotAppliedCause, Op, Outcome, Refusal, Revision, Txn};

/// Requests that may wait for the writer; the next caller waits for room. A coordinator has at most a few hundred
/// groups of writes in flight.
pub(super) const QUEUE_MAX: usize = 256;

/// Requests synced together: enough that a burst costs one sync, few enough that the first waits little.
const BATCH_REQUESTS_MAX: usize = 128;

/// Bytes synced together, by [`Txn::recorded_size`]: twice the largest transaction, so that memory stays small.
const BATCH_BYTES_MAX: usize = 2 * crate::REQUEST_BYTES_MAX;

/// One thing to write, with the way back for its answer.
#[derive(Debug)]
pub(super) enum Request {
    Write {
        txn: Txn,
        answer: oneshot::Sender<Outcome>,
    },
    Lead {
        candidate: String,
        answer: oneshot::Sender<Result<Epoch, LeadError>>,
    },
    Resign {
        epoch: Epoch,
        answer: oneshot::Sender<Result<(), LeadError>>,
    },
}

impl Request {
    fn bytes(&self) -> usize {
        match self {
            Self::Write { txn, .. } => txn.recorded_size(),
            Self::Lead { candidate, .. } => candidate.len(),
            Self::Resign { .. } => 0,
        }
    }
}

/// What a request came to inside the transaction, before that was synced.
enum Evaluated {
    Applied(Applied),
    Refused(Refusal),
    Led(Result<Epoch, LeadError>),
    Resigned(Result<(), LeadError>),
}

/// The writer's own state.
struct Writer<'a> {
    engine: &'a Engine,
    feed: &'a Feed,
    /// The epoch that was handed out and not resigned. A stored reign that nobody was told of, because the answer of its
    /// commit was lost, is nobody's.
    given: Option<u64>,
}

/// Runs until every sender is gone.
pub(super) fn run(engine: &Engine, feed: &Feed, mut requests: mpsc::Receiver<Request>) {
    let mut writer = Writer {
        engine,
        feed,
        given: None,
    };
    while let Some(first) = requests.blocking_recv() {
        let batch = fill(first, &mut requests);
        writer.serve(batch);
    }
}

fn fill(first: Request, requests: &mut mpsc::Receiver<Request>) -> Vec<Request> {
    let mut bytes = first.bytes();
    let mut batch = vec![first];
    while batch.len() < BATCH_REQUESTS_MAX && bytes < BATCH_BYTES_MAX {
        let Ok(next) = requests.try_recv() else { break };
        bytes += next.bytes();
        batch.push(next);
    }
    batch
}

impl Writer<'_> {
    fn serve(&mut self, batch: Vec<Request>) {
        self.engine.expire(SNAPSHOT_LIVES);
        let mut evaluated = Vec::with_capacity(batch.len());
        let written = self.write_or_recover(&batch, &mut evaluated);
        let mut evaluated = evaluated.into_iter();
        for request in batch {
            answer(request, evaluated.next(), &written);
        }
    }

    fn write_or_recover(
        &mut self,
        batch: &[Request],
        evaluated: &mut Vec<Evaluated>,
    ) -> Result<(), Failure> {
        let before = self
            .engine
            .reading()
            .and_then(|reading| tables::head(&reading));
        let before = before.map_err(Failure::before_sync)?;
        let attempt = AssertUnwindSafe(|| self.write_batch(&before, batch, evaluated));
        let written = catch_unwind(attempt).unwrap_or_else(|_| {
            Err(Failure {
                synced: Synced::Perhaps,
                cause: "writing to the store panicked".to_owned(),
            })
        });
        match written {
            Ok(head) => {
                self.feed.begin_at(Revision(before.revision));
                self.feed
                    .push(changes(batch, evaluated), Revision(head.revision));
                self.given = head.leader.map(|leader| leader.epoch);
                Ok(())
            }
            Err(failure) => Err(self.recover(&before, failure)),
        }
    }

    /// Closes the file after a failure and reads it again. Where it then shows the state before the batch, the batch certainly
    /// did not happen: this process alone writes here, and has nothing under way. Where it shows the batch, or nothing, that
    /// may not be what a power cut would leave, and the outcome stays unknown.
    fn recover(&self, before: &Head, failure: Failure) -> Failure {
        tracing::error!(cause = %failure.cause, "store write failed; the file is read again");
        self.engine.close_after_failure();
        match self
            .engine
            .reading()
            .and_then(|reading| tables::head(&reading))
        {
            Ok(now) if now == *before => Failure {
                synced: Synced::Never,
                ..failure
            },
            Ok(_) | Err(_) => {
                self.feed.lose();
                failure
            }
        }
    }

    /// Evaluates the batch in order, commits what it changed, and gives the head it leaves.
    fn write_batch(
        &self,
        before: &Head,
        batch: &[Request],
        evaluated: &mut Vec<Evaluated>,
    ) -> Result<Head, Failure> {
        let database = self.engine.database().map_err(Failure::before_sync)?;
        let writing = begin_write(&database).map_err(Failure::before_sync)?;
        let mut head = before.clone();
        head.leader
            .take_if(|leader| Some(leader.epoch) != self.given);
        for request in batch {
            evaluated.push(evaluate(&writing, &mut head, request).map_err(Failure::before_sync)?);
        }
        if head == *before {
            writing
                .abort()
                .map_err(|error| Failure::before_sync(error.into()))?;
            return Ok(head);
        }
        tables::put_head(&writing, &head).map_err(Failure::before_sync)?;
        let committed = writing.commit();
        committed.map_err(|error| Failure {
            synced: Synced::Perhaps,
            cause: error.to_string(),
        })?;
        Ok(head)
    }
}

/// Whether a failed batch may have reached the medium.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Synced {
    Never,
    Perhaps,
}

struct Failure {
    synced: Synced,
    cause: String,
}

impl Failure {
    fn before_sync(fault: Fault) -> Self {
        let cause = match fault {
            Fault::Medium(cause) => cause,
            Fault::Damaged(damage) => format!("damaged at {damage}"),
        };
        Self {
            synced: Synced::Never,
            cause,
        }
    }
}

fn evaluate(
    writing: &redb::WriteTransaction,
    head: &mut Head,
    request: &Request,
) -> Result<Evaluated, Fault> {
    Ok(match request {
        Request::Write { txn, .. } => match tables::apply(writing, head, txn)? {
            Ok(applied) => Evaluated::Applied(applied),
            Err(refusal) => Evaluated::Refused(refusal),
        },
        Request::Lead { candidate, .. } => {
            let led = tables::lead(head, candidate);
            Evaluated::Led(led.map(Epoch).map_err(|by| LeadError::Held { by }))
        }
        Request::Resign { epoch, .. } => {
            let led = head
                .leader
                .take_if(|leader| leader.epoch == epoch.0)
                .is_some();
            Evaluated::Resigned(led.then_some(()).ok_or(LeadError::Lost))
        }
    })
}

/// What a batch changed, transaction by transaction.
fn changes(
    batch: &[Request],
    evaluated: &[Evaluated],
) -> impl Iterator<Item = (Revision, Vec<Change>)> {
    let ended = batch.iter().zip(evaluated);
    ended.filter_map(|ended| match ended {
        (Request::Write { txn, .. }, Evaluated::Applied(applied)) => {
            let changed = txn.ops.iter().zip(&applied.changed);
            let changed = changed.filter(|(_, changed)| **changed);
            let changes: Vec<Change> = changed.map(|(op, _)| change(op)).collect();
            (!changes.is_empty()).then_some((applied.revision, changes))
        }
        (Request::Write { .. } | Request::Lead { .. } | Request::Resign { .. }, _) => None,
    })
}

fn change(op: &Op) -> Change {
    match op {
        Op::Put { key, value } => Change {
            key: key.clone(),
            value: Some(value.clone()),
        },
        Op::Delete { key } => Change {
            key: key.clone(),
            value: None,
        },
    }
}

/// Answers one request once the fate of its batch is known. A caller that no longer waits is no error.
fn answer(request: Request, evaluated: Option<Evaluated>, written: &Result<(), Failure>) {
    match request {
        Request::Write { answer, .. } => drop(answer.send(outcome(evaluated, written))),
        Request::Lead { answer, .. } => drop(answer.send(match (written, evaluated) {
            (Ok(()), Some(Evaluated::Led(led))) => led,
            (written, _) => Err(unavailable(written)),
        })),
        Request::Resign { answer, .. } => drop(answer.send(match (written, evaluated) {
            (Ok(()), Some(Evaluated::Resigned(ended))) => ended,
            (written, _) => Err(unavailable(written)),
        })),
    }
}

/// A refusal that rests on a transaction of the same batch is void when that batch failed; so only what would have changed
/// something, and may have been synced, is unknown then.
fn outcome(evaluated: Option<Evaluated>, written: &Result<(), Failure>) -> Outcome {
    match (written, evaluated) {
        (Ok(()), Some(Evaluated::Applied(applied))) => Outcome::Applied {
            revision: applied.revision,
        },
        (Ok(()), Some(Evaluated::Refused(refusal))) => Outcome::Refused(refusal),
        (
            Err(Failure {
                synced: Synced::Perhaps,
                cause,
            }),
            Some(Evaluated::Applied(applied)),
        ) if applied.changed.contains(&true) => Outcome::Unknown {
            cause: cause.clone(),
        },
        (written, _) => not_applied(cause(written)),
    }
}

fn unavailable(written: &Result<(), Failure>) -> LeadError {
    LeadError::Unavailable {
        cause: cause(written).to_owned(),
    }
}

fn cause(written: &Result<(), Failure>) -> &str {
    written
        .as_ref()
        .map_or_else(|failure| failure.cause.as_str(), |()| "not evaluated")
}

/// Linux's words for a full file system, as redb passes them on.
const NO_SPACE_TEXTS: [&str; 3] = [
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
];

fn not_applied(cause: &str) -> Outcome {
    let cause = cause.to_owned();
    Outcome::NotApplied(
        match NO_SPACE_TEXTS.iter().any(|text| cause.contains(text)) {
            true => NotAppliedCause::Full { cause },
            false => NotAppliedCause::Unavailable { cause },
        },
    )
}
