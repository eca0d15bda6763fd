//! From what an operator names (a folder, a CSV, a playlist within a source) to a snapshot and a file of rejected rows.
//!
//! Called by the coordinator. Parsing is `catalog`'s; here are the two passes over a manifest's bytes, the scratch files
//! and the objects. Memory stays bounded whatever the number of rows. Nothing is put into storage before the whole manifest
//! has been read.

mod error;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use catalog::{
    Duplicates, DuplicatesFound, Parsed, Playlist, ROWS_MAX, Rejected, RejectedWriter, Rules,
    Scratch, ScratchFile, Table, listing,
};
use parquet::errors::ParquetError;
use sha2::{Digest as _, Sha256};
use types::{Code, Digest, SourceName, TenantId};

use crate::objects::{run_blocking, sha256_of};
use crate::snapshot::SnapshotWriter;
use crate::sources::Place;
use crate::{ImportProgress, ObjectPath, Source, Sources, Storage, StorageError, paths};
pub use error::ImportError;

/// What is imported: always something within a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportFrom {
    /// Every regular file under a folder; the empty prefix is the whole source.
    Folder {
        /// The source.
        source: SourceName,
        /// The folder's key, or nothing.
        prefix: String,
    },
    /// A CSV with a header, in which rows that name no source are relative to its own folder.
    Csv {
        /// The source in which it lies, and that of rows which name none.
        source: SourceName,
        /// Its key.
        key: String,
    },
    /// An M3U8 playlist, whose entries are relative to its own folder.
    M3u8 {
        /// The source in which it lies.
        source: SourceName,
        /// Its key.
        key: String,
    },
}

/// What an import came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The digest that names the snapshot.
    pub list: Digest,
    /// Accepted rows: the tracks of the snapshot.
    pub rows: u32,
    /// The sizes of these tracks together, where they are known.
    pub bytes: u64,
    /// Rejected rows.
    pub rejected: u64,
    /// How many rows each code rejected.
    pub rejected_by_code: BTreeMap<Code, u64>,
    /// The first rejected rows, at most [`REJECTED_SHOWN_MAX`], for the answer to the operator.
    pub first_rejected: Vec<Rejected>,
    /// The file of all rejected rows; none where none was rejected.
    pub rejected_path: Option<ObjectPath>,
}

/// Most rejected rows in an answer; the file has them all.
pub const REJECTED_SHOWN_MAX: usize = 20;

impl ImportFrom {
    /// Tells by what stands under `key` and by its suffix how it is to be imported.
    ///
    /// # Errors
    /// When it cannot be found, or is of no known kind.
    pub fn detect(source: &Source, key: &str) -> Result<Self, ImportError> {
        let (name, suffix) = (source.name().clone(), suffix(key));
        match (source.place(key)?, suffix.as_str()) {
            (Place::Folder, _) => Ok(Self::Folder {
                source: name,
                prefix: key.to_owned(),
            }),
            (Place::File, "csv" | "tsv") => Ok(Self::Csv {
                source: name,
                key: key.to_owned(),
            }),
            (Place::File, "m3u8" | "m3u") => Ok(Self::M3u8 {
                source: name,
                key: key.to_owned(),
            }),
            (Place::File, _) => Err(ImportError::Kind {
                key: key.to_owned(),
            }),
        }
    }

    /// The folder that the manifest lies in, with a slash at its end; empty at the root of its source.
    fn folder(&self) -> &str {
        match self {
            Self::Folder { .. } => "",
            Self::Csv { key, .. } | Self::M3u8 { key, .. } => catalog::key::folder_of(key),
        }
    }

    fn source(&self) -> &SourceName {
        match self {
            Self::Folder { source, .. } | Self::Csv { source, .. } | Self::M3u8 { source, .. } => {
                source
            }
        }
    }
}

fn suffix(key: &str) -> String {
    key.rsplit_once('.')
        .map_or(String::new(), |(_, suffix)| suffix.to_ascii_lowercase())
}

impl Storage {
    /// Imports a folder or manifest as a snapshot of `tenant`. Scratch files (as large as the snapshot, and 48 bytes a row)
    /// go to `scratch`, a folder that exists, and vanish with the call. `progress` tells how far it is, and stops it.
    ///
    /// # Errors
    /// See [`ImportError`]; nothing was put into storage then, but for the snapshot itself when storage failed last.
    pub async fn import(
        &self,
        tenant: &TenantId,
        from: ImportFrom,
        sources: &Sources,
        scratch: &Path,
        progress: Arc<ImportProgress>,
    ) -> Result<Imported, ImportError> {
        let source = sources.get(from.source())?;
        let rules = Rules {
            sources: sources
                .iter()
                .map(|source| source.name().clone())
                .collect::<BTreeSet<_>>(),
            source: from.source().clone(),
            folder: from.folder().to_owned(),
        };
        let folder = scratch.to_owned();
        let failed = |source| ImportError::Scratch {
            folder: scratch.to_owned(),
            source,
        };
        let work = Work {
            source,
            from,
            rules,
            folder,
            progress,
        };
        let written = run_blocking(move || Ok(work.run()))
            .await
            .map_err(failed)??;
        self.publish(tenant, written).await
    }

