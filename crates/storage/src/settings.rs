//! What an operator says of a store: where it lies, how it is reached, and where its credentials are kept.
//!
//! Called by coordinator and agent for the storage root and for sources. One URL names everything: `s3://`, `gs://`, `az://` or
//! `file://`, with what its client needs in the query. A URL never holds a secret, only where one is; no message shows a query.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::StorageError;
use crate::credentials::Credentials;
use crate::faults::Faults;

/// Longest silence of a store within one request before the request is given up: stores answer within a second, and an
/// upload of one piece over a slow line takes some.
pub const SILENCE_DEFAULT: Duration = Duration::from_secs(30);

/// Where a store lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder of this machine, or one that is mounted here.
    Folder(PathBuf),
    /// A bucket of S3 or of a store that speaks its protocol.
    S3(String),
    /// A bucket of Google Cloud Storage.
    Gcs(String),
    /// A container of Azure Blob Storage, in an account.
    Azure {
        /// The storage account.
        account: String,
        /// The container.
        container: String,
    },
}

/// A store as an operator configured it.
#[derive(Clone, Debug, PartialEq)]
pub struct StorageSettings {
    /// Where it lies.
    pub place: Place,
    /// What stands before every key in it; empty, or without a slash at either end.
    pub prefix: String,
    /// Another host than the provider's own, as `https://host:port`.
    pub endpoint: Option<String>,
    /// The region that signs requests.
    pub region: Option<String>,
    /// Whether requests may go unencrypted.
    pub allow_http: bool,
    /// Whether the bucket stands in the path, not in the host's name.
    pub path_style: bool,
    /// A file of certificates (PEM) that are trusted instead of the system's.
    pub ca: Option<PathBuf>,
    /// Where the credentials are kept.
    pub credentials: Credentials,
    /// Longest silence within one request.
    pub silence: Duration,
    /// Faults that are made on purpose, for tests.
    pub faults: Option<Faults>,
}

impl StorageSettings {
    /// Settings of a place with nothing else said.
    #[must_use]
    pub fn new(place: Place) -> Self {
        Self {
            place,
            prefix: String::new(),
            endpoint: None,
            region: None,
            allow_http: false,
            path_style: true,
            ca: None,
            credentials: Credentials::Instance,
            silence: SILENCE_DEFAULT,
            faults: None,
        }
    }

    /// Reads a URL such as `s3://bucket/prefix?region=eu-west-1&credentials=file:/etc/trackscan/s3`.
    ///
    /// # Errors
    /// [`StorageError::Invalid`] says what is wrong; it shows nothing of the query but a key's name.
    pub fn parse(url: &str) -> Result<Self, StorageError> {
        Text::of(url)
            .and_then(|text| text.settings())
            .map_err(|cause| StorageError::Invalid(format!("storage `{}`: {cause}", shown(url))))
    }

    /// Whether a text names a store that is not a folder.
    #[must_use]
    pub fn is_remote(text: &str) -> bool {
        ["s3://", "gs://", "az://"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
    }
}

impl fmt::Display for StorageSettings {
    /// The place alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        let prefix = &self.prefix;
        match &self.place {
            Place::Folder(folder) => write!(f, "file://{}", folder.display()),
            Place::S3(bucket) => write!(f, "s3://{bucket}{slash}{prefix}"),
            Place::Gcs(bucket) => write!(f, "gs://{bucket}{slash}{prefix}"),
            Place::Azure { container, .. } => write!(f, "az://{container}{slash}{prefix}"),
        }
    }
}

/// A URL without its query, and without what stands before an `@`, which somebody may take for the place of a password.
fn shown(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    match plain.split_once("://") {
        Some((scheme, rest)) => {
            let rest = rest.rsplit('@').next().unwrap_or(rest);
            format!("{scheme}://{rest}")
        }
        None => plain.to_owned(),
    }
}

/// A URL in its parts.
struct Text {
    scheme: String,
    authority: String,
    path: String,
    query: Vec<(String, String)>,
}

/// Keys under which people would look for a place for a secret; they are told where secrets go.
const SECRETS: &[&str] = &[
    "access-key",
    "access_key",
    "access_key_id",
    "account_key",
    "key",
    "password",
    "sas",
    "secret",
    "secret-key",
    "secret_access_key",
    "sig",
    "token",
];

