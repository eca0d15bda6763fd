//! A track's row on the wire and back. Absent and empty texts are one on the wire, since no text of a row is empty by
//! rule. Embeddings do not travel this way: exports carry them. Credits are the snapshot's and no part of a row: whoever
//! lists rows puts them beside it.

use types::{
    CatalogRow, Code, InconclusiveReason, Provenance, ResidualSegment, Score, Thumbnail,
    TimelinePoint, TrackId, TrackRow, Verdict, Warning,
};

use crate::field::{FieldError, enumerated, parsed, parsed_if_any};
use crate::v1;

impl From<TrackRow> for v1::Row {
    fn from(row: TrackRow) -> Self {
        let reason = row.reason.map(|reason| reason.to_string());
        Self {
            ordinal: row.ordinal,
            track_id: row.track_id.into(),
            source: row.source.into(),
            key: row.key,
            isrc: row.isrc.unwrap_or_default(),
            declared_ai: row
                .declared_ai
                .map(|declared| declared.to_string())
                .unwrap_or_default(),
            verdict: v1::Verdict::from(row.verdict).into(),
            reason: reason
                .or(row.code.map(|code| code.to_string()))
                .unwrap_or_default(),
            detail: row.detail.unwrap_or_default(),
            screen: row.screen.map(Into::into),
            residual: row.residual.map(Into::into),
            fused: row.fused.map(Into::into),
            residual_features: row.residual_features,
            segments: row.segments.into_iter().map(Into::into).collect(),
            timeline: row.timeline.into_iter().map(Into::into).collect(),
            features: row.features,
            thumbnail: row.thumbnail.map(Into::into),
            borderline: row.borderline,
            warnings: row
                .warnings
                .into_iter()
                .map(|warning| warning.to_string())
                .collect(),
            duration_ms: row.duration_ms,
            sample_rate_hz: row.sample_rate_hz,
            channels: row.channels.map(u32::from),
            codec: row.codec.unwrap_or_default(),
            bytes: row.bytes,
            content_sha256: row
                .content_sha256
                .map(|digest| digest.to_string())
                .unwrap_or_default(),
            provenance: row.provenance.into_iter().map(Into::into).collect(),
            bundle: row.bundle.to_string(),
            device: row.device,
            decode_us: row.decode_us,
            screen_us: row.screen_us,
            residual_us: row.residual_us,
            credits: None,
        }
    }
}

