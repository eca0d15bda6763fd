//! The results' service: published rows, read through the manifest that the job's record names, and what a job cost.

mod rows;
mod summary;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use proto::v1;
use proto::v1::results_server::Results;
use scheduler::JobKey;
use scheduler::record::{JobState, ManifestName};
use storage::{
    ExportFormat, Finding, FoundManifest, Manifest, ManifestPart, ObjectPath, StorageError,
    VerifyReport,
};
use tonic::{Request as Call, Response, Status};
use types::{Code, Digest, FindingCode, Generation, Problem, Purpose, TenantId, Verdict};

use super::pages;
use crate::app::{self, App, storage_problem};
use crate::clock;
use crate::rpc::{self, Answers, Sender};
use crate::wire::jobs::JobSeen;
use rows::{Rows, Wanted};
use summary::Measured;

/// Bytes in one chunk of an export: a tenth of a second on a slow link, a quarter of a message.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Footers read for a summary where nothing by device was kept: beyond it the manifest's own total is shown, without devices.
const FOOTERS_MAX: usize = 4_096;

/// The service.
pub(crate) struct ResultsService(pub(crate) Arc<App>);

#[tonic::async_trait]
impl Results for ResultsService {
    type ExportStream = Answers<v1::ExportChunk>;
    type VerifyStream = Answers<v1::VerifyEvent>;

    async fn list_results(
        &self,
        call: Call<v1::ListResultsRequest>,
    ) -> Result<Response<v1::ListResultsResponse>, Status> {
        rpc::unary("ListResults", self.list(call.into_inner())).await
    }

    async fn list_rows(
        &self,
        call: Call<v1::ListRowsRequest>,
    ) -> Result<Response<v1::ListRowsResponse>, Status> {
        rpc::unary("ListRows", self.rows(call.into_inner())).await
    }

    async fn get_row(
        &self,
        call: Call<v1::GetRowRequest>,
    ) -> Result<Response<v1::GetRowResponse>, Status> {
        rpc::unary("GetRow", self.row(call.into_inner())).await
    }

    async fn export(
        &self,
        call: Call<v1::ExportRequest>,
    ) -> Result<Response<Self::ExportStream>, Status> {
        let (app, wire) = (self.0.clone(), call.into_inner());
        rpc::streamed("Export", move |answers| export(app, wire, answers))
    }

    async fn verify(
        &self,
        call: Call<v1::VerifyRequest>,
    ) -> Result<Response<Self::VerifyStream>, Status> {
        let (app, wire) = (self.0.clone(), call.into_inner());
        rpc::streamed("Verify", move |answers| verify(app, wire, answers))
    }

    async fn summarize(
        &self,
        call: Call<v1::SummarizeRequest>,
    ) -> Result<Response<v1::SummarizeResponse>, Status> {
        rpc::unary("Summarize", self.summary(call.into_inner())).await
    }
}

impl ResultsService {
    async fn list(&self, wire: v1::ListResultsRequest) -> Result<v1::ListResultsResponse, Problem> {
        let tenant = proto::caller(wire.caller)?.tenant;
        let published = |state: &JobState| matches!(state, JobState::Published(_));
        let (jobs, next_page) = self
            .0
            .list_jobs(tenant, wire.page_size, &wire.page, published)
            .await?;
        Ok(v1::ListResultsResponse { jobs, next_page })
    }

    async fn rows(&self, wire: v1::ListRowsRequest) -> Result<v1::ListRowsResponse, Problem> {
        let tenant = proto::caller(wire.caller)?.tenant;
        let wanted = Wanted {
            from: rows::cursor(&wire.page)?,
            size: pages::size(wire.page_size),
            verdicts: rows::verdicts(&wire.verdicts)?,
            timeline: wire.timeline,
            credits: wire.credits,
        };
        let published = self.0.published(tenant, wire.job).await?;
        let (rows, next) = self.0.rows(&published).page(wanted).await?;
        let next_page = next.map(|ordinal| ordinal.to_string()).unwrap_or_default();
        Ok(v1::ListRowsResponse {
            rows,
            next_page,
            purpose: v1::Purpose::from(published.purpose).into(),
        })
    }

    async fn row(&self, wire: v1::GetRowRequest) -> Result<v1::GetRowResponse, Problem> {
        use v1::get_row_request::Track;
        let tenant = proto::caller(wire.caller)?.tenant;
        let track = proto::field::required("track", wire.track)?;
        let published = self.0.published(tenant, wire.job).await?;
        let rows = self.0.rows(&published);
        let ordinal = match track {
            Track::Ordinal(ordinal) => ordinal,
            Track::TrackId(id) => {
                rows.search(&format!("track `{id}`"), |row| row.track_id.as_str() == id)
                    .await?
            }
            Track::Key(key) => {
                rows.search(&format!("key `{key}`"), |row| row.key == key)
                    .await?
            }
        };
        let row = rows.row(ordinal).await?;
        Ok(v1::GetRowResponse {
            row: Some(row),
            purpose: v1::Purpose::from(published.purpose).into(),
        })
    }