    async fn publish(&self, tenant: &TenantId, written: Written) -> Result<Imported, ImportError> {
        let Written {
            snapshot,
            list,
            rows,
            bytes,
            mut rejected_file,
            rejected,
            ..
        } = written;
        self.put_file(&paths::snapshot(tenant, list), snapshot)
            .await?;
        let rejected_path = match rejected.total {
            0 => None,
            _ => {
                let sha256 = sha256_of(&mut rejected_file);
                let sha256 = sha256
                    .map_err(|error| StorageError::from_io("read", "a scratch file", error))?;
                let path = paths::rejected(tenant, list, sha256);
                self.put_file(&path, rejected_file).await?;
                Some(path)
            }
        };
        Ok(Imported {
            list,
            rows,
            bytes,
            rejected: rejected.total,
            rejected_by_code: rejected.by_code,
            first_rejected: rejected.first,
            rejected_path,
        })
    }
}

/// Everything the blocking half needs.
struct Work {
    source: Arc<Source>,
    from: ImportFrom,
    rules: Rules,
    folder: PathBuf,
    progress: Arc<ImportProgress>,
}

/// What the blocking half made.
struct Written {
    snapshot: File,
    list: Digest,
    rows: u32,
    bytes: u64,
    rejected_file: File,
    rejected: RejectedRows,
}

#[derive(Default)]
struct RejectedRows {
    total: u64,
    by_code: BTreeMap<Code, u64>,
    first: Vec<Rejected>,
}

struct TempFiles<'a>(&'a Path);

impl Scratch for TempFiles<'_> {
    fn file(&mut self) -> io::Result<Box<dyn ScratchFile>> {
        Ok(Box::new(tempfile::tempfile_in(self.0)?))
    }
}

impl Work {
    fn run(&self) -> Result<Written, ImportError> {
        let mut sink = Sink::new(&self.folder, &self.progress)?;
        match &self.from {
            ImportFrom::Folder { prefix, .. } => self.run_folder(prefix, &mut sink)?,
            ImportFrom::Csv { key, .. } | ImportFrom::M3u8 { key, .. } => {
                self.run_manifest(key, &mut sink)?
            }
        }
        sink.finish()
    }

    /// Keys of a folder are different by themselves, so one pass is enough.
    fn run_folder(&self, prefix: &str, sink: &mut Sink<'_>) -> Result<(), ImportError> {
        for (number, entry) in (1..).zip(self.source.list(prefix)?) {
            sink.take(
                listing::parse(number, entry?, self.source.name()),
                &DuplicatesFound::default(),
            )?;
        }
        Ok(())
    }

    fn run_manifest(&self, key: &str, sink: &mut Sink<'_>) -> Result<(), ImportError> {
        let mut scratch = TempFiles(&self.folder);
        let mut duplicates = Duplicates::new(&mut scratch);
        let first = self.pass(key, |parsed| match parsed {
            Parsed::Row { .. } | Parsed::Rejected(_) if self.progress.is_stopped() => {
                Err(ImportError::Stopped)
            }
            Parsed::Row { row, .. } => duplicates
                .add(&row)
                .map_err(|error| self.scratch_failed(error)),
            Parsed::Rejected(_) => Ok(()),
        })?;
        let found = duplicates
            .finish()
            .map_err(|error| self.scratch_failed(error))?;
        let second = self.pass(key, |parsed| sink.take(parsed, &found))?;
        match first == second {
            true => Ok(()),
            false => Err(ImportError::Changed {
                key: key.to_owned(),
            }),
        }
    }

    fn scratch_failed(&self, source: io::Error) -> ImportError {
        ImportError::Scratch {
            folder: self.folder.clone(),
            source,
        }
    }

