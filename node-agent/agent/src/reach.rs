//! The way to the coordinator that leads: which address a call goes to, and where it goes next when nobody answers there or whoever answers
//! points elsewhere. Used by the gRPC client for every call; it reads no answer but that.
//!
//! A call goes to several addresses within one deadline. That is no harm: the coordinator takes each call once, however often it comes.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_core::CallError;
use proto::leader::Coordinators;
use proto::v1::agents_client::AgentsClient;
use tokio::time::{Instant, timeout_at};
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};
use types::{Digest, NodeId};

/// Longest wait for an answer: two beats and a half, so that a lost call costs a beat and not the grant.
const CALL_DEADLINE: Duration = Duration::from_secs(5);
/// Longest wait for a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// An idle connection is asked for a sign of life so often, so that a dead one is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Largest answer: 16,384 tracks in ranges, and 64 grants with their jobs, stay far below.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest rest when no address had a leader: nodes rest for times of their own below it, so that a new leader is not met by all at once,
/// and it is little beside the times after which the core asks again.
const REST_MAX_MS: u64 = 250;

type Client = AgentsClient<Channel>;

/// The way. Copies are one and the same.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    node: NodeId,
    rests: Arc<AtomicU64>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    known: Coordinators,
    address: String,
    client: Client,
}

/// What an answer comes to.
enum Heard<T> {
    /// What the leader says.
    Answer(Result<T, CallError>),
    /// Another address may have it.
    Elsewhere,
    /// No address has it now.
    Nowhere,
}

impl Reach {
    /// A way that connects with its first call, and again whenever it must.
    ///
    /// # Errors
    /// When an address is none.
    pub(crate) fn new(known: Coordinators, node: NodeId) -> Result<Self, tonic::transport::Error> {
        let address = known.current().to_owned();
        let client = client(&address)?;
        let state = State {
            known,
            address,
            client,
        };
        Ok(Self {
            node,
            rests: Arc::default(),
            state: Arc::new(Mutex::new(state)),
        })
    }

    /// Makes a call, wherever the leader is, within one deadline.
    pub(crate) async fn ask<T, F>(
        &self,
        call: &'static str,
        send: impl Fn(Client) -> F + Send + Sync,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<Response<T>, Status>> + Send,
        T: Send,
    {
        let over = Instant::now() + CALL_DEADLINE;
        let tries = self.state().known.tries();
        for _ in 0..tries {
            let (address, client) = self.state().current();
            let answer = timeout_at(over, send(client)).await;
            let late = |_| Err(Status::deadline_exceeded("no answer in time"));
            let heard = self
                .state()
                .heard(call, &address, answer.unwrap_or_else(late));
            match heard {
                Heard::Answer(answer) => return answer,
                Heard::Elsewhere if Instant::now() < over => {}
                Heard::Elsewhere | Heard::Nowhere => break,
            }
        }
        tokio::time::sleep(self.rest()).await;
        Err(CallError::Unanswered)
    }

    /// A time of this node's own, another each time.
    fn rest(&self) -> Duration {
        let rests = self.rests.fetch_add(1, Ordering::Relaxed);
        let drawn = Digest::of(format!("{} {rests}", self.node).as_bytes());
        let drawn = u64::from_str_radix(&drawn.short(), 16).unwrap_or_default();
        Duration::from_millis(drawn % REST_MAX_MS)
    }

    /// Each change of the state is whole or not begun, so that a panic elsewhere leaves it sound.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn current(&self) -> (String, Client) {
        (self.address.clone(), self.client.clone())
    }

    /// What the answer of an address comes to. A refusal is one only if the coordinator itself gave its code: a status without our
    /// details is the transport's or a proxy's, and says nothing about what became of the call.
    fn heard<T>(
        &mut self,
        call: &'static str,
        from: &str,
        answer: Result<Response<T>, Status>,
    ) -> Heard<T> {
        let status = match answer {
            Ok(answer) => {
                self.known.answered();
                return Heard::Answer(Ok(answer.into_inner()));
            }
            Err(status) => status,
        };
        if let Some(leader) = proto::problem::leader(&status) {
            let why = status.message();
            tracing::debug!(
                call,
                from,
                leader,
                why,
                "another coordinator leads, or none"
            );
            let more = self.known.does_not_lead(from, &leader);
            return self.go_on(from, more);
        }
        let stated = !status.details().is_empty();
        match proto::problem::code(&status).filter(|_| stated) {
            Some(code) => {
                tracing::warn!(call, %code, cause = status.message(), "refused by the coordinator");
                Heard::Answer(Err(CallError::Refused(code)))
            }
            None => {
                tracing::debug!(call, from, status = %status, "no answer from the coordinator");
                self.known.failed(from);
                self.go_on(from, true)
            }
        }
    }

