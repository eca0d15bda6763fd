//! What commands print: plain data with a committed JSON schema each, made from wire messages. The wire's numbers for
//! enums, and its millisecond times, become words and RFC 3339 here.

mod admin;
mod bundle;
mod catalog;
mod escalation;
mod evaluated;
mod explain;
mod figures;
mod flags;
mod job;
mod leader;
mod moves;
mod node;
mod prior;
mod result;
mod revocation;
mod row;
mod simple;
mod storage;
mod thresholds;
mod throughput;

pub(crate) use admin::{BackupView, Garbage, RebuiltView};
pub(crate) use bundle::{BundleDetail, BundleList, BundleVerified};
pub(crate) use catalog::{CatalogDetail, CatalogList, Imported, RejectedList};
pub(crate) use escalation::Escalation;
pub(crate) use evaluated::{Calibrated, Evaluated, Named, SideView, TierView, Tracks};
pub(crate) use explain::{Explained, NodeExplained, ReasonView};
use flags::policy;
pub(crate) use flags::{Bound, Flags, is_screened, rules};
pub(crate) use job::{JobList, JobView, Submitted};
pub(crate) use leader::{Leadership, Told};
pub(crate) use moves::Moves;
use node::NodeView;
pub(crate) use node::{NodeDetail, NodeList};
pub(crate) use result::{RowDetail, RowList, Verified};
pub(crate) use revocation::{RevocationList, Revoked};
pub(crate) use row::{RowView, WindowView};
pub(crate) use simple::{CheckView, Checks, CodeList, Versions};
pub(crate) use storage::StorageReport;
pub(crate) use throughput::{Summary, WENT_ON};

use crate::output::plain;
use proto::v1;
use schemars::JsonSchema;
use serde::Serialize;

/// A time as RFC 3339; empty for 0, which stands for "not yet".
pub(crate) fn time(unix_ms: i64) -> String {
    if unix_ms == 0 {
        return String::new();
    }
    jiff::Timestamp::from_millisecond(unix_ms)
        .map_or_else(|_| unix_ms.to_string(), |at| at.to_string())
}

/// How long ago, as kubectl writes ages: `42s`, `7m`, `3h`, `12d`.
pub(crate) fn age(unix_ms: i64) -> String {
    if unix_ms == 0 {
        return "-".to_owned();
    }
    let seconds = (jiff::Timestamp::now().as_millisecond() - unix_ms).max(0) / 1_000;
    span(seconds.unsigned_abs())
}

/// A span in its largest sensible unit.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The first twelve digits of a digest, for tables.
pub(crate) fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

/// A size in binary units.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let step = units
        .iter()
        .enumerate()
        .rev()
        .find(|(power, _)| bytes >> (10 * power) > 0);
    let (power, unit) = step.map_or((0, "B"), |(power, unit)| (power, *unit));
    if power == 0 {
        format!("{bytes} B")
    } else {
        format!("{:.1} {unit}", bytes as f64 / (1u64 << (10 * power)) as f64)
    }
}

/// Tracks by verdict.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub(crate) struct Verdicts {
    /// Evidence of machine generation observed.
    pub(crate) likely_ai: u64,
    /// No such evidence observed.
    pub(crate) no_evidence: u64,
    /// No statement.
    pub(crate) inconclusive: u64,
    /// Could not be scanned.
    pub(crate) unscannable: u64,
}

impl From<Option<v1::VerdictCounts>> for Verdicts {
    fn from(counts: Option<v1::VerdictCounts>) -> Self {
        let counts = counts.unwrap_or_default();
        Self {
            likely_ai: counts.likely_ai,
            no_evidence: counts.no_evidence,
            inconclusive: counts.inconclusive,
            unscannable: counts.unscannable,
        }
    }
}

/// The purpose of a bundle as a word.
pub(crate) fn purpose(number: i32) -> String {
    match v1::Purpose::try_from(number) {
        Ok(v1::Purpose::Demonstration) => "demonstration",
        Ok(v1::Purpose::Production) => "production",
        Ok(v1::Purpose::Unspecified) | Err(_) => "unknown",
    }
    .to_owned()
}

