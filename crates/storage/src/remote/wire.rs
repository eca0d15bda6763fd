//! Between object_store and its HTTP client: the gate, what is sent again and how often, and the faults of a test.
//!
//! Called for every request to a store that is not a folder; object_store's own retries are off. What an answer means for an
//! object is decided above: a put that must create is never sent twice where the first may have been carried out unseen.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{Method, StatusCode, header};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService, ReqwestConnector,
};

use super::gate::{Gate, Outcome};
use crate::faults::{Fault, Injector, SLOW};

/// Attempts at one request: the waits between them come to about three seconds, within which a store's hiccup is over.
pub(crate) const ATTEMPTS_MAX: u32 = 6;

/// Within which part of the longest silence the first byte of an answer comes: a store that is there begins within a second. What was sent into a
/// way that was cut is sent again over another connection then, and not when the lost packets would be, up to half a minute later.
const BEGINS_WITHIN: u32 = 4;

/// Least time for it, where the longest silence is no shorter: a busy store on a slow link.
const BEGINS_LEAST: Duration = Duration::from_secs(5);

/// Bytes of a request that a slow link takes in a second; an answer begins once all have arrived.
const SENT_PER_S: usize = 128 * 1024;

/// Makes wires.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) gate: Arc<Gate>,
    pub(super) injector: Option<Arc<Injector>>,
    pub(super) silence: Duration,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Wire {
            client,
            gate: self.gate.clone(),
            injector: self.injector.clone(),
            silence: self.silence,
        }))
    }
}

/// One client with its gate.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) client: HttpClient,
    pub(super) gate: Arc<Gate>,
    pub(super) injector: Option<Arc<Injector>>,
    /// Longest wait at the gate.
    pub(super) silence: Duration,
}

type Answer = Result<HttpResponse, HttpError>;

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Answer {
        let kind = Kind::of(&request);
        let mut attempt = 1;
        loop {
            let answer = self.once(request.clone(), kind).await;
            if attempt == ATTEMPTS_MAX || !kind.is_worth_another(&answer) {
                return answer;
            }
            tokio::time::sleep(self.gate.wait(attempt)).await;
            attempt += 1;
        }
    }
}

impl Wire {
    async fn once(&self, request: HttpRequest, kind: Kind) -> Answer {
        let late = |_| timed_out("too many requests to this store wait");
        let permit = tokio::time::timeout(self.silence, self.gate.enter())
            .await
            .map_err(late)?;
        let answer = match self.injector.as_ref().and_then(|injector| injector.draw()) {
            Some(fault) => self.send_with(fault, request, kind).await,
            None => self.send(request, kind).await,
        };
        permit.done(outcome(&answer));
        answer
    }

    /// Sends a request, and gives it up where its answer does not begin.
    async fn send(&self, request: HttpRequest, kind: Kind) -> Answer {
        let Some(within) = self.begins_within(&request, kind) else {
            return self.client.execute(request).await;
        };
        let answer = tokio::time::timeout(within, self.client.execute(request)).await;
        answer.unwrap_or_else(|_| Err(timed_out("the answer did not begin in time")))
    }

    /// How long the begin of an answer may take; no time of its own where the store first does what takes long, such as to copy or to put
    /// pieces together.
    fn begins_within(&self, request: &HttpRequest, kind: Kind) -> Option<Duration> {
        let copies = |name: &http::HeaderName| name.as_str().ends_with("copy-source");
        if kind == Kind::Once || request.headers().keys().any(copies) {
            return None;
        }
        let begins = (self.silence / BEGINS_WITHIN)
            .max(BEGINS_LEAST)
            .min(self.silence);
        let seconds = request.body().content_length() / SENT_PER_S;
        Some(begins + Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX)))
    }

    /// Sends a request through a fault. One that does not fit the request is none.
    async fn send_with(&self, fault: Fault, request: HttpRequest, kind: Kind) -> Answer {
        metrics::counter!("trackscan_storage_faults_total", "fault" => fault.as_str()).increment(1);
        match (fault, kind) {
            (Fault::Unavailable, _) => Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown")),
            (Fault::Denied, _) => Ok(refusal(StatusCode::FORBIDDEN, "AccessDenied")),
            (Fault::Conflict, Kind::Create) => {
                Ok(refusal(StatusCode::CONFLICT, "ConditionalRequestConflict"))
            }
            (Fault::Full, Kind::Create | Kind::Write) => Ok(refusal(
                StatusCode::INSUFFICIENT_STORAGE,
                "XMinioStorageFull",
            )),
            (Fault::LostBefore, _) => {
                Err(timed_out("no answer, by a fault that is made on purpose"))
            }
            (Fault::LostAfter, _) => {
                let _lost = self.client.execute(request).await;
                Err(timed_out(
                    "the answer was lost, by a fault that is made on purpose",
                ))
            }
            (Fault::Slow, _) => {
                tokio::time::sleep(SLOW).await;
                self.client.execute(request).await
            }
            (Fault::Truncated, Kind::Read) => {
                changed(self.client.execute(request).await?, cut).await
            }
            (Fault::Flipped, Kind::Read) => {
                changed(self.client.execute(request).await?, |bytes| flip(bytes)).await
            }
            (
                Fault::Conflict
                | Fault::Full
                | Fault::Truncated
                | Fault::Flipped
                | Fault::ConditionIgnored,
                _,
            ) => self.client.execute(request).await,
        }
    }
}

