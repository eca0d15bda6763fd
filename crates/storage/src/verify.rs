//! Does a published result hold? Every object is read again, rehashed and recounted, against manifest and snapshot.
//!
//! Called for `result verify`. Reads only; what it finds is typed and never repaired. An object that cannot be read at
//! the moment is no finding but an error: then nothing is said.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use types::{Digest, Ordinal, Range, TrackRow, TrackSet, Verdict};

use crate::export::groups;
use crate::{Manifest, ManifestPart, ObjectPath, Snapshot, Storage, StorageError};

/// Most findings that a report lists; it counts them all.
pub const FINDINGS_MAX: usize = 1_000;

/// What does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The manifest's bytes are gone or not what its name says.
    Manifest {
        /// What does not fit.
        cause: String,
    },
    /// The snapshot is gone or damaged, or has another number of tracks than the manifest says.
    Snapshot {
        /// What does not fit.
        cause: String,
    },
    /// A part is gone or damaged, or its footer is not what the manifest says.
    Part {
        /// The part.
        key: ObjectPath,
        /// What does not fit.
        cause: String,
    },
    /// A track has more than one row.
    Twice {
        /// The track.
        ordinal: Ordinal,
        /// The part with the row too many.
        key: ObjectPath,
    },
    /// Tracks without any row.
    Missing {
        /// The tracks.
        tracks: TrackSet,
    },
    /// A row names another track than the snapshot has at its ordinal, or one that the list does not have.
    Foreign {
        /// The row's ordinal.
        ordinal: Ordinal,
        /// The part.
        key: ObjectPath,
    },
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Manifest { cause } => write!(f, "the manifest does not hold: {cause}"),
            Self::Snapshot { cause } => write!(f, "the snapshot does not hold: {cause}"),
            Self::Part { key, cause } => write!(f, "part `{key}` does not hold: {cause}"),
            Self::Twice { ordinal, key } => {
                write!(f, "track {ordinal} has a second row in `{key}`")
            }
            Self::Missing { tracks } => {
                write!(
                    f,
                    "{} tracks have no row, from {} on",
                    tracks.len(),
                    tracks.first().unwrap_or(0)
                )
            }
            Self::Foreign { ordinal, key } => {
                write!(
                    f,
                    "the row of {ordinal} in `{key}` is not of the snapshot's track"
                )
            }
        }
    }
}

/// What a verification came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Tracks that the list has.
    pub tracks: u64,
    /// Rows that were read.
    pub rows: u64,
    /// Parts that the manifest names.
    pub parts: u64,
    /// Bytes of these parts.
    pub bytes: u64,
    /// Rows by verdict.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// Rows with a score of the screen, whatever their verdict.
    pub screened: u64,
    /// Digest over what is said of each track, in the order of the list: equal for two results that say the same,
    /// however their parts were cut. `None` where a finding leaves something unsaid.
    pub verdicts_sha256: Option<Digest>,
    /// What does not hold, at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How many findings there were.
    pub findings_total: u64,
}

impl VerifyReport {
    /// Whether every track has exactly one row and every object is what its name says.
    pub fn holds(&self) -> bool {
        self.findings_total == 0
    }

