//! Looking at bundles and verifying them, and registering the configured one at start.

use std::path::Path;
use std::sync::Arc;

use bundle::{Bundle, Gated, Manifest, SIGNATURE_FILE, Trust};
use proto::v1;
use proto::v1::bundles_server::Bundles;
use tonic::{Request as Call, Response, Status};
use types::{Code, Digest, GateChoice, Problem, TenantId};

use crate::app::{App, SCRATCH_PREFIX, blocking, storage_problem};
use crate::bundles::Texts;
use crate::shelf::{BundleRecord, Gates};
use crate::{clock, rpc};

/// The service.
pub(crate) struct BundlesService(pub(crate) Arc<App>);

#[tonic::async_trait]
impl Bundles for BundlesService {
    async fn list_bundles(
        &self,
        call: Call<v1::ListBundlesRequest>,
    ) -> Result<Response<v1::ListBundlesResponse>, Status> {
        rpc::unary("ListBundles", self.list(call.into_inner())).await
    }

    async fn get_bundle(
        &self,
        call: Call<v1::GetBundleRequest>,
    ) -> Result<Response<v1::GetBundleResponse>, Status> {
        rpc::unary("GetBundle", self.get(call.into_inner())).await
    }

    async fn verify_bundle(
        &self,
        call: Call<v1::VerifyBundleRequest>,
    ) -> Result<Response<v1::VerifyBundleResponse>, Status> {
        rpc::unary("VerifyBundle", self.verify(call.into_inner())).await
    }
}

impl BundlesService {
    async fn list(&self, wire: v1::ListBundlesRequest) -> Result<v1::ListBundlesResponse, Problem> {
        proto::caller(wire.caller)?;
        self.0.leads_still().await?;
        let bundles = self.0.bundles.all();
        Ok(v1::ListBundlesResponse {
            bundles: bundles.into_iter().map(|record| self.out(record)).collect(),
        })
    }

    async fn get(&self, wire: v1::GetBundleRequest) -> Result<v1::GetBundleResponse, Problem> {
        proto::caller(wire.caller)?;
        self.0.leads_still().await?;
        let record = self.0.bundles.find(&wire.bundle)?;
        let texts = match self.0.bundles.texts(record.digest) {
            Some(texts) => texts,
            None => {
                let read = texts(&self.0, &record).await?;
                self.0.bundles.keep_texts(record.digest, read)
            }
        };
        Ok(v1::GetBundleResponse {
            bundle: Some(self.out(record)),
            card: texts.card.clone(),
            manifest: texts.manifest.clone(),
        })
    }

    async fn verify(
        &self,
        wire: v1::VerifyBundleRequest,
    ) -> Result<v1::VerifyBundleResponse, Problem> {
        proto::caller(wire.caller)?;
        self.0.leads_still().await?;
        let record = self.0.bundles.find(&wire.bundle)?;
        let findings = match verify(&self.0, &record).await {
            Ok(()) => Vec::new(),
            Err(problem) => vec![problem.into()],
        };
        Ok(v1::VerifyBundleResponse {
            bundle: Some(self.out(record)),
            findings,
        })
    }

    fn out(&self, record: BundleRecord) -> v1::Bundle {
        let is_default = self
            .0
            .bundles
            .default_one()
            .is_some_and(|default| default.digest == record.digest);
        v1::Bundle {
            name: record.name,
            version: record.version.to_string(),
            digest: record.digest.to_string(),
            purpose: v1::Purpose::from(record.purpose).into(),
            signed_by: record.signed_by,
            bytes: record.bytes,
            files: record.files,
            registered_at_ms: record.registered_at.0,
            default: is_default,
            residual: record.residual,
        }
    }
}

/// Copies a bundle out of storage, every file checked against its digest. Bundles are the installation's and stand under its
/// first tenant; all tenants use them.
async fn fetch(app: &App, record: &BundleRecord) -> Result<tempfile::TempDir, Problem> {
    let folder = tempfile::Builder::new()
        .prefix(SCRATCH_PREFIX)
        .tempdir_in(&app.scratch);
    let folder = folder.map_err(|error| {
        Problem::new(
            Code::StorageUnavailable,
            format!("make a scratch folder: {error}"),
        )
    })?;
    let fetched = app
        .storage
        .get_bundle(&TenantId::default(), record.digest, folder.path())
        .await;
    let what = format!(
        "read bundle `{}` version {} from storage",
        record.name, record.version
    );
    fetched.map_err(|error| storage_problem(&what, &error))?;
    Ok(folder)
}

/// Reads what a bundle says of itself.
async fn texts(app: &App, record: &BundleRecord) -> Result<Texts, Problem> {
    let (folder, digest) = (fetch(app, record).await?, record.digest);
    blocking("read a bundle", move || {
        let bundle = Bundle::open_pinned(folder.path(), digest).map_err(|error| error.problem())?;
        let read = |name: &str| {
            let text = std::fs::read_to_string(folder.path().join(name));
            let why = |error: std::io::Error| format!("read `{name}` of the bundle: {error}");
            text.map_err(|error| Problem::new(Code::BundleInvalid, why(error)))
        };
        Ok(Texts {
            card: read(&bundle.manifest.model_card)?,
            manifest: read(bundle::MANIFEST_FILE)?,
        })
    })
    .await
}

