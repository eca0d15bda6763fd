//! Folders that imports registered as sources, and bundles.

use types::{ActorId, Digest, Problem, Purpose, SourceName, UnixMillis};

use super::{Change, Shelf};

/// A folder that an import registered as a read-only source.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct FolderRecord {
    /// The source's name.
    #[n(0)]
    pub(crate) name: SourceName,
    /// The folder, absolute.
    #[n(1)]
    pub(crate) folder: String,
    /// Who imported it first.
    #[n(2)]
    pub(crate) by: ActorId,
    /// When, for display.
    #[n(3)]
    pub(crate) at: UnixMillis,
}

/// A bundle that storage holds and that passed every check when it was registered.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct BundleRecord {
    /// Digest of its manifest: its name among machines.
    #[n(0)]
    pub(crate) digest: Digest,
    /// Its name among people.
    #[n(1)]
    pub(crate) name: String,
    /// Its version.
    #[n(2)]
    pub(crate) version: u64,
    /// What it may be used for.
    #[n(3)]
    pub(crate) purpose: Purpose,
    /// Hex of the key that signed it.
    #[n(4)]
    pub(crate) signed_by: String,
    /// Its files.
    #[n(5)]
    pub(crate) files: Vec<String>,
    /// Their sizes together.
    #[n(6)]
    pub(crate) bytes: u64,
    /// When it was registered.
    #[n(7)]
    pub(crate) registered_at: UnixMillis,
    /// Whether it has a residual with a known result, so that workers may be asked for it. What the first version wrote says nothing, and
    /// had none.
    #[n(8)]
    #[cbor(default)]
    pub(crate) residual: bool,
}

impl Shelf {
    /// Every registered folder, by name.
    pub(crate) async fn folders(&self) -> Result<Vec<FolderRecord>, Problem> {
        self.all(self.key(format_args!("source/"))).await
    }

    /// Registers a folder; one that is registered stays as it is.
    pub(crate) async fn add_folder(&self, record: FolderRecord) -> Result<(), Problem> {
        let key = self.key(format_args!("source/{}", record.name));
        let decide = |found: Option<FolderRecord>| {
            Ok(match found {
                Some(_) => Change::Keep(()),
                None => Change::Put(record.clone(), ()),
            })
        };
        self.change(key, decide).await
    }

    /// Every registered bundle, by digest.
    pub(crate) async fn bundles(&self) -> Result<Vec<BundleRecord>, Problem> {
        self.all(self.key(format_args!("bundle/"))).await
    }

    /// Registers a bundle; one that is registered stays as it is.
    pub(crate) async fn add_bundle(&self, record: BundleRecord) -> Result<(), Problem> {
        let key = self.key(format_args!("bundle/{}", record.digest));
        let decide = |found: Option<BundleRecord>| {
            Ok(match found {
                Some(_) => Change::Keep(()),
                None => Change::Put(record.clone(), ()),
            })
        };
        self.change(key, decide).await
    }
}
