//! The way to the coordinator that leads: a connection to one of the addresses given, which goes on to where a coordinator points that does not
//! lead. Every call of every command goes over it; none of them knows.
//!
//! A call is sent again only where it was certainly not acted on: the connection could not be made, or whoever was asked said
//! that another leads. One that broke off is told as it is, and the next one goes to another address.

use crate::failure::{Failure, problem};
use http_body_util::{BodyExt, Full};
use proto::leader::Coordinators;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response, Version, request};
use tonic::codegen::{BoxFuture, Bytes, Service, StdError};
use tonic::transport::{Channel, Endpoint, Error};
use types::{Code, Problem, chain};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence after which the coordinator is asked whether it is still there, between calls and while a stream waits too: a
/// machine that vanished says nothing, and a wait or an export would go on for ever.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long that answer may take: a busy coordinator gives it in milliseconds.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long whoever took a connection may take to say anything, where another may be asked: a process that is stopped takes connections, and a
/// busy coordinator answers in milliseconds.
const SIGN_WITHIN: Duration = Duration::from_secs(5);
/// What every coordinator answers at once, be it the leader or not.
const HEALTH: &str = "/grpc.health.v1.Health/Check";
/// The question there: a message that is not compressed and has no bytes.
const EMPTY_MESSAGE: &[u8] = &[0; 5];
/// How long a command waits for somebody to lead: above the time after which another coordinator leads in the place of one that was killed.
const LEADER_WAIT: Duration = Duration::from_secs(15);
/// Wait before coordinators are asked again of which none leads; doubles up to [`REST_MAX`].
const REST_FIRST: Duration = Duration::from_millis(100);
/// Longest such wait: a new leader is found soon.
const REST_MAX: Duration = Duration::from_secs(1);

/// The way. Copies are one and the same.
#[derive(Debug, Clone)]
pub(crate) struct Way(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    known: Coordinators,
    /// The connection, with its address.
    open: Option<(String, Channel)>,
}

impl Way {
    /// A way that connects when it is used.
    pub(crate) fn new(addresses: &str) -> Result<Self, Failure> {
        let known = Coordinators::parse("address", addresses);
        let known = known.map_err(|why| Failure::from(Problem::from(why)))?;
        Ok(Self(Arc::new(Mutex::new(State { known, open: None }))))
    }

    /// Connects to the first address that lets it.
    pub(crate) async fn connect(&self) -> Result<(), Failure> {
        let opened = self.reach().await;
        opened.map(drop).map_err(|(address, why)| {
            let cause = format!("could not connect to `{address}`: {}", chain(why.as_ref()));
            problem(Code::CoordinatorUnreachable, cause)
        })
    }

    /// Each change of the state is whole or not begun, so that a panic elsewhere leaves it sound.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection there is, or one to the next address that lets it; what the last one said where none does.
    async fn reach(&self) -> Result<(String, Channel), (String, StdError)> {
        let tries = self.state().known.tries();
        let mut tried = 1;
        loop {
            match self.open().await {
                Err((address, why)) => {
                    let same = {
                        let mut state = self.state();
                        state.known.failed(&address);
                        state.known.current() == address
                    };
                    if same || tried >= tries {
                        return Err((address, why));
                    }
                }
                opened => return opened,
            }
            tried += 1;
        }
    }

    async fn open(&self) -> Result<(String, Channel), (String, StdError)> {
        let (address, open, alone) = {
            let state = self.state();
            let address = state.known.current().to_owned();
            let open = state.open.clone().filter(|(open, _)| *open == address);
            (address, open, state.known.listed().len() == 1)
        };
        if let Some(open) = open {
            return Ok(open);
        }
        match connected(&address, alone).await {
            Ok(channel) => {
                let open = (address, channel);
                self.state().open = Some(open.clone());
                Ok(open)
            }
            Err(why) => Err((address, why)),
        }
    }

