//! Calling the coordinator: deadlines on every call, and statuses turned into failures; which coordinator that is, `way` finds out. Used by all
//! commands that speak to a cluster; decides nothing.

use crate::args::Global;
use crate::failure::{Failure, problem};
use crate::way::{Way, straight};
use proto::v1;
use std::future::Future;
use std::time::Duration;
use types::{ActorId, Code, TenantId};

/// How long one call may take unless `--timeout` says otherwise for it: listings answer in milliseconds, so that half a
/// minute means that something is wrong.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Rows asked for at a time.
pub(crate) const PAGE_ROWS: u32 = 500;
/// Largest answer accepted: a page of rows with timelines stays well below.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// What one coordinator says of who leads, be it the leader or not; no other one is asked in its place.
pub(crate) async fn leader_at(
    global: Global,
    address: String,
) -> Result<v1::GetLeaderResponse, Failure> {
    let caller = Some(caller(&global)?);
    let mut admin = v1::admin_client::AdminClient::new(straight(&address).await?);
    let timeout = global.timeout.unwrap_or(CALL_TIMEOUT);
    let call = admin.get_leader(v1::GetLeaderRequest { caller });
    match tokio::time::timeout(timeout, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(late(timeout)),
    }
}

/// Refuses a tenant or an actor that makes no sense, before anybody is asked.
pub(crate) fn check_caller(global: &Global) -> Result<(), Failure> {
    caller(global).map(drop)
}

fn caller(global: &Global) -> Result<v1::Caller, Failure> {
    let tenant = TenantId::new(&global.tenant)
        .map_err(|why| problem(Code::InvalidRequest, why.to_string()))?;
    let actor = ActorId::new(&global.actor)
        .map_err(|why| problem(Code::InvalidRequest, why.to_string()))?;
    Ok(v1::Caller {
        tenant: tenant.into(),
        actor: actor.into(),
    })
}

fn late(timeout: Duration) -> Failure {
    problem(
        Code::DeadlineExceeded,
        format!("no answer within {timeout:?}"),
    )
}

/// A way to the coordinator and who speaks over it.
#[derive(Clone)]
pub(crate) struct Client {
    way: Way,
    caller: v1::Caller,
    timeout: Duration,
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(global: &Global) -> Result<Self, Failure> {
        Self::with_deadline(global, global.timeout.unwrap_or(CALL_TIMEOUT)).await
    }

    /// Connects for a command that waits for a job: its `--timeout` is for the job's end, and its calls have the usual deadline.
    pub(crate) async fn connect_to_wait(global: &Global) -> Result<Self, Failure> {
        Self::with_deadline(global, CALL_TIMEOUT).await
    }

    /// Connects for a call that takes longer than others.
    pub(crate) async fn connect_within(
        global: &Global,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        Self::with_deadline(global, timeout).await
    }

    async fn with_deadline(global: &Global, timeout: Duration) -> Result<Self, Failure> {
        let (caller, way) = (caller(global)?, Way::new(&global.address)?);
        way.connect().await?;
        Ok(Self {
            way,
            caller,
            timeout,
        })
    }

    /// Who calls: goes into every request.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "requests hold the caller as prost makes message fields"
    )]
    pub(crate) fn caller(&self) -> Option<v1::Caller> {
        Some(self.caller.clone())
    }

    /// Awaits one call within the deadline.
    pub(crate) async fn call<T>(
        &self,
        call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => Err(late(self.timeout)),
        }
    }

    pub(crate) fn catalogs(&self) -> v1::catalogs_client::CatalogsClient<Way> {
        v1::catalogs_client::CatalogsClient::new(self.way.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    pub(crate) fn jobs(&self) -> v1::jobs_client::JobsClient<Way> {
        v1::jobs_client::JobsClient::new(self.way.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    pub(crate) fn results(&self) -> v1::results_client::ResultsClient<Way> {
        v1::results_client::ResultsClient::new(self.way.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    pub(crate) fn nodes(&self) -> v1::nodes_client::NodesClient<Way> {
        v1::nodes_client::NodesClient::new(self.way.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    pub(crate) fn admin(&self) -> v1::admin_client::AdminClient<Way> {
        v1::admin_client::AdminClient::new(self.way.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    pub(crate) fn bundles(&self) -> v1::bundles_client::BundlesClient<Way> {
        v1::bundles_client::BundlesClient::new(self.way.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
    }
}
