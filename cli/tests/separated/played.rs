//! A coordinator that has one published job, whose rows and bundle a test gives it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use proto::v1;
use proto::v1::bundles_server::{Bundles, BundlesServer};
use proto::v1::jobs_server::{Jobs, JobsServer};
use proto::v1::results_server::{Results, ResultsServer};
use tonic::codegen::tokio_stream::Stream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// Rows of one page: the rows of the test are several.
const PAGE: usize = 200;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the coordinator has.
pub(crate) struct Published {
    /// Digest of the bundle that scored.
    pub(crate) bundle: String,
    /// Its manifest.
    pub(crate) manifest: String,
    pub(crate) rows: Vec<v1::Row>,
}

/// The coordinator; it ends with this.
pub(crate) struct Played {
    pub(crate) address: String,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone)]
struct Service(Arc<Published>);

impl Played {
    pub(crate) fn serve(published: Published) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let service = Service(Arc::new(published));
        let server = Server::builder()
            .add_service(JobsServer::new(service.clone()))
            .add_service(ResultsServer::new(service.clone()))
            .add_service(BundlesServer::new(service));
        let address = runtime.block_on(async {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let incoming = TcpIncoming::bind(any).expect("a free port");
            let address = incoming.local_addr().expect("it is bound");
            tokio::spawn(server.serve_with_incoming(incoming));
            address
        });
        Self {
            address: format!("http://{address}"),
            _runtime: runtime,
        }
    }
}

fn unasked<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("nobody here asks for that"))
}

#[tonic::async_trait]
impl Results for Service {
    type ExportStream = Answers<v1::ExportChunk>;
    type VerifyStream = Answers<v1::VerifyEvent>;

    async fn list_rows(
        &self,
        call: Request<v1::ListRowsRequest>,
    ) -> Result<Response<v1::ListRowsResponse>, Status> {
        let page = call.into_inner().page;
        let from: usize = if page.is_empty() {
            0
        } else {
            page.parse().expect("a page of ours")
        };
        let rows: Vec<v1::Row> = self.0.rows.iter().skip(from).take(PAGE).cloned().collect();
        let next = from + rows.len();
        let more = next < self.0.rows.len();
        Ok(Response::new(v1::ListRowsResponse {
            rows,
            next_page: if more {
                next.to_string()
            } else {
                String::new()
            },
            purpose: v1::Purpose::Production.into(),
        }))
    }

    async fn list_results(
        &self,
        _: Request<v1::ListResultsRequest>,
    ) -> Result<Response<v1::ListResultsResponse>, Status> {
        unasked()
    }

    async fn get_row(
        &self,
        _: Request<v1::GetRowRequest>,
    ) -> Result<Response<v1::GetRowResponse>, Status> {
        unasked()
    }

    async fn export(
        &self,
        _: Request<v1::ExportRequest>,
    ) -> Result<Response<Self::ExportStream>, Status> {
        unasked()
    }

    async fn verify(
        &self,
        _: Request<v1::VerifyRequest>,
    ) -> Result<Response<Self::VerifyStream>, Status> {
        unasked()
    }

    async fn summarize(
        &self,
        _: Request<v1::SummarizeRequest>,
    ) -> Result<Response<v1::SummarizeResponse>, Status> {
        unasked()
    }
}

#[tonic::async_trait]
impl Bundles for Service {
    async fn get_bundle(
        &self,
        call: Request<v1::GetBundleRequest>,
    ) -> Result<Response<v1::GetBundleResponse>, Status> {
        assert_eq!(call.into_inner().bundle, self.0.bundle);
        Ok(Response::new(v1::GetBundleResponse {
            bundle: None,
            card: String::new(),
            manifest: self.0.manifest.clone(),
        }))
    }

    async fn list_bundles(
        &self,
        _: Request<v1::ListBundlesRequest>,
    ) -> Result<Response<v1::ListBundlesResponse>, Status> {
        unasked()
    }

    async fn verify_bundle(
        &self,
        _: Request<v1::VerifyBundleRequest>,
    ) -> Result<Response<v1::VerifyBundleResponse>, Status> {
        unasked()
    }
}

#[tonic::async_trait]
impl Jobs for Service {
    type WatchJobStream = Answers<v1::WatchJobResponse>;

    async fn get_job(
        &self,
        _: Request<v1::GetJobRequest>,
    ) -> Result<Response<v1::GetJobResponse>, Status> {
        let spec = v1::JobSpec {
            job: "job-1".to_owned(),
            bundle: self.0.bundle.clone(),
            policy: Some(v1::Policy {
                stages: v1::Stages::Both.into(),
                accept_demonstration: true,
                ..v1::Policy::default()
            }),
            ..v1::JobSpec::default()
        };
        let screened = self.0.rows.iter().filter(|row| row.screen.is_some());
        let job = v1::Job {
            spec: Some(spec),
            state: v1::JobState::Published.into(),
            tracks_screened: screened.count() as u64,
            ..v1::Job::default()
        };
        Ok(Response::new(v1::GetJobResponse { job: Some(job) }))
    }

    async fn watch_job(
        &self,
        _: Request<v1::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        unasked()
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
