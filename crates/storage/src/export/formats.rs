//! The three formats of an export: rows in, bytes out, nothing kept but what the format itself needs.
//!
//! A probability never stands without its prior: both are columns, and both are empty together.

use std::sync::Arc;

use arrow_array::{Array, RecordBatch, StringArray};
use arrow_schema::{Field, Schema};
use catalog::harmless;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use serde::Serialize;
use types::{Purpose, Score, TrackRow, Warning};

use super::ExportFormat;
use crate::parts::{properties, to_batch};

/// Rows of one row group of an exported file: small enough to be held, large enough to be read well.
const GROUP_ROWS_MAX: usize = 65_536;

/// Bytes of a row group after which it is written all the same: pictures and timelines can be large.
const GROUP_BYTES_MAX: usize = 32 * 1024 * 1024;

pub(super) struct Encoder {
    purpose: Purpose,
    form: Form,
}

enum Form {
    Csv { header_written: bool },
    JsonLines,
    Parquet(Option<Box<ArrowWriter<Vec<u8>>>>),
}

impl Encoder {
    pub(super) fn new(format: ExportFormat, purpose: Purpose) -> Self {
        let form = match format {
            ExportFormat::Csv => Form::Csv {
                header_written: false,
            },
            ExportFormat::JsonLines => Form::JsonLines,
            ExportFormat::Parquet => Form::Parquet(None),
        };
        Self { purpose, form }
    }

    /// The bytes that are ready once these rows have been added.
    pub(super) fn add(&mut self, rows: &[TrackRow]) -> Result<Vec<u8>, String> {
        match &mut self.form {
            Form::Csv { header_written } => {
                let header = !std::mem::replace(header_written, true);
                csv_lines(rows, self.purpose, header).map_err(|error| error.to_string())
            }
            Form::JsonLines => json_lines(rows, self.purpose).map_err(|error| error.to_string()),
            Form::Parquet(writer) => {
                parquet_rows(writer, rows, self.purpose).map_err(|error| error.to_string())
            }
        }
    }

    /// The bytes that end the export.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, String> {
        match self.form {
            Form::Csv {
                header_written: false,
            } => self.add(&[]),
            Form::Csv {
                header_written: true,
            }
            | Form::JsonLines => Ok(Vec::new()),
            Form::Parquet(None) => {
                let begun = self.add(&[])?;
                Ok([begun, self.finish()?].concat())
            }
            Form::Parquet(Some(mut writer)) => {
                writer.finish().map_err(|error| error.to_string())?;
                Ok(std::mem::take(writer.inner_mut()))
            }
        }
    }
}

const CSV_COLUMNS: [&str; 39] = [
    "ordinal",
    "track_id",
    "source",
    "key",
    "isrc",
    "declared_ai",
    "verdict",
    "reason",
    "code",
    "detail",
    "borderline",
    "screen_logit",
    "screen_probability",
    "screen_prior",
    "screen_windows",
    "residual_logit",
    "residual_probability",
    "residual_prior",
    "residual_windows",
    "fused_logit",
    "fused_probability",
    "fused_prior",
    "fused_windows",
    "warnings",
    "provenance",
    "duration_ms",
    "sample_rate_hz",
    "channels",
    "codec",
    "bytes",
    "content_sha256",
    "bundle",
    "bundle_purpose",
    "device",
    "decode_us",
    "screen_us",
    "residual_us",
    "timeline_points",
    "segments",
];

fn csv_lines(rows: &[TrackRow], purpose: Purpose, header: bool) -> csv::Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    if header {
        csv.write_record(CSV_COLUMNS)?;
    }
    for row in rows {
        csv.write_record(csv_fields(row, purpose))?;
    }
    csv.into_inner()
        .map_err(|error| csv::Error::from(error.into_error()))
}

fn csv_fields(row: &TrackRow, purpose: Purpose) -> [String; CSV_COLUMNS.len()] {
    let text = |text: Option<&str>| text.map_or(String::new(), |text| harmless(text).into_owned());
    let [logit, probability, prior, windows] = score_fields(row.screen);
    let [
        residual_logit,
        residual_probability,
        residual_prior,
        residual_windows,
    ] = score_fields(row.residual);
    let [fused_logit, fused_probability, fused_prior, fused_windows] = score_fields(row.fused);
    let warnings: Vec<&str> = row.warnings.iter().copied().map(Warning::as_str).collect();
    let claims: Vec<String> = row
        .provenance
        .iter()
        .map(|claim| format!("{}={}", claim.tag, claim.value))
        .collect();
    [
        row.ordinal.to_string(),
        text(Some(row.track_id.as_str())),
        text(Some(row.source.as_str())),
        text(Some(&row.key)),
        text(row.isrc.as_deref()),
        shown(row.declared_ai),
        row.verdict.to_string(),
        shown(row.reason),
        shown(row.code),
        text(row.detail.as_deref()),
        row.borderline.to_string(),
        logit,
        probability,
        prior,
        windows,
        residual_logit,
        residual_probability,
        residual_prior,
        residual_windows,
        fused_logit,
        fused_probability,
        fused_prior,
        fused_windows,
        warnings.join(" "),
        text(Some(&claims.join("; "))),
        shown(row.duration_ms),
        shown(row.sample_rate_hz),
        shown(row.channels),
        text(row.codec.as_deref()),
        shown(row.bytes),
        shown(row.content_sha256),
        row.bundle.to_string(),
        purpose.to_string(),
        text(Some(&row.device)),
        row.decode_us.to_string(),
        row.screen_us.to_string(),
        row.residual_us.to_string(),
        row.timeline.len().to_string(),
        row.segments.len().to_string(),
    ]
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

fn score_fields(score: Option<Score>) -> [String; 4] {
    let field = |value: fn(Score) -> String| score.map_or(String::new(), value);
    [
        field(|score| score.logit.to_string()),
        field(|score| score.probability.to_string()),
        field(|score| score.prior.to_string()),
        field(|score| score.windows.to_string()),
    ]
}

#[derive(Serialize)]
struct JsonRow<'a> {
    #[serde(flatten)]
    row: &'a TrackRow,
    bundle_purpose: Purpose,
}

fn json_lines(rows: &[TrackRow], bundle_purpose: Purpose) -> serde_json::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for row in rows {
        serde_json::to_writer(
            &mut lines,
            &JsonRow {
                row,
                bundle_purpose,
            },
        )?;
        lines.push(b'\n');
    }
    Ok(lines)
}

fn parquet_rows(
    writer: &mut Option<Box<ArrowWriter<Vec<u8>>>>,
    rows: &[TrackRow],
    purpose: Purpose,
) -> Result<Vec<u8>, ParquetError> {
    let batch = with_purpose(&to_batch(rows), purpose)?;
    let writer = match writer {
        Some(writer) => writer,
        None => {
            let begun = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties()?))?;
            writer.insert(Box::new(begun))
        }
    };
    writer.write(&batch)?;
    if writer.in_progress_rows() >= GROUP_ROWS_MAX || writer.in_progress_size() >= GROUP_BYTES_MAX {
        writer.flush()?;
    }
    writer.sync()?;
    Ok(std::mem::take(writer.inner_mut()))
}

fn with_purpose(batch: &RecordBatch, purpose: Purpose) -> Result<RecordBatch, ParquetError> {
    let column: StringArray =
        std::iter::repeat_n(Some(purpose.as_str()), batch.num_rows()).collect();
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(
        "bundle_purpose",
        column.data_type().clone(),
        false,
    )));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(column));
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}
