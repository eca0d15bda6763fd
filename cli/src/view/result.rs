//! Views of published rows and of a result's verification. A probability is never printed without the prior that it was
//! calibrated at, and rows of a demonstration bundle say so.

use super::row::{RowView, ScoreView};
use super::{Flags, Verdicts, aligned, fields, prior, short, size};
use crate::output::{Paint, Records, View, plain, table};
use crate::timeline;
use schemars::JsonSchema;
use serde::Serialize;

/// `result get JOB`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RowList {
    /// The job.
    pub(crate) job: String,
    /// `demonstration` or `production`.
    pub(crate) purpose: String,
    /// There are more rows than were asked for.
    pub(crate) truncated: bool,
    /// In the order of the list.
    pub(crate) rows: Vec<RowView>,
}

/// Columns of a drawn timeline in the table of many rows.
const TIMELINE_COLUMNS: usize = 20;

impl View for RowList {
    fn names(&self) -> Vec<String> {
        self.rows.iter().map(|r| r.track_id.clone()).collect()
    }

    fn records(&self) -> Records {
        let row = |r: &RowView| {
            let score = r.score();
            vec![
                r.ordinal.to_string(),
                r.track_id.clone(),
                r.source.clone(),
                r.key.clone(),
                r.isrc.clone(),
                r.verdict.clone(),
                r.reason.clone(),
                r.probability(),
                score.map_or_else(String::new, |s| s.prior.to_string()),
                self.purpose.clone(),
                r.borderline.to_string(),
                r.warnings.join(" "),
                r.length(),
                r.codec.clone(),
            ]
        };
        let header = vec![
            "ORDINAL",
            "TRACK_ID",
            "SOURCE",
            "KEY",
            "ISRC",
            "VERDICT",
            "REASON",
            "PROBABILITY",
            "PRIOR",
            "PURPOSE",
            "BORDERLINE",
            "WARNINGS",
            "LENGTH",
            "CODEC",
        ];
        Records {
            header,
            rows: self.rows.iter().map(row).collect(),
        }
    }

    fn table(&self, _: Paint) -> String {
        let told = self.rows.iter().any(|r| r.truth.is_some());
        let separated = self.rows.iter().any(|r| r.residual.is_some());
        let row = |r: &RowView| {
            let drawn = timeline::draw(&r.timeline, TIMELINE_COLUMNS, Paint::plain());
            let truth = told.then(|| r.truth.clone().unwrap_or_default());
            let head = [r.key.clone(), r.verdict_text()].into_iter().chain(truth);
            let engines = separated.then(|| r.by_engine()).into_iter().flatten();
            let scores = head.chain([r.probability()]).chain(engines);
            scores
                .chain([drawn, r.length(), r.codec.clone(), r.notes()])
                .collect()
        };
        let truth = told.then_some("TRUTH");
        let engines = separated.then_some(["SCREEN", "RESIDUAL"]);
        let header = ["KEY", "VERDICT"].into_iter().chain(truth).chain(["P"]);
        let header = header.chain(engines.into_iter().flatten());
        let header = header
            .chain(["TIMELINE", "LENGTH", "CODEC", "NOTES"])
            .collect();
        let rows = table(Records {
            header,
            rows: self.rows.iter().map(row).collect(),
        });
        let prior = prior::said(&self.rows);
        let prior = prior.map_or_else(String::new, |said| {
            let engines = if separated {
                ", by both engines where both ran; SCREEN, RESIDUAL: by one alone"
            } else {
                ""
            };
            format!(
                "\nP: calibrated probability of machine generation at {said}{engines}; {}",
                timeline::LEGEND
            )
        });
        let purpose = demonstration(&self.purpose);
        let more = if self.truncated {
            "\nmore rows follow: raise --limit, or use scanctl result export"
        } else {
            ""
        };
        format!("{rows}{prior}{purpose}{more}")
    }
}

fn demonstration(purpose: &str) -> &'static str {
    if purpose == "demonstration" {
        "\nThis is a demonstration bundle: it has never heard real music, and its verdicts decide nothing."
    } else {
        ""
    }
}

/// `result get JOB TRACK`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RowDetail {
    /// `demonstration` or `production`.
    pub(crate) purpose: String,
    /// The row.
    pub(crate) row: RowView,
}

impl View for RowDetail {
    fn names(&self) -> Vec<String> {
        vec![self.row.track_id.clone()]
    }

    fn records(&self) -> Records {
        let list = RowList {
            job: String::new(),
            purpose: self.purpose.clone(),
            truncated: false,
            rows: vec![self.row.clone()],
        };
        list.records()
    }

