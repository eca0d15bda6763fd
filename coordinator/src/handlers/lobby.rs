//! What a coordinator says before it has anything to show: who leads as far as it knows, what keeps anybody from that, and what it lacks. Called
//! by the door while nobody is inside, which lets no other call come here. It reads no record.

use std::future::ready;

use futures::stream::Empty;
use proto::v1;
use proto::v1::admin_server::{Admin, AdminServer};
use tonic::service::Routes;
use tonic::{Request as Call, Response, Status};
use types::{Code, Problem};

use super::admin::known;
use crate::led::Led;
use crate::ready::Ready;
use crate::rpc;
use crate::server::MESSAGE_BYTES_MAX;

/// The one service of a coordinator with nobody inside.
pub(crate) fn lobby_routes(led: Led, ready: Ready) -> Routes {
    let server = AdminServer::new(Lobby { led, ready });
    Routes::new(server.max_decoding_message_size(MESSAGE_BYTES_MAX))
}

struct Lobby {
    led: Led,
    ready: Ready,
}

impl Lobby {
    fn leader(&self, wire: v1::GetLeaderRequest) -> Result<v1::GetLeaderResponse, Problem> {
        proto::caller(wire.caller)?;
        Ok(known(&self.led, &self.ready))
    }
}

#[tonic::async_trait]
impl Admin for Lobby {
    type ExportJournalStream = Empty<Result<v1::JournalChunk, Status>>;
    type BackupStream = Empty<Result<v1::BackupChunk, Status>>;
    type CollectGarbageStream = Empty<Result<v1::CollectGarbageResponse, Status>>;

    async fn get_leader(
        &self,
        call: Call<v1::GetLeaderRequest>,
    ) -> Result<Response<v1::GetLeaderResponse>, Status> {
        let said = self.leader(call.into_inner());
        rpc::unary("GetLeader", ready(said)).await
    }

    async fn export_journal(
        &self,
        _: Call<v1::ExportJournalRequest>,
    ) -> Result<Response<Self::ExportJournalStream>, Status> {
        Err(elsewhere())
    }

    async fn probe_storage(
        &self,
        _: Call<v1::ProbeStorageRequest>,
    ) -> Result<Response<v1::ProbeStorageResponse>, Status> {
        Err(elsewhere())
    }

    async fn backup(
        &self,
        _: Call<v1::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        Err(elsewhere())
    }

    async fn collect_garbage(
        &self,
        _: Call<v1::CollectGarbageRequest>,
    ) -> Result<Response<Self::CollectGarbageStream>, Status> {
        Err(elsewhere())
    }
}

fn elsewhere() -> Status {
    let said = "ask a coordinator that is about to follow";
    proto::problem::status(&Problem::new(Code::NotLeader, said))
}
