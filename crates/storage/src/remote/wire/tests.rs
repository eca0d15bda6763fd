//! The wire against servers of the imagination, in paused time: what is sent again, what is not, and how much gets through a storm.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::*;
use crate::faults::Faults;

/// A server that the test looks into while the wire has it.
#[derive(Debug)]
struct Shared<T>(Arc<T>);

/// What happens to one request.
#[derive(Clone, Copy, Debug)]
enum Reply {
    Status(u16),
    Lost(HttpErrorKind),
    /// Nothing, for ever.
    Silence,
}

/// Replies in order, then 200.
#[derive(Debug, Default)]
struct Script {
    replies: Mutex<VecDeque<Reply>>,
    asked: AtomicU64,
}

#[async_trait]
impl HttpService for Shared<Script> {
    async fn call(&self, _: HttpRequest) -> Answer {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        let reply = self
            .0
            .replies
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(Reply::Status(200));
        match reply {
            Reply::Status(status) => {
                let mut response = HttpResponse::new(HttpResponseBody::from("body".to_owned()));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                Ok(response)
            }
            Reply::Lost(kind) => Err(HttpError::new(kind, std::io::Error::other("lost"))),
            Reply::Silence => std::future::pending().await,
        }
    }
}

fn wire(service: impl HttpService, faults: Option<&str>) -> Wire {
    Wire {
        client: HttpClient::new(service),
        gate: Arc::new(Gate::new("test", 1)),
        injector: faults.map(|text| Arc::new(Injector::new(Faults::parse(text).unwrap()))),
        silence: Duration::from_secs(30),
    }
}

fn request(method: Method, condition: Option<&'static str>) -> HttpRequest {
    let mut request = http::Request::builder().method(method).uri("http://h/k");
    if let Some(name) = condition {
        request = request.header(name, "*");
    }
    request.body("body".to_owned().into()).unwrap()
}

