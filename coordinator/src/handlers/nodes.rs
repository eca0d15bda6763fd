//! Looking at nodes.

use std::sync::Arc;

use proto::v1;
use proto::v1::nodes_server::Nodes;
use scheduler::NodeKey;
use tonic::{Request as Call, Response, Status};
use types::{Code, NodeId, Problem};

use crate::app::App;
use crate::{clock, rpc, wire};

/// The service.
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
        let node: NodeId = proto::field::parsed("node", &wire.node)?;
        let (wall, key) = (
            clock::wall(),
            NodeKey {
                tenant,
                node: node.clone(),
            },
        );
        let look = self.0.driver.look(move |core, now| {
            let view = core.node(now, &key)?;
            let reasons = core.explain_node(now, &key).unwrap_or_default();
            Some(v1::GetNodeResponse {
                node: Some(wire::jobs::node(&view, now, wall)),
                grants: wire::jobs::node_grants(&view),
                reasons: reasons.iter().map(wire::jobs::reason).collect(),
            })
        });
        look.await?
            .ok_or_else(|| Problem::new(Code::NotFound, format!("look up node `{node}`")))
    }
}
