//! Result rows as Arrow columns. The columns are those of `types::TrackRow`; scores are four columns each, the thumbnail's levels
//! have a column of their own, so that readers of verdicts never load pictures. `rows` reads them back.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, Float16Array, Float32Array,
    ListArray, RecordBatch, UInt16Array, UInt32Array, UInt64Array,
};
use half::f16;
use types::{DeclaredAi, Digest, Score, Thumbnail, TrackRow};

use crate::columns::{Writing, lists, structs, texts};

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