    async fn call(self, parts: request::Parts, body: Bytes) -> Result<Response<Body>, StdError> {
        let (mut rest, mut waited) = (REST_FIRST, Duration::ZERO);
        loop {
            let (address, mut channel) = self.reach().await.map_err(|(_, why)| why)?;
            let request = Request::from_parts(parts.clone(), Body::new(Full::new(body.clone())));
            let sent = async {
                poll_fn(|cx| channel.poll_ready(cx)).await?;
                channel.call(request).await
            };
            let answer = match sent.await {
                Ok(answer) => answer,
                Err(why) => {
                    self.broke_off(&address);
                    return Err(why.into());
                }
            };
            let Some(leader) = pointer(&answer) else {
                self.state().known.answered();
                return Ok(answer);
            };
            if self.state().known.does_not_lead(&address, &leader) {
                continue;
            }
            if waited >= LEADER_WAIT {
                return Ok(answer);
            }
            tokio::time::sleep(rest).await;
            waited += rest;
            rest = (rest * 2).min(REST_MAX);
        }
    }

    /// The next call goes elsewhere, where there is another address.
    fn broke_off(&self, address: &str) {
        let mut state = self.state();
        state.known.failed(address);
        state.open.take_if(|(open, _)| open == address);
    }
}

/// Where an answer points that is nothing else. Whoever does not lead says so before anything else, in the headers.
fn pointer(answer: &Response<Body>) -> Option<String> {
    let status = Status::from_header_map(answer.headers())?;
    proto::problem::leader(&status)
}

impl Service<Request<Body>> for Way {
    type Response = Response<Body>;
    type Error = StdError;
    type Future = BoxFuture<Response<Body>, StdError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let way = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            // A request is one message: what this process has in memory anyway.
            let body = body.collect().await?.to_bytes();
            way.call(parts, body).await
        })
    }
}

/// A connection with somebody at its other end. One who stands still takes it and says nothing; where there is nobody else to ask, he may
/// go on.
async fn connected(address: &str, alone: bool) -> Result<Channel, StdError> {
    let channel = endpoint(address)?.connect().await?;
    match alone || says_something(channel.clone()).await {
        true => Ok(channel),
        false => {
            Err(format!("whoever took the connection said nothing for {SIGN_WITHIN:?}").into())
        }
    }
}

/// Whether anything comes in time, be it that there is no such call.
async fn says_something(mut channel: Channel) -> bool {
    let question = Request::post(HEALTH)
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(Full::new(Bytes::from_static(EMPTY_MESSAGE))));
    let Ok(question) = question else {
        return true;
    };
    let answer = async {
        poll_fn(|cx| channel.poll_ready(cx)).await?;
        channel.call(question).await
    };
    tokio::time::timeout(SIGN_WITHIN, answer).await.is_ok()
}

/// A connection to one coordinator, be it the leader or not.
pub(crate) async fn straight(address: &str) -> Result<Channel, Failure> {
    let connected = async { endpoint(address)?.connect().await };
    connected.await.map_err(|why| {
        let cause = format!("could not connect to `{address}`: {}", chain(&why));
        problem(Code::CoordinatorUnreachable, cause)
    })
}

fn endpoint(address: &str) -> Result<Endpoint, Error> {
    let endpoint = Endpoint::from_shared(address.to_owned())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    Ok(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: Status) -> Response<Body> {
        status.into_http()
    }

    #[test]
    fn only_who_does_not_lead_points_elsewhere() {
        let at = "http://b:1";
        assert_eq!(
            pointer(&answer(proto::problem::not_leader("x", Some(at)))).as_deref(),
            Some(at)
        );
        assert_eq!(
            pointer(&answer(proto::problem::not_leader("x", None))).as_deref(),
            Some("")
        );
        let gone = Problem::new(Code::StoreUnavailable, "x");
        assert_eq!(
            pointer(&answer(proto::problem::nobody_leads(&gone))).as_deref(),
            Some("")
        );
        assert_eq!(pointer(&answer(proto::problem::status(&gone))), None);
        assert_eq!(pointer(&answer(Status::unavailable("x"))), None);
        assert_eq!(pointer(&Response::new(Body::empty())), None);
    }

    #[tokio::test]
    async fn where_nobody_lets_it_connect_the_last_address_is_named() {
        let way = Way::new("http://127.0.0.1:1,127.0.0.1:2").unwrap();
        let said = way.connect().await.unwrap_err().to_string();
        assert!(
            said.contains("COORDINATOR_UNREACHABLE") && said.contains("127.0.0.1:"),
            "{said}"
        );
        assert!(Way::new("ftp://a:1").is_err());
    }
}
