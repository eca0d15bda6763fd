//! The vocabulary of Trackscan: ids, units, time, ranges of tracks, verdicts, error codes and the rows that
//! travel between processes. Every other crate speaks in these types; this crate performs no effects, reads
//! no clock and knows neither wire nor file formats.

mod code;
mod digest;
mod id;
mod job;
mod ledger;
mod range;
mod report;
mod row;
mod shard;
mod share;
mod standing;
mod time;
mod url;
mod uses;
mod verdict;
mod version;

pub use code::{Code, Problem, chain};
pub use digest::{Digest, DigestParseError};
pub use id::{
    ActorId, Attempt, CatalogName, Epoch, Generation, IdError, JobId, NodeId, PullNo, RevocationId,
    Session, SourceName, TenantId, TrackId,
};
pub use job::{GateChoice, JobSpec, Policy, Requirements, RetryOf, Stages};
pub use ledger::{Ledger, StageUse};
pub use range::{Ordinal, Range, RangeError, TrackSet};
pub use report::{ProbeFinding, Probed, Rebuilt, Report};
pub use row::{
    CatalogRow, DeclaredAi, Embedding, Provenance, ResidualSegment, Score, Thumbnail,
    TimelinePoint, TrackRow,
};
pub use shard::{SHARD_TRACKS_MAX, SHARD_TRACKS_MIN, ShardId, ShardIdError, ShardPlan};
pub use share::{Share, ShareError};
pub use standing::{Blocking, FindingCode};
pub use time::{Millis, UnixMillis, is_renewed};
pub use url::file_url;
pub use uses::{DeviceUse, DeviceUses};
pub use verdict::{
    Device, DeviceKind, Dtype, InconclusiveReason, Purpose, Stage, Verdict, Warning,
};
pub use version::{VERSION, VERSION_BEFORE, works_with};
