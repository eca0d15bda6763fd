//! `node ls|get|explain|cordon|uncordon|drain|revoke|revocations`.

use crate::args::{Global, Revoke};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::print;
use crate::view::{NodeDetail, NodeExplained, NodeList, RevocationList, Revoked};
use proto::v1;

pub(super) async fn ls(global: &Global, client: &Client) -> Result<(), Failure> {
    let request = v1::ListNodesRequest {
        caller: client.caller(),
    };
    let answer = client.call(client.nodes().list_nodes(request)).await?;
    print(
        global,
        &NodeList {
            nodes: answer.nodes.into_iter().map(Into::into).collect(),
        },
    )
}

pub(super) async fn get(global: &Global, client: &Client, node: String) -> Result<(), Failure> {
    let found = lookup(client, node).await?;
    print(global, &NodeDetail::from(found))
}

pub(super) async fn explain(global: &Global, client: &Client, node: String) -> Result<(), Failure> {
    let found = lookup(client, node).await?;
    print(global, &NodeExplained::from(found))
}

async fn lookup(client: &Client, node: String) -> Result<v1::GetNodeResponse, Failure> {
    let request = v1::GetNodeRequest {
        caller: client.caller(),
        node,
    };
    client.call(client.nodes().get_node(request)).await
}

/// Says what a node may do, and shows it as it stands then.
pub(super) async fn duty(
    global: &Global,
    client: &Client,
    node: String,
    duty: v1::Duty,
) -> Result<(), Failure> {
    let request = v1::SetDutyRequest {
        caller: client.caller(),
        node,
        duty: duty.into(),
    };
    let answer = client.call(client.nodes().set_duty(request)).await?;
    let nodes = answer.node.into_iter().map(Into::into).collect();
    print(global, &NodeList { nodes })
}

pub(super) async fn revoke(global: &Global, client: &Client, flags: Revoke) -> Result<(), Failure> {
    let request = v1::RevokeRequest {
        caller: client.caller(),
        revocation: flags
            .request_id
            .unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
        node: flags.name,
        device: flags.device.unwrap_or_default(),
        from_ms: flags.from,
        to_ms: flags.to.unwrap_or_default(),
        reason: flags.reason,
    };
    let answer = client.call(client.nodes().revoke(request)).await?;
    print(global, &Revoked::from(answer))
}

pub(super) async fn revocations(global: &Global, client: &Client) -> Result<(), Failure> {
    let request = v1::ListRevocationsRequest {
        caller: client.caller(),
    };
    let answer = client
        .call(client.nodes().list_revocations(request))
        .await?;
    print(global, &RevocationList::from(answer))
}