    fn table(&self, paint: Paint) -> String {
        let r = &self.row;
        let stream = [
            r.codec.clone(),
            r.sample_rate_hz
                .map_or_else(String::new, |hz| format!("{hz} Hz")),
            r.channels
                .map_or_else(String::new, |n| format!("{n} channels")),
            r.bytes.map_or_else(String::new, size),
        ];
        let tags = r
            .provenance
            .iter()
            .map(|t| format!("{}: {}", t.tag, t.value))
            .collect::<Vec<_>>()
            .join("; ");
        let told = [
            ("track", r.track_id.clone()),
            ("object", format!("{}:{}", r.source, r.key)),
            ("isrc", r.isrc.clone()),
            ("declared", r.declared_ai.clone()),
            ("verdict", r.verdict_text()),
            ("detail", r.detail.clone()),
            ("screen", scored(r.screen.as_ref(), WINDOWS)),
            ("residual", residual(r)),
            ("fused", fused(r)),
            ("timeline", String::new()),
            ("notes", r.notes()),
            ("length", r.length()),
            (
                "stream",
                stream
                    .into_iter()
                    .filter(|s| !s.is_empty())
                    .collect::<Vec<_>>()
                    .join(", "),
            ),
            ("sha256", r.content_sha256.clone()),
            ("provenance", tags),
            ("bundle", short(&r.bundle)),
            ("device", r.device.clone()),
            ("cost", cost(r)),
        ];
        // The timeline is drawn in colours of ours; all else is from outside.
        let shown = told.map(|(name, value)| match name {
            "timeline" => (name, timeline::draw(&r.timeline, 60, paint)),
            _ => (name, plain(&value)),
        });
        format!("{}{}", aligned(&shown), demonstration(&self.purpose))
    }
}

/// What enters a score of the screen.
const WINDOWS: &str = "windows";
/// What enters a score of the residual.
const SEGMENTS: &str = "segments";

fn scored(score: Option<&ScoreView>, of: &str) -> String {
    score.map_or_else(String::new, |s| {
        format!("{} ({} {of}, logit {:.3})", s.text(), s.windows, s.logit)
    })
}

fn residual(row: &RowView) -> String {
    match (&row.residual, row.segments.len()) {
        (None, 0) => String::new(),
        (None, segments) => format!("{segments} {SEGMENTS}; the bundle gives no score of them"),
        (Some(score), _) => scored(Some(score), SEGMENTS),
    }
}

/// The score of both engines. Without one of the residual it is the screen's, over its windows.
fn fused(row: &RowView) -> String {
    let of = row.residual.as_ref().map_or(WINDOWS, |_| SEGMENTS);
    scored(row.fused.as_ref(), of)
}

fn cost(row: &RowView) -> String {
    let ms = |us: u64| us as f64 / 1e3;
    let screen = format!(
        "decode {:.1} ms CPU, screen {:.1} ms device",
        ms(row.decode_us),
        ms(row.screen_us)
    );
    match row.residual_us {
        0 => screen,
        us => format!("{screen}, residual {:.1} ms device", ms(us)),
    }
}

/// `result verify`.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Verified {
    /// The job.
    pub(crate) job: String,
    /// `demonstration` or `production`.
    pub(crate) purpose: String,
    /// Whether every track has exactly one row and every byte is as published.
    pub(crate) ok: bool,
    /// Tracks of the snapshot.
    pub(crate) rows_expected: u64,
    /// Rows found in the parts.
    pub(crate) rows_found: u64,
    /// Parts read.
    pub(crate) parts: u64,
    /// Bytes hashed.
    pub(crate) bytes_hashed: u64,
    /// Rows by verdict.
    pub(crate) verdicts: Verdicts,
    /// Rows with a score of the screen.
    pub(crate) rows_screened: u64,
    /// Flags, and how many wrong ones the bundle's bound allows; absent where the bundle could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flags: Option<Flags>,
    /// Digest over (ordinal, track, verdict, reason) of all rows: equal for two runs with equal verdicts.
    pub(crate) verdicts_sha256: String,
    /// What is not as it must be, as `CODE subject: cause`; at most a thousand are kept.
    pub(crate) findings: Vec<String>,
    /// All findings, counted.
    pub(crate) findings_total: u64,
}

impl View for Verified {
    fn names(&self) -> Vec<String> {
        vec![self.job.clone()]
    }

    fn records(&self) -> Records {
        let row = vec![
            self.job.clone(),
            self.ok.to_string(),
            self.rows_expected.to_string(),
            self.rows_found.to_string(),
            self.parts.to_string(),
            self.findings_total.to_string(),
            self.verdicts_sha256.clone(),
            self.purpose.clone(),
        ];
        Records {
            header: vec![
                "JOB",
                "OK",
                "ROWS_EXPECTED",
                "ROWS_FOUND",
                "PARTS",
                "FINDINGS",
                "VERDICTS_SHA256",
                "PURPOSE",
            ],
            rows: vec![row],
        }
    }

