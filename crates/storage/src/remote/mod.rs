//! Stores that are reached by HTTP: S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage.
//!
//! Called where a storage root or a source is opened. Here a setting becomes a client; no request is made yet.

#[cfg(test)]
mod clouds;
pub(crate) mod gate;
mod wire;

use std::fmt;
use std::sync::{Arc, Once};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig};

use crate::credentials::{AwsCredentials, Credentials};
use crate::faults::{Injector, Unconditional};
use crate::{Place, StorageError, StorageSettings};
use gate::Gate;
use wire::Connector;

/// Longest wait for a connection: a host that is there answers within milliseconds.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest time for one request from its first byte to its last, however lively: pieces are of megabytes, and the largest
/// objects that are read whole, weights, have a few hundred.
const REQUEST: Duration = Duration::from_secs(300);
/// The region that stores other than Amazon's expect where none is named.
const REGION: &str = "us-east-1";

/// A store whose requests pass a gate.
#[derive(Clone)]
pub(crate) struct Remote {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// For tests that count requests.
    #[cfg(test)]
    pub(crate) gate: Arc<Gate>,
}

impl fmt::Debug for Remote {
    /// Nothing of its client, which prints tokens that it holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

/// Opens a store that is not a folder; `name` is its name in metrics.
///
/// # Errors
/// [`StorageError::Invalid`] where the settings or credentials make no client.
pub(crate) fn open(settings: &StorageSettings, name: &str) -> Result<Remote, StorageError> {
    choose_cryptography();
    let gate = Arc::new(Gate::new(name, seed(name)));
    let injector = settings.faults.clone().map(Injector::new).map(Arc::new);
    if injector.is_some() {
        tracing::warn!(store = %settings, faults = ?settings.faults, "FAULTS ARE MADE ON PURPOSE between this process and its store");
    }
    let connector = Connector {
        gate: gate.clone(),
        injector,
        silence: settings.silence,
    };
    let store = client(settings, connector)?;
    let store: Arc<dyn ObjectStore> = match settings.prefix.as_str() {
        "" => store,
        prefix => Arc::new(PrefixStore::new(store, verbatim(prefix)?)),
    };
    let store: Arc<dyn ObjectStore> = match settings.faults.clone() {
        None => store,
        Some(faults) => Arc::new(Unconditional {
            inner: store,
            injector: Injector::new(faults),
        }),
    };
    Ok(Remote {
        store,
        #[cfg(test)]
        gate,
    })
}

/// A prefix as it was given, whatever characters it has.
fn verbatim(prefix: &str) -> Result<Path, StorageError> {
    Path::parse(prefix)
        .map_err(|error| StorageError::Invalid(format!("prefix `{prefix}`: {error}")))
}

/// Every link is encrypted by the same library; who comes first says so for the process.
fn choose_cryptography() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _chosen_by_another = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Waits of different processes and stores must not fall together, and need not be secret.
fn seed(name: &str) -> u64 {
    let text = format!("{name} {}", std::process::id());
    let digest = types::Digest::of(text.as_bytes());
    u64::from_le_bytes(std::array::from_fn(|n| digest.0[n]))
}

fn client(
    settings: &StorageSettings,
    connector: Connector,
) -> Result<Arc<dyn ObjectStore>, StorageError> {
    let options = options(settings)?;
    match &settings.place {
        Place::S3(bucket) => s3(settings, bucket, options, connector),
        Place::Gcs(bucket) => gcs(settings, bucket, options, connector),
        Place::Azure { account, container } => {
            azure(settings, (account, container), options, connector)
        }
        Place::Folder(_) => Err(StorageError::Invalid(format!(
            "`{settings}` is a folder, not a store behind a network"
        ))),
    }
}

fn options(settings: &StorageSettings) -> Result<ClientOptions, StorageError> {
    let options = ClientOptions::new()
        .with_allow_http(settings.allow_http)
        .with_connect_timeout(CONNECT)
        .with_read_timeout(settings.silence)
        .with_timeout(REQUEST);
    let Some(path) = &settings.ca else {
        return Ok(options);
    };
    let failed = |error: &dyn std::fmt::Display| {
        StorageError::Invalid(format!(
            "read the certificates in `{}`: {error}",
            path.display()
        ))
    };
    let text = std::fs::read(path).map_err(|error| failed(&error))?;
    let certificates = Certificate::from_pem_bundle(&text).map_err(|error| failed(&error))?;
    let options = options.with_no_system_certificates(true);
    Ok(certificates
        .into_iter()
        .fold(options, ClientOptions::with_root_certificate))
}

/// The wire sends again, and nobody else.
fn no_retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: 0,
        retry_timeout: REQUEST,
    }
}

