//! The nodes' service: looking at nodes, saying what they may do, and revoking what they made.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an answer of any other kind than was asked for is one and the same fault"
)]

use std::cmp::Reverse;
use std::sync::Arc;

use proto::field::{FieldError, parsed};
use proto::v1;
use proto::v1::nodes_server::Nodes;
use scheduler::record::{Duty, Progress};
use scheduler::{Answer, NodeKey, Request, RevocationView, Revoke};
use tonic::{Request as Call, Response, Status};
use types::{Code, NodeId, Problem, TenantId, UnixMillis};

use crate::app::{App, core_caller, unexpected};
use crate::{audit, clock, rpc, wire};

/// The service.
#[derive(Clone)]
pub(crate) struct NodesService(pub(crate) Arc<App>);

#[tonic::async_trait]
impl Nodes for NodesService {
    async fn list_nodes(
        &self,
        call: Call<v1::ListNodesRequest>,
    ) -> Result<Response<v1::ListNodesResponse>, Status> {
        rpc::unary("ListNodes", self.list(call.into_inner())).await
    }

    async fn get_node(
        &self,
        call: Call<v1::GetNodeRequest>,
    ) -> Result<Response<v1::GetNodeResponse>, Status> {
        rpc::unary("GetNode", self.get(call.into_inner())).await
    }

    async fn set_duty(
        &self,
        call: Call<v1::SetDutyRequest>,
    ) -> Result<Response<v1::SetDutyResponse>, Status> {
        let service = self.clone();
        let work = async move { service.say_duty(call.into_inner()).await };
        rpc::changing("SetDuty", work).await
    }

    async fn revoke(
        &self,
        call: Call<v1::RevokeRequest>,
    ) -> Result<Response<v1::RevokeResponse>, Status> {
        let service = self.clone();
        let work = async move { service.revokes(call.into_inner()).await };
        rpc::changing("Revoke", work).await
    }

    async fn list_revocations(
        &self,
        call: Call<v1::ListRevocationsRequest>,
    ) -> Result<Response<v1::ListRevocationsResponse>, Status> {
        rpc::unary("ListRevocations", self.revocations(call.into_inner())).await
    }
}

impl NodesService {
    async fn list(&self, wire: v1::ListNodesRequest) -> Result<v1::ListNodesResponse, Problem> {
        let tenant = proto::caller(wire.caller)?.tenant;
        let wall = clock::wall();
        let look = self.0.driver.look(move |core, now| {
            core.nodes(now, &tenant)
                .map(|view| wire::jobs::node(&view, now, wall))
                .collect()
        });
        Ok(v1::ListNodesResponse { nodes: look.await? })
    }

    async fn get(&self, wire: v1::GetNodeRequest) -> Result<v1::GetNodeResponse, Problem> {
        let tenant = proto::caller(wire.caller)?.tenant;
        self.seen(tenant, parsed("node", &wire.node)?).await
    }

    /// A node as it stands, with its grants and why it does no work.
    async fn seen(&self, tenant: TenantId, node: NodeId) -> Result<v1::GetNodeResponse, Problem> {
        let not_found = Problem::new(Code::NotFound, format!("look up node `{node}`"));
        let (wall, key) = (clock::wall(), NodeKey { tenant, node });
        let look = self.0.driver.look(move |core, now| {
            let view = core.node(now, &key)?;
            let reasons = core.explain_node(now, &key).unwrap_or_default();
            Some(v1::GetNodeResponse {
                node: Some(wire::jobs::node(&view, now, wall)),
                grants: wire::jobs::node_grants(&view),
                reasons: reasons.iter().map(wire::jobs::reason).collect(),
            })
        });
        look.await?.ok_or(not_found)
    }

    async fn say_duty(&self, wire: v1::SetDutyRequest) -> Result<v1::SetDutyResponse, Problem> {
        let caller = proto::caller(wire.caller)?;
        let node: NodeId = parsed("node", &wire.node)?;
        let duty = duty(wire.duty)?;
        let request = Request::SetDuty {
            node: node.clone(),
            duty,
        };
        let answer = self.0.driver.call(core_caller(&caller), request).await;
        audit::refusal(&caller, "SetDuty", &format!("{node}: {duty:?}"), &answer);
        match answer? {
            Answer::Done => Ok(v1::SetDutyResponse {
                node: self.seen(caller.tenant, node).await?.node,
            }),
            other => Err(unexpected("SetDuty", &other)),
        }
    }

    async fn revokes(&self, wire: v1::RevokeRequest) -> Result<v1::RevokeResponse, Problem> {
        let caller = proto::caller(wire.caller.clone())?;
        let wish = wished(wire)?;
        let what = format!("{}: {}", wish.revocation, wish.node);
        let answer = self
            .0
            .driver
            .call(core_caller(&caller), Request::Revoke(wish))
            .await;
        audit::refusal(&caller, "Revoke", &what, &answer);
        match answer? {
            Answer::Revoked {
                revocation,
                jobs,
                existing,
            } => Ok(v1::RevokeResponse {
                revocation: revocation.revocation.into(),
                jobs: u32::try_from(jobs).unwrap_or(u32::MAX),
                existing,
            }),
            other => Err(unexpected("Revoke", &other)),
        }
    }

    async fn revocations(
        &self,
        wire: v1::ListRevocationsRequest,
    ) -> Result<v1::ListRevocationsResponse, Problem> {
        let tenant = proto::caller(wire.caller)?.tenant;
        let look = self.0.driver.look(move |core, _| {
            let known = core.revocations(&tenant).map(|view| revocation(&view));
            known.collect::<Vec<_>>()
        });
        let mut revocations = look.await?;
        revocations.sort_by_key(|one| (Reverse(one.at_ms), one.revocation.clone()));
        Ok(v1::ListRevocationsResponse { revocations })
    }
}

fn duty(number: i32) -> Result<Duty, FieldError> {
    match v1::Duty::try_from(number) {
        Ok(v1::Duty::Serving) => Ok(Duty::Serving),
        Ok(v1::Duty::Cordoned) => Ok(Duty::Cordoned),
        Ok(v1::Duty::Draining) => Ok(Duty::Draining),
        Ok(v1::Duty::Unspecified) => Err(FieldError::new("duty", "is DUTY_UNSPECIFIED")),
        Err(_) => {
            let cause = format!("has the unknown value {number}");
            Err(FieldError::new("duty", cause))
        }
    }
}

/// What is to be revoked. Parts carry this coordinator's time, and none is made yet of a time to come: a span that ends then, or
/// at no time, ends now.
fn wished(wire: v1::RevokeRequest) -> Result<Revoke, FieldError> {
    let now = clock::wall();
    let to = Some(UnixMillis(wire.to_ms)).filter(|to| to.0 != 0 && *to < now);
    Ok(Revoke {
        revocation: parsed("revocation", &wire.revocation)?,
        node: parsed("node", &wire.node)?,
        device: Some(wire.device).filter(|device| !device.is_empty()),
        from: UnixMillis(wire.from_ms),
        to: to.unwrap_or(now),
        reason: wire.reason,
    })
}

fn revocation(view: &RevocationView<'_>) -> v1::Revocation {
    let record = view.record;
    v1::Revocation {
        revocation: view.key.revocation.to_string(),
        node: record.node.node.to_string(),
        device: record.device.clone().unwrap_or_default(),
        from_ms: record.from.0,
        to_ms: record.to.0,
        jobs: record.jobs.iter().map(|job| job.job.to_string()).collect(),
        done: record.progress == Progress::Closed,
        actor: record.by.to_string(),
        at_ms: record.at.0,
        reason: record.reason.clone(),
    }
}