    fn add(&mut self, finding: Finding) {
        self.findings_total += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

impl Storage {
    /// Verifies the result whose manifest stands at `path`, over the list that the caller's record names.
    ///
    /// # Errors
    /// Only when storage cannot be read at the moment.
    pub async fn verify(
        &self,
        path: &ObjectPath,
        list: Digest,
    ) -> Result<VerifyReport, StorageError> {
        let mut report = VerifyReport::default();
        let manifest = match settle(self.get_manifest(path).await)? {
            Ok(manifest) if manifest.list == list => manifest,
            Ok(manifest) => {
                let cause = format!("it is over the list {}, not {list}", manifest.list);
                report.add(Finding::Manifest { cause });
                return Ok(report);
            }
            Err(cause) => {
                report.add(Finding::Manifest { cause });
                return Ok(report);
            }
        };
        let snapshot = match settle(self.snapshot(&manifest.tenant, list).await)? {
            Ok(snapshot) => Some(snapshot),
            Err(cause) => {
                report.add(Finding::Snapshot { cause });
                None
            }
        };
        self.verify_rows(&manifest, snapshot.as_ref(), &mut report)
            .await?;
        Ok(report)
    }

    async fn verify_rows(
        &self,
        manifest: &Manifest,
        snapshot: Option<&Snapshot>,
        report: &mut VerifyReport,
    ) -> Result<(), StorageError> {
        report.tracks = manifest.rows.into();
        report.parts = manifest.parts.len() as u64;
        if let Some(snapshot) = snapshot.filter(|snapshot| snapshot.rows() != manifest.rows) {
            let cause = format!(
                "{} tracks, {} in the manifest",
                snapshot.rows(),
                manifest.rows
            );
            report.add(Finding::Snapshot { cause });
        }
        let (mut seen, mut hasher) = (TrackSet::new(), Sha256::new());
        for group in groups(&manifest.parts) {
            let mut said = BTreeMap::new();
            for part in group {
                match settle(self.part_of(manifest, part).await)? {
                    Ok(rows) => {
                        report.bytes += self.len(&part.key).await?;
                        self.verify_part(part, &rows, snapshot, &mut seen, report)
                            .await?;
                        said.extend(rows.iter().map(|row| (row.ordinal, statement(row))));
                    }
                    Err(cause) => report.add(Finding::Part {
                        key: part.key.clone(),
                        cause,
                    }),
                }
            }
            said.values().for_each(|line| hasher.update(line));
        }
        let all = TrackSet::from(Range {
            first: 0,
            end: manifest.rows,
        });
        let missing = all.difference(&seen);
        if !missing.is_empty() {
            report.add(Finding::Missing { tracks: missing });
        }
        report.verdicts_sha256 = report.holds().then(|| Digest(hasher.finalize().into()));
        Ok(())
    }

    async fn verify_part(
        &self,
        part: &ManifestPart,
        rows: &[TrackRow],
        snapshot: Option<&Snapshot>,
        seen: &mut TrackSet,
        report: &mut VerifyReport,
    ) -> Result<(), StorageError> {
        for row in rows {
            let ordinal = row.ordinal;
            let one = Range {
                first: ordinal,
                end: ordinal.saturating_add(1),
            };
            report.rows += 1;
            *report.verdicts.entry(row.verdict).or_default() += 1;
            report.screened += u64::from(row.screen.is_some());
            if seen.contains(ordinal) {
                report.add(Finding::Twice {
                    ordinal,
                    key: part.key.clone(),
                });
            }
            seen.insert(one);
            let Some(snapshot) = snapshot else { continue };
            match settle(snapshot.read(one).await)? {
                Ok(listed) if listed.iter().all(|listed| is_of(row, listed)) => {}
                Ok(_) => report.add(Finding::Foreign {
                    ordinal,
                    key: part.key.clone(),
                }),
                Err(_) if ordinal >= snapshot.rows() => {
                    report.add(Finding::Foreign {
                        ordinal,
                        key: part.key.clone(),
                    });
                }
                Err(cause) => report.add(Finding::Snapshot { cause }),
            }
        }
        Ok(())
    }
}

/// What a row says of its track, as one line.
fn statement(row: &TrackRow) -> String {
    let reason = row.reason.map_or("", |reason| reason.as_str());
    let code = row.code.map_or("", |code| code.as_str());
    format!(
        "{} {} {reason}{code} {}\n",
        row.ordinal, row.verdict, row.track_id
    )
}

fn is_of(row: &TrackRow, listed: &types::CatalogRow) -> bool {
    row.ordinal == listed.ordinal
        && row.track_id == listed.track_id
        && row.source == listed.source
        && row.key == listed.key
        && row.isrc == listed.isrc
        && row.declared_ai == listed.declared_ai
}

/// Damage is a finding, to go on from; what may pass is the caller's error.
fn settle<T>(result: Result<T, StorageError>) -> Result<Result<T, String>, StorageError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if error.is_transient() => Err(error),
        Err(error) => Ok(Err(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
