//! Where bytes live: the storage root with snapshots, bundles, specifications, parts and manifests; and the sources,
//! from which tracks are read and to which nothing is ever written. Each is a folder or a place in an object store.
//!
//! Called by the coordinator (imports, specifications, manifests, results) and by agents (list rows, track bytes, parts,
//! bundles). Sole owner of `object_store` and `parquet`. Objects are written once under names that say what they are, never
//! changed, and checked against the digest in their name when they are read. Which part counts is not decided here.

mod bundles;
mod cluster;
mod collect;
mod columns;
#[cfg(test)]
mod conformance;
mod credentials;
mod error;
mod export;
pub mod faults;
mod generations;
mod import;
mod job;
mod manifest;
#[cfg(any(test, feature = "server"))]
pub mod moto;
mod objects;
pub mod parts;
pub mod paths;
mod pieces;
pub mod probe;
mod progress;
mod rebuild;
mod rejected;
mod remote;
mod selection;
mod settings;
mod shelf;
mod snapshot;
mod sources;
mod verify;

pub use bundles::{BUNDLE_FILES_MAX, BundleIndex, remove_unfinished_bundles};
pub use cluster::{CLUSTERS_MAX, ClusterMark, MarkConflict, MarksSeen};
pub use collect::PartObject;
pub use credentials::Credentials;
pub use error::StorageError;
pub use export::{ExportFormat, PIECE_BYTES_MAX, RowStream};
pub use generations::GenerationMark;
pub use import::{ImportError, ImportFrom, Imported, REJECTED_SHOWN_MAX};
pub use job::{Cancelled, ClosedBy, Revoked, spec_sha256};
pub use manifest::{Manifest, ManifestOf, ManifestPart, Origin, RetriedError};
pub use objects::{Put, Storage};
pub use parts::{EncodedPart, Part, PartFooter, PartKind, PartLength, StageSpan};
pub use paths::ObjectPath;
pub use progress::ImportProgress;
pub use rebuild::{FoundManifest, JobTotals, OpenedPart, PartNames, PartWindow};
pub use rejected::{RejectedPage, RejectedRow};
pub use selection::Selection;
pub use settings::{Place, SILENCE_DEFAULT, StorageSettings};
pub use shelf::{CatalogImport, RegisteredFolder};
pub use snapshot::Snapshot;
pub use sources::{FOLDER_ENTRIES_MAX, Listing, Source, SourceError, SourceFile, Sources};
pub use verify::{FINDINGS_MAX, Finding, VerifyReport};
