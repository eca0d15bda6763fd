//! The model card: what the bundle is, what it was made from, what it achieves, where it ends. Plain words and the table.

use std::fmt::Write;

use bundle::Manifest as BundleManifest;
use corpus::manifest::{Label, Split};
use types::Purpose;

use super::calibrate::{Judgement, Making};
use super::engines::{self, Line};
use super::grid::Grid;
use super::second::Separator;
use super::separator::{Quality, Training, UnderErrors};

/// Writes the card.
pub(super) fn card(making: &Making<'_>, bundle: &BundleManifest, judgement: &Judgement) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "# Bundle `{}` version {}\n",
        bundle.name, bundle.version
    );
    out.push_str(purpose(bundle.purpose));
    data(&mut out, making);
    let _ = writeln!(
        out,
        "\n## Table\n\nArea under the ROC curve with its standard error. `coarse` is a logistic fit on third-octave spectrum and crest factor over the\nsame tracks; only the margin over it is claimed. `found` and `flagged` are the shares of positives and of human tracks at or above\nthe score of `{}`. A slice by decoder or error ratio keeps every human track.\n\n```\n{}```",
        bundle.verdicts.likely_ai_tier,
        judgement.report.text()
    );
    thresholds(&mut out, bundle);
    if let Some(separator) = &making.separator {
        second_engine(&mut out, separator, judgement);
    }
    if let Some(grid) = &judgement.grid {
        conditions(&mut out, grid);
    }
    out.push_str(&limits(bundle.purpose, judgement.grid.is_some()));
    out
}

/// The card of a bundle's next version, which tells of the grid; all else is as it was.
pub(super) fn with_grid(old: &str, bundle: &BundleManifest, grid: &Grid) -> String {
    let kept = [CONDITIONS, LIMITS_TITLE]
        .iter()
        .filter_map(|title| old.find(title))
        .min()
        .map_or(old, |end| &old[..end]);
    let body = kept.split_once('\n').map_or("", |(_, body)| body);
    let mut out = format!(
        "# Bundle `{}` version {}\n{body}",
        bundle.name, bundle.version
    );
    conditions(&mut out, grid);
    out.push_str(&limits(bundle.purpose, true));
    out
}

fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Demonstration => {
            "Purpose: demonstration. This bundle has never heard real music. It shows that the path from sound to verdict works and is measured;\nits verdicts on a real catalogue mean nothing, and outputs say so.\n"
        }
        Purpose::Production => "Purpose: production.\n",
    }
}

fn data(out: &mut String, making: &Making<'_>) {
    let count = |split, label| {
        making
            .manifest
            .of(split)
            .filter(|entry| entry.label == label)
            .count()
    };
    let _ = writeln!(out, "\n## Data\n");
    for (split, use_of) in [
        (Split::Train, "weights"),
        (Split::Calibrate, "calibration and thresholds"),
        (Split::Test, "this table and the rates of the thresholds"),
    ] {
        let _ = writeln!(
            out,
            "- {use_of}: {} human and {} positive tracks{}, pieces of no other split",
            count(split, Label::Human),
            count(split, Label::Ai),
            length(making, split)
        );
    }
    match making.purpose {
        Purpose::Demonstration => out.push_str(DEMONSTRATION_DATA),
        Purpose::Production => {}
    }
    let fitting = &making.recipe.fitting;
    let _ = writeln!(
        out,
        "\nWeights: seed {}, {} passes, {} pieces a step; the recipe lies beside this card. Probabilities suppose a share of {} of AI tracks.",
        fitting.seed, fitting.epochs, fitting.pieces_per_step, making.prior
    );
}

/// The mean length of a split's tracks, where the manifest says it.
fn length(making: &Making<'_>, split: Split) -> String {
    let known: Vec<f32> = making
        .manifest
        .of(split)
        .filter_map(|entry| entry.seconds)
        .collect();
    if known.is_empty() {
        return String::new();
    }
    format!(
        " of {:.0} s on average",
        known.iter().sum::<f32>() / known.len() as f32
    )
}

const DEMONSTRATION_DATA: &str = "\nHuman tracks are pieces of the repository's own generator: plucked strings, FM keys, organ, pads, leads, bowed and sung tones, drums and\ntextures, in synthetic rooms, worn by equaliser, compression, tape, noise and a random level. A positive is the same piece with the error\nof a small neural decoder, scaled to a ratio drawn from 10 to 35 dB below the music, then matched to the original in RMS and third-octave\nspectrum (the ratio is set before matching, which takes back what the error did to the coarse spectrum). Both versions pass the same codec at the same bitrate. One decoder\narchitecture and two bitrates are in the test split alone.\n";

