//! The tables of an evaluation as rows under headers, and what its plots show. Shared by what people read, the page and CSV.

use crate::output::Records;
use evaluation::bootstrap::Interval;
use evaluation::bound::{grouped, percent};
use evaluation::reliability::Reliability;
use evaluation::{Drift, Flagged, Found, Report, Slice, Sliced, System};

/// What the plots of a page show, by system.
pub(super) fn plots(report: &Report) -> Vec<(String, Reliability)> {
    let of = |system: &System| (system.name.clone(), system.reliability.clone());
    report.systems.iter().map(of).collect()
}

/// The tables of a report with their captions; those without a line are left out.
pub(super) fn sections(report: &Report) -> Vec<(String, Records)> {
    let counts = format!(
        "{} human and {} ai tracks in {} clusters",
        grouped(report.humans),
        grouped(report.positives),
        grouped(report.clusters)
    );
    let more = match report.slices_left_out {
        0 => String::new(),
        left_out => format!("; {left_out} smaller ones are not shown"),
    };
    let all = [
        (format!("Over all: {counts}"), systems(report)),
        (
            "Gain over the first system, 95 % intervals on the same draws".to_owned(),
            gains(report),
        ),
        (
            format!(
                "By codec and bitrate, label, genre; FOUND is at a rate of false positives, ECE and the mean probabilities P are at prior {}{more}",
                report.prior
            ),
            slices(report),
        ),
        (
            format!(
                "Drift of mean probability between codecs, at prior {}",
                report.prior
            ),
            drift(report),
        ),
    ];
    all.into_iter()
        .filter(|(_, records)| !records.rows.is_empty())
        .collect()
}

fn interval(interval: Interval) -> String {
    format!("{:.3}..{:.3}", interval.low, interval.high)
}

fn percents(interval: Interval) -> String {
    format!("{:.1}..{:.1}", interval.low * 100.0, interval.high * 100.0)
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

/// A share in percent, or a dash.
pub(super) fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{:.1} %", value * 100.0))
}

fn flagged_humans(flagged: Option<Flagged>) -> String {
    flagged.map_or_else(
        || "-".to_owned(),
        |flagged| {
            let humans = flagged.humans;
            format!(
                "{}/{} < {}",
                humans.hits,
                humans.trials,
                percent(humans.bound_95)
            )
        },
    )
}

/// The share of some tracks among all of them; none without any.
pub(super) fn among(tracks: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| tracks as f64 / all as f64)
}

/// Each system over all tracks.
pub(super) fn systems(report: &Report) -> Records {
    let row = |system: &System| {
        let found = |tier: &str| {
            let rate = system.found.iter().find(|rate| rate.tier == tier);
            let interval_95 = rate
                .and_then(|rate| rate.interval_95)
                .map_or_else(String::new, |found| format!(" ({})", percents(found)));
            format!("{}{interval_95}", share(rate.and_then(|rate| rate.share)))
        };
        vec![
            system.name.clone(),
            format!("{:.3} ({})", system.auc.value, interval(system.auc_95)),
            found("fpr_1e-1"),
            found("fpr_3e-2"),
            found("fpr_1e-2"),
            found("fpr_1e-3"),
            number(Some(system.eer)),
            number(Some(system.reliability.ece)),
            number(Some(system.reliability.brier)),
            report.prior.to_string(),
            flagged_humans(system.flagged),
            share(system.flagged.and_then(|flagged| flagged.share)),
        ]
    };
    Records {
        header: vec![
            "SYSTEM",
            "AUC",
            "FOUND_AT_1E-1",
            "FOUND_AT_3E-2",
            "FOUND_AT_1E-2",
            "FOUND_AT_1E-3",
            "EER",
            "ECE",
            "BRIER",
            "PRIOR",
            "HUMANS_FLAGGED",
            "AI_FLAGGED",
        ],
        rows: report.systems.iter().map(row).collect(),
    }
}

fn gains(report: &Report) -> Records {
    let row = |system: &System| {
        let auc = system.auc_gain_95?;
        let found = system
            .found_gain_95
            .map_or_else(|| "-".to_owned(), interval);
        let at = report
            .compared_at
            .map_or_else(|| "-".to_owned(), |at| at.to_string());
        Some(vec![system.name.clone(), interval(auc), found, at])
    };
    Records {
        header: vec!["SYSTEM", "AUC_GAIN", "FOUND_GAIN", "AT_FPR"],
        rows: report.systems.iter().filter_map(row).collect(),
    }
}