/// What a request does, as far as sending it again is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Gives bytes.
    Read,
    /// Puts an object that must not be there.
    Create,
    /// May be carried out twice.
    Write,
    /// May not, such as the beginning of an upload in pieces.
    Once,
}

impl Kind {
    fn of(request: &HttpRequest) -> Self {
        let headers = request.headers();
        let conditions = ["if-none-match", "if-match", "x-goog-if-generation-match"];
        let conditional = conditions.iter().any(|name| headers.contains_key(*name));
        match *request.method() {
            Method::GET => Self::Read,
            Method::PUT if conditional => Self::Create,
            Method::HEAD | Method::PUT | Method::DELETE => Self::Write,
            _ => Self::Once,
        }
    }

    fn is_worth_another(self, answer: &Answer) -> bool {
        match answer {
            // Where a refusal hides that the request was carried out, a second create finds its own object, which is settled above.
            Ok(answer) => {
                is_throttle(answer.status()) || (is_trouble(answer.status()) && self != Self::Once)
            }
            Err(error) => {
                let unsent = error.kind() == HttpErrorKind::Connect;
                unsent || (is_lost(error.kind()) && matches!(self, Self::Read | Self::Write))
            }
        }
    }
}

/// Whether nobody knows if the request was carried out.
fn is_lost(kind: HttpErrorKind) -> bool {
    matches!(
        kind,
        HttpErrorKind::Request | HttpErrorKind::Timeout | HttpErrorKind::Interrupted
    )
}

fn is_throttle(status: StatusCode) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS
}

fn is_trouble(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::GATEWAY_TIMEOUT
            | StatusCode::REQUEST_TIMEOUT
    )
}

fn outcome(answer: &Answer) -> Outcome {
    match answer {
        Ok(answer) if is_throttle(answer.status()) => Outcome::Throttled,
        Ok(answer) if is_trouble(answer.status()) => Outcome::Failed,
        Ok(_) => Outcome::Served,
        Err(error) if error.kind() == HttpErrorKind::Timeout => Outcome::Silent,
        Err(_) => Outcome::Failed,
    }
}

fn timed_out(what: &'static str) -> HttpError {
    HttpError::new(
        HttpErrorKind::Timeout,
        std::io::Error::new(std::io::ErrorKind::TimedOut, what),
    )
}

/// A refusal as S3 words it.
fn refusal(status: StatusCode, code: &str) -> HttpResponse {
    let text = format!(
        "<Error><Code>{code}</Code><Message>a fault that is made on purpose</Message></Error>"
    );
    let mut response = HttpResponse::new(HttpResponseBody::from(text));
    *response.status_mut() = status;
    response
}

/// The answer with another body. Its headers stay, since such a store would not know.
async fn changed(answer: HttpResponse, change: fn(&mut Vec<u8>)) -> Answer {
    if !answer.status().is_success() {
        return Ok(answer);
    }
    let (mut parts, body) = answer.into_parts();
    let mut bytes = body.bytes().await?.to_vec();
    change(&mut bytes);
    parts.headers.remove(header::TRANSFER_ENCODING);
    Ok(HttpResponse::from_parts(
        parts,
        HttpResponseBody::from(bytes),
    ))
}

fn cut(bytes: &mut Vec<u8>) {
    bytes.truncate(bytes.len() / 2);
}

fn flip(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
}

#[cfg(test)]
mod tests;
