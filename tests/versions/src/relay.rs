//! A relay for gRPC that hands every call on and writes down what passes: method, request, answers, status. It changes nothing and knows
//! no message. Used by `versions-record`.

use anyhow::Result;
use http_body_util::{BodyExt, Full};
use proto::v1;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::codegen::{BoxFuture, Service, StdError};
use tonic::server::NamedService;
use tonic::transport::{Channel, Endpoint, Server};

/// Bytes before each message on the wire: one that says whether it is compressed, and its length.
const FRAME_HEAD: usize = 5;

/// One call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// Such as `/trackscan.v1.Agents/Join`.
    pub method: String,
    /// The request's bytes, hex.
    pub request: String,
    /// The bytes of each answer, hex; none where the call failed.
    pub answers: Vec<String>,
    /// gRPC's number of how it ended; absent where it was given up.
    pub status: Option<u32>,
}

/// A call as it passes.
#[derive(Default)]
struct Passing {
    method: String,
    request: Vec<u8>,
    answers: Vec<u8>,
    status: Option<u32>,
}

/// What has passed. Copies are one and the same.
#[derive(Clone, Default)]
pub struct Book(Arc<Mutex<Vec<Passing>>>);

impl Book {
    /// Every call so far, in the order in which they began.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        let calls = self.calls();
        let exchange = |call: &Passing| Exchange {
            method: call.method.clone(),
            request: messages(&call.request).concat(),
            answers: messages(&call.answers),
            status: call.status,
        };
        calls.iter().map(exchange).collect()
    }

    /// Each change is whole or not begun, so that a panic elsewhere leaves them sound.
    fn calls(&self) -> MutexGuard<'_, Vec<Passing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, method: &str, request: &[u8]) -> usize {
        let mut calls = self.calls();
        calls.push(Passing {
            method: method.to_owned(),
            request: request.to_owned(),
            ..Passing::default()
        });
        calls.len() - 1
    }

    fn ends(&self, call: usize, headers: &HeaderMap) {
        let status = headers.get("grpc-status");
        let status = status.and_then(|value| value.to_str().ok()?.parse().ok());
        if let (Some(call), Some(status)) = (self.calls().get_mut(call), status) {
            call.status = Some(status);
        }
    }

    fn answers(&self, call: usize, data: &[u8]) {
        if let Some(call) = self.calls().get_mut(call) {
            call.answers.extend_from_slice(data);
        }
    }
}

/// The messages in the bytes of a stream, hex; what is cut off at its end is left out.
fn messages(mut bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(FRAME_HEAD) {
        let length = head[1..]
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let Some((message, rest)) = rest.split_at_checked(length) else {
            break;
        };
        found.push(hex::encode(message));
        bytes = rest;
    }
    found
}

/// One service's share of the relay.
struct Relay<S> {
    to: Channel,
    book: Book,
    service: PhantomData<fn() -> S>,
}

impl<S> Clone for Relay<S> {
    fn clone(&self) -> Self {
        Self {
            to: self.to.clone(),
            book: self.book.clone(),
            service: PhantomData,
        }
    }
}

impl<S: NamedService> NamedService for Relay<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Relay<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (to, book) = (self.to.clone(), self.book.clone());
        Box::pin(async move {
            let passed = pass(to, book, request).await;
            Ok(passed.unwrap_or_else(|why| Status::unavailable(why.to_string()).into_http()))
        })
    }
}

async fn pass(
    mut to: Channel,
    book: Book,
    request: Request<Body>,
) -> Result<Response<Body>, StdError> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let call = book.begin(parts.uri.path(), &body);
    poll_fn(|cx| to.poll_ready(cx)).await?;
    let answer = to
        .call(Request::from_parts(parts, Body::new(Full::new(body))))
        .await?;
    book.ends(call, answer.headers());
    Ok(answer.map(|body| {
        Body::new(body.map_frame(move |frame| {
            match (frame.data_ref(), frame.trailers_ref()) {
                (Some(data), _) => book.answers(call, data),
                (_, Some(trailers)) => book.ends(call, trailers),
                (None, None) => {}
            }
            frame
        }))
    }))
}

/// Serves on a free port of loopback until the runtime ends, and hands on to `to`.
///
/// # Errors
/// Where no port is free.
pub async fn serve(to: SocketAddr, book: Book) -> Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let at = listener.local_addr()?;
    let to = Endpoint::from_shared(format!("http://{to}"))?.connect_lazy();
    let server = Server::builder()
        .add_service(relay::<v1::admin_server::AdminServer<()>>(&to, &book))
        .add_service(relay::<v1::agents_server::AgentsServer<()>>(&to, &book))
        .add_service(relay::<v1::bundles_server::BundlesServer<()>>(&to, &book))
        .add_service(relay::<v1::catalogs_server::CatalogsServer<()>>(&to, &book))
        .add_service(relay::<v1::jobs_server::JobsServer<()>>(&to, &book))
        .add_service(relay::<v1::nodes_server::NodesServer<()>>(&to, &book))
        .add_service(relay::<v1::results_server::ResultsServer<()>>(&to, &book));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    Ok(at)
}

fn relay<S>(to: &Channel, book: &Book) -> Relay<S> {
    Relay {
        to: to.clone(),
        book: book.clone(),
        service: PhantomData,
    }
}
