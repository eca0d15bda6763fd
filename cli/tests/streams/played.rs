//! A coordinator of which a test says how it answers, and a relay to it that can stop forwarding without closing anything.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use proto::v1;
use proto::v1::admin_server::{Admin, AdminServer};
use proto::v1::jobs_server::{Jobs, JobsServer};
use tonic::codegen::tokio_stream::{self as stream, Stream, StreamExt};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// The journal that is exported: more than a pipe takes while nobody reads it.
pub(crate) const JOURNAL: &[u8] = &[b'j'; 200_000];

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The coordinator.
pub(crate) struct Played {
    pub(crate) address: String,
    service: Service,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone)]
struct Service {
    /// Whether the journal ends.
    whole: bool,
    asked: Arc<AtomicU32>,
    watched: Arc<AtomicU32>,
}

impl Played {
    /// One that sends the journal and its end.
    pub(crate) fn whole() -> Self {
        Self::serve(true)
    }

    /// One that sends the journal and then nothing.
    pub(crate) fn that_never_ends() -> Self {
        Self::serve(false)
    }

    fn serve(whole: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let service = Service {
            whole,
            asked: Arc::default(),
            watched: Arc::default(),
        };
        let server = Server::builder()
            .add_service(AdminServer::new(service.clone()))
            .add_service(JobsServer::new(service.clone()));
        let address = runtime.block_on(async {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let incoming = TcpIncoming::bind(any).expect("a free port");
            let address = incoming.local_addr().expect("it is bound");
            tokio::spawn(server.serve_with_incoming(incoming));
            address
        });
        Self {
            address: format!("http://{address}"),
            service,
            _runtime: runtime,
        }
    }

    /// How often the journal was asked for.
    pub(crate) fn asked(&self) -> u32 {
        self.service.asked.load(Ordering::SeqCst)
    }

    /// How often a job was watched.
    pub(crate) fn watched(&self) -> u32 {
        self.service.watched.load(Ordering::SeqCst)
    }
}

#[tonic::async_trait]
impl Admin for Service {
    type ExportJournalStream = Answers<v1::JournalChunk>;
    type BackupStream = Answers<v1::BackupChunk>;
    type CollectGarbageStream = Answers<v1::CollectGarbageResponse>;

    async fn export_journal(
        &self,
        _: Request<v1::ExportJournalRequest>,
    ) -> Result<Response<Self::ExportJournalStream>, Status> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let chunk = |data: &[u8], last| {
            let data = data.to_vec();
            Ok(v1::JournalChunk { data, last })
        };
        let sent = stream::iter([chunk(JOURNAL, false)]);
        let answers: Answers<v1::JournalChunk> = match self.whole {
            true => Box::pin(sent.chain(stream::iter([chunk(b"", true)]))),
            false => Box::pin(sent.chain(stream::pending())),
        };
        Ok(Response::new(answers))
    }

    async fn backup(
        &self,
        _: Request<v1::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        unasked()
    }

    async fn collect_garbage(
        &self,
        _: Request<v1::CollectGarbageRequest>,
    ) -> Result<Response<Self::CollectGarbageStream>, Status> {
        unasked()
    }

    async fn probe_storage(
        &self,
        _: Request<v1::ProbeStorageRequest>,
    ) -> Result<Response<v1::ProbeStorageResponse>, Status> {
        let finding = v1::StorageFinding {
            question: "list-pages".to_owned(),
            answer: "no".to_owned(),
            seen: "A listing lacked an object.".to_owned(),
            without_it: "A catalogue cannot be imported.".to_owned(),
            needed: true,
            trouble: String::new(),
        };
        Ok(Response::new(v1::ProbeStorageResponse {
            place: "s3://bucket".to_owned(),
            findings: vec![finding],
            usable: false,
        }))
    }

    async fn get_leader(
        &self,
        _: Request<v1::GetLeaderRequest>,
    ) -> Result<Response<v1::GetLeaderResponse>, Status> {
        Ok(Response::new(v1::GetLeaderResponse {
            here: true,
            ..v1::GetLeaderResponse::default()
        }))
    }
}

