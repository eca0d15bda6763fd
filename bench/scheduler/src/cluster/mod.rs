//! What a cluster does: coordinators as processes on a real etcd of one member or three, started here and gone with this program.
//!
//! - [`shards`] how many shards a second, beside the embedded store, and what a transaction holds;
//! - [`weight`] what a hundred million tracks weigh there;
//! - [`takeover`] what a new leader does before it grants;
//! - [`failover`] how long nobody leads.

pub(crate) mod failover;
pub(crate) mod shards;
pub(crate) mod takeover;
pub(crate) mod weight;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use proto::v1;
use store::server::{Cluster, Line, Options};
use tokio::runtime::{Builder, Runtime};
use tonic::transport::Channel;
use v1::admin_client::AdminClient;

use crate::agent::caller;

/// How long a cluster may take to have a leader: far more than a lease and an election.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The prefix that a coordinator has in etcd unless configured.
const PREFIX: &str = "trackscan";

/// The thread on which agents and looks run.
fn runtime() -> anyhow::Result<Runtime> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.context("start this program's thread")
}

/// A cluster of the newest etcd, with the room that the documentation asks for.
async fn etcd(folder: &Path, members: usize) -> Cluster {
    const QUOTA_BYTES: u64 = 8 << 30;
    let options = Options {
        members,
        quota_bytes: Some(QUOTA_BYTES),
        ..Options::one(Line::V3_7)
    };
    Cluster::start(folder, options).await
}

/// Who leads, as a coordinator says; nobody where it does not answer.
async fn leader(channel: &Channel) -> v1::GetLeaderResponse {
    let request = v1::GetLeaderRequest { caller: caller() };
    let answer = AdminClient::new(channel.clone()).get_leader(request).await;
    answer.map(tonic::Response::into_inner).unwrap_or_default()
}

/// Asks a coordinator who leads until the answer is as wanted.
async fn until(
    channel: &Channel,
    wanted: impl Fn(&v1::GetLeaderResponse) -> bool,
) -> anyhow::Result<v1::GetLeaderResponse> {
    let over = Instant::now() + PATIENCE;
    loop {
        let said = leader(channel).await;
        if wanted(&said) {
            return Ok(said);
        }
        anyhow::ensure!(Instant::now() < over, "a coordinator still says {said:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
