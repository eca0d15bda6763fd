//! A track's card: all that its row says, bounded, with what it would take to decide otherwise. Made from the whole row of the
//! wire and the bundle's rules; written as HTML by maud, so that no text of a row can be markup.

use super::bands::Residual;
use super::figure::Figure;
use super::outlook::{self, Standing};
use super::rules::Rules;
use super::text::{Shown, clock, probability, score as number};
use crate::view::size;
use maud::{Markup, html};
use proto::v1;
use types::{Code, InconclusiveReason, Verdict, Warning};

/// Provenance tags shown; a file may have any number.
const TAGS_MAX: usize = 8;
/// Characters of a tag's name or value.
const TAG_CHARS_MAX: usize = 200;
/// Warnings shown: more than there are kinds.
const WARNINGS_MAX: usize = 16;

/// What is shown of one track.
#[derive(Debug, Clone)]
pub(crate) struct Card {
    place: usize,
    ordinal: u32,
    track: Shown,
    verdict: &'static str,
    why: Shown,
    cause: String,
    detail: Shown,
    scores: Vec<ScoreLine>,
    outlook: Vec<String>,
    notes: Vec<(Shown, &'static str)>,
    facts: Vec<(&'static str, Shown)>,
    tags: Vec<(Shown, Shown)>,
    tags_left_out: usize,
    figure: Option<Figure>,
    residual: Option<Residual>,
    demonstration: bool,
}

/// A score with the prior that its probability supposes.
#[derive(Debug, Clone)]
struct ScoreLine {
    engine: &'static str,
    score: f64,
    probability: f64,
    prior: f64,
    pieces: u32,
    decides: bool,
}

impl Card {
    /// The card of a row that is the `place`th by its evidence, from 1.
    pub(crate) fn of(place: usize, row: &v1::Row, rules: &Rules) -> Self {
        let verdict = proto::field::enumerated::<v1::Verdict, Verdict>("verdict", row.verdict);
        let verdict = verdict.unwrap_or(Verdict::Inconclusive);
        let fused = row.fused.is_some();
        let deciding = row.fused.as_ref().or(row.screen.as_ref());
        let standing = Standing {
            verdict,
            reason: &row.reason,
            score: deciding.map(|score| f64::from(score.logit)),
            fused,
            borderline: row.borderline,
        };
        Self {
            place,
            ordinal: row.ordinal,
            track: Shown::card(&row.track_id),
            verdict: verdict.as_str(),
            why: Shown::word(&row.reason),
            cause: cause(&row.reason),
            detail: Shown::card(&row.detail),
            scores: scores(row, rules),
            outlook: outlook::sentences(rules, standing),
            notes: notes(row),
            facts: facts(row, rules),
            tags: row.provenance.iter().take(TAGS_MAX).map(tag).collect(),
            tags_left_out: row.provenance.len().saturating_sub(TAGS_MAX),
            figure: Figure::of(row, rules),
            residual: Residual::of(&row.residual_features, row.segments.len(), rules),
            demonstration: rules.is_demonstration(),
        }
    }

    /// As HTML.
    pub(crate) fn draw(&self) -> Markup {
        html! {
            article.card id={ "t" (self.ordinal) } {
                header {
                    span.place { (self.place) }
                    h3 { bdi { (self.track) } }
                    span class={ "verdict " (self.verdict) } { (self.verdict) }
                }
                @if self.demonstration { p.demonstration { "Demonstration bundle: never heard real music; decides nothing." } }
                (self.draw_scores())
                @if !self.why.is_empty() {
                    p.why { b { (self.why) } @if !self.cause.is_empty() { ": " (self.cause) } @if !self.detail.is_empty() { " (" bdi { (self.detail) } ")" } }
                }
                @if let Some(figure) = &self.figure { (draw_figure(figure)) }
                @if let Some(residual) = &self.residual { (draw_residual(residual)) }
                section.outlook {
                    h4 { "What would change the verdict" }
                    ul { @for sentence in &self.outlook { li { (sentence) } } }
                }
                (self.draw_notes())
                dl.facts {
                    @for (name, value) in &self.facts { div { dt { (name) } dd.digest[is_digest(name)] { bdi { (value) } } } }
                }
                (self.draw_tags())
            }
        }
    }

    fn draw_scores(&self) -> Markup {
        html! {
            @if !self.scores.is_empty() {
                table.scores {
                    thead { tr {
                        th scope="col" { "engine" } th scope="col" { "score" } th scope="col" { "probability of machine generation" }
                        th scope="col" { "made of" } th scope="col" { "" }
                    } }
                    tbody { @for line in &self.scores { tr.decides[line.decides] {
                        th scope="row" { (line.engine) }
                        td { (number(line.score)) }
                        td { (probability(line.probability)) " at a prior of " (line.prior) }
                        td { (line.pieces) @if line.engine == "screen" { " windows" } @else { " segments" } }
                        td { @if line.decides { "the verdict rests on it" } }
                    } } }
                }
            }
        }
    }

    fn draw_notes(&self) -> Markup {
        html! {
            @if !self.notes.is_empty() {
                section.notes {
                    h4 { "Reservations" }
                    ul { @for (code, cause) in &self.notes { li { b { (code) } @if !cause.is_empty() { ": " (cause) } } } }
                }
            }
        }
    }

    fn draw_tags(&self) -> Markup {
        html! {
            @if !self.tags.is_empty() {
                section.tags {
                    h4 { "Tags that claim a provenance" }
                    p.small { "Text of whoever made the file: a claim, no measurement, and its absence says nothing." }
                    dl { @for (name, value) in &self.tags { div { dt { bdi { (name) } } dd { bdi { (value) } } } } }
                    @if self.tags_left_out > 0 { p.small { (self.tags_left_out) " more are left out here." } }
                }
            }
        }
    }
}

/// Whether a fact is a digest, by its name.
pub(crate) fn is_digest(name: &str) -> bool {
    name.contains("SHA-256") || name == "bundle"
}

fn draw_figure(figure: &Figure) -> Markup {
    let (low, high) = figure.decibels;
    html! {
        figure {
            (figure.draw())
            figcaption {
                @if figure.has_picture() {
                    "Above: mel-spectrogram, white " (low) " dB " span.scale {} " dark " (high) " dB, the same scale on every card. "
                }
                @if figure.windows > 0 {
                    "Below: the screen's score of each of " (figure.windows) " windows, log odds before calibration; "
                    span.key.over {} " from the threshold on, " span.key.under {} " below it, " span.key.silent {} " too quiet to count."
                    @if figure.has_segments() { " Black: the segments that were separated." }
                    @if figure.is_condensed() { " Each bar is the highest of its neighbours." }
                }
            }
        }
    }
}

fn draw_residual(residual: &Residual) -> Markup {
    let (outside, known) = residual.outside();
    html! {
        section.residual {
            h4 { "What the stems leave of it" }
            figure {
                (residual.draw())
                figcaption {
                    "Mean over " (residual.segments) " separated segments. "
                    @if residual.has_humans {
                        "Grey: from the value that one in twenty known-human tracks of the calibration lies below to the one that one in twenty lies above, with the middle one marked; "
                        (outside) " of " (known) " values lie outside."
                    } @else {
                        "The bundle does not state what known-human tracks measure."
                    }
                }
            }
            details { summary { "All features" } (residual.table()) }
        }
    }
}

fn scores(row: &v1::Row, rules: &Rules) -> Vec<ScoreLine> {
    let decider = match row.fused {
        Some(_) => "both",
        None => "screen",
    };
    let line = |engine: &'static str, score: &Option<v1::Score>| {
        let score = score.as_ref()?;
        Some(ScoreLine {
            engine,
            score: f64::from(score.logit),
            probability: f64::from(score.probability),
            prior: two_digits(score.prior),
            pieces: score.windows,
            decides: engine == decider,
        })
    };
    let both = rules.residual().and_then(|_| line("both", &row.fused));
    let mut lines: Vec<ScoreLine> = [
        line("screen", &row.screen),
        line("residual", &row.residual),
        both,
    ]
    .into_iter()
    .flatten()
    .collect();
    // Without a calibration of the residual the screen's verdict stands.
    if rules.residual().is_none() {
        lines
            .iter_mut()
            .for_each(|line| line.decides = line.engine == "screen");
    }
    lines
}

/// A prior as it was meant: it went over the wire in single precision.
fn two_digits(prior: f32) -> f64 {
    prior.to_string().parse().unwrap_or(f64::from(prior))
}

fn cause(reason: &str) -> String {
    let inconclusive = reason.parse().map(InconclusiveReason::cause);
    let cause = inconclusive.or_else(|_| reason.parse().map(Code::cause));
    cause.map(str::to_owned).unwrap_or_default()
}

fn notes(row: &v1::Row) -> Vec<(Shown, &'static str)> {
    let warning = |code: &String| {
        let cause = code.parse().map_or("", Warning::cause);
        (Shown::word(code), cause)
    };
    row.warnings
        .iter()
        .take(WARNINGS_MAX)
        .map(warning)
        .collect()
}

fn tag(tag: &v1::Tag) -> (Shown, Shown) {
    (
        Shown::new(&tag.name, TAG_CHARS_MAX),
        Shown::new(&tag.value, TAG_CHARS_MAX),
    )
}

/// What is known of the object, for whoever has to find it again.
fn facts(row: &v1::Row, rules: &Rules) -> Vec<(&'static str, Shown)> {
    let stream = [
        Some(row.codec.clone()).filter(|codec| !codec.is_empty()),
        row.sample_rate_hz.map(|rate| format!("{rate} Hz")),
        row.channels.map(|channels| format!("{channels} channels")),
        row.bytes.map(size),
    ];
    let stream: Vec<String> = stream.into_iter().flatten().collect();
    let facts = [
        ("object", format!("{}:{}", row.source, row.key)),
        ("ISRC", row.isrc.clone()),
        ("supplier declares AI", row.declared_ai.clone()),
        ("length", row.duration_ms.map(clock).unwrap_or_default()),
        ("stream", stream.join(", ")),
        ("content SHA-256", row.content_sha256.clone()),
        (
            "bundle",
            format!(
                "{}@{}, SHA-256 {}",
                rules.manifest.name, rules.manifest.version, row.bundle
            ),
        ),
        ("device", row.device.clone()),
        ("place in the list", row.ordinal.to_string()),
    ];
    let shown = facts.into_iter().filter(|(_, value)| !value.is_empty());
    let shown = shown.map(|(name, value)| match name {
        // An object's key may be long, and whoever looks for the object needs all of it.
        "object" => (name, Shown::card(&value)),
        _ => (name, Shown::line(&value)),
    });
    shown.collect()
}

#[cfg(test)]
pub(crate) mod tests;