/// The one job: its first watch sees it running, its second one published.
fn job(state: v1::JobState, revision: u64) -> v1::Job {
    let spec = v1::JobSpec {
        job: "job-1".to_owned(),
        ..v1::JobSpec::default()
    };
    v1::Job {
        spec: Some(spec),
        state: state.into(),
        revision,
        ..v1::Job::default()
    }
}

fn unasked<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("nobody here asks for that"))
}

#[tonic::async_trait]
impl Jobs for Service {
    type WatchJobStream = Answers<v1::WatchJobResponse>;

    async fn get_job(
        &self,
        _: Request<v1::GetJobRequest>,
    ) -> Result<Response<v1::GetJobResponse>, Status> {
        let job = Some(job(v1::JobState::Running, 1));
        Ok(Response::new(v1::GetJobResponse { job }))
    }

    async fn watch_job(
        &self,
        _: Request<v1::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let first = self.watched.fetch_add(1, Ordering::SeqCst) == 0;
        let seen = match first {
            true => job(v1::JobState::Running, 2),
            false => job(v1::JobState::Published, 3),
        };
        let told = stream::iter([Ok(v1::WatchJobResponse { job: Some(seen) })]);
        let answers: Answers<v1::WatchJobResponse> = Box::pin(told.chain(stream::pending()));
        Ok(Response::new(answers))
    }

    async fn submit_job(
        &self,
        _: Request<v1::SubmitJobRequest>,
    ) -> Result<Response<v1::SubmitJobResponse>, Status> {
        unasked()
    }

    async fn retry_job(
        &self,
        _: Request<v1::RetryJobRequest>,
    ) -> Result<Response<v1::RetryJobResponse>, Status> {
        unasked()
    }

    async fn list_jobs(
        &self,
        _: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        unasked()
    }

    async fn pause_job(
        &self,
        _: Request<v1::PauseJobRequest>,
    ) -> Result<Response<v1::PauseJobResponse>, Status> {
        unasked()
    }

    async fn resume_job(
        &self,
        _: Request<v1::ResumeJobRequest>,
    ) -> Result<Response<v1::ResumeJobResponse>, Status> {
        unasked()
    }

    async fn rank_job(
        &self,
        _: Request<v1::RankJobRequest>,
    ) -> Result<Response<v1::RankJobResponse>, Status> {
        unasked()
    }

    async fn cancel_job(
        &self,
        _: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        unasked()
    }

    async fn explain_job(
        &self,
        _: Request<v1::ExplainJobRequest>,
    ) -> Result<Response<v1::ExplainJobResponse>, Status> {
        unasked()
    }
}

/// Forwards connections until they are frozen: as a machine that lost its power, which closes nothing.
pub(crate) struct Relay {
    pub(crate) address: String,
    frozen: Arc<Mutex<Vec<Arc<AtomicBool>>>>,
}

impl Relay {
    pub(crate) fn to(played: &Played) -> Self {
        let target = played.address.replace("http://", "");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let frozen: Arc<Mutex<Vec<Arc<AtomicBool>>>> = Arc::default();
        let all = Arc::clone(&frozen);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(&target).expect("the coordinator listens");
                let flag = Arc::new(AtomicBool::new(false));
                all.lock()
                    .expect("no test panics in it")
                    .push(Arc::clone(&flag));
                let twin = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
                forward(twin(&near), twin(&far), Arc::clone(&flag));
                forward(far, near, flag);
            }
        });
        Self {
            address: format!("http://{address}"),
            frozen,
        }
    }

    /// Forwards nothing more of the connections made so far.
    pub(crate) fn freeze(&self) {
        for flag in &*self.frozen.lock().expect("no test panics in it") {
            flag.store(true, Ordering::SeqCst);
        }
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, frozen: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            while frozen.load(Ordering::SeqCst) {
                std::thread::park();
            }
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        while frozen.load(Ordering::SeqCst) {
            std::thread::park();
        }
        // One end closed: so does the other.
        let _ = to.shutdown(Shutdown::Write);
    });
}
