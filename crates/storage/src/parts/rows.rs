//! Result rows as Arrow columns and back. The columns are those of `types::TrackRow`; scores are four columns each, the
//! thumbnail's levels have a column of their own, so that readers of verdicts never load pictures.

use std::str::FromStr;
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, Float16Array, Float32Array,
    ListArray, RecordBatch, StringArray, StructArray, UInt16Array, UInt32Array, UInt64Array,
};
use half::f16;
use types::{
    DeclaredAi, Digest, Embedding, Provenance, ResidualSegment, Score, SourceName, Thumbnail,
    TimelinePoint, TrackId, TrackRow, Warning,
};

use crate::columns::{Reading, Writing, child, lists, structs, texts, value};

/// Bytes of a digest.
const DIGEST_BYTES: i32 = 32;

pub(crate) fn to_batch(rows: &[TrackRow]) -> RecordBatch {
    let mut columns = Writing::default();
    columns.every(
        "ordinal",
        UInt32Array::from_iter_values(rows.iter().map(|row| row.ordinal)),
    );
    columns.every(
        "track_id",
        texts(rows.iter().map(|row| Some(row.track_id.as_str()))),
    );
    columns.every(
        "source",
        texts(rows.iter().map(|row| Some(row.source.as_str()))),
    );
    columns.every("key", texts(rows.iter().map(|row| Some(row.key.as_str()))));
    columns.some("isrc", texts(rows.iter().map(|row| row.isrc.as_deref())));
    let declared = rows
        .iter()
        .map(|row| row.declared_ai.map(DeclaredAi::as_str));
    columns.some("declared_ai", texts(declared));
    columns.every(
        "verdict",
        texts(rows.iter().map(|row| Some(row.verdict.as_str()))),
    );
    columns.some(
        "reason",
        texts(
            rows.iter()
                .map(|row| row.reason.map(|reason| reason.as_str())),
        ),
    );
    columns.some(
        "code",
        texts(rows.iter().map(|row| row.code.map(|code| code.as_str()))),
    );
    columns.some(
        "detail",
        texts(rows.iter().map(|row| row.detail.as_deref())),
    );
    write_score(&mut columns, "screen", rows, |row| row.screen);
    write_score(&mut columns, "residual", rows, |row| row.residual);
    write_score(&mut columns, "fused", rows, |row| row.fused);
    columns.every("timeline", timeline_column(rows));
    columns.every("timeline_rms_db", level_column(rows));
    write_residual(&mut columns, rows);
    let features =
        Float32Array::from_iter_values(rows.iter().flat_map(|row| row.features.iter().copied()));
    columns.every(
        "features",
        lists(
            rows.iter().map(|row| row.features.len()),
            Arc::new(features),
        ),
    );
    write_thumbnail(&mut columns, rows);
    columns.some("embedding", embedding_column(rows));
    columns.some(
        "mean",
        Float32Array::from_iter(rows.iter().map(|row| row.mean)),
    );
    columns.some(
        "deviation",
        Float32Array::from_iter(rows.iter().map(|row| row.deviation)),
    );
    columns.every(
        "borderline",
        BooleanArray::from_iter(rows.iter().map(|row| Some(row.borderline))),
    );
    let warnings = texts(
        rows.iter()
            .flat_map(|row| &row.warnings)
            .map(|warning| Some(warning.as_str())),
    );
    columns.every(
        "warnings",
        lists(
            rows.iter().map(|row| row.warnings.len()),
            Arc::new(warnings),
        ),
    );
    columns.some(
        "duration_ms",
        UInt64Array::from_iter(rows.iter().map(|row| row.duration_ms)),
    );
    columns.some(
        "sample_rate_hz",
        UInt32Array::from_iter(rows.iter().map(|row| row.sample_rate_hz)),
    );
    columns.some(
        "channels",
        UInt16Array::from_iter(rows.iter().map(|row| row.channels)),
    );
    columns.some("codec", texts(rows.iter().map(|row| row.codec.as_deref())));
    columns.some(
        "bytes",
        UInt64Array::from_iter(rows.iter().map(|row| row.bytes)),
    );
    columns.some(
        "content_sha256",
        digests(rows.iter().map(|row| row.content_sha256)),
    );
    columns.every("provenance", provenance_column(rows));
    columns.every("bundle", digests(rows.iter().map(|row| Some(row.bundle))));
    columns.every(
        "device",
        texts(rows.iter().map(|row| Some(row.device.as_str()))),
    );
    columns.every(
        "decode_us",
        UInt64Array::from_iter_values(rows.iter().map(|row| row.decode_us)),
    );
    columns.every(
        "screen_us",
        UInt64Array::from_iter_values(rows.iter().map(|row| row.screen_us)),
    );
    columns.every(
        "residual_us",
        UInt64Array::from_iter_values(rows.iter().map(|row| row.residual_us)),
    );
    columns.finish()
}

