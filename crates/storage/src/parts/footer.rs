//! What a part says of itself, in its Parquet footer: enough to rebuild the records from the parts alone.
//!
//! Each field stands under a key of its own, `trackscan.` and its name, as JSON.

use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use types::{
    Attempt, Digest, Epoch, Generation, JobId, Ledger, NodeId, Policy, ShardId, Stage, TenantId,
    TrackSet, UnixMillis,
};

const PREFIX: &str = "trackscan.";

/// The version of footer and columns, under the key `trackscan.part`.
const FORMAT_KEY: &str = "part";
const FORMAT: u32 = 1;

/// Whether the rows are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartKind {
    /// Its rows are what the job says of these tracks.
    Terminal,
    /// Its tracks go on to the residual stage; the part is a new shard.
    Escalation,
}

/// What one device did for a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageSpan {
    /// The stage.
    pub stage: Stage,
    /// The machine.
    pub node: NodeId,
    /// The device on it, such as `cuda:0`.
    pub device: String,
    /// When the first of the part's tracks entered the stage there, by that machine's wall clock.
    pub from: UnixMillis,
    /// When the last one left it.
    pub to: UnixMillis,
}

/// The footer of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartFooter {
    /// Whether the rows are final.
    pub kind: PartKind,
    /// Whose it is.
    pub tenant: TenantId,
    /// The generation in which it was made.
    pub generation: Generation,
    /// The job.
    pub job: JobId,
    /// The list whose ordinals the rows carry.
    pub list: Digest,
    /// The shard.
    pub shard: ShardId,
    /// The attempt under which it was made.
    pub attempt: Attempt,
    /// The ordinals of its rows.
    #[serde(with = "super::text::tracks")]
    pub tracks: TrackSet,
    /// For a part of an escalation shard, the digest of the escalation part that is that shard.
    pub escalation: Option<Digest>,
    /// The bundle that scored.
    pub bundle: Digest,
    /// How it was scanned.
    pub policy: Policy,
    /// The epoch that granted the attempt.
    pub epoch: Epoch,
    /// Device and time of each stage.
    pub spans: Vec<StageSpan>,
    /// What it cost.
    pub ledger: Ledger,
}

impl PartFooter {
    pub(super) fn to_pairs(&self) -> Vec<(String, String)> {
        let fields = match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) | Err(_) => unreachable!("a struct of names and numbers is a JSON object"),
        };
        let format = (format!("{PREFIX}{FORMAT_KEY}"), FORMAT.to_string());
        let pairs = fields
            .into_iter()
            .map(|(key, value)| (format!("{PREFIX}{key}"), value.to_string()));
        std::iter::once(format).chain(pairs).collect()
    }

    pub(super) fn from_pairs<'a>(
        pairs: impl Iterator<Item = &'a KeyValue>,
    ) -> Result<Self, String> {
        let mut fields = Map::new();
        for pair in pairs {
            let Some(key) = pair.key.strip_prefix(PREFIX) else {
                continue;
            };
            let value = pair.value.as_deref().unwrap_or_default();
            let value = serde_json::from_str(value).map_err(|error| format!("`{key}`: {error}"))?;
            if fields.insert(key.to_owned(), value).is_some() {
                return Err(format!("`{key}` stands twice"));
            }
        }
        let format = fields.remove(FORMAT_KEY);
        if format != Some(Value::from(FORMAT)) {
            return Err(format!("format {format:?} is not {FORMAT}"));
        }
        serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())
    }
}
