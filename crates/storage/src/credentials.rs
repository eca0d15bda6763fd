//! Credentials by reference: a file, a variable's name, the machine's own identity, or none.
//!
//! Called where a store is opened. A secret lives in [`Secret`] alone, whose `Debug` shows nothing, and goes from there into the
//! client; it is never part of the settings, of an error or of a log line.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;

use crate::StorageError;

/// Where credentials are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// In a file: `key = value` lines for S3 and Azure, the service account's JSON for Google.
    File(PathBuf),
    /// In a variable of the environment, as the file would have them.
    Variable(String),
    /// The identity that the platform gives this machine or pod.
    Instance,
    /// Nowhere: requests are not signed.
    Anonymous,
}

/// Largest file of credentials that is read: a service account's key has three thousand bytes.
const CREDENTIALS_BYTES_MAX: u64 = 64 * 1024;

impl Credentials {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "instance" => Ok(Self::Instance),
            None if text == "anonymous" => Ok(Self::Anonymous),
            Some(("file", path)) if path.starts_with('/') => Ok(Self::File(path.into())),
            Some(("env", name)) if is_name(name) => Ok(Self::Variable(name.to_owned())),
            Some(_) | None => {
                Err("is not `file:/PATH`, `env:NAME`, `instance` or `anonymous`".to_owned())
            }
        }
    }

    /// The text that is referred to; none where there is none to read.
    pub(crate) fn read(&self) -> Result<Option<Secret>, StorageError> {
        match self {
            Self::File(path) => read_file(path).map(Some),
            Self::Variable(name) => {
                std::env::var(name)
                    .map(|text| Some(Secret(text)))
                    .map_err(|_| {
                        StorageError::Invalid(format!(
                            "variable `{name}`, which should hold credentials, is not set"
                        ))
                    })
            }
            Self::Instance | Self::Anonymous => Ok(None),
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn read_file(path: &Path) -> Result<Secret, StorageError> {
    let shown = path.display();
    let failed = |error: std::io::Error| {
        StorageError::Invalid(format!("read the credentials in `{shown}`: {error}"))
    };
    match fs::metadata(path).map_err(failed)?.len() {
        0..=CREDENTIALS_BYTES_MAX => fs::read_to_string(path).map(Secret).map_err(failed),
        bytes => Err(StorageError::Invalid(format!(
            "`{shown}` has {bytes} bytes, too many for credentials"
        ))),
    }
}

/// A text that nothing prints.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// The text itself, for a client.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// The value of a `key = value` line. Lines of other form, sections and comments are passed over; the first counts.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        let lines = self.0.lines().filter_map(|line| line.split_once('='));
        let mut named = lines.filter(|(name, _)| name.trim().eq_ignore_ascii_case(key));
        named.next().map(|(_, value)| value.trim())
    }

    fn aws(&self) -> Result<AwsCredential, String> {
        let value = |key: &str| {
            let found = self.value(key).filter(|value| !value.is_empty());
            found
                .map(str::to_owned)
                .ok_or(format!("line `{key} = …` is missing"))
        };
        Ok(AwsCredential {
            key_id: value("aws_access_key_id")?,
            secret_key: value("aws_secret_access_key")?,
            token: value("aws_session_token").ok(),
        })
    }
}

/// Credentials of S3 from a file or variable. A file that was written since is read again, so that keys can be replaced
/// while a scan runs; where the new text is no good the old one stays in use.
pub(crate) struct AwsCredentials {
    from: Credentials,
    held: Mutex<Held>,
}

struct Held {
    credential: Arc<AwsCredential>,
    written: Option<SystemTime>,
}

impl fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AwsCredentials").field(&self.from).finish()
    }
}