/// Sends a request against these replies; gives the status of the answer, if one came, and how often it was sent.
async fn sent(
    method: Method,
    condition: Option<&'static str>,
    replies: &[Reply],
) -> (Option<u16>, u64) {
    let script = Arc::new(Script {
        replies: Mutex::new(replies.iter().copied().collect()),
        asked: AtomicU64::new(0),
    });
    let answer = wire(Shared(script.clone()), None)
        .call(request(method, condition))
        .await;
    let status = answer.ok().map(|answer| answer.status().as_u16());
    (status, script.asked.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_now_is_sent_again_whatever_it_asks_for_and_not_for_ever() {
    for (method, condition) in [
        (Method::GET, None),
        (Method::PUT, None),
        (Method::PUT, Some("if-none-match")),
        (Method::POST, None),
    ] {
        let throttled = [Reply::Status(503), Reply::Status(429)];
        assert_eq!(
            sent(method.clone(), condition, &throttled).await,
            (Some(200), 3)
        );
        let always = [Reply::Status(503); 100];
        let (status, count) = sent(method, condition, &always).await;
        assert_eq!((status, count), (Some(503), ATTEMPTS_MAX.into()));
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_carried_out_unseen_is_sent_again_only_where_twice_is_once() {
    let lost = [Reply::Lost(HttpErrorKind::Timeout)];
    assert_eq!(sent(Method::GET, None, &lost).await, (Some(200), 2));
    assert_eq!(sent(Method::PUT, None, &lost).await, (Some(200), 2));
    assert_eq!(sent(Method::DELETE, None, &lost).await, (Some(200), 2));
    for condition in ["if-none-match", "if-match", "x-goog-if-generation-match"] {
        assert_eq!(
            sent(Method::PUT, Some(condition), &lost).await,
            (None, 1),
            "{condition}"
        );
    }
    assert_eq!(sent(Method::POST, None, &lost).await, (None, 1));
    let unsent = [Reply::Lost(HttpErrorKind::Connect)];
    assert_eq!(sent(Method::POST, None, &unsent).await, (Some(200), 2));
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_answer_does_not_begin_is_sent_again_long_before_a_body_would_be_given_up()
{
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
        let begun = Instant::now();
        let (status, count) = sent(method, None, &[Reply::Silence]).await;
        assert_eq!((status, count), (Some(200), 2));
        assert!(begun.elapsed() < Duration::from_secs(30) / 3);
    }
}

#[test]
fn what_a_store_takes_long_for_has_its_time() {
    let wire = wire(Shared(Arc::new(Script::default())), None);
    let within = |request: HttpRequest| {
        let kind = Kind::of(&request);
        wire.begins_within(&request, kind)
    };
    assert_eq!(within(request(Method::POST, None)), None);
    let copy = request(Method::PUT, Some("x-amz-copy-source"));
    assert_eq!(within(copy), None);
    let put = |bytes: usize| {
        let request = http::Request::builder()
            .method(Method::PUT)
            .uri("http://h/k");
        within(request.body(vec![0_u8; bytes].into()).unwrap())
    };
    let more = Duration::from_secs(80);
    assert_eq!(put(10 << 20), put(0).map(|least| least + more));
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_the_object_is_no_trouble_and_sent_once() {
    for status in [200, 206, 403, 404, 409, 412, 416] {
        let reply = [Reply::Status(status)];
        assert_eq!(
            sent(Method::PUT, Some("if-none-match"), &reply).await,
            (Some(status), 1)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn faults_do_to_a_request_what_their_names_say() {
    for (fault, method, condition, expected, asked) in [
        ("unavailable", Method::GET, None, Some(503), 0),
        ("denied", Method::GET, None, Some(403), 0),
        ("conflict", Method::PUT, Some("if-none-match"), Some(409), 0),
        ("conflict", Method::GET, None, Some(200), 1),
        ("full", Method::PUT, None, Some(507), 0),
        ("lost-before", Method::POST, None, None, 0),
        ("lost-after", Method::POST, None, None, 1),
        ("slow", Method::GET, None, Some(200), 1),
        ("truncated", Method::GET, None, Some(200), 1),
    ] {
        let script = Arc::new(Script::default());
        let wire = wire(Shared(script.clone()), Some(&format!("{fault}:1")));
        let answer = wire.call(request(method, condition)).await;
        let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
        assert_eq!(
            (status, script.asked.load(Ordering::Relaxed)),
            (expected, asked),
            "{fault}"
        );
    }
    for (fault, expected) in [("truncated", "bo"), ("flipped", "boey")] {
        let wire = wire(
            Shared(Arc::new(Script::default())),
            Some(&format!("{fault}:1")),
        );
        let answer = wire.call(request(Method::GET, None)).await.unwrap();
        assert_eq!(
            answer.into_body().bytes().await.unwrap(),
            expected,
            "{fault}"
        );
    }
}

/// A server that serves so many requests in each span, each after a while, and refuses the rest at once.
#[derive(Debug)]
struct Limited {
    per_span: u64,
    /// The span that counts at this moment, and how many it has had.
    window: Mutex<(u64, u64)>,
    begun: Instant,
    served: AtomicU64,
}

const SPAN: Duration = Duration::from_millis(100);
const SERVICE: Duration = Duration::from_millis(30);

#[async_trait]
impl HttpService for Shared<Limited> {
    async fn call(&self, _: HttpRequest) -> Answer {
        let span = (self.0.begun.elapsed().as_millis() / SPAN.as_millis()) as u64;
        let admitted = {
            let mut window = self.0.window.lock().unwrap();
            if window.0 != span {
                *window = (span, 0);
            }
            window.1 += 1;
            window.1 <= self.0.per_span
        };
        let mut response = HttpResponse::new(HttpResponseBody::from(String::new()));
        match admitted {
            true => {
                tokio::time::sleep(SERVICE).await;
                self.0.served.fetch_add(1, Ordering::Relaxed);
            }
            false => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
        }
        Ok(response)
    }
}

/// Share of what a server allows that many clients get through, whom it refuses whatever is more.
async fn share_of(per_span: u64, clients: usize) -> f64 {
    let server = Arc::new(Limited {
        per_span,
        window: Mutex::default(),
        begun: Instant::now(),
        served: AtomicU64::new(0),
    });
    let wire = Arc::new(wire(Shared(server.clone()), None));
    let spans = 400;
    let end = server.begun + SPAN * spans;
    let client = |_| {
        let wire = wire.clone();
        tokio::spawn(async move {
            while Instant::now() < end {
                let _refused_in_the_end = wire.call(request(Method::GET, None)).await;
            }
        })
    };
    let clients: Vec<_> = (0..clients).map(client).collect();
    for client in clients {
        client.await.unwrap();
    }
    server.served.load(Ordering::Relaxed) as f64 / (per_span * u64::from(spans)) as f64
}

#[tokio::test(start_paused = true)]
async fn in_a_storm_of_refusals_at_least_seven_tenths_of_what_is_allowed_get_through() {
    for (per_span, clients) in [(5, 64), (20, 64), (100, 200)] {
        let share = share_of(per_span, clients).await;
        assert!(
            share >= 0.7,
            "{share:.3} of {per_span} in a span with {clients} clients"
        );
    }
}
