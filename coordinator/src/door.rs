//! The one place where a call finds whom to ask. While this process leads, every call goes to the services of its reign. While it follows, those
//! that rest on stored records alone go to the services over its mirror, once that shows all that was stored before the call; every
//! other is told who leads. It decides nothing else and reads no message.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::service::Routes;
use types::Code;

use crate::app::App;
use crate::led::Led;

/// What every path of ours begins with; health and reflection are answered by whoever is asked.
const OURS: &str = "/trackscan.v1.";

/// What is answered from stored records, and so by every coordinator. All else is the leader's: what writes, and what rests on what only it
/// knows, such as who was heard of when.
const FROM_RECORDS: [&str; 17] = [
    "Bundles/GetBundle",
    "Bundles/ListBundles",
    "Bundles/VerifyBundle",
    "Catalogs/GetCatalog",
    "Catalogs/ListCatalogs",
    "Catalogs/ListRejected",
    "Jobs/GetJob",
    "Jobs/ListJobs",
    "Jobs/WatchJob",
    "Nodes/ListRevocations",
    "Results/Export",
    "Results/GetRow",
    "Results/ListResults",
    "Results/ListRows",
    "Results/Summarize",
    "Results/Verify",
    WHO_LEADS,
];

/// Answered at once, be the mirror as it may.
const WHO_LEADS: &str = "Admin/GetLeader";

/// Who is inside.
#[derive(Clone)]
pub(crate) enum Inside {
    /// Nobody yet, or no more.
    Nobody,
    /// The services of a reign.
    Leads(Routes),
    /// The services over a mirror.
    Follows(Routes, Arc<App>),
}

/// The door, open as long as the server is. Clones are the same door.
#[derive(Clone)]
pub(crate) struct Door {
    inside: watch::Receiver<Inside>,
    led: Led,
}

impl Door {
    /// A door, and by what it is changed who is inside.
    pub(crate) fn new(inside: Inside, led: Led) -> (watch::Sender<Inside>, Self) {
        let (sender, inside) = watch::channel(inside);
        (sender, Self { inside, led })
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl Service<Request<Body>> for Door {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        let inside = self.inside.borrow().clone();
        let led = self.led.clone();
        Box::pin(async move {
            match inside {
                Inside::Nobody => Ok(pointed("ask a coordinator that is about to follow", &led)),
                Inside::Leads(mut routes) => routes.call(request).await,
                Inside::Follows(mut routes, app) => {
                    match followed(&app, request.uri().path()).await {
                        Ok(()) => routes.call(request).await,
                        Err(what) => Ok(pointed(&what, &led)),
                    }
                }
            }
        })
    }
}

/// Whether a follower answers the call, once it can; else what was attempted.
async fn followed(app: &App, path: &str) -> Result<(), String> {
    let Some(method) = path.strip_prefix(OURS) else {
        return Ok(());
    };
    if !FROM_RECORDS.contains(&method) {
        return Err(
            "ask a coordinator that does not lead for what only the leader does".to_owned(),
        );
    }
    if method == WHO_LEADS {
        return Ok(());
    }
    app.catch_up().await.map_err(|problem| {
        tracing::debug!(code = %problem.code, cause = problem.message, "a follower does not answer");
        format!("read from a coordinator that does not lead: {}", problem.message)
    })
}

/// The answer that names the leader, where one is known.
fn pointed(what: &str, led: &Led) -> Response<Body> {
    metrics::counter!("scan_calls_pointed_total", "code" => Code::NotLeader.as_str()).increment(1);
    let leader = led.leader().map(|leader| leader.address);
    let leader = leader.filter(|address| !address.is_empty());
    proto::problem::not_leader(what, leader.as_deref()).into_http()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::v1;

    #[test]
    fn what_is_answered_from_records_are_methods_of_the_contract() {
        let known = String::from_utf8_lossy(v1::DESCRIPTORS);
        for method in FROM_RECORDS {
            let (service, name) = method.split_once('/').unwrap();
            assert!(known.contains(service) && known.contains(name), "{method}");
        }
    }
}