/// What the separator is and what it is worth, in the words of the table.
fn second_engine(out: &mut String, separator: &Separator<'_>, judgement: &Judgement) {
    let (net, fitting) = (&separator.recipe.architecture, &separator.recipe.fitting);
    let apart = judgement.quality.as_ref().map(takes_apart);
    let _ = writeln!(
        out,
        "\n## Second engine\n\nA small HTDemucs ({} channels in its first layer, {} channel of sound, segments of {:.1} s), trained on stems of {} pieces of the\nrepository's generator, half of them with the bleed of one room, under noise in {:.0} % of segments and under the error of a decoder that training may meet\nin {:.0} %. It has never heard music of people, nor the decoder that is held out.{} Features, probability and fusion come from the splits above; each track was separated in the segments that the\nbundle takes.\n\n```\n{}```\n",
        net.channels,
        net.audio_channels,
        net.segment as f64 / net.rate_hz as f64,
        fitting.pieces,
        100.0 * fitting.noise,
        100.0 * fitting.error,
        apart.unwrap_or_default(),
        engines::text(&judgement.engines)
    );
    let _ = writeln!(out, "{}", worth(&judgement.engines));
}

/// How well the separator does its own work, which bounds what a residual can tell.
fn takes_apart(quality: &Quality) -> String {
    let stems: Vec<String> = quality
        .stems
        .iter()
        .map(|stem| match stem.ratio_db {
            Some(ratio) => format!("{} {ratio:.1} dB", stem.name),
            None => format!("{} never audible", stem.name),
        })
        .collect();
    let mut words = format!(
        " On {} segments of held-out pieces its stems lie so\nfar above their errors: {}; the sum of the stems leaves a residual {:.1} dB below the mix.",
        quality.segments,
        stems.join(", "),
        quality.sum_db
    );
    if let Some(UnderErrors { below_db, rise_db }) = quality.under_errors {
        let _ = write!(
            words,
            " A decoder's error\n{below_db:.0} dB below the mix moves that residual by {rise_db:+.1} dB."
        );
    }
    words + &trained(quality.training)
}

/// What training took, where that is known.
fn trained(training: Training) -> String {
    let Some(rounds) = training.rounds else {
        return String::new();
    };
    match training.seconds {
        Some(seconds) => format!(
            " Its training took {rounds} rounds and {:.1} minutes.",
            seconds / 60.0
        ),
        None => format!(" Its training took {rounds} rounds."),
    }
}

/// Whether the second engine gains anything over the screen, by the interval of its first line.
fn worth(lines: &[Line]) -> String {
    let Some(all) = lines.first() else {
        return "What it is worth was not measured.".to_owned();
    };
    let gain = &all.auc_gain;
    let range = format!(
        "{:+.3} ({:+.3} to {:+.3} at 95 %)",
        gain.value, gain.low, gain.high
    );
    if gain.holds_zero() {
        format!(
            "On these tracks the second engine is worth nothing that was shown: it moves the area under the curve by {range}, and the interval holds zero."
        )
    } else {
        format!(
            "On these tracks the second engine moves the area under the curve by {range}. What is claimed under codecs that hide what the screen reads\nis measured by the grid, not here."
        )
    }
}

/// The grid, and what becomes of the claim that was fixed before it.
fn conditions(out: &mut String, grid: &Grid) {
    let _ = writeln!(
        out,
        "{CONDITIONS}\nOther pieces, each heard as composed and with a decoder's error, both through the same condition; one segment of a clip. The claim was\nfixed before anything was measured: the area and the share found at one false flag in a hundred, both engines against the screen alone,\non MP3 and AAC at 64 kbps and on resampled sound, for the decoder that nothing met, 15 to 30 dB below the music.\n\n{}\n```\n{}```",
        grid.outcome(),
        grid.text()
    );
}

fn thresholds(out: &mut String, bundle: &BundleManifest) {
    let _ = writeln!(
        out,
        "\n## Thresholds\n\nEdges come from the calibrate split; the rates are counted on the human tracks of the test split.\n"
    );
    for tier in &bundle.verdicts.tiers {
        let _ = writeln!(
            out,
            "- `{}`: score {:.3}, {} of {} human tracks reach it, rate below {:.4} at 95 % confidence",
            tier.name, tier.score, tier.false_positives, tier.humans, tier.fpr_bound_95
        );
    }
    let _ = writeln!(
        out,
        "\nFrom `{}` on a track is `likely_ai`; below the first tier it is `no_evidence`; the gate sends what lies between to the residual.",
        bundle.verdicts.likely_ai_tier
    );
}

/// Where it ends: what only the repository's own data lacks is said of bundles made from them alone.
fn limits(purpose: Purpose, grid: bool) -> String {
    let own = match (purpose, grid) {
        (Purpose::Demonstration, true) => [DEMONSTRATION_LIMITS, NOT_IN_THE_GRID].concat(),
        (Purpose::Demonstration, false) => [DEMONSTRATION_LIMITS, NOT_MEASURED].concat(),
        (Purpose::Production, _) => String::new(),
    };
    format!("{LIMITS_TITLE}\n{own}{LIMITS}")
}

/// Titles by which a card's parts are found again.
const CONDITIONS: &str = "\n## Under other conditions\n";
const LIMITS_TITLE: &str = "\n## Limits\n";

