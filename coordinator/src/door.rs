//! The one place where a call finds whom to ask. While this process leads, every call goes to the services of its reign. While it follows, those
//! that rest on stored records alone go to the services over its mirror, once that shows all that was stored before the call; every
//! other is told who leads, or what keeps anybody from it. It decides nothing else and reads no message.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::service::Routes;
use types::{Code, Problem};

use crate::app::App;
use crate::handlers::lobby_routes;
use crate::led::Led;
use crate::ready::Ready;

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

/// Answered at once, be the mirror as it may, and also where nobody is inside.
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
    lobby: Routes,
    led: Led,
}

impl Door {
    /// A door, and by what it is changed who is inside.
    pub(crate) fn new(inside: Inside, led: Led, ready: Ready) -> (watch::Sender<Inside>, Self) {
        let (sender, inside) = watch::channel(inside);
        let lobby = lobby_routes(led.clone(), ready);
        (sender, Self { inside, lobby, led })
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
        let (mut lobby, led) = (self.lobby.clone(), self.led.clone());
        Box::pin(async move {
            let path = request.uri().path();
            match inside {
                Inside::Nobody if method(path) == Some(WHO_LEADS) => lobby.call(request).await,
                Inside::Nobody => Ok(pointed(&absent(), &led)),
                Inside::Leads(mut routes) => routes.call(request).await,
                Inside::Follows(mut routes, app) => match followed(&app, path).await {
                    Ok(()) => routes.call(request).await,
                    Err(problem) => Ok(pointed(&problem, &led)),
                },
            }
        })
    }
}

/// The method of ours that a path names.
fn method(path: &str) -> Option<&str> {
    path.strip_prefix(OURS)
}

/// Whether a follower answers the call, once it can; else what was attempted, and why it cannot.
async fn followed(app: &App, path: &str) -> Result<(), Problem> {
    let Some(method) = method(path) else {
        return Ok(());
    };
    if !FROM_RECORDS.contains(&method) {
        let said = "ask a coordinator that does not lead for what only the leader does";
        return Err(Problem::new(Code::NotLeader, said));
    }
    if method == WHO_LEADS {
        return Ok(());
    }
    app.catch_up().await.map_err(|problem| {
        tracing::debug!(code = %problem.code, cause = problem.message, "a follower does not answer");
        let said = format!("read from a coordinator that does not lead: {}", problem.message);
        Problem::new(problem.code, said)
    })
}

fn absent() -> Problem {
    let said = "ask a coordinator that is about to follow";
    Problem::new(Code::NotLeader, said)
}

/// The answer that names the leader, where one is known, and else what keeps anybody from leading.
fn pointed(problem: &Problem, led: &Led) -> Response<Body> {
    let leader = led.leader().map(|leader| leader.address);
    let leader = leader.filter(|address| !address.is_empty());
    let (code, status) = match (leader, hindrance(problem, led)) {
        (None, Some(why)) => (why.code, proto::problem::nobody_leads(&why)),
        (leader, _) => {
            let status = proto::problem::not_leader(&problem.message, leader.as_deref());
            (Code::NotLeader, status)
        }
    };
    metrics::counter!("scan_calls_pointed_total", "code" => code.as_str()).increment(1);
    status.into_http()
}

/// What kept this call from its answer, or keeps anybody from leading.
fn hindrance(problem: &Problem, led: &Led) -> Option<Problem> {
    if problem.code != Code::NotLeader {
        return Some(problem.clone());
    }
    let why = led.why()?;
    let said = format!("{}: nobody leads: {}", problem.message, why.message);
    Some(Problem::new(why.code, said))
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

    fn answered(problem: &Problem, led: &Led) -> (Option<Code>, Option<String>) {
        let answer = pointed(problem, led);
        let status = tonic::Status::from_header_map(answer.headers()).unwrap();
        (
            proto::problem::code(&status),
            proto::problem::leader(&status),
        )
    }

    #[test]
    fn a_call_is_pointed_to_the_leader_and_else_told_what_keeps_anybody_from_leading() {
        let (led, nowhere) = (Led::default(), Some(String::new()));
        let unread = Problem::new(Code::StoreUnavailable, "read: it is gone");
        let asked = absent();
        assert_eq!(
            answered(&asked, &led),
            (Some(Code::NotLeader), nowhere.clone())
        );
        assert_eq!(
            answered(&unread, &led),
            (Some(Code::StoreUnavailable), nowhere.clone())
        );
        led.nobody(&Problem::new(Code::StoreFull, "lead: no space"));
        assert_eq!(answered(&asked, &led), (Some(Code::StoreFull), nowhere));
        led.here(types::Epoch(7), "http://a:1");
        for problem in [asked, unread] {
            let pointed = (Some(Code::NotLeader), Some("http://a:1".to_owned()));
            assert_eq!(answered(&problem, &led), pointed);
        }
    }
}
