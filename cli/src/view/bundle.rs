//! Views of bundles.

use super::{age, fields, purpose, short, size, time};
use crate::output::{Paint, Records, View, plain_lines};
use proto::v1;
use schemars::JsonSchema;
use serde::Serialize;

/// A registered bundle.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BundleView {
    /// Its name.
    name: String,
    /// Its version.
    version: String,
    /// SHA-256 that names it.
    digest: String,
    /// `demonstration` or `production`.
    purpose: String,
    /// Public key whose signature was accepted, in hex.
    signed_by: String,
    /// Size of all files in bytes.
    bytes: u64,
    /// Its files.
    files: Vec<String>,
    /// RFC 3339.
    registered_at: String,
    /// Used where a job names none.
    default: bool,
    /// Stages that it can run: `screen`, or `both`.
    stages: &'static str,
    #[serde(skip)]
    registered_at_ms: i64,
}

impl From<v1::Bundle> for BundleView {
    fn from(wire: v1::Bundle) -> Self {
        Self {
            name: wire.name,
            version: wire.version,
            digest: wire.digest,
            purpose: purpose(wire.purpose),
            signed_by: wire.signed_by,
            bytes: wire.bytes,
            files: wire.files,
            registered_at: time(wire.registered_at_ms),
            default: wire.default,
            stages: if wire.residual { "both" } else { "screen" },
            registered_at_ms: wire.registered_at_ms,
        }
    }
}

impl BundleView {
    fn row(&self) -> Vec<String> {
        let default = if self.default { "yes" } else { "" };
        vec![
            self.name.clone(),
            self.version.clone(),
            short(&self.digest),
            self.purpose.clone(),
            self.stages.to_owned(),
            default.to_owned(),
            size(self.bytes),
            age(self.registered_at_ms),
        ]
    }
}

const HEADER: [&str; 8] = [
    "NAME", "VERSION", "DIGEST", "PURPOSE", "STAGES", "DEFAULT", "SIZE", "AGE",
];

/// `bundle ls`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BundleList {
    /// By name and version.
    pub(crate) bundles: Vec<BundleView>,
}

impl View for BundleList {
    fn names(&self) -> Vec<String> {
        self.bundles.iter().map(|b| b.digest.clone()).collect()
    }

    fn records(&self) -> Records {
        Records {
            header: HEADER.to_vec(),
            rows: self.bundles.iter().map(BundleView::row).collect(),
        }
    }
}

/// `bundle get`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BundleDetail {
    /// The bundle.
    pub(crate) bundle: BundleView,
    /// The model card, Markdown.
    pub(crate) card: String,
    /// The signed manifest as it stands.
    pub(crate) manifest: serde_json::Value,
}

impl View for BundleDetail {
    fn names(&self) -> Vec<String> {
        vec![self.bundle.digest.clone()]
    }

    fn records(&self) -> Records {
        Records {
            header: HEADER.to_vec(),
            rows: vec![self.bundle.row()],
        }
    }

    fn table(&self, _: Paint) -> String {
        let b = &self.bundle;
        let head = fields(&[
            ("bundle", format!("{}@{}", b.name, b.version)),
            ("digest", b.digest.clone()),
            ("purpose", b.purpose.clone()),
            ("signed by", b.signed_by.clone()),
            (
                "files",
                format!("{} ({})", b.files.join(", "), size(b.bytes)),
            ),
            ("registered", b.registered_at.clone()),
        ]);
        format!("{head}\n\n{}", plain_lines(&self.card))
    }
}

/// `bundle verify`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BundleVerified {
    /// The bundle.
    pub(crate) bundle: BundleView,
    /// What is not as signed, as `CODE: cause`; empty where all is.
    pub(crate) findings: Vec<String>,
}

impl View for BundleVerified {
    fn names(&self) -> Vec<String> {
        vec![self.bundle.digest.clone()]
    }

    fn records(&self) -> Records {
        Records {
            header: vec!["FINDING"],
            rows: self.findings.iter().map(|f| vec![f.clone()]).collect(),
        }
    }

    fn table(&self, _: Paint) -> String {
        let b = &self.bundle;
        let name = format!("bundle/{}@{} ({})", b.name, b.version, short(&b.digest));
        if self.findings.is_empty() {
            return format!(
                "{name} verified: {} files as signed by {}",
                b.files.len(),
                short(&b.signed_by)
            );
        }
        let findings = plain_lines(&self.findings.join("\n"));
        format!("{name} does not stand:\n{findings}")
    }
}
