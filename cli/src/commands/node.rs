//! `node ls|get`.

use crate::args::Global;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::print;
use crate::view::{NodeDetail, NodeList};
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
    let request = v1::GetNodeRequest {
        caller: client.caller(),
        node,
    };
    let answer = client.call(client.nodes().get_node(request)).await?;
    print(global, &NodeDetail::from(answer))
}