    async fn summary(&self, wire: v1::SummarizeRequest) -> Result<v1::SummarizeResponse, Problem> {
        let tenant = proto::caller(wire.caller)?.tenant;
        let seen = self.0.find_job(tenant, wire.job).await?;
        let measured = match seen.record.state {
            JobState::Published(name) => self.0.measure_published(&seen, name).await?,
            JobState::Running
            | JobState::Paused
            | JobState::Publishing
            | JobState::Cancelled(_) => {
                let key = JobKey {
                    tenant: seen.record.spec.tenant.clone(),
                    job: seen.record.spec.job.clone(),
                };
                self.0
                    .driver
                    .look(move |core, _| Measured::of_job(core, &key))
                    .await?
            }
        };
        let (binding, binding_reason) = measured.binding().unzip();
        let end = if seen.record.state.is_closed() {
            seen.record.changed_at
        } else {
            clock::wall()
        };
        let wall_ms = end.0.saturating_sub(seen.record.spec.submitted_at.0).max(0);
        Ok(v1::SummarizeResponse {
            job: Some(self.0.job_out(&seen)),
            stages: measured.lines(),
            binding: binding
                .map_or(v1::Stage::Unspecified, v1::Stage::from)
                .into(),
            binding_reason: binding_reason.unwrap_or_default(),
            wall_seconds: wall_ms as f64 / 1e3,
        })
    }
}

/// A published job and its manifest.
struct Published {
    manifest: Manifest,
    purpose: Purpose,
}

impl App {
    fn rows(&self, published: &Published) -> Rows {
        Rows {
            storage: self.storage.clone(),
            manifest: published.manifest.clone(),
        }
    }

    /// The job's manifest, which its record names.
    async fn published(&self, tenant: TenantId, job: String) -> Result<Published, Problem> {
        let seen = self.find_job(tenant, job).await?;
        let path = manifest_path(&seen)?;
        let manifest = self.storage.get_manifest(&path).await;
        let what = format!("read the manifest of job `{}`", seen.record.spec.job);
        let manifest = manifest.map_err(|error| storage_problem(&what, &error))?;
        let purpose = self.purpose_of(manifest.bundle);
        Ok(Published { manifest, purpose })
    }

    /// A bundle that is no longer known is shown with the caution of a demonstration.
    fn purpose_of(&self, bundle: Digest) -> Purpose {
        let known = self.bundles.get(bundle);
        known.map_or(Purpose::Demonstration, |bundle| bundle.purpose)
    }

    /// What a published job cost: as it was kept beside its manifest, else as its parts tell.
    async fn measure_published(
        &self,
        seen: &JobSeen,
        name: ManifestName,
    ) -> Result<Measured, Problem> {
        let path = manifest_path(seen)?;
        let what = format!("read the result of job `{}`", seen.record.spec.job);
        let failed = |error: StorageError| storage_problem(&what, &error);
        let manifest = self.storage.get_manifest(&path).await.map_err(failed)?;
        let found = FoundManifest {
            manifest,
            sha256: name.sha256,
        };
        let kept = self.measure_kept(&found, name.generation).await;
        match kept.map_err(failed)? {
            Some(measured) => Ok(measured),
            None => self.measure_parts(&found.manifest).await.map_err(failed),
        }
    }

