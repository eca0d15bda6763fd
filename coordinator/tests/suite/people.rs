//! What a person does: import, submit, watch, export, verify.

use futures::TryStreamExt;
use proto::v1;
use tonic::Status;
use tonic::transport::Channel;
use v1::bundles_client::BundlesClient;
use v1::catalogs_client::CatalogsClient;
use v1::jobs_client::JobsClient;
use v1::nodes_client::NodesClient;
use v1::results_client::ResultsClient;

#[derive(Clone)]
pub(crate) struct People {
    pub(crate) catalogs: CatalogsClient<Channel>,
    pub(crate) jobs: JobsClient<Channel>,
    pub(crate) results: ResultsClient<Channel>,
    pub(crate) nodes: NodesClient<Channel>,
    pub(crate) bundles: BundlesClient<Channel>,
}

pub(crate) fn caller() -> Option<v1::Caller> {
    Some(v1::Caller {
        tenant: "default".to_owned(),
        actor: "tester".to_owned(),
    })
}

pub(crate) fn policy() -> Option<v1::Policy> {
    Some(v1::Policy {
        stages: v1::Stages::Screen.into(),
        thumbnails: true,
        ..v1::Policy::default()
    })
}

pub(crate) fn submission(request_id: &str) -> v1::SubmitJobRequest {
    v1::SubmitJobRequest {
        caller: caller(),
        request_id: request_id.to_owned(),
        catalog: "music".to_owned(),
        policy: policy(),
        shard_tracks: 16,
        ..v1::SubmitJobRequest::default()
    }
}

pub(crate) fn import(path: &str) -> v1::ImportRequest {
    v1::ImportRequest {
        caller: caller(),
        catalog: "music".to_owned(),
        path: path.to_owned(),
        format: v1::ImportFormat::Auto.into(),
        source: String::new(),
    }
}

impl People {
    pub(crate) fn new(channel: Channel) -> Self {
        Self {
            catalogs: CatalogsClient::new(channel.clone()),
            jobs: JobsClient::new(channel.clone()),
            results: ResultsClient::new(channel.clone()),
            nodes: NodesClient::new(channel.clone()),
            bundles: BundlesClient::new(channel),
        }
    }

    /// Imports and gives every event.
    pub(crate) async fn import(
        &mut self,
        request: v1::ImportRequest,
    ) -> Result<Vec<v1::ImportEvent>, Status> {
        self.catalogs
            .import(request)
            .await?
            .into_inner()
            .try_collect()
            .await
    }

    /// Imports a path as the catalog `music` and gives what it came to.
    pub(crate) async fn imported(&mut self, path: &std::path::Path) -> v1::ImportDone {
        let events = self.import(import(path.to_str().unwrap())).await.unwrap();
        let last = events.into_iter().next_back().unwrap().event.unwrap();
        let v1::import_event::Event::Imported(done) = last else {
            panic!("the last event is {last:?}");
        };
        done
    }

    pub(crate) async fn submit(&mut self, request_id: &str) -> v1::SubmitJobResponse {
        self.jobs
            .submit_job(submission(request_id))
            .await
            .unwrap()
            .into_inner()
    }

    pub(crate) async fn job(&mut self, job: &str) -> v1::Job {
        let request = v1::GetJobRequest {
            caller: caller(),
            job: job.to_owned(),
        };
        self.jobs
            .get_job(request)
            .await
            .unwrap()
            .into_inner()
            .job
            .unwrap()
    }

    /// Watches a job to its end and gives every state told.
    pub(crate) async fn watch(&mut self, job: &str) -> Vec<v1::Job> {
        let request = v1::WatchJobRequest {
            caller: caller(),
            job: job.to_owned(),
            after_revision: 0,
        };
        let stream = self.jobs.watch_job(request).await.unwrap().into_inner();
        stream
            .map_ok(|told| told.job.unwrap())
            .try_collect()
            .await
            .unwrap()
    }

    pub(crate) async fn export(&mut self, job: &str, format: v1::ExportFormat) -> Vec<u8> {
        let request = v1::ExportRequest {
            caller: caller(),
            job: job.to_owned(),
            format: format.into(),
        };
        let stream = self.results.export(request).await.unwrap().into_inner();
        let chunks: Vec<v1::ExportChunk> = stream.try_collect().await.unwrap();
        let ends = chunks.iter().filter(|chunk| chunk.last).count();
        assert!(
            ends == 1 && chunks.last().unwrap().last,
            "a whole file says so, once"
        );
        chunks.into_iter().flat_map(|chunk| chunk.data).collect()
    }

    /// Verifies a result: its findings and the last word.
    pub(crate) async fn verify(&mut self, job: &str) -> (Vec<v1::VerifyFinding>, v1::VerifyDone) {
        use v1::verify_event::Event;
        let request = v1::VerifyRequest {
            caller: caller(),
            job: job.to_owned(),
        };
        let stream = self.results.verify(request).await.unwrap().into_inner();
        let events: Vec<_> = stream.try_collect().await.unwrap();
        let mut findings = Vec::new();
        for event in events {
            match event.event.unwrap() {
                Event::Progress(_) => {}
                Event::Finding(finding) => findings.push(finding),
                Event::Verified(done) => return (findings, done),
            }
        }
        panic!("the stream ended without a last word");
    }
}

/// The code of a refusal.
pub(crate) fn code(status: &Status) -> String {
    proto::problem::problem(status).code
}
