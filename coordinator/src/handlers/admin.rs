//! The service for those who run the installation: the journal of the reign, while it goes on, who leads, what storage can promise; copies of
//! the store; what may be collected.

mod backup;
mod garbage;

use std::path::Path;
use std::sync::Arc;

use proto::v1;
use proto::v1::admin_server::Admin;
use storage::probe::Depth;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt};
use tonic::{Request as Call, Response, Status};
use types::{Code, ProbeFinding, Probed, Problem};

use crate::app::App;
use crate::audit;
use crate::led::Led;
use crate::probe::probed;
use crate::ready::Ready;
use crate::rpc::{self, Answers, Sender};

/// Bytes in one chunk: a quarter of a message.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// The service.
pub(crate) struct AdminService(pub(crate) Arc<App>);

#[tonic::async_trait]
impl Admin for AdminService {
    type ExportJournalStream = Answers<v1::JournalChunk>;
    type BackupStream = Answers<v1::BackupChunk>;
    type CollectGarbageStream = Answers<v1::CollectGarbageResponse>;

    async fn export_journal(
        &self,
        call: Call<v1::ExportJournalRequest>,
    ) -> Result<Response<Self::ExportJournalStream>, Status> {
        let (app, wire) = (self.0.clone(), call.into_inner());
        rpc::streamed("ExportJournal", move |answers| export(app, wire, answers))
    }

    async fn get_leader(
        &self,
        call: Call<v1::GetLeaderRequest>,
    ) -> Result<Response<v1::GetLeaderResponse>, Status> {
        rpc::unary("GetLeader", leader(&self.0, call.into_inner())).await
    }

    async fn probe_storage(
        &self,
        call: Call<v1::ProbeStorageRequest>,
    ) -> Result<Response<v1::ProbeStorageResponse>, Status> {
        let app = self.0.clone();
        // What a probe has put is removed also where its caller goes away.
        rpc::changing("ProbeStorage", probe(app, call.into_inner())).await
    }

    async fn backup(
        &self,
        call: Call<v1::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        let (app, wire) = (self.0.clone(), call.into_inner());
        rpc::streamed("Backup", move |answers| backup::send(app, wire, answers))
    }

    async fn collect_garbage(
        &self,
        call: Call<v1::CollectGarbageRequest>,
    ) -> Result<Response<Self::CollectGarbageStream>, Status> {
        let (app, wire) = (self.0.clone(), call.into_inner());
        rpc::streamed("CollectGarbage", move |answers| {
            garbage::collect(app, wire, answers)
        })
    }
}

async fn leader(app: &App, wire: v1::GetLeaderRequest) -> Result<v1::GetLeaderResponse, Problem> {
    proto::caller(wire.caller)?;
    // A mirror that is being read shows nothing yet.
    let seen = app.driver.look(|core, _| (core.leads(), core.shows()));
    let (here, shown) = seen.await.unwrap_or_default();
    let differs = match here {
        Some(_) => Vec::new(),
        None => app.differs().await,
    };
    Ok(v1::GetLeaderResponse {
        here: here.is_some(),
        revision: shown.map_or(0, |revision| revision.0),
        differs,
        ..known(&app.led, &app.ready)
    })
}

/// What this process knows of who leads, without having read a record.
pub(super) fn known(led: &Led, ready: &Ready) -> v1::GetLeaderResponse {
    let said = |why: Option<Problem>| why.map(|why| why.to_string()).unwrap_or_default();
    let (leader, why) = (led.leader(), led.why());
    v1::GetLeaderResponse {
        epoch: leader.as_ref().map_or(0, |leader| leader.epoch.0),
        leader: leader.map(|leader| leader.address).unwrap_or_default(),
        unready: said(ready.why()),
        why: said(why),
        ..v1::GetLeaderResponse::default()
    }
}

async fn probe(
    app: Arc<App>,
    wire: v1::ProbeStorageRequest,
) -> Result<v1::ProbeStorageResponse, Problem> {
    let caller = proto::caller(wire.caller)?;
    let depth = if wire.whole {
        Depth::Whole
    } else {
        Depth::Start
    };
    let outcome = probe_alone(&app, depth).await;
    audit::line(&caller, "ProbeStorage", app.storage.place(), &outcome);
    let probed = outcome?;
    Ok(v1::ProbeStorageResponse {
        place: probed.place,
        findings: probed.findings.into_iter().map(finding).collect(),
        usable: probed.usable,
    })
}

/// Probes storage unless another probe of this reign does.
async fn probe_alone(app: &App, depth: Depth) -> Result<Probed, Problem> {
    let Ok(_alone) = app.probing.try_lock() else {
        let place = app.storage.place();
        let said = format!("probe storage `{place}`: another probe of it is under way");
        return Err(Problem::new(Code::Overloaded, said));
    };
    Ok(probed(app.storage.probe(depth).await))
}

fn finding(found: ProbeFinding) -> v1::StorageFinding {
    v1::StorageFinding {
        question: found.question,
        answer: found.answer,
        seen: found.seen,
        without_it: found.without_it,
        needed: found.needed,
        trouble: found.trouble,
    }
}

async fn export(
    app: Arc<App>,
    wire: v1::ExportJournalRequest,
    answers: Sender<v1::JournalChunk>,
) -> Result<(), Problem> {
    let caller = proto::caller(wire.caller)?;
    let outcome = journal(&app, &answers).await;
    // A journal holds what every tenant's people and nodes asked.
    audit::line(&caller, "ExportJournal", "the journal", &outcome);
    outcome
}

async fn journal(app: &App, answers: &Sender<v1::JournalChunk>) -> Result<(), Problem> {
    let written = app.driver.journal().await?.ok_or_else(|| {
        Problem::new(
            Code::NotFound,
            "export the journal of a coordinator that writes none: it does when started with --journal DIR",
        )
    })?;
    let failed = |error| unreadable(&written.path, &error);
    let file = File::open(&written.path).await.map_err(failed)?;
    send(file.take(written.bytes), answers)
        .await
        .map_err(failed)?;
    match &written.ended {
        Some(why) => Err(ended(&written.path, why)),
        None => {
            let (data, last) = (Vec::new(), true);
            // Where nobody takes it any more there is nothing left to do.
            let _ = answers.send(v1::JournalChunk { data, last }).await;
            Ok(())
        }
    }
}

/// Sends what the file holds, as long as somebody takes it.
async fn send(
    mut file: impl AsyncRead + Unpin,
    answers: &Sender<v1::JournalChunk>,
) -> std::io::Result<()> {
    loop {
        let mut data = Vec::with_capacity(CHUNK_BYTES_MAX);
        (&mut file)
            .take(CHUNK_BYTES_MAX as u64)
            .read_to_end(&mut data)
            .await?;
        let (read, last) = (data.len(), false);
        if read == 0 || answers.send(v1::JournalChunk { data, last }).await.is_err() {
            return Ok(());
        }
    }
}

/// A journal that is not whole is not given out as one: what there is was sent, and this says why there is no more.
fn ended(path: &Path, why: &str) -> Problem {
    let said = format!("write journal `{}` to this moment: {why}", path.display());
    Problem::new(Code::OutputUnwritable, said)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    Problem::new(
        Code::Internal,
        format!("read journal `{}`: {error}", path.display()),
    )
}