    /// Parses the manifest once and gives the digest of its bytes.
    fn pass(
        &self,
        key: &str,
        mut take: impl FnMut(Parsed) -> Result<(), ImportError>,
    ) -> Result<Digest, ImportError> {
        let file = self.source.open(key)?.into_reader();
        let mut hashing = Hashing {
            inner: file,
            hasher: Sha256::new(),
        };
        let input = BufReader::with_capacity(BUFFER_BYTES, &mut hashing);
        let rules = self.rules.clone();
        match &self.from {
            ImportFrom::M3u8 { .. } => {
                Playlist::new(input, rules).try_for_each(|parsed| take(parsed?))?;
            }
            ImportFrom::Csv { .. } | ImportFrom::Folder { .. } => {
                Table::new(input, rules)?.try_for_each(|parsed| take(parsed?))?;
            }
        }
        Ok(Digest(hashing.hasher.finalize().into()))
    }
}

/// Bytes read at once from a manifest.
const BUFFER_BYTES: usize = 256 * 1024;

struct Hashing {
    inner: Box<dyn Read + Send>,
    hasher: Sha256,
}

impl Read for &mut Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

/// Where parsed rows go: the accepted into the snapshot, the rejected into their file.
struct Sink<'a> {
    folder: &'a Path,
    snapshot: SnapshotWriter,
    rejected_file: RejectedWriter<File>,
    rejected: RejectedRows,
    /// Sound rows so far, repeated ones among them.
    sound: u64,
    /// Sizes of the accepted tracks together.
    bytes: u64,
    progress: &'a ImportProgress,
}

impl<'a> Sink<'a> {
    fn new(folder: &'a Path, progress: &'a ImportProgress) -> Result<Self, ImportError> {
        let failed = |source| ImportError::Scratch {
            folder: folder.to_owned(),
            source,
        };
        let snapshot = tempfile::tempfile_in(folder).map_err(failed)?;
        let rejected = tempfile::tempfile_in(folder).map_err(failed)?;
        Ok(Self {
            folder,
            snapshot: SnapshotWriter::new(snapshot).map_err(|error| failed(to_io(error)))?,
            rejected_file: RejectedWriter::new(rejected).map_err(failed)?,
            rejected: RejectedRows::default(),
            sound: 0,
            bytes: 0,
            progress,
        })
    }

    fn failed(&self, source: io::Error) -> ImportError {
        ImportError::Scratch {
            folder: self.folder.to_owned(),
            source,
        }
    }

    fn take(&mut self, parsed: Parsed, duplicates: &DuplicatesFound) -> Result<(), ImportError> {
        if self.progress.is_stopped() {
            return Err(ImportError::Stopped);
        }
        let (row, line) = match parsed {
            Parsed::Row { row, line } => (row, line),
            Parsed::Rejected(rejected) => return self.reject(rejected),
        };
        let number = self.sound;
        self.sound += 1;
        if let Some(code) = duplicates.code(number) {
            let detail = match code == Code::DuplicateKey {
                true => format!("an earlier row names `{}` too", row.key),
                false => format!("an earlier row has the track_id `{}` too", row.track_id),
            };
            return self.reject(Rejected::new(line, code, detail, row.track_id.as_str()));
        }
        if self.snapshot.rows() == ROWS_MAX {
            return Err(ImportError::TooLarge);
        }
        self.bytes = self.bytes.saturating_add(row.bytes.unwrap_or(0));
        self.progress.accept();
        self.snapshot
            .add(*row)
            .map_err(|error| self.failed(to_io(error)))
    }

    fn reject(&mut self, rejected: Rejected) -> Result<(), ImportError> {
        self.rejected_file
            .add(&rejected)
            .map_err(|error| self.failed(error))?;
        self.progress.reject();
        self.rejected.total += 1;
        *self.rejected.by_code.entry(rejected.code).or_default() += 1;
        if self.rejected.first.len() < REJECTED_SHOWN_MAX {
            self.rejected.first.push(rejected);
        }
        Ok(())
    }

    fn finish(self) -> Result<Written, ImportError> {
        let failed = |source| ImportError::Scratch {
            folder: self.folder.to_owned(),
            source,
        };
        if self.snapshot.rows() == 0 {
            let RejectedRows {
                total,
                by_code,
                first,
            } = self.rejected;
            return Err(ImportError::Empty {
                rejected: total,
                by_code,
                first,
            });
        }
        let (snapshot, list) = self
            .snapshot
            .finish()
            .map_err(|error| failed(to_io(error)))?;
        let mut rejected_file = self.rejected_file.finish().map_err(failed)?;
        rejected_file.flush().map_err(failed)?;
        let (list, rows) = (list.digest, list.rows);
        Ok(Written {
            snapshot,
            list,
            rows,
            bytes: self.bytes,
            rejected_file,
            rejected: self.rejected,
        })
    }
}

fn to_io(error: ParquetError) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests;