impl Text {
    fn of(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or("it is no URL; a folder is `file:///absolute/folder`")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if rest.contains('#') || query.contains('#') {
            return Err("a `#` has no place in it".to_owned());
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains(['@', ':']) {
            return Err(
                "no user, password or port stands in it; see `credentials` and `endpoint`"
                    .to_owned(),
            );
        }
        let query = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(pair)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            scheme: scheme.to_owned(),
            authority: authority.to_owned(),
            path: path.to_owned(),
            query,
        })
    }

    fn settings(mut self) -> Result<StorageSettings, String> {
        let mut settings = StorageSettings::new(self.place()?);
        if !matches!(settings.place, Place::Folder(_)) {
            settings.prefix = prefix(&decoded(&self.path)?)?;
        }
        for (key, value) in std::mem::take(&mut self.query) {
            set(&mut settings, &key, &value)?;
        }
        check(&settings)?;
        Ok(settings)
    }

    fn place(&mut self) -> Result<Place, String> {
        match self.scheme.as_str() {
            "file" if self.authority.is_empty() => {
                let path: Vec<u8> = percent_decode_str(&self.path).collect();
                Ok(Place::Folder(Path::new("/").join(OsStr::from_bytes(&path))))
            }
            "file" => Err("it is not of the form `file:///absolute/folder`".to_owned()),
            "s3" => bucket(&self.authority).map(Place::S3),
            "gs" => bucket(&self.authority).map(Place::Gcs),
            "az" => Ok(Place::Azure {
                account: self.take("account").ok_or("its query lacks `account`")?,
                container: bucket(&self.authority)?,
            }),
            _ => Err("its scheme is not file, s3, gs or az".to_owned()),
        }
    }

    fn take(&mut self, key: &str) -> Option<String> {
        let at = self.query.iter().position(|(found, _)| found == key)?;
        Some(self.query.remove(at).1)
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    Ok((decoded(key)?, decoded(value)?))
}

fn decoded(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(|text| text.into_owned())
        .map_err(|_| "it is not UTF-8".to_owned())
}

/// The name of a bucket or container: what every provider accepts, and never a host.
fn bucket(text: &str) -> Result<String, String> {
    let spelt = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    match !text.is_empty() && text.len() <= 255 && text.bytes().all(spelt) {
        true => Ok(text.to_owned()),
        false => Err("it names no bucket".to_owned()),
    }
}

fn prefix(text: &str) -> Result<String, String> {
    let text = text.trim_matches('/');
    match text.is_empty() {
        true => Ok(String::new()),
        false => catalog::key::check(text)
            .map(|()| text.to_owned())
            .map_err(|error| format!("its prefix: {error}")),
    }
}

fn set(settings: &mut StorageSettings, key: &str, value: &str) -> Result<(), String> {
    let wrong = |what: &str| format!("`{key}` of its query is not {what}");
    let switch = || value.parse::<bool>().map_err(|_| wrong("true or false"));
    match key {
        "endpoint" => {
            settings.endpoint =
                Some(endpoint(value).ok_or_else(|| wrong("http://HOST or https://HOST"))?)
        }
        "region" => settings.region = Some(value.to_owned()),
        "allow-http" => settings.allow_http = switch()?,
        "path-style" => settings.path_style = switch()?,
        "ca" => settings.ca = Some(absolute(value).ok_or_else(|| wrong("an absolute path"))?),
        "credentials" => {
            settings.credentials = Credentials::parse(value)
                .map_err(|cause| format!("`{key}` of its query {cause}"))?;
        }
        "silence-millis" => {
            let millis = value.parse().ok().filter(|millis| *millis > 0);
            settings.silence =
                Duration::from_millis(millis.ok_or_else(|| wrong("a number above 0"))?);
        }
        "faults" => settings.faults = Some(Faults::parse(value)?),
        key if SECRETS.contains(&key.to_ascii_lowercase().as_str()) => {
            return Err(format!(
                "`{key}` of its query would be a secret; say where it is kept: `credentials=file:/PATH` or `credentials=env:NAME`"
            ));
        }
        key => return Err(format!("`{key}` of its query is unknown")),
    }
    Ok(())
}