    fn table(&self, paint: Paint) -> String {
        let head = if self.ok {
            paint.colour(
                "32",
                &format!(
                    "result/{} verified: each of {} tracks has exactly one row",
                    self.job, self.rows_expected
                ),
            )
        } else {
            paint.colour(
                "31",
                &format!(
                    "result/{} does not stand: {} findings",
                    self.job, self.findings_total
                ),
            )
        };
        let detail = fields(&[
            (
                "  rows",
                format!("{} found, {} expected", self.rows_found, self.rows_expected),
            ),
            (
                "  parts",
                format!("{}, {} rehashed", self.parts, size(self.bytes_hashed)),
            ),
            (
                "  verdicts",
                format!(
                    "{} likely_ai, {} no_evidence, {} inconclusive, {} unscannable",
                    self.verdicts.likely_ai,
                    self.verdicts.no_evidence,
                    self.verdicts.inconclusive,
                    self.verdicts.unscannable
                ),
            ),
            (
                "  likely_ai",
                self.flags.as_ref().map_or_else(String::new, Flags::beside),
            ),
            ("  verdicts_sha256", self.verdicts_sha256.clone()),
            ("  bundle's purpose", self.purpose.clone()),
        ]);
        let findings = self
            .findings
            .iter()
            .map(|f| format!("\n  {f}"))
            .collect::<String>();
        format!("{head}\n{detail}{findings}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::v1;

    fn row(screen: f32, second: Option<(f32, f32)>) -> RowView {
        let score = |probability| v1::Score {
            probability,
            prior: 0.5,
            ..v1::Score::default()
        };
        RowView::from(v1::Row {
            screen: Some(score(screen)),
            residual: second.map(|(residual, _)| score(residual)),
            fused: second.map(|(_, fused)| score(fused)),
            ..v1::Row::default()
        })
    }

    fn detail(row: RowView) -> String {
        let purpose = "production".to_owned();
        RowDetail { purpose, row }.table(Paint::plain())
    }

    #[test]
    fn a_track_shows_each_score_by_what_entered_it_and_what_each_engine_cost() {
        let score = |probability, windows| {
            Some(v1::Score {
                probability,
                prior: 0.5,
                windows,
                logit: 1.0,
            })
        };
        let screened = || v1::Row {
            screen: score(0.2, 9),
            decode_us: 1_500,
            screen_us: 2_000,
            ..v1::Row::default()
        };
        let line = |text: &str, name: &str| {
            let mut lines = text.lines();
            let line = lines.find_map(|line| line.strip_prefix(name));
            line.map(|line| line.trim().to_owned())
        };
        let alone = detail(screened().into());
        assert_eq!(
            line(&alone, "screen").as_deref(),
            Some("0.200 at prior 0.50 (9 windows, logit 1.000)")
        );
        assert_eq!(
            (line(&alone, "residual"), line(&alone, "fused")),
            (None, None)
        );
        assert_eq!(
            line(&alone, "cost").as_deref(),
            Some("decode 1.5 ms CPU, screen 2.0 ms device")
        );

        let separated = || v1::Row {
            segments: vec![v1::ResidualSegment::default(); 3],
            residual_us: 700_000,
            ..screened()
        };
        let both = detail(RowView::from(v1::Row {
            residual: score(0.9, 3),
            fused: score(0.8, 3),
            ..separated()
        }));
        assert_eq!(
            line(&both, "residual").as_deref(),
            Some("0.900 at prior 0.50 (3 segments, logit 1.000)")
        );
        assert_eq!(
            line(&both, "fused").as_deref(),
            Some("0.800 at prior 0.50 (3 segments, logit 1.000)")
        );
        assert!(both.contains("screen 2.0 ms device, residual 700.0 ms device"));

        let uncalibrated = detail(RowView::from(v1::Row {
            fused: score(0.2, 9),
            ..separated()
        }));
        assert_eq!(
            line(&uncalibrated, "residual").as_deref(),
            Some("3 segments; the bundle gives no score of them")
        );
        let fused = line(&uncalibrated, "fused").unwrap_or_default();
        assert!(fused.contains("9 windows"), "{fused}");
    }

    fn shown(rows: Vec<RowView>) -> String {
        let list = RowList {
            job: "j".to_owned(),
            purpose: "production".to_owned(),
            truncated: false,
            rows,
        };
        list.table(Paint::plain())
    }

    #[test]
    fn the_probability_is_what_the_verdict_rests_on_and_each_engine_s_stands_beside_it() {
        let both = shown(vec![row(0.2, None), row(0.6, Some((0.9, 0.8)))]);
        let lines: Vec<&str> = both.lines().collect();
        assert!(lines[0].contains("SCREEN") && lines[0].contains("RESIDUAL"));
        let numbers = |line: &str| -> Vec<String> {
            let words = line.split_whitespace();
            let numbers = words.filter(|word| word.starts_with("0."));
            numbers.map(str::to_owned).collect()
        };
        assert_eq!(numbers(lines[1]), ["0.200", "0.200"]);
        assert_eq!(numbers(lines[2]), ["0.800", "0.600", "0.900"]);
        assert!(both.contains("prior of 0.50, by both engines"));
        let alone = shown(vec![row(0.2, None)]);
        assert!(!alone.contains("RESIDUAL"), "{alone}");
    }
}