    /// Follows what is known to where the next call goes.
    fn go_on<T>(&mut self, from: &str, more: bool) -> Heard<T> {
        if self.address != self.known.current() {
            let to = self.known.current().to_owned();
            match client(&to) {
                Ok(client) => (self.address, self.client) = (to, client),
                Err(_) => self.known.failed(&to),
            }
        }
        match more && self.address != from {
            true => Heard::Elsewhere,
            false => Heard::Nowhere,
        }
    }
}

fn client(address: &str) -> Result<Client, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(address.to_owned())?
        .connect_timeout(CONNECT_DEADLINE)
        .timeout(CALL_DEADLINE)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(CALL_DEADLINE)
        .tcp_nodelay(true);
    Ok(AgentsClient::new(endpoint.connect_lazy()).max_decoding_message_size(ANSWER_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{Code, Problem};

    fn reach(addresses: &str) -> Reach {
        let known = Coordinators::parse("coordinator", addresses).unwrap();
        Reach::new(known, NodeId::new("n").unwrap()).unwrap()
    }

    /// Asks those who answer so: by address, where they point; others are silent.
    async fn ask(
        reach: &Reach,
        points: &[(&str, &str)],
        leader: &str,
    ) -> Result<String, CallError> {
        let at = reach.clone();
        reach
            .ask("Test", |_| {
                let from = at.state().address.clone();
                let answer = match points.iter().find(|(address, _)| *address == from) {
                    _ if from == leader => Ok(Response::new(from)),
                    Some((_, to)) => Err(proto::problem::not_leader("test", Some(to))),
                    None => Err(Status::unavailable("silence")),
                };
                async move { answer }
            })
            .await
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_finds_the_leader_behind_a_dead_address_and_a_pointer() {
        let reach = reach("a:1,b:1");
        let answer = ask(&reach, &[("http://b:1", "http://c:1")], "http://c:1").await;
        assert_eq!(answer.as_deref(), Ok("http://c:1"));
        let (address, _) = reach.state().current();
        assert_eq!(address, "http://c:1", "the next call goes there at once");
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_leads_a_call_ends_unanswered_and_the_next_one_looks_again() {
        let reach = reach("a:1,b:1");
        let circle = [("http://a:1", "http://b:1"), ("http://b:1", "http://a:1")];
        assert_eq!(ask(&reach, &circle, "").await, Err(CallError::Unanswered));
        assert_eq!(ask(&reach, &[], "").await, Err(CallError::Unanswered));
        let found = ask(&reach, &circle, "http://b:1").await;
        assert_eq!(found.as_deref(), Ok("http://b:1"));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_says_why_nobody_leads_is_left_for_another_and_what_a_leader_says_of_its_store_stands()
     {
        let (reach, gone) = (
            reach("a:1,b:1"),
            Problem::new(Code::StoreUnavailable, "gone"),
        );
        let at = reach.clone();
        let found = reach.ask("Test", |_| {
            let from = at.state().address.clone();
            let answer = match from == "http://a:1" {
                true => Err(proto::problem::nobody_leads(&gone)),
                false => Ok(Response::new(from)),
            };
            async move { answer }
        });
        assert_eq!(found.await.as_deref(), Ok("http://b:1"));
        let refused = reach.ask("Test", |_| {
            let answer: Result<Response<()>, Status> = Err(proto::problem::status(&gone));
            async move { answer }
        });
        let expected = Err(CallError::Refused(Code::StoreUnavailable));
        assert_eq!(refused.await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn nodes_rest_for_times_of_their_own() {
        let reach = reach("a:1");
        let rests: std::collections::BTreeSet<Duration> = (0..8).map(|_| reach.rest()).collect();
        assert!(rests.len() > 1);
        assert!(
            rests
                .iter()
                .all(|rest| *rest < Duration::from_millis(REST_MAX_MS))
        );
    }
}