/// The share with the tier that it was found at, which is not that of each slice.
fn found(found: Option<&Found>) -> String {
    found.map_or_else(
        || "-".to_owned(),
        |found| {
            let at = found.tier.strip_prefix("fpr_").unwrap_or(&found.tier);
            format!("{} at {at}", share(Some(found.share)))
        },
    )
}

fn slices(report: &Report) -> Records {
    let row = |slice: &Slice, system: &Sliced| {
        vec![
            slice.group.clone(),
            slice.name.clone(),
            slice.humans.to_string(),
            slice.positives.to_string(),
            share(among(slice.escalated.humans, slice.humans)),
            share(among(slice.escalated.positives, slice.positives)),
            system.name.clone(),
            number(system.auc.map(|auc| auc.value)),
            found(system.found.as_ref()),
            number(system.eer),
            number(system.ece),
            flagged_humans(system.flagged),
            share(system.flagged.and_then(|flagged| flagged.share)),
            number(system.humans_mean),
            number(system.positives_mean),
        ]
    };
    let rows = report.slices.iter().flat_map(|slice| {
        let systems = slice.systems.iter();
        systems.map(move |system| row(slice, system))
    });
    Records {
        header: vec![
            "GROUP",
            "SLICE",
            "HUMAN",
            "AI",
            "HUMANS_ESCALATED",
            "AI_ESCALATED",
            "SYSTEM",
            "AUC",
            "FOUND",
            "EER",
            "ECE",
            "HUMANS_FLAGGED",
            "AI_FLAGGED",
            "P_HUMAN",
            "P_AI",
        ],
        rows: rows.collect(),
    }
}

fn drift(report: &Report) -> Records {
    let row = |drift: &Drift| {
        vec![
            drift.system.clone(),
            if drift.ai { "ai" } else { "human" }.to_owned(),
            drift.buckets.to_string(),
            number(Some(drift.mean)),
            number(Some(drift.max)),
            drift.furthest.clone(),
        ]
    };
    Records {
        header: vec!["SYSTEM", "CLASS", "CODECS", "MEAN", "MAX", "FURTHEST"],
        rows: report.drift.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evaluation::{Heard, Labelled, Options, report};

    /// Tracks of a codec, as many of each class; those whose place is a multiple of ten score like the other class.
    fn tracks(bucket: &str, each: u32) -> Vec<Labelled> {
        let track = |at: u32, ai: bool| {
            let high = ai != at.is_multiple_of(10);
            Labelled {
                ai,
                cluster: at,
                bucket: bucket.to_owned(),
                label: None,
                genre: None,
                escalated: ai && at < 3,
                heard: vec![Heard {
                    score: if high { 1.0 } else { 0.0 },
                    probability: if high { 0.9 } else { 0.1 },
                    flagged: None,
                }],
            }
        };
        let classes = [false, true].into_iter();
        classes
            .flat_map(|ai| (0..each).map(move |at| (at, ai)))
            .map(|(at, ai)| track(at, ai))
            .collect()
    }

    #[test]
    fn a_slice_of_few_tracks_has_a_dash_where_a_larger_one_has_its_rates() {
        let shown = ["FOUND", "EER", "ECE"];
        assert_eq!(cells("flac", &shown), ["90.0 % at 1e-1", "0.100", "0.000"]);
        assert_eq!(cells("mp3 64", &shown), ["-", "-", "-"]);
    }

    #[test]
    fn a_slice_says_what_of_each_class_the_gate_sends_on() {
        let shown = ["HUMANS_ESCALATED", "AI_ESCALATED"];
        assert_eq!(cells("flac", &shown), ["0.0 %", "15.0 %"]);
        assert_eq!(cells("mp3 64", &shown), ["0.0 %", "33.3 %"]);
    }

    /// The cells of a slice under these titles.
    fn cells(name: &str, titles: &[&str]) -> Vec<String> {
        let all = [tracks("flac", 20), tracks("mp3 64", 9)].concat();
        let options = Options {
            systems: &["screen"],
            prior: 0.5,
            seed: 1,
        };
        let shown = slices(&report(&all, &options).expect("both classes"));
        let row = shown.rows.iter().find(|row| row[1] == name);
        let pairs = shown.header.iter().zip(row.expect("its line"));
        let own = pairs.filter(|(title, _)| titles.contains(*title));
        own.map(|(_, cell)| cell.clone()).collect()
    }
}