const DEMONSTRATION_LIMITS: &str = "- Nothing here was heard by the screen as music of people: genre, era, mastering and voices of real recordings are absent.\n- The decoders are small and were trained for minutes; a product's generator leaves other traces.\n- The screen was trained at 96, 128 and 192 kbps and on no piece at another speed: at 64 kbps and on resampled sound it judges what it\n  never met, and another screen, trained there too, might do better alone.\n- Human tracks here have rooms and no bleed between microphones: how many recordings with bleed are flagged was not measured.\n";

const NOT_MEASURED: &str = "- Not measured: pitch shift, time stretch, resampling, mixing with speech, bitrates below 96 kbps.\n";

const NOT_IN_THE_GRID: &str = "- Not measured: pitch shift and time stretch by themselves, mixing with speech, bitrates below 32 kbps.\n";

const LIMITS: &str = "- Thresholds come from the lengths of the tracks above. Scores of longer tracks scatter less, so that fewer human tracks and fewer\n  positives reach a threshold than its rate says.\n- A score is evidence, never proof.\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::engines::{Interval, Measured};
    use crate::train::labelled::SEEN_KBPS;
    use crate::train::separator::StemQuality;
    use evaluation::auc::Auc;

    #[test]
    fn an_interval_that_holds_zero_is_said_to() {
        let auc = Auc {
            value: 0.8,
            error: 0.01,
            positives: 400,
            humans: 400,
        };
        let way = Measured {
            auc,
            found: 0.2,
            equal_error: 0.3,
            calibration_error: Some(0.05),
        };
        let said = |low: f64| {
            let gain = Interval {
                low,
                value: 0.01,
                high: 0.02,
            };
            worth(&[Line {
                name: "all".to_owned(),
                coarse: way,
                screen: way,
                residual: way,
                both: way,
                auc_gain: gain,
                found_gain: gain,
            }])
        };
        assert!(said(-0.01).contains("holds zero") && said(0.0).contains("holds zero"));
        assert!(!said(0.005).contains("holds zero"));
        assert!(worth(&[]).contains("not measured"));
    }

    #[test]
    fn a_card_says_how_well_its_separator_takes_pieces_apart() {
        let stem = |name: &str, ratio_db| StemQuality {
            name: name.to_owned(),
            ratio_db,
        };
        let mut quality = Quality {
            segments: 24,
            stems: vec![stem("drums", Some(1.31)), stem("bass", None)],
            sum_db: 23.5,
            under_errors: Some(UnderErrors {
                below_db: 20.0,
                rise_db: 0.84,
            }),
            training: Training::default(),
        };
        let words = takes_apart(&quality);
        for part in [
            "24 segments",
            "drums 1.3 dB, bass never audible",
            "23.5 dB below the mix",
            "20 dB below the mix moves that residual by +0.8 dB",
        ] {
            assert!(words.contains(part), "{part}: {words}");
        }
        quality.under_errors = None;
        let words = takes_apart(&quality);
        assert!(!words.contains("decoder") && !words.contains("training"));
        quality.training = Training {
            rounds: Some(812),
            seconds: Some(3_402.0),
        };
        let words = takes_apart(&quality);
        assert!(
            words.ends_with("took 812 rounds and 56.7 minutes."),
            "{words}"
        );
    }

    #[test]
    fn a_card_that_tells_of_the_grid_keeps_all_else_and_tells_of_it_once() {
        let grid = Grid {
            engines: String::new(),
            claim: Vec::new(),
            held_out: Vec::new(),
            met: Vec::new(),
            bands: Vec::new(),
            drift: Vec::new(),
            operating: Vec::new(),
            missing: vec!["wav".to_owned()],
            seconds: None,
        };
        let mut bundle = bundle::sample::manifest();
        bundle.version += 1;
        let old = format!("# Bundle `x` version 1\n\nWhat it is.\n{LIMITS_TITLE}\nOld ones.\n");
        let once = with_grid(&old, &bundle, &grid);
        let title = format!(
            "# Bundle `{}` version {}\n\nWhat it is.\n",
            bundle.name, bundle.version
        );
        assert!(once.starts_with(&title), "{once}");
        assert!(!once.contains("Old ones"));
        let twice = with_grid(&once, &bundle, &grid);
        assert_eq!(once, twice);
        assert_eq!(once.matches(CONDITIONS).count(), 1);
        assert_eq!(once.matches(LIMITS_TITLE).count(), 1);
    }

    #[test]
    fn the_limits_name_the_bitrates_that_training_meets_and_what_no_human_track_has() {
        let [low, middle, high] = SEEN_KBPS;
        for grid in [false, true] {
            let limits = limits(Purpose::Demonstration, grid);
            let met = format!("trained at {low}, {middle} and {high} kbps");
            assert!(limits.contains(&met), "{limits}");
            assert!(limits.contains("no bleed"), "{limits}");
        }
    }

    #[test]
    fn only_a_demonstration_is_said_to_have_heard_no_music() {
        let (toy, real) = (
            limits(Purpose::Demonstration, true),
            limits(Purpose::Production, true),
        );
        assert!(toy.contains("music of people") && !real.contains("music of people"));
        for limits in [toy, real] {
            assert!(
                limits.contains("A score is evidence, never proof."),
                "{limits}"
            );
        }
    }
}
