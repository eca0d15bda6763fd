//! Result rows from the Arrow columns that `written` makes of them. Columns that came later may be missing.

use std::str::FromStr;

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, Float16Array, Float32Array,
    ListArray, RecordBatch, StringArray, StructArray, UInt16Array, UInt32Array, UInt64Array,
};
use types::{
    Digest, Embedding, Provenance, ResidualSegment, Score, SourceName, Thumbnail, TimelinePoint,
    TrackId, TrackRow, Warning,
};

use crate::columns::{Reading, child, value};

pub(crate) fn from_batch(batch: &RecordBatch, rows: &mut Vec<TrackRow>) -> Result<(), String> {
    let reading = Reading(batch);
    let text = Texts::of(reading)?;
    let number = Numbers::of(reading)?;
    let (screen, residual) = (
        Scores::of(reading, "screen")?,
        Scores::of(reading, "residual")?,
    );
    let nested = Nested::of(reading)?;
    let separated = Separated::of(reading)?;
    for n in 0..batch.num_rows() {
        rows.push(TrackRow {
            ordinal: number.ordinal.value(n),
            track_id: TrackId::new(text.track_id.value(n)).map_err(|error| error.to_string())?,
            source: SourceName::new(text.source.value(n)).map_err(|error| error.to_string())?,
            key: text.key.value(n).to_owned(),
            isrc: value!(text.isrc, n).map(str::to_owned),
            declared_ai: name(text.declared_ai, n)?,
            verdict: text
                .verdict
                .value(n)
                .parse()
                .map_err(|error| format!("{error}"))?,
            reason: name(text.reason, n)?,
            code: name(text.code, n)?,
            detail: value!(text.detail, n).map(str::to_owned),
            screen: screen.at(n),
            residual: residual.at(n),
            fused: separated.fused(n),
            residual_features: separated.features(n)?,
            segments: separated.segments(n)?,
            timeline: nested.timeline(n, separated.levels)?,
            features: nested.features(n)?,
            thumbnail: nested.thumbnail(n),
            embedding: nested.embedding(n)?,
            mean: value!(number.mean, n),
            deviation: value!(number.deviation, n),
            borderline: number.borderline.value(n),
            warnings: nested.warnings(n)?,
            duration_ms: value!(number.duration_ms, n),
            sample_rate_hz: value!(number.sample_rate_hz, n),
            channels: value!(number.channels, n),
            codec: value!(text.codec, n).map(str::to_owned),
            bytes: value!(number.bytes, n),
            content_sha256: value!(nested.content_sha256, n).map(digest).transpose()?,
            provenance: nested.provenance(n)?,
            bundle: digest(nested.bundle.value(n))?,
            device: text.device.value(n).to_owned(),
            decode_us: number.decode_us.value(n),
            screen_us: number.screen_us.value(n),
            residual_us: number.residual_us.value(n),
        });
    }
    Ok(())
}

/// A struct of columns, each found by its own name.
macro_rules! columns {
    ($name:ident { $($column:ident: $array:ty,)+ }) => {
        struct $name<'a> { $($column: &'a $array,)+ }

        impl<'a> $name<'a> {
            fn of(reading: Reading<'a>) -> Result<Self, String> {
                Ok(Self { $($column: reading.column(stringify!($column))?,)+ })
            }
        }
    };
}

columns!(Texts {
    track_id: StringArray,
    source: StringArray,
    key: StringArray,
    isrc: StringArray,
    declared_ai: StringArray,
    verdict: StringArray,
    reason: StringArray,
    code: StringArray,
    detail: StringArray,
    codec: StringArray,
    device: StringArray,
});

columns!(Numbers {
    ordinal: UInt32Array,
    mean: Float32Array,
    deviation: Float32Array,
    borderline: BooleanArray,
    duration_ms: UInt64Array,
    sample_rate_hz: UInt32Array,
    channels: UInt16Array,
    bytes: UInt64Array,
    decode_us: UInt64Array,
    screen_us: UInt64Array,
    residual_us: UInt64Array,
});

columns!(Nested {
    timeline: ListArray,
    features: ListArray,
    thumbnail: BinaryArray,
    thumbnail_bands: UInt16Array,
    thumbnail_columns: UInt16Array,
    embedding: ListArray,
    warnings: ListArray,
    provenance: ListArray,
    content_sha256: FixedSizeBinaryArray,
    bundle: FixedSizeBinaryArray,
});

/// The columns of the second engine, which parts of the first version do not have.
struct Separated<'a> {
    fused: Option<Scores<'a>>,
    levels: Option<&'a ListArray>,
    features: Option<&'a ListArray>,
    starts: Option<&'a ListArray>,
    of_segments: Option<&'a ListArray>,
}

impl<'a> Separated<'a> {
    fn of(reading: Reading<'a>) -> Result<Self, String> {
        let fused = reading.has("fused_logit");
        Ok(Self {
            fused: fused.then(|| Scores::of(reading, "fused")).transpose()?,
            levels: reading.column_if_any("timeline_rms_db")?,
            features: reading.column_if_any("residual_features")?,
            starts: reading.column_if_any("segment_start_ms")?,
            of_segments: reading.column_if_any("segment_features")?,
        })
    }

    fn fused(&self, row: usize) -> Option<Score> {
        self.fused.as_ref().and_then(|scores| scores.at(row))
    }

