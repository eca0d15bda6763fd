//! The one thread that writes: it takes what has queued up, evaluates it in order inside one redb transaction,
//! syncs once, and only then answers. Callers wait on the answer, never on the file.
//!
//! After a failed commit the file is closed and read again from the medium; what it might have written all the same is
//! answered with `Unknown`, the rest with `NotApplied`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use types::Epoch;

use super::engine::{Engine, begin_write};
use super::record::Head;
use super::tables::{self, Fault};
use crate::{LeadError, NotAppliedCause, Outcome, Refusal, Revision, Txn};

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
    Applied {
        revision: Revision,
        changed: bool,
        answer: oneshot::Sender<Outcome>,
    },
    Refused {
        refusal: Refusal,
        answer: oneshot::Sender<Outcome>,
    },
    Led {
        epoch: Result<Epoch, LeadError>,
        answer: oneshot::Sender<Result<Epoch, LeadError>>,
    },
    Resigned {
        ended: Result<(), LeadError>,
        answer: oneshot::Sender<Result<(), LeadError>>,
    },
}

/// Runs until every sender is gone.
pub(super) fn run(engine: &Arc<Engine>, mut requests: mpsc::Receiver<Request>) {
    while let Some(first) = requests.blocking_recv() {
        let batch = fill(first, &mut requests);
        serve(engine, batch);
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

fn serve(engine: &Engine, batch: Vec<Request>) {
    let (mut waiting, mut evaluated) = (batch, Vec::new());
    let before = match engine.reading().and_then(|reading| tables::head(&reading)) {
        Ok(before) => before,
        Err(fault) => {
            let failure = Failure::before_sync(fault);
            return waiting
                .into_iter()
                .for_each(|request| turn_away(request, &failure.cause));
        }
    };
    let attempt = AssertUnwindSafe(|| write_batch(engine, &before, &mut waiting, &mut evaluated));
    let written = catch_unwind(attempt).unwrap_or_else(|_| {
        Err(Failure {
            synced: Synced::Perhaps,
            cause: "writing to the store panicked".to_owned(),
        })
    });
    let written = written.map_err(|failure| recover(engine, &before, failure));
    evaluated
        .into_iter()
        .for_each(|done| answer(done, &written));
    if let Err(failure) = written {
        waiting
            .into_iter()
            .for_each(|request| turn_away(request, &failure.cause));
    }
}

/// Closes the file after a failure and reads it again. Where it then shows the state before the batch, the batch certainly did
/// not happen: this process alone writes here, and has nothing under way. Where it shows the batch, or nothing, that may not
/// be what a power cut would leave, and the outcome stays unknown.
fn recover(engine: &Engine, before: &Head, failure: Failure) -> Failure {
    tracing::error!(cause = %failure.cause, "store write failed; the file is read again");
    engine.close_after_failure();
    match engine.reading().and_then(|reading| tables::head(&reading)) {
        Ok(now) if now == *before => Failure {
            synced: Synced::Never,
            ..failure
        },
        Ok(_) | Err(_) => failure,
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
            Fault::Damaged { key, cause } => format!("damaged at `{key}`: {cause}"),
        };
        Self {
            synced: Synced::Never,
            cause,
        }
    }
}

fn write_batch(
    engine: &Engine,
    before: &Head,
    waiting: &mut Vec<Request>,
    evaluated: &mut Vec<Evaluated>,
) -> Result<(), Failure> {
    let database = engine.database().map_err(Failure::before_sync)?;
    let writing = begin_write(&database).map_err(Failure::before_sync)?;
    let mut head = before.clone();
    for request in waiting.drain(..) {
        let done = evaluate(&writing, &mut head, request).map_err(Failure::before_sync)?;
        evaluated.push(done);
    }
    if head == *before {
        return writing
            .abort()
            .map_err(|error| Failure::before_sync(error.into()));
    }
    tables::put_head(&writing, &head).map_err(Failure::before_sync)?;
    writing.commit().map_err(|error| Failure {
        synced: Synced::Perhaps,
        cause: error.to_string(),
    })
}

fn evaluate(
    writing: &redb::WriteTransaction,
    head: &mut Head,
    request: Request,
) -> Result<Evaluated, Fault> {
    Ok(match request {
        Request::Write { txn, answer } => match tables::apply(writing, head, &txn)? {
            Ok(revision) => Evaluated::Applied {
                revision,
                changed: !txn.ops.is_empty(),
                answer,
            },
            Err(refusal) => Evaluated::Refused { refusal, answer },
        },
        Request::Lead { candidate, answer } => {
            let epoch = tables::lead(head, &candidate).map(Epoch);
            Evaluated::Led {
                epoch: epoch.map_err(|by| LeadError::Held { by }),
                answer,
            }
        }
        Request::Resign { epoch, answer } => {
            let leads = head
                .leader
                .take_if(|leader| leader.epoch == epoch.0)
                .is_some();
            Evaluated::Resigned {
                ended: leads.then_some(()).ok_or(LeadError::Lost),
                answer,
            }
        }
    })
}

/// Answers one request once the fate of its batch is known. A caller that no longer waits is no error.
fn answer(done: Evaluated, written: &Result<(), Failure>) {
    match done {
        Evaluated::Applied {
            revision,
            changed,
            answer,
        } => {
            let outcome = match written {
                Ok(()) => Outcome::Applied { revision },
                Err(failure) if changed && failure.synced == Synced::Perhaps => Outcome::Unknown {
                    cause: failure.cause.clone(),
                },
                Err(failure) => not_applied(&failure.cause),
            };
            drop(answer.send(outcome));
        }
        Evaluated::Refused { refusal, answer } => {
            // A refusal that rests on a transaction of the same batch is void when that batch failed.
            let outcome = match written {
                Ok(()) => Outcome::Refused(refusal),
                Err(failure) => not_applied(&failure.cause),
            };
            drop(answer.send(outcome));
        }
        Evaluated::Led { epoch, answer } => drop(answer.send(settle(written).and(epoch))),
        Evaluated::Resigned { ended, answer } => drop(answer.send(settle(written).and(ended))),
    }
}

fn settle(written: &Result<(), Failure>) -> Result<(), LeadError> {
    let unavailable = |failure: &Failure| LeadError::Unavailable {
        cause: failure.cause.clone(),
    };
    written.as_ref().map(|()| ()).map_err(unavailable)
}

fn turn_away(request: Request, cause: &str) {
    let unavailable = || LeadError::Unavailable {
        cause: cause.to_owned(),
    };
    match request {
        Request::Write { answer, .. } => drop(answer.send(not_applied(cause))),
        Request::Lead { answer, .. } => drop(answer.send(Err(unavailable()))),
        Request::Resign { answer, .. } => drop(answer.send(Err(unavailable()))),
    }
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