fn write_score(
    columns: &mut Writing,
    stage: &str,
    rows: &[TrackRow],
    score: fn(&TrackRow) -> Option<Score>,
) {
    let scores = || rows.iter().map(score);
    let floats = |value: fn(Score) -> f32| Float32Array::from_iter(scores().map(|s| s.map(value)));
    columns.some(&format!("{stage}_logit"), floats(|score| score.logit));
    columns.some(
        &format!("{stage}_probability"),
        floats(|score| score.probability),
    );
    columns.some(&format!("{stage}_prior"), floats(|score| score.prior));
    let windows = UInt32Array::from_iter(scores().map(|score| score.map(|score| score.windows)));
    columns.some(&format!("{stage}_windows"), windows);
}

fn timeline_column(rows: &[TrackRow]) -> ListArray {
    let points = || rows.iter().flat_map(|row| &row.timeline);
    let starts: ArrayRef = Arc::new(UInt32Array::from_iter_values(
        points().map(|point| point.start_ms),
    ));
    let logits: ArrayRef = Arc::new(Float32Array::from_iter_values(
        points().map(|point| point.logit),
    ));
    let items = structs(vec![("start_ms", starts), ("logit", logits)]);
    lists(rows.iter().map(|row| row.timeline.len()), Arc::new(items))
}

/// Levels of the timeline's windows; minus infinity is silence.
fn level_column(rows: &[TrackRow]) -> ListArray {
    let points = rows.iter().flat_map(|row| &row.timeline);
    let levels = points.map(|point| point.rms_db.unwrap_or(f32::NEG_INFINITY));
    let items = Float32Array::from_iter_values(levels);
    lists(rows.iter().map(|row| row.timeline.len()), Arc::new(items))
}

/// What the residual measured: a vector of the track, and those of its segments one after another.
fn write_residual(columns: &mut Writing, rows: &[TrackRow]) {
    let of_track = rows.iter().flat_map(|row| &row.residual_features).copied();
    let lengths = rows.iter().map(|row| row.residual_features.len());
    let items = Float32Array::from_iter_values(of_track);
    columns.every("residual_features", lists(lengths, Arc::new(items)));
    let segments = || rows.iter().flat_map(|row| &row.segments);
    let starts = UInt32Array::from_iter_values(segments().map(|segment| segment.start_ms));
    let lengths = rows.iter().map(|row| row.segments.len());
    columns.every("segment_start_ms", lists(lengths, Arc::new(starts)));
    let values = segments().flat_map(|segment| &segment.features).copied();
    let lengths = rows.iter().map(|row| {
        let features = row.segments.iter().map(|segment| segment.features.len());
        features.sum()
    });
    let items = Float32Array::from_iter_values(values);
    columns.every("segment_features", lists(lengths, Arc::new(items)));
}

fn write_thumbnail(columns: &mut Writing, rows: &[TrackRow]) {
    let pictures = || rows.iter().map(|row| row.thumbnail.as_ref());
    let sizes =
        |size: fn(&Thumbnail) -> u16| UInt16Array::from_iter(pictures().map(|p| p.map(size)));
    columns.some("thumbnail_bands", sizes(|picture| picture.bands));
    columns.some("thumbnail_columns", sizes(|picture| picture.columns));
    let levels = pictures().map(|picture| picture.map(|picture| picture.levels.as_slice()));
    columns.some("thumbnail", BinaryArray::from_iter(levels));
}

fn embedding_column(rows: &[TrackRow]) -> ListArray {
    let all = rows
        .iter()
        .filter_map(|row| row.embedding.as_ref())
        .flat_map(|embedding| &embedding.0);
    let items = Float16Array::from_iter_values(all.map(|bits| f16::from_bits(*bits)));
    let lengths = rows.iter().map(|row| {
        row.embedding
            .as_ref()
            .map_or(0, |embedding| embedding.0.len())
    });
    let present = rows.iter().map(|row| row.embedding.is_some());
    let (field, offsets, items, _) = lists(lengths, Arc::new(items)).into_parts();
    ListArray::new(field, offsets, items, Some(present.collect()))
}

fn provenance_column(rows: &[TrackRow]) -> ListArray {
    let claims = || rows.iter().flat_map(|row| &row.provenance);
    let tags: ArrayRef = Arc::new(texts(claims().map(|claim| Some(claim.tag.as_str()))));
    let values: ArrayRef = Arc::new(texts(claims().map(|claim| Some(claim.value.as_str()))));
    let items = structs(vec![("tag", tags), ("value", values)]);
    lists(rows.iter().map(|row| row.provenance.len()), Arc::new(items))
}

fn digests(digests: impl Iterator<Item = Option<Digest>>) -> FixedSizeBinaryArray {
    let bytes = digests.map(|digest| digest.map(|digest| digest.0));
    FixedSizeBinaryArray::try_from_sparse_iter_with_size(bytes, DIGEST_BYTES)
        .expect("every digest has 32 bytes")
}

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
