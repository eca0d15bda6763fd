//! The stores of the suite: a folder, an S3 server of this process (`s3s-fs`), and `moto` as a process of its own.

use std::path::Path;

use super::server::{ACCESS_KEY, S3Server, SECRET_KEY};
use crate::moto::Moto;
use crate::{Credentials, Place, Storage, StorageSettings};

/// Which store a sentence is checked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Local,
    S3sFs,
    Moto,
}

/// One store with what keeps it alive.
pub(crate) struct Store {
    pub(crate) kind: Kind,
    pub(crate) settings: StorageSettings,
    folder: tempfile::TempDir,
    server: Option<S3Server>,
    moto: Option<Moto>,
}

impl Store {
    pub(crate) fn start(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut server, mut moto) = (None, None);
        let settings = match kind {
            Kind::Local => {
                let root = folder.path().join("root");
                StorageSettings::new(Place::Folder(root))
            }
            Kind::S3sFs => {
                let root = folder.path().join("buckets");
                std::fs::create_dir_all(root.join("bucket")).unwrap();
                let started = S3Server::start(&root, "127.0.0.1:0").unwrap();
                let settings = s3(folder.path(), &format!("http://{}", started.address));
                server = Some(started);
                settings
            }
            Kind::Moto => {
                let started = Moto::start();
                let settings = s3(folder.path(), started.endpoint());
                moto = Some(started);
                settings
            }
        };
        Self {
            kind,
            settings,
            folder,
            server,
            moto,
        }
    }

    pub(crate) fn open(&self) -> Storage {
        Storage::connect(&self.settings).unwrap()
    }

    /// Folder for whatever a test needs.
    pub(crate) fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// Takes the bucket away with all that is in it, as a careless hand would.
    pub(crate) fn remove_bucket(&self) {
        if let Some(moto) = &self.moto {
            moto.remove_buckets();
        }
        if self.server.is_some() {
            std::fs::remove_dir_all(self.folder.path().join("buckets/bucket")).unwrap();
        }
    }

    /// Brings the bucket back, empty.
    pub(crate) fn make_bucket(&self) {
        if let Some(moto) = &self.moto {
            moto.make_bucket();
        }
        if self.server.is_some() {
            std::fs::create_dir_all(self.folder.path().join("buckets/bucket")).unwrap();
        }
    }
}

/// Settings of an S3 server on this machine, with keys in a file.
fn s3(folder: &Path, endpoint: &str) -> StorageSettings {
    let keys = folder.join("keys");
    let text = format!("aws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\n");
    std::fs::write(&keys, text).unwrap();
    StorageSettings {
        prefix: "some/prefix".to_owned(),
        endpoint: Some(endpoint.to_owned()),
        allow_http: true,
        credentials: Credentials::File(keys),
        ..StorageSettings::new(Place::S3("bucket".to_owned()))
    }
}