fn s3(
    settings: &StorageSettings,
    bucket: &str,
    options: ClientOptions,
    connector: Connector,
) -> Result<Arc<dyn ObjectStore>, StorageError> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(settings.region.as_deref().unwrap_or(REGION))
        .with_virtual_hosted_style_request(!settings.path_style)
        // Not every store has the bulk form, and few objects are removed.
        .with_disable_bulk_delete(true)
        .with_allow_http(settings.allow_http)
        .with_retry(no_retries())
        .with_client_options(options)
        .with_http_connector(connector);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    builder = match AwsCredentials::open(&settings.credentials)? {
        Some(credentials) => builder.with_credentials(Arc::new(credentials)),
        None if settings.credentials == Credentials::Anonymous => builder.with_skip_signature(true),
        None => on_the_platform(builder),
    };
    built(settings, builder.build())
}

/// What platforms tell a pod of its identity, and never a key.
const IDENTITY: &[(&str, AmazonS3ConfigKey)] = &[
    (
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        AmazonS3ConfigKey::WebIdentityTokenFile,
    ),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    (
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
    ),
    (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        AmazonS3ConfigKey::ContainerCredentialsFullUri,
    ),
    (
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
    ),
];

fn on_the_platform(builder: AmazonS3Builder) -> AmazonS3Builder {
    IDENTITY
        .iter()
        .fold(builder, |builder, (name, key)| match std::env::var(name) {
            Ok(value) => builder.with_config(*key, value),
            Err(_) => builder,
        })
}

fn gcs(
    settings: &StorageSettings,
    bucket: &str,
    options: ClientOptions,
    connector: Connector,
) -> Result<Arc<dyn ObjectStore>, StorageError> {
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(bucket)
        .with_retry(no_retries())
        .with_client_options(options)
        .with_http_connector(connector);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_base_url(endpoint);
    }
    let secret = settings.credentials.read()?;
    builder = match &secret {
        Some(secret) => builder.with_service_account_key(secret.expose()),
        None => builder.with_skip_signature(settings.credentials == Credentials::Anonymous),
    };
    match (builder.build(), secret) {
        (Err(_), Some(_)) => Err(no_account(settings)),
        (made, _) => built(settings, made),
    }
}

/// The client quotes what it cannot read of an account, which may be the key itself.
fn no_account(settings: &StorageSettings) -> StorageError {
    StorageError::Invalid(format!(
        "open `{settings}`: credentials in {}: they are no service account's JSON with `client_email`, `private_key_id` and an RSA key as `private_key`",
        settings.credentials.shown()
    ))
}

fn azure(
    settings: &StorageSettings,
    (account, container): (&str, &str),
    options: ClientOptions,
    connector: Connector,
) -> Result<Arc<dyn ObjectStore>, StorageError> {
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(account)
        .with_container_name(container)
        .with_allow_http(settings.allow_http)
        .with_retry(no_retries())
        .with_client_options(options)
        .with_http_connector(connector);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    let secret = settings.credentials.read()?;
    let value = |key: &str| secret.as_ref().and_then(|secret| secret.value(key));
    builder = match (
        value("azure_storage_account_key"),
        value("azure_storage_sas_token"),
    ) {
        (Some(key), _) => builder.with_access_key(key),
        (None, Some(token)) => builder.with_config(AzureConfigKey::SasKey, token),
        (None, None) if secret.is_some() => {
            return Err(StorageError::Invalid(format!(
                "credentials in {}: neither `azure_storage_account_key = …` nor `azure_storage_sas_token = …` stands in it",
                settings.credentials.shown()
            )));
        }
        (None, None) => builder.with_skip_signature(settings.credentials == Credentials::Anonymous),
    };
    built(settings, builder.build())
}

/// A client's builder names keys and files; its words pass the same redaction as a store's.
fn built<S: ObjectStore>(
    settings: &StorageSettings,
    made: object_store::Result<S>,
) -> Result<Arc<dyn ObjectStore>, StorageError> {
    match made {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(StorageError::Invalid(format!(
            "open `{settings}`: {}",
            crate::error::said(&error)
        ))),
    }
}
