//! The members of the cluster: one connection each, one of them in use, and a deadline on every call.
//!
//! Every call of this backend goes through [`Members::call`]. It asks the member in use; when that one fails or is silent the call fails with
//! what is known of it, the connection is thrown away, and the calls after it go to the next member. A call is never repeated here: only
//! [`Members::read`] asks again, since reads change nothing.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use etcd_client::{
    Client, Error, GetResponse, LeaseGrantResponse, LeaseRevokeResponse, ResponseHeader,
    StatusResponse, TxnResponse,
};

use super::EtcdError;
use super::failure::{Class, Failure};
use super::settings::{EtcdSettings, READ_AGAIN_FOR, READ_DEADLINE, READ_PAUSE};

/// The members, and the cluster that they are.
pub(super) struct Members {
    settings: EtcdSettings,
    connections: Vec<Mutex<Option<Client>>>,
    /// Which member is in use.
    current: AtomicUsize,
    /// The cluster's number, once the first answer has said it.
    cluster: OnceLock<u64>,
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Members");
        shown.field("settings", &self.settings);
        shown.finish_non_exhaustive()
    }
}

/// An answer says which cluster gave it.
pub(super) trait Answer {
    /// The header that every answer of a server carries.
    fn header(&self) -> Option<&ResponseHeader>;
}

impl Answer for GetResponse {
    fn header(&self) -> Option<&ResponseHeader> {
        self.header()
    }
}

impl Answer for TxnResponse {
    fn header(&self) -> Option<&ResponseHeader> {
        self.header()
    }
}

impl Answer for LeaseGrantResponse {
    fn header(&self) -> Option<&ResponseHeader> {
        self.header()
    }
}

impl Answer for LeaseRevokeResponse {
    fn header(&self) -> Option<&ResponseHeader> {
        self.header()
    }
}

impl Answer for StatusResponse {
    fn header(&self) -> Option<&ResponseHeader> {
        self.header()
    }
}

/// A stream that has begun: its messages have headers of their own.
pub(super) struct Begun<T>(pub(super) T);

impl<T> Answer for Begun<T> {
    fn header(&self) -> Option<&ResponseHeader> {
        None
    }
}

/// Whether another member, or the same a little later, may do better: of several, one may have a certificate that has run out.
fn is_passing(failure: &Failure) -> bool {
    failure.of_member && failure.class != Class::Elsewhere
}

impl Members {
    pub(super) fn new(settings: EtcdSettings) -> Result<Self, EtcdError> {
        settings.check()?;
        settings.options()?;
        let connections = settings.endpoints.iter().map(|_| Mutex::new(None));
        Ok(Self {
            connections: connections.collect(),
            settings,
            current: AtomicUsize::new(0),
            cluster: OnceLock::new(),
        })
    }

    pub(super) const fn settings(&self) -> &EtcdSettings {
        &self.settings
    }

    /// The cluster's number; `None` before the first answer.
    pub(super) fn cluster(&self) -> Option<u64> {
        self.cluster.get().copied()
    }

    /// Which member is in use.
    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// Asks the member in use once, within a deadline.
    pub(super) async fn call<T: Answer, F>(
        &self,
        deadline: Duration,
        ask: impl FnOnce(Client) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.call_at(self.current(), deadline, ask).await
    }

    /// Asks one member once, within a deadline.
    pub(super) async fn call_at<T: Answer, F>(
        &self,
        member: usize,
        deadline: Duration,
        ask: impl FnOnce(Client) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let client = self.client(member).await;
        let client = client.map_err(|failure| self.failed(member, failure))?;
        let answered = tokio::time::timeout(deadline, ask(client)).await;
        let answer = match answered {
            Ok(Ok(answer)) => self.check_cluster(answer.header()).map(|()| answer),
            Ok(Err(error)) => Err(Failure::of(&error)),
            Err(_) => Err(Failure::new(
                Class::Unknown,
                format!("no answer within {deadline:?}"),
            )),
        };
        answer.map_err(|failure| self.failed(member, failure))
    }

    /// Asks for what changes nothing, of one member after the other where one fails, for at most [`READ_AGAIN_FOR`] and one attempt.
    pub(super) async fn read<T: Answer, F>(&self, ask: impl Fn(Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let begun = Instant::now();
        loop {
            match self.call(READ_DEADLINE, &ask).await {
                Err(failure) if is_passing(&failure) && begun.elapsed() < READ_AGAIN_FOR => {
                    tokio::time::sleep(READ_PAUSE).await;
                }
                ended => return ended,
            }
        }
    }

    /// Whether an answer came from the cluster that gave the first one.
    pub(super) fn check_cluster(&self, header: Option<&ResponseHeader>) -> Result<(), Failure> {
        let Some(header) = header else { return Ok(()) };
        let ours = *self.cluster.get_or_init(|| header.cluster_id());
        match header.cluster_id() == ours {
            true => Ok(()),
            false => Err(Failure::new(
                Class::Elsewhere,
                format!(
                    "etcd cluster {:x} answers where {ours:x} stood",
                    header.cluster_id()
                ),
            )),
        }
    }

    /// Leaves a member whose stream or call has failed: its connection is thrown away and the next member is in use.
    pub(super) fn leave(&self, member: usize) {
        *self.connection(member) = None;
        let next = (member + 1) % self.connections.len();
        let left =
            self.current
                .compare_exchange(member, next, Ordering::Relaxed, Ordering::Relaxed);
        if left.is_ok() && next != member {
            tracing::info!(
                from = %self.settings.endpoints[member],
                to = %self.settings.endpoints[next],
                "another etcd member is asked from here on"
            );
        }
    }

    fn failed(&self, member: usize, mut failure: Failure) -> Failure {
        if failure.of_member {
            self.leave(member);
            failure.cause = format!("etcd at `{}`: {}", self.endpoint(member), failure.cause);
        }
        failure
    }

    /// The address of a member.
    pub(super) fn endpoint(&self, member: usize) -> &str {
        &self.settings.endpoints[member]
    }

    fn connection(&self, member: usize) -> std::sync::MutexGuard<'_, Option<Client>> {
        // A connection is whole or not there, so that a panic elsewhere leaves it sound.
        let connection = self.connections[member].lock();
        connection.unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to a member, which is made when it is first used.
    async fn client(&self, member: usize) -> Result<Client, Failure> {
        if let Some(client) = &*self.connection(member) {
            return Ok(client.clone());
        }
        let not_made = |cause: String| Failure::new(Class::NotExecuted, cause);
        let options = self.settings.options();
        let options = options.map_err(|error| not_made(error.to_string()))?;
        let client = Client::connect([self.endpoint(member)], Some(options)).await;
        let client = client.map_err(|error| not_made(Failure::of(&error).cause))?;
        *self.connection(member) = Some(client.clone());
        Ok(client)
    }
}
