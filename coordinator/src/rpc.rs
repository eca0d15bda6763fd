//! Between tonic and handlers: a handler gives a value or a [`Problem`]; here that becomes a response or a status with
//! code, cause and fix, and is counted. The one place where a failed call becomes a status.

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};
use types::{Code, Problem};

/// A stream of answers as tonic takes it.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Answers that a slow reader may fall behind before whoever makes them waits.
const ANSWERS_AHEAD: usize = 8;

/// Answers one call. `method` is its name in metrics.
pub(crate) async fn unary<T>(
    method: &'static str,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<Response<T>, Status> {
    let begun = Instant::now();
    let outcome = work.await;
    metrics::histogram!("scan_call_seconds", "method" => method).record(begun.elapsed());
    count(method, outcome.as_ref().err());
    outcome
        .map(Response::new)
        .map_err(|problem| proto::problem::status(&problem))
}

/// Answers one call that changes something. It runs to its end even when the caller goes away, so that what was done is
/// also audited.
pub(crate) async fn changing<T: Send + 'static>(
    method: &'static str,
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<Response<T>, Status> {
    let done = tokio::spawn(work);
    let outcome = async move {
        let lost = |error| Problem::new(Code::Internal, format!("answer {method}: {error}"));
        done.await.unwrap_or_else(|error| Err(lost(error)))
    };
    unary(method, outcome).await
}

/// Answers one call with a stream that a task of its own fills. Its first failure ends it. When the reader goes away
/// the task is told by its sender and ends.
pub(crate) fn streamed<T, F>(
    method: &'static str,
    work: impl FnOnce(Sender<T>) -> F + Send + 'static,
) -> Result<Response<Answers<T>>, Status>
where
    T: Send + 'static,
    F: Future<Output = Result<(), Problem>> + Send,
{
    let (answers, stream) = mpsc::channel(ANSWERS_AHEAD);
    tokio::spawn(async move {
        let outcome = work(Sender {
            answers: answers.clone(),
        })
        .await;
        count(method, outcome.as_ref().err());
        if let Err(problem) = outcome {
            // The reader may be gone; then nobody wants to know.
            let _ = answers.send(Err(problem)).await;
        }
    });
    let stream = ReceiverStream::new(stream);
    Ok(Response::new(Box::pin(stream.map(|answer| {
        answer.map_err(|problem| proto::problem::status(&problem))
    }))))
}

/// Where a streaming handler puts its answers.
pub(crate) struct Sender<T> {
    answers: mpsc::Sender<Result<T, Problem>>,
}

/// The reader has gone away: whoever hears it stops working for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

impl<T> Sender<T> {
    /// Sends one answer, waiting for a slow reader.
    pub(crate) async fn send(&self, answer: T) -> Result<(), Gone> {
        self.answers.send(Ok(answer)).await.map_err(|_| Gone)
    }

    /// Waits until the reader has gone away.
    pub(crate) async fn gone(&self) {
        self.answers.closed().await;
    }
}

fn count(method: &'static str, problem: Option<&Problem>) {
    let code = problem.map_or("OK", |problem| problem.code.as_str());
    metrics::counter!("scan_calls_total", "method" => method, "code" => code).increment(1);
    if let Some(problem) = problem {
        tracing::debug!(method, code, cause = problem.message, "call refused");
    }
}