impl AwsCredentials {
    /// Reads them; none where the reference has no text.
    pub(crate) fn open(from: &Credentials) -> Result<Option<Self>, StorageError> {
        let written = from.written();
        let Some(secret) = from.read()? else {
            return Ok(None);
        };
        let wrong =
            |cause| StorageError::Invalid(format!("credentials in {}: {cause}", from.shown()));
        let credential = Arc::new(secret.aws().map_err(wrong)?);
        Ok(Some(Self {
            from: from.clone(),
            held: Mutex::new(Held {
                credential,
                written,
            }),
        }))
    }

    fn current(&self) -> Arc<AwsCredential> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.from.written();
        if written != held.written {
            held.written = written;
            let read = self.from.read().ok().flatten();
            match read.map(|secret| secret.aws()) {
                Some(Ok(credential)) => held.credential = Arc::new(credential),
                Some(Err(_)) | None => {
                    tracing::warn!(credentials = %self.from.shown(), "credentials were replaced by what are none; the former stay in use");
                }
            }
        }
        held.credential.clone()
    }
}

impl Credentials {
    /// The reference for people.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::File(path) => format!("file `{}`", path.display()),
            Self::Variable(name) => format!("variable `{name}`"),
            Self::Instance => "the instance".to_owned(),
            Self::Anonymous => "nothing".to_owned(),
        }
    }

    fn written(&self) -> Option<SystemTime> {
        match self {
            Self::File(path) => fs::metadata(path).and_then(|found| found.modified()).ok(),
            Self::Variable(_) | Self::Instance | Self::Anonymous => None,
        }
    }
}

#[async_trait]
impl CredentialProvider for AwsCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        Ok(self.current())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(id: &str) -> String {
        format!(
            "[default]\n# of the archive\naws_access_key_id = {id}\naws_secret_access_key=hunter2\n"
        )
    }

    #[test]
    fn credentials_are_read_from_where_the_reference_says_and_shown_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s3");
        fs::write(&file, keys("me")).unwrap();
        let credentials = Credentials::parse(&format!("file:{}", file.display())).unwrap();
        let open = AwsCredentials::open(&credentials).unwrap().unwrap();
        assert_eq!(open.current().secret_key, "hunter2");
        let shown = format!("{credentials:?} {open:?} {:?}", credentials.read());
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn keys_that_are_replaced_are_used_and_nonsense_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s3");
        let write = |text: &str, second: u64| {
            fs::write(&file, text).unwrap();
            let moment = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second);
            fs::File::options()
                .write(true)
                .open(&file)
                .unwrap()
                .set_modified(moment)
                .unwrap();
        };
        write(&keys("first"), 1);
        let open = AwsCredentials::open(&Credentials::File(file.clone()))
            .unwrap()
            .unwrap();
        write(&keys("second"), 2);
        assert_eq!(open.current().key_id, "second");
        write("half a fi", 3);
        assert_eq!(open.current().key_id, "second");
        fs::remove_file(&file).unwrap();
        assert_eq!(open.current().key_id, "second");
    }

    #[test]
    fn a_reference_that_leads_nowhere_names_itself_and_no_secret() {
        for text in [
            "file:relative",
            "env:",
            "env:A B",
            "AKIA:hunter2",
            "hunter2",
        ] {
            assert!(!Credentials::parse(text).unwrap_err().contains("hunter2"));
        }
        let absent = Credentials::File("/no/such/file".into());
        let said = AwsCredentials::open(&absent).unwrap_err().to_string();
        assert!(said.contains("/no/such/file"), "{said}");
        let unset = Credentials::Variable("TRACKSCAN_NO_SUCH_VARIABLE".into());
        let said = unset.read().unwrap_err().to_string();
        assert!(said.contains("TRACKSCAN_NO_SUCH_VARIABLE"), "{said}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s3");
        fs::write(&file, "aws_secret_access_key=hunter2").unwrap();
        let said = AwsCredentials::open(&Credentials::File(file))
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("aws_access_key_id") && !said.contains("hunter2"),
            "{said}"
        );
    }
}
