//! Google's and Azure's clients against a stub of each: what a create carries, what an answer or none comes to, and that nothing which is printed
//! shows a secret. The services themselves are not asked.

mod stub;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use types::{Code, SourceName};

use crate::{ObjectPath, Put, Sources, Storage, StorageError, StorageSettings};
use stub::{Asked, Fate, Manners, Stub};

/// An RSA key that was made for these tests and opens nothing.
const RSA_KEY: &str = include_str!("account.b64");
/// A key of an account that is nobody's.
const ACCOUNT_KEY: &str = "aHVudGVyMiBodW50ZXIyIGh1bnRlcjI=";
/// A token of one.
const SAS_TOKEN: &str = "sv=2026-01-01&sp=rwdl&sig=hunter2%2Bhunter2%3D";
/// Longest silence within a request: a stub answers at once, on a busy machine too.
const SILENCE: Duration = Duration::from_secs(3);

/// A service, and how it knows who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cloud {
    Google,
    AzureKey,
    AzureToken,
}

impl Cloud {
    const EACH: [Self; 3] = [Self::Google, Self::AzureKey, Self::AzureToken];

    const fn manners(self) -> Manners {
        match self {
            Self::Google => Manners::Google,
            Self::AzureKey | Self::AzureToken => Manners::Azure,
        }
    }

    /// What its file of credentials has.
    fn credentials(self) -> String {
        match self {
            Self::Google => account(),
            Self::AzureKey => format!("azure_storage_account_key = {ACCOUNT_KEY}\n"),
            Self::AzureToken => format!("azure_storage_sas_token = {SAS_TOKEN}\n"),
        }
    }

    fn url(self, endpoint: &str, keys: &Path) -> String {
        let place = match self {
            Self::Google => "gs://bucket/some/prefix?",
            Self::AzureKey | Self::AzureToken => "az://bucket/some/prefix?account=somebody&",
        };
        let (keys, silence) = (keys.display(), SILENCE.as_millis());
        format!(
            "{place}endpoint={endpoint}&allow-http=true&credentials=file:{keys}&silence-millis={silence}"
        )
    }

    /// Where `t/a` lies.
    const fn path(self) -> &'static str {
        match self {
            Self::Google => "/bucket/some%2Fprefix%2Ft%2Fa",
            Self::AzureKey | Self::AzureToken => "/bucket/some/prefix/t/a",
        }
    }

    /// Whether a request says who asks, so that the service can believe it.
    fn is_signed(self, asked: &Asked) -> bool {
        let authorization = asked.header("authorization").unwrap_or_default();
        match self {
            Self::Google => {
                let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
                let parts: Vec<&str> = token.split('.').collect();
                parts.len() == 3 && parts.iter().all(|part| !part.is_empty())
            }
            Self::AzureKey => {
                let signature = authorization.strip_prefix("SharedKey somebody:");
                signature.is_some_and(|signature| !signature.is_empty())
            }
            Self::AzureToken => asked.query.contains("sig=hunter2"),
        }
    }

    /// What was kept in the file and must be nowhere else.
    fn secrets(self) -> Vec<&'static str> {
        match self {
            Self::Google => RSA_KEY.lines().collect(),
            Self::AzureKey => vec![ACCOUNT_KEY],
            Self::AzureToken => vec!["hunter2"],
        }
    }
}

/// A service account's JSON.
fn account() -> String {
    let key = format!("-----BEGIN PRIVATE KEY-----\n{RSA_KEY}-----END PRIVATE KEY-----\n");
    let account = serde_json::json!({
        "type": "service_account",
        "client_email": "trackscan@example.com",
        "private_key_id": "first",
        "private_key": key,
    });
    account.to_string()
}

/// A storage root in a service's stub.
struct Scene {
    stub: Stub,
    storage: Storage,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(cloud: Cloud) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stub = Stub::start(cloud.manners());
        let keys = folder.path().join("keys");
        std::fs::write(&keys, cloud.credentials()).unwrap();
        Self {
            storage: Storage::open(&cloud.url(&stub.endpoint(), &keys)).unwrap(),
            stub,
            folder,
        }
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    async fn put(&self, text: &'static str) -> Result<Put, StorageError> {
        let bytes = Bytes::from_static(text.as_bytes());
        self.storage.put(&name(), bytes).await
    }
}

fn name() -> ObjectPath {
    "t/a".parse().unwrap()
}

#[tokio::test]
async fn a_create_carries_its_condition_and_every_request_says_who_asks() {
    for cloud in Cloud::EACH {
        let scene = Scene::new(cloud);
        assert_eq!(scene.put("ours").await.unwrap(), Put::Written, "{cloud:?}");
        assert_eq!(scene.storage.get(&name()).await.unwrap(), "ours");
        assert_eq!(scene.storage.len(&name()).await.unwrap(), 4);
        let asked = scene.stub.asked();
        let methods: Vec<&str> = asked.iter().map(|asked| asked.method.as_str()).collect();
        assert_eq!(methods, ["PUT", "GET", "HEAD"], "{cloud:?}");
        let (condition, value) = cloud.manners().condition();
        assert_eq!(asked[0].header(condition), Some(value), "{cloud:?}");
        for asked in asked {
            assert_eq!(asked.path, cloud.path(), "{cloud:?}");
            assert!(cloud.is_signed(&asked), "{cloud:?}: {}", asked.method);
        }
    }
}

/// What stands there, what becomes of the puts, what they come to, and how many are sent.
type Case = (
    Option<&'static str>,
    &'static [Fate],
    Result<Put, Code>,
    usize,
);