    fn features(&self, row: usize) -> Result<Vec<f32>, String> {
        let column = self.features.map(|column| floats(column, row));
        column.transpose().map(Option::unwrap_or_default)
    }

    /// The segments with their vectors, which are all of one length.
    fn segments(&self, row: usize) -> Result<Vec<ResidualSegment>, String> {
        let (Some(starts), Some(features)) = (self.starts, self.of_segments) else {
            return Ok(Vec::new());
        };
        let starts = starts.value(row);
        let starts = of_type::<UInt32Array>(&starts, "segment_start_ms")?.values();
        let features = floats(features, row)?;
        let width = features.len().checked_div(starts.len()).unwrap_or(0);
        if width * starts.len() != features.len() {
            let found = (features.len(), starts.len());
            return Err(format!("{} features of {} segments", found.0, found.1));
        }
        let segments = starts
            .iter()
            .enumerate()
            .map(|(n, start_ms)| ResidualSegment {
                start_ms: *start_ms,
                features: features[n * width..(n + 1) * width].to_vec(),
            });
        Ok(segments.collect())
    }
}

fn floats(column: &ListArray, row: usize) -> Result<Vec<f32>, String> {
    let items = column.value(row);
    Ok(of_type::<Float32Array>(&items, "a list")?.values().to_vec())
}

struct Scores<'a> {
    logit: &'a Float32Array,
    probability: &'a Float32Array,
    prior: &'a Float32Array,
    windows: &'a UInt32Array,
}

impl<'a> Scores<'a> {
    fn of(reading: Reading<'a>, stage: &str) -> Result<Self, String> {
        Ok(Self {
            logit: reading.column(&format!("{stage}_logit"))?,
            probability: reading.column(&format!("{stage}_probability"))?,
            prior: reading.column(&format!("{stage}_prior"))?,
            windows: reading.column(&format!("{stage}_windows"))?,
        })
    }

    fn at(&self, row: usize) -> Option<Score> {
        value!(self.logit, row).map(|logit| Score {
            logit,
            probability: self.probability.value(row),
            prior: self.prior.value(row),
            windows: self.windows.value(row),
        })
    }
}

impl Nested<'_> {
    fn timeline(
        &self,
        row: usize,
        levels: Option<&ListArray>,
    ) -> Result<Vec<TimelinePoint>, String> {
        let items = self.timeline.value(row);
        let items: &StructArray = of_type(&items, "timeline")?;
        let starts: &UInt32Array = child(items, "start_ms")?;
        let logits: &Float32Array = child(items, "logit")?;
        let levels = levels.map(|levels| floats(levels, row)).transpose()?;
        let level = |n: usize| levels.as_ref().and_then(|levels| levels.get(n).copied());
        let point = |n| TimelinePoint {
            start_ms: starts.value(n),
            logit: logits.value(n),
            rms_db: level(n).filter(|level| *level > f32::NEG_INFINITY),
        };
        Ok((0..items.len()).map(point).collect())
    }

    fn features(&self, row: usize) -> Result<Vec<f32>, String> {
        let items = self.features.value(row);
        Ok(of_type::<Float32Array>(&items, "features")?
            .values()
            .to_vec())
    }

    fn thumbnail(&self, row: usize) -> Option<Thumbnail> {
        value!(self.thumbnail, row).map(|levels| Thumbnail {
            bands: self.thumbnail_bands.value(row),
            columns: self.thumbnail_columns.value(row),
            levels: levels.to_vec(),
        })
    }

    fn embedding(&self, row: usize) -> Result<Option<Embedding>, String> {
        if self.embedding.is_null(row) {
            return Ok(None);
        }
        let items = self.embedding.value(row);
        let items: &Float16Array = of_type(&items, "embedding")?;
        Ok(Some(Embedding(
            items.values().iter().map(|value| value.to_bits()).collect(),
        )))
    }

    fn warnings(&self, row: usize) -> Result<Vec<Warning>, String> {
        let items = self.warnings.value(row);
        let items: &StringArray = of_type(&items, "warnings")?;
        let parse = |n| {
            items
                .value(n)
                .parse::<Warning>()
                .map_err(|error| error.to_string())
        };
        (0..items.len()).map(parse).collect()
    }

    fn provenance(&self, row: usize) -> Result<Vec<Provenance>, String> {
        let items = self.provenance.value(row);
        let items: &StructArray = of_type(&items, "provenance")?;
        let tags: &StringArray = child(items, "tag")?;
        let values: &StringArray = child(items, "value")?;
        let claim = |n| Provenance {
            tag: tags.value(n).to_owned(),
            value: values.value(n).to_owned(),
        };
        Ok((0..items.len()).map(claim).collect())
    }
}

fn of_type<'a, T: Array + 'static>(items: &'a ArrayRef, name: &str) -> Result<&'a T, String> {
    items
        .as_any()
        .downcast_ref()
        .ok_or_else(|| format!("`{name}` holds {}", items.data_type()))
}

/// A value of a closed set, by its text.
fn name<T: FromStr<Err: std::fmt::Display>>(
    column: &StringArray,
    row: usize,
) -> Result<Option<T>, String> {
    value!(column, row)
        .map(|text| text.parse().map_err(|error| format!("{error}")))
        .transpose()
}

fn digest(bytes: &[u8]) -> Result<Digest, String> {
    bytes
        .try_into()
        .map(Digest)
        .map_err(|_| format!("a digest of {} bytes", bytes.len()))
}