fn endpoint(value: &str) -> Option<String> {
    let host = value
        .strip_prefix("http://")
        .or_else(|| value.strip_prefix("https://"))?;
    let plain = !host.is_empty() && !host.contains(['@', '?', '#', ' ']);
    plain.then(|| value.trim_end_matches('/').to_owned())
}

fn absolute(value: &str) -> Option<PathBuf> {
    value.starts_with('/').then(|| value.into())
}

/// What must hold among the values.
fn check(settings: &StorageSettings) -> Result<(), String> {
    let is_folder = matches!(settings.place, Place::Folder(_));
    let plain = settings
        .endpoint
        .as_ref()
        .is_some_and(|at| at.starts_with("http://"));
    if is_folder && *settings != StorageSettings::new(settings.place.clone()) {
        return Err("a folder has no query".to_owned());
    }
    match plain && !settings.allow_http {
        true => Err(
            "`endpoint` of its query is not encrypted; use https, or say `allow-http=true`"
                .to_owned(),
        ),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(url: &str, expected: &str) {
        let said = StorageSettings::parse(url).unwrap_err().to_string();
        assert!(said.contains(expected), "{url}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn one_url_says_where_a_store_lies_and_how_it_is_reached() {
        let url = "s3://music/archive/2026?endpoint=http://10.0.0.1:9000/&allow-http=true&region=eu-west-1\
                   &path-style=false&credentials=file:/etc/s3&silence-millis=5000&ca=/etc/ca.pem";
        let settings = StorageSettings::parse(url).unwrap();
        let expected = StorageSettings {
            prefix: "archive/2026".to_owned(),
            endpoint: Some("http://10.0.0.1:9000".to_owned()),
            region: Some("eu-west-1".to_owned()),
            allow_http: true,
            path_style: false,
            ca: Some("/etc/ca.pem".into()),
            credentials: Credentials::File("/etc/s3".into()),
            silence: Duration::from_secs(5),
            ..StorageSettings::new(Place::S3("music".to_owned()))
        };
        assert_eq!(settings, expected);
        assert_eq!(settings.to_string(), "s3://music/archive/2026");
        let azure = StorageSettings::parse("az://box/p%20q?account=acc").unwrap();
        let (account, container) = ("acc".to_owned(), "box".to_owned());
        assert_eq!(azure.place, Place::Azure { account, container });
        assert_eq!(azure.prefix, "p q");
        let folder = StorageSettings::parse("file:///srv/with%20space").unwrap();
        assert_eq!(folder.place, Place::Folder("/srv/with space".into()));
    }

    #[test]
    fn a_secret_has_no_place_in_a_url_and_no_message_shows_one() {
        for key in ["secret", "access_key_id", "Token", "sas", "key"] {
            check_refused(&format!("s3://b?{key}=hunter2"), "would be a secret");
        }
        check_refused("s3://user:hunter2@bucket/x", "no user, password or port");
        check_refused("s3://b?credentials=hunter2", "`credentials` of its query");
        check_refused("s3://b?endpoint=http://u:hunter2@h", "`endpoint`");
        check_refused("s3://b?hunter=hunter2", "`hunter` of its query is unknown");
        check_refused("s3://b?region=a#hunter2", "`#`");
    }

    #[test]
    fn what_does_not_hold_together_is_refused_by_name() {
        check_refused("", "it is no URL");
        check_refused("/tmp/x", "it is no URL");
        check_refused("file://relative", "file:///absolute/folder");
        check_refused("http://host/x", "its scheme");
        check_refused("memory:///", "its scheme");
        check_refused("s3:///x", "names no bucket");
        check_refused("s3://b/../c", "its prefix");
        check_refused("az://box", "lacks `account`");
        check_refused("file:///x?region=a", "a folder has no query");
        check_refused("s3://b?endpoint=http://h", "not encrypted");
        check_refused("s3://b?allow-http=yes", "true or false");
        check_refused("s3://b?silence-millis=0", "a number above 0");
        check_refused("s3://b?faults=storm", "faults");
    }
}