/// What a put of `ours` comes to through these fates, where something may stand, and how often it is sent.
async fn came_to(
    cloud: Cloud,
    stands: Option<&'static str>,
    fates: &[Fate],
) -> (Result<Put, Code>, usize) {
    let scene = Scene::new(cloud);
    if let Some(stands) = stands {
        scene.put(stands).await.unwrap();
    }
    scene.stub.order(fates);
    let outcome = scene.put("ours").await.map_err(|error| error.code());
    let puts = scene.stub.puts();
    let there = scene.storage.get(&name()).await.unwrap();
    let first = stands.unwrap_or("ours");
    assert_eq!(there, first, "{cloud:?} {fates:?}: nothing is replaced");
    (outcome, puts)
}

#[tokio::test]
async fn a_create_that_is_refused_or_loses_its_answer_is_settled_by_what_stands_there() {
    let (ours, theirs) = (Some("ours"), Some("theirs"));
    let (written, there) = (Ok(Put::Written), Ok(Put::AlreadyThere));
    let corrupt = Err(Code::StorageCorrupt);
    let cases: [Case; 13] = [
        (ours, &[], there, 1),
        (theirs, &[], corrupt, 1),
        (None, &[Fate::Refused(409)], written, 2),
        (ours, &[Fate::Refused(409)], there, 1),
        (theirs, &[Fate::Refused(409)], corrupt, 1),
        (None, &[Fate::Refused(412)], written, 2),
        (ours, &[Fate::Refused(412)], there, 1),
        (theirs, &[Fate::Refused(412)], corrupt, 1),
        (None, &[Fate::Refused(503)], written, 2),
        (None, &[Fate::DoneBut(503)], there, 2),
        (None, &[Fate::Lost], written, 2),
        (theirs, &[Fate::Lost], corrupt, 1),
        (None, &[Fate::DoneAndLost], there, 1),
    ];
    for cloud in Cloud::EACH {
        for (stands, fates, expected, puts) in cases {
            let found = came_to(cloud, stands, fates).await;
            assert_eq!(found, (expected, puts), "{cloud:?} {stands:?} {fates:?}");
        }
    }
}

#[tokio::test]
async fn a_create_whose_answer_never_comes_is_given_up_and_found_where_it_stands() {
    let silent = Cloud::EACH.map(|cloud| came_to(cloud, None, &[Fate::DoneAndSilent]));
    for found in futures::future::join_all(silent).await {
        assert_eq!(found, (Ok(Put::AlreadyThere), 1));
    }
}

#[tokio::test]
async fn a_denied_right_and_a_missing_bucket_are_named_at_once() {
    for cloud in Cloud::EACH {
        for (status, said, code) in [
            (403, "AccessDenied", Code::StorageDenied),
            (401, "AuthenticationRequired", Code::StorageDenied),
            (404, cloud.manners().no_bucket(), Code::StorageMissing),
        ] {
            let scene = Scene::new(cloud);
            scene.stub.always(status, said);
            let error = scene.put("ours").await.unwrap_err();
            assert_eq!(error.code(), code, "{cloud:?} {status}: {error:?}");
            assert!(error.is_transient() && scene.stub.puts() == 1, "{error:?}");
        }
    }
}

/// An error in every way in which it is printed.
fn printed(error: &StorageError) -> String {
    format!("{error} {error:?} {}", types::chain(error))
}

/// What went over the wire to say who asks.
fn carried(asked: &Asked) -> Option<&str> {
    asked.header("authorization")?.rsplit([' ', ':']).next()
}

#[tokio::test]
async fn no_error_and_no_value_that_is_printed_shows_a_secret() {
    for cloud in Cloud::EACH {
        let scene = Scene::new(cloud);
        scene.put("theirs").await.unwrap();
        let mut shown = printed(&scene.put("ours").await.unwrap_err());
        scene.stub.order(&[]);
        scene.stub.always(403, "AccessDenied");
        shown += &printed(&scene.put("ours").await.unwrap_err());
        // A port on which nobody listens: the client has most to say of where it went.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nowhere = format!("http://{}", closed.local_addr().unwrap());
        drop(closed);
        let settings = StorageSettings::parse(&cloud.url(&nowhere, &scene.keys())).unwrap();
        let away = Storage::connect(&settings).unwrap();
        let error = away.get(&name()).await.unwrap_err();
        assert_eq!(error.code(), Code::StorageUnavailable, "{error:?}");
        shown += &printed(&error);
        let mut sources = Sources::default();
        let music = SourceName::new("music").unwrap();
        sources.connect(music, &settings).unwrap();
        shown += &format!("{away:?} {settings:?} {settings} {sources:?}");
        for secret in cloud.secrets() {
            assert!(!shown.contains(secret), "{cloud:?}: {secret} in {shown}");
        }
        let asked = scene.stub.asked();
        assert!(!asked.is_empty(), "{cloud:?}");
        for token in asked.iter().filter_map(carried) {
            assert!(!shown.contains(token), "{cloud:?}: {token} in {shown}");
        }
    }
}

#[tokio::test]
async fn an_account_that_cannot_be_read_is_named_by_its_file_and_never_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let url = Cloud::Google.url("http://127.0.0.1:1", &keys);
    for text in [
        "hunter2",
        "\"hunter2\"",
        r#"{"client_email": "a", "private_key_id": "1", "private_key": "hunter2"}"#,
        r#"{"client_email": "a", "private_key_id": "1", "private_key": "b", "disable_oauth": "hunter2"}"#,
    ] {
        std::fs::write(&keys, text).unwrap();
        let error = Storage::open(&url).unwrap_err();
        let shown = printed(&error);
        let file = keys.display().to_string();
        assert!(shown.contains(&file), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