impl From<CatalogRow> for v1::Credits {
    fn from(row: CatalogRow) -> Self {
        Self {
            artist: row.artist.unwrap_or_default(),
            label: row.label.unwrap_or_default(),
            genre: row.genre.unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::Row> for TrackRow {
    type Error = FieldError;
    fn try_from(wire: v1::Row) -> Result<Self, FieldError> {
        let verdict = enumerated::<v1::Verdict, _>("verdict", wire.verdict)?;
        let (reason, code) = reason_or_code(verdict, &wire.reason)?;
        Ok(Self {
            ordinal: wire.ordinal,
            track_id: TrackId::new(wire.track_id)
                .map_err(|error| FieldError::new("track_id", format!("is invalid: {error}")))?,
            source: parsed("source", &wire.source)?,
            key: wire.key,
            isrc: text(wire.isrc),
            declared_ai: parsed_if_any("declared_ai", &wire.declared_ai)?,
            verdict,
            reason,
            code,
            detail: text(wire.detail),
            screen: wire.screen.map(Into::into),
            residual: wire.residual.map(Into::into),
            fused: wire.fused.map(Into::into),
            residual_features: wire.residual_features,
            segments: wire.segments.into_iter().map(Into::into).collect(),
            timeline: wire.timeline.into_iter().map(Into::into).collect(),
            features: wire.features,
            thumbnail: wire
                .thumbnail
                .map(Thumbnail::try_from)
                .transpose()
                .map_err(|e| e.within("thumbnail"))?,
            embedding: None,
            mean: None,
            deviation: None,
            borderline: wire.borderline,
            warnings: warnings(&wire.warnings)?,
            duration_ms: wire.duration_ms,
            sample_rate_hz: wire.sample_rate_hz,
            channels: wire
                .channels
                .map(|count| narrow("channels", count))
                .transpose()?,
            codec: text(wire.codec),
            bytes: wire.bytes,
            content_sha256: parsed_if_any("content_sha256", &wire.content_sha256)?,
            provenance: wire.provenance.into_iter().map(Into::into).collect(),
            bundle: parsed("bundle", &wire.bundle)?,
            device: wire.device,
            decode_us: wire.decode_us,
            screen_us: wire.screen_us,
            residual_us: wire.residual_us,
        })
    }
}

type ReasonOrCode = (Option<InconclusiveReason>, Option<Code>);

fn reason_or_code(verdict: Verdict, text: &str) -> Result<ReasonOrCode, FieldError> {
    match verdict {
        Verdict::Inconclusive => Ok((Some(parsed("reason", text)?), None)),
        Verdict::Unscannable => Ok((None, Some(parsed("reason", text)?))),
        Verdict::LikelyAi | Verdict::NoEvidence if text.is_empty() => Ok((None, None)),
        Verdict::LikelyAi | Verdict::NoEvidence => Err(FieldError::new(
            "reason",
            format!("is `{text}`, but the verdict `{verdict}` has none"),
        )),
    }
}

fn warnings(wire: &[String]) -> Result<Vec<Warning>, FieldError> {
    wire.iter().map(|text| parsed("warnings", text)).collect()
}

fn text(wire: String) -> Option<String> {
    (!wire.is_empty()).then_some(wire)
}

fn narrow(path: &str, number: u32) -> Result<u16, FieldError> {
    u16::try_from(number)
        .map_err(|_| FieldError::new(path, format!("is {number}, more than {}", u16::MAX)))
}

impl From<Score> for v1::Score {
    fn from(score: Score) -> Self {
        Self {
            logit: score.logit,
            probability: score.probability,
            prior: score.prior,
            windows: score.windows,
        }
    }
}

impl From<v1::Score> for Score {
    fn from(wire: v1::Score) -> Self {
        Self {
            logit: wire.logit,
            probability: wire.probability,
            prior: wire.prior,
            windows: wire.windows,
        }
    }
}

impl From<TimelinePoint> for v1::TimelinePoint {
    fn from(point: TimelinePoint) -> Self {
        Self {
            start_ms: point.start_ms,
            logit: point.logit,
            rms_db: point.rms_db,
        }
    }
}

impl From<v1::TimelinePoint> for TimelinePoint {
    fn from(wire: v1::TimelinePoint) -> Self {
        Self {
            start_ms: wire.start_ms,
            logit: wire.logit,
            rms_db: wire.rms_db,
        }
    }
}

impl From<ResidualSegment> for v1::ResidualSegment {
    fn from(segment: ResidualSegment) -> Self {
        Self {
            start_ms: segment.start_ms,
            features: segment.features,
        }
    }
}

impl From<v1::ResidualSegment> for ResidualSegment {
    fn from(wire: v1::ResidualSegment) -> Self {
        Self {
            start_ms: wire.start_ms,
            features: wire.features,
        }
    }
}

impl From<Thumbnail> for v1::Thumbnail {
    fn from(picture: Thumbnail) -> Self {
        Self {
            bands: picture.bands.into(),
            columns: picture.columns.into(),
            levels: picture.levels,
        }
    }
}

impl TryFrom<v1::Thumbnail> for Thumbnail {
    type Error = FieldError;
    fn try_from(wire: v1::Thumbnail) -> Result<Self, FieldError> {
        let (bands, columns) = (
            narrow("bands", wire.bands)?,
            narrow("columns", wire.columns)?,
        );
        if wire.levels.len() != usize::from(bands) * usize::from(columns) {
            return Err(FieldError::new(
                "levels",
                format!("has {} bytes for {bands} x {columns}", wire.levels.len()),
            ));
        }
        Ok(Self {
            bands,
            columns,
            levels: wire.levels,
        })
    }
}

impl From<Provenance> for v1::Tag {
    fn from(tag: Provenance) -> Self {
        Self {
            name: tag.tag,
            value: tag.value,
        }
    }
}

impl From<v1::Tag> for Provenance {
    fn from(wire: v1::Tag) -> Self {
        Self {
            tag: wire.name,
            value: wire.value,
        }
    }
}