/// Checks a bundle as an agent would before it loads it.
async fn verify(app: &App, record: &BundleRecord) -> Result<(), Problem> {
    let folder = fetch(app, record).await?;
    let (trust, digest) = (app.trust.clone(), record.digest);
    blocking("verify a bundle", move || {
        let bundle = checked(folder.path(), &trust)?;
        if bundle.digest == digest {
            return Ok(());
        }
        let message = format!(
            "verify a bundle: its manifest has digest {}, not {digest}",
            bundle.digest
        );
        Err(Problem::new(Code::BundleDigestMismatch, message))
    })
    .await
}

/// Registers a bundle unless it is registered already, after every check, and makes it the default one.
///
/// # Errors
/// When the bundle is refused, or cannot be put into storage or on the shelf.
pub(crate) async fn register_default(app: &App, folder: &Path) -> Result<(), Problem> {
    let record = open(app, folder).await?;
    app.bundles.set_default(record.digest);
    register(app, folder, record).await
}

/// Makes the configured bundle the default one of a coordinator that does not lead, where the leader has registered it.
///
/// # Errors
/// When the bundle is refused.
pub(crate) async fn note_default(app: &App, folder: &Path) -> Result<(), Problem> {
    app.bundles.set_default(open(app, folder).await?.digest);
    Ok(())
}

/// Registers the bundle that ships where no other is. One that others stand beside is not needed: where it cannot even be
/// opened, the log says so and nothing ends.
///
/// # Errors
/// Where no other bundle is: as for the default one.
pub(crate) async fn register_shipped(app: &App, folder: &Path) -> Result<(), Problem> {
    match open(app, folder).await {
        Ok(record) if app.bundles.wants_shipped(&record) => register(app, folder, record).await,
        Ok(_) => Ok(()),
        Err(problem) if app.bundles.is_empty() => Err(problem),
        Err(problem) => {
            tracing::warn!(%problem, "the bundle that ships cannot be used; others are registered");
            Ok(())
        }
    }
}

/// What the shelf is to hold of a bundle that passes every check.
async fn open(app: &App, folder: &Path) -> Result<BundleRecord, Problem> {
    let (trust, owned) = (app.trust.clone(), folder.to_owned());
    blocking("open a configured bundle", move || {
        let bundle = checked(&owned, &trust)?;
        let signature = std::fs::read_to_string(owned.join(SIGNATURE_FILE)).unwrap_or_default();
        Ok(record(&bundle, &signature))
    })
    .await
}

/// What the shelf is to hold of the bundle in a folder whose digest is known; whether it is trusted is asked where it is used.
pub(crate) async fn record_of(folder: &Path, digest: Digest) -> Result<BundleRecord, Problem> {
    let owned = folder.to_owned();
    blocking("open a bundle of storage", move || {
        let bundle = Bundle::open_pinned(&owned, digest).map_err(|error| error.problem())?;
        let signature = std::fs::read_to_string(owned.join(SIGNATURE_FILE)).unwrap_or_default();
        Ok(record(&bundle, &signature))
    })
    .await
}

/// A bundle that passes every check that needs no device.
fn checked(folder: &Path, trust: &Trust) -> Result<Bundle, Problem> {
    let opened = Bundle::open(folder, trust);
    let fitting = opened.and_then(|bundle| bundle.check_fit().map(|()| bundle));
    fitting.map_err(|error| error.problem())
}

async fn register(app: &App, folder: &Path, record: BundleRecord) -> Result<(), Problem> {
    if app.bundles.get(record.digest).is_some() {
        return Ok(());
    }
    let tenant = TenantId::default();
    let put = app.storage.put_bundle(&tenant, record.digest, folder).await;
    put.map_err(|error| storage_problem("put a bundle into storage", &error))?;
    app.shelf.add_bundle(record.clone()).await?;
    tracing::info!(name = record.name, version = record.version, digest = %record.digest, "bundle registered");
    app.bundles.add(record);
    Ok(())
}

fn record(bundle: &Bundle, signature: &str) -> BundleRecord {
    let files = &bundle.manifest.files;
    BundleRecord {
        digest: bundle.digest,
        name: bundle.manifest.name.clone(),
        version: bundle.manifest.version,
        purpose: bundle.manifest.purpose,
        // The second word of a signature that was just verified is its key.
        signed_by: signature
            .split_ascii_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned(),
        files: files.iter().map(|file| file.name.clone()).collect(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        registered_at: clock::wall(),
        residual: bundle
            .manifest
            .residual
            .as_ref()
            .is_some_and(|residual| residual.canary.is_some()),
        gates: Some(gates(&bundle.manifest)),
    }
}

fn gates(manifest: &Manifest) -> Gates {
    let takes = |choice| !Gated::of(manifest, choice).takes_none();
    Gates {
        own: takes(None),
        unsure: takes(Some(GateChoice::Unsure)),
        positives: takes(Some(GateChoice::Positives)),
    }
}