/// A device as `kind:index`.
pub(crate) fn device(device: Option<&v1::Device>) -> String {
    let Some(device) = device else {
        return String::new();
    };
    let kind = match device.kind() {
        v1::DeviceKind::Cpu => "cpu",
        v1::DeviceKind::Cuda => "cuda",
        v1::DeviceKind::Unspecified => "unknown",
    };
    format!("{kind}:{}", device.index)
}

/// Lines of `name  value`, aligned. What a terminal would obey in a value is shown as it is written.
pub(crate) fn fields(pairs: &[(&str, String)]) -> String {
    let pairs = pairs.iter().map(|(name, value)| (*name, plain(value)));
    aligned(&pairs.collect::<Vec<_>>())
}

/// The same of values that are already fit for a terminal, or drawn for one.
fn aligned(pairs: &[(&str, String)]) -> String {
    let wide = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = pairs.iter().filter(|(_, value)| !value.is_empty());
    lines
        .map(|(name, value)| format!("{name:<wide$}  {value}"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn sizes_spans_and_times_read_as_people_write_them() {
        assert_eq!(
            [size(0), size(1_023), size(1_536), size(5 << 30)],
            ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]
        );
        assert_eq!(
            [span(5), span(300), span(10_000), span(200_000)],
            ["5s", "5m", "2h", "2d"]
        );
        assert_eq!(time(0), "");
        assert_eq!(time(1_700_000_000_000), "2023-11-14T22:13:20Z");
    }

    /// Every JSON output has its schema in `cli/schemas/`, so that a change of output is seen in review.
    #[test]
    fn the_committed_schemas_are_those_of_the_views() {
        let schemas = [
            ("admin-backup", schemars::schema_for!(BackupView)),
            ("admin-gc", schemars::schema_for!(Garbage)),
            ("admin-leader", schemars::schema_for!(Leadership)),
            ("admin-rebuild", schemars::schema_for!(RebuiltView)),
            ("bundle-get", schemars::schema_for!(BundleDetail)),
            ("bundle-ls", schemars::schema_for!(BundleList)),
            ("bundle-verify", schemars::schema_for!(BundleVerified)),
            ("calibrate", schemars::schema_for!(Calibrated)),
            ("catalog-get", schemars::schema_for!(CatalogDetail)),
            ("catalog-import", schemars::schema_for!(Imported)),
            ("catalog-ls", schemars::schema_for!(CatalogList)),
            ("catalog-rejected", schemars::schema_for!(RejectedList)),
            ("doctor", schemars::schema_for!(Checks)),
            ("doctor-storage", schemars::schema_for!(StorageReport)),
            ("evaluate", schemars::schema_for!(Evaluated)),
            ("explain", schemars::schema_for!(CodeList)),
            ("node-get", schemars::schema_for!(NodeDetail)),
            ("node-explain", schemars::schema_for!(NodeExplained)),
            ("node-ls", schemars::schema_for!(NodeList)),
            ("node-revocations", schemars::schema_for!(RevocationList)),
            ("node-revoke", schemars::schema_for!(Revoked)),
            ("result-get", schemars::schema_for!(RowList)),
            ("result-get-track", schemars::schema_for!(RowDetail)),
            ("result-summary", schemars::schema_for!(Summary)),
            ("result-verify", schemars::schema_for!(Verified)),
            ("scan-explain", schemars::schema_for!(Explained)),
            ("scan-get", schemars::schema_for!(JobView)),
            ("scan-ls", schemars::schema_for!(JobList)),
            ("scan-submit", schemars::schema_for!(Submitted)),
            ("version", schemars::schema_for!(Versions)),
        ];
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        for (name, schema) in schemas {
            let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
            let file = folder.join(format!("{name}.schema.json"));
            if std::env::var_os("UPDATE_SCHEMAS").is_some() {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&file, &text).unwrap();
            }
            let committed = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(
                committed == text,
                "{name}: run UPDATE_SCHEMAS=1 cargo test --release -p cli, and review the change"
            );
        }
    }
}