    /// What was kept by node, device and stage when the job was published. Nothing where that does not add up to the total, for which
    /// the manifest's digest stands.
    async fn measure_kept(
        &self,
        found: &FoundManifest,
        generation: Generation,
    ) -> Result<Option<Measured>, StorageError> {
        match self.storage.kept_totals(found, generation).await {
            Ok(kept) => {
                let whole = &found.manifest.ledger;
                Ok(kept.and_then(|totals| Measured::of_kept(totals.uses, whole)))
            }
            Err(StorageError::Corrupt { path, cause }) => {
                tracing::warn!(path, cause, "kept totals cannot be read");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What a published job's own parts cost, by their footers, and in one more line per stage what the total has beyond them: decoding and
    /// screen of the tracks that went on, whose parts go once the result is published. Where the parts are too many, by the total alone.
    async fn measure_parts(&self, manifest: &Manifest) -> Result<Measured, StorageError> {
        let mut measured = Measured::default();
        if manifest.parts.len() > FOOTERS_MAX {
            measured.add_total(&manifest.ledger);
            return Ok(measured);
        }
        for part in own_parts(manifest).values() {
            let part = self.storage.get_part(&part.key, part.sha256).await?;
            measured.add_footer(&part.footer);
        }
        measured.add_rest(&manifest.ledger);
        Ok(measured)
    }
}

/// The parts that a manifest's job made itself, each once.
fn own_parts(manifest: &Manifest) -> BTreeMap<&str, &ManifestPart> {
    let own = manifest.parts.iter().filter(|part| {
        let origin = part.origin.as_ref();
        origin.is_none_or(|origin| origin.job == manifest.job)
    });
    own.map(|part| (part.key.as_str(), part)).collect()
}

/// The list that a job's result is of: of a retry, that of the result whose tracks it scanned again.
fn result_list(seen: &JobSeen) -> Digest {
    let spec = &seen.record.spec;
    spec.retry.as_ref().map_or(spec.list, |retry| retry.list)
}

/// Where the manifest of a job stands, which must be published.
fn manifest_path(seen: &JobSeen) -> Result<ObjectPath, Problem> {
    let what = || format!("read the result of job `{}`", seen.record.spec.job);
    app::manifest_path(&seen.record).ok_or_else(|| Problem::new(Code::ResultNotPublished, what()))
}

async fn export(
    app: Arc<App>,
    wire: v1::ExportRequest,
    answers: Sender<v1::ExportChunk>,
) -> Result<(), Problem> {
    let tenant = proto::caller(wire.caller)?.tenant;
    let format = format(wire.format)?;
    let published = app.published(tenant, wire.job).await?;
    let what = format!("export the result of job `{}`", published.manifest.job);
    let mut pieces = app
        .storage
        .export(published.manifest, format, published.purpose);
    while let Some(mut piece) = pieces
        .try_next()
        .await
        .map_err(|error| storage_problem(&what, &error))?
    {
        while !piece.is_empty() {
            let data = piece.split_to(piece.len().min(CHUNK_BYTES_MAX));
            let chunk = v1::ExportChunk {
                data: data.into(),
                last: false,
            };
            if answers.send(chunk).await.is_err() {
                return Ok(());
            }
        }
    }
    let end = v1::ExportChunk {
        data: Vec::new(),
        last: true,
    };
    // A reader that is gone needs no end.
    let _ = answers.send(end).await;
    Ok(())
}

fn format(number: i32) -> Result<ExportFormat, Problem> {
    match v1::ExportFormat::try_from(number) {
        Ok(v1::ExportFormat::Csv) => Ok(ExportFormat::Csv),
        Ok(v1::ExportFormat::JsonLines) => Ok(ExportFormat::JsonLines),
        Ok(v1::ExportFormat::Parquet) => Ok(ExportFormat::Parquet),
        Ok(v1::ExportFormat::Unspecified) => Err(Problem::new(
            Code::InvalidRequest,
            "field `format` is EXPORT_FORMAT_UNSPECIFIED",
        )),
        Err(_) => Err(Problem::new(
            Code::InvalidRequest,
            format!("field `format` has the unknown value {number}"),
        )),
    }
}

async fn verify(
    app: Arc<App>,
    wire: v1::VerifyRequest,
    answers: Sender<v1::VerifyEvent>,
) -> Result<(), Problem> {
    use v1::verify_event::Event;
    let tenant = proto::caller(wire.caller)?.tenant;
    let seen = app.find_job(tenant, wire.job).await?;
    let path = manifest_path(&seen)?;
    let what = format!("verify the result of job `{}`", seen.record.spec.job);
    let verifying = app.storage.verify(&path, result_list(&seen));
    let report = tokio::select! {
        report = verifying => report.map_err(|error| storage_problem(&what, &error))?,
        () = answers.gone() => return Ok(()),
    };
    let findings = report
        .findings
        .iter()
        .map(|found| Event::Finding(finding(found)));
    let done = verified(&report, app.purpose_of(seen.record.spec.bundle));
    for event in findings.chain([Event::Verified(done)]) {
        if answers
            .send(v1::VerifyEvent { event: Some(event) })
            .await
            .is_err()
        {
            return Ok(());
        }
    }
    Ok(())
}

fn finding(finding: &Finding) -> v1::VerifyFinding {
    let (code, subject) = match finding {
        Finding::Manifest { .. } => (FindingCode::Manifest, String::new()),
        Finding::Snapshot { .. } => (FindingCode::Snapshot, String::new()),
        Finding::Part { key, .. } => (FindingCode::Part, key.to_string()),
        Finding::Twice { ordinal, .. } => (FindingCode::RowTwice, ordinal.to_string()),
        Finding::Missing { tracks } => (FindingCode::RowsMissing, format!("{tracks:?}")),
        Finding::Foreign { ordinal, .. } => (FindingCode::RowForeign, ordinal.to_string()),
    };
    v1::VerifyFinding {
        code: code.as_str().to_owned(),
        cause: finding.to_string(),
        subject,
    }
}

fn verified(report: &VerifyReport, purpose: Purpose) -> v1::VerifyDone {
    let count = |verdict| report.verdicts.get(&verdict).copied().unwrap_or(0);
    v1::VerifyDone {
        rows_expected: report.tracks,
        rows_found: report.rows,
        parts: report.parts,
        bytes_hashed: report.bytes,
        verdicts: Some(v1::VerdictCounts {
            likely_ai: count(Verdict::LikelyAi),
            no_evidence: count(Verdict::NoEvidence),
            inconclusive: count(Verdict::Inconclusive),
            unscannable: count(Verdict::Unscannable),
        }),
        findings: report.findings_total,
        verdicts_sha256: report
            .verdicts_sha256
            .map(|digest| digest.to_string())
            .unwrap_or_default(),
        purpose: v1::Purpose::from(purpose).into(),
        rows_screened: report.screened,
    }
}
