//! What a commit claims: the parts of one flush, which count together or not at all. All of it follows from the parts' own bytes,
//! so that parts found on disk after a crash make the same claim as before.

use agent_core::GrantKey;
use storage::{EncodedPart, PartFooter, PartKind};
use types::{Digest, Generation, Ledger, Stage, TenantId, TrackRow, TrackSet, UnixMillis, Verdict};

/// The claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose it is.
    pub tenant: TenantId,
    /// The generation in whose paths the parts stand.
    pub generation: Generation,
    /// The grant under which they were made.
    pub grant: GrantKey,
    /// The parts: a terminal one, an escalation part, or both in this order.
    pub parts: Vec<ClaimedPart>,
}

/// What is claimed of one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedPart {
    /// Whether its rows are final.
    pub kind: PartKind,
    /// The tracks it covers.
    pub tracks: TrackSet,
    /// SHA-256 of the object.
    pub sha256: Digest,
    /// Its rows.
    pub rows: u32,
    /// Its size in bytes.
    pub bytes: u64,
    /// How its rows ended; rows that go on have not.
    pub verdicts: Verdicts,
    /// What it cost.
    pub ledger: Ledger,
    /// Devices, stages and times. Each but decoding has passed its canary, or the part were not there.
    pub made: Vec<Made>,
}

/// How rows ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// `likely_ai`.
    pub likely_ai: u64,
    /// `no_evidence`.
    pub no_evidence: u64,
    /// `inconclusive`.
    pub inconclusive: u64,
    /// `unscannable`.
    pub unscannable: u64,
}

/// What one device did for a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The stage.
    pub stage: Stage,
    /// The device.
    pub device: String,
    /// When its work for the part began, by this machine's wall clock.
    pub from: UnixMillis,
    /// When it ended.
    pub to: UnixMillis,
}

impl Claim {
    /// A claim under what a part's footer says of its grant, without parts yet.
    pub(crate) fn under(footer: &PartFooter) -> Self {
        Self {
            tenant: footer.tenant.clone(),
            generation: footer.generation,
            grant: GrantKey {
                job: footer.job.clone(),
                shard: footer.shard,
                attempt: footer.attempt,
            },
            parts: Vec::new(),
        }
    }

    /// The tracks of all its parts.
    #[must_use]
    pub fn tracks(&self) -> TrackSet {
        let parts = self.parts.iter();
        parts.fold(TrackSet::new(), |all, part| all.union(&part.tracks))
    }

    /// The rows of all its parts.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.parts.iter().map(|part| part.rows).sum()
    }
}

impl ClaimedPart {
    /// What a part claims.
    pub(crate) fn of(footer: &PartFooter, rows: &[TrackRow], encoded: &EncodedPart) -> Self {
        let made = footer.spans.iter().map(|span| Made {
            stage: span.stage,
            device: span.device.clone(),
            from: span.from,
            to: span.to,
        });
        Self {
            kind: footer.kind,
            tracks: footer.tracks.clone(),
            sha256: encoded.sha256,
            rows: encoded.rows,
            bytes: encoded.bytes.len() as u64,
            verdicts: match footer.kind {
                PartKind::Terminal => Verdicts::of(rows),
                PartKind::Escalation => Verdicts::default(),
            },
            ledger: footer.ledger,
            made: made.collect(),
        }
    }
}

impl Verdicts {
    fn of(rows: &[TrackRow]) -> Self {
        let mut counts = Self::default();
        for row in rows {
            let count = match row.verdict {
                Verdict::LikelyAi => &mut counts.likely_ai,
                Verdict::NoEvidence => &mut counts.no_evidence,
                Verdict::Inconclusive => &mut counts.inconclusive,
                Verdict::Unscannable => &mut counts.unscannable,
            };
            *count += 1;
        }
        counts
    }
}
