//! The tables of an evaluation as rows under headers, and what its plots show. Shared by what people read, the page and CSV.

use crate::output::Records;
use evaluation::bootstrap::Interval;
use evaluation::bound::{grouped, percent};
use evaluation::reliability::Reliability;
use evaluation::{Drift, Flagged, Report, Slice, Sliced, System};

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
                "By codec and bitrate, label, genre; P is a mean probability at prior {}{more}",
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

fn slices(report: &Report) -> Records {
    let row = |slice: &Slice, system: &Sliced| {
        vec![
            slice.group.clone(),
            slice.name.clone(),
            slice.humans.to_string(),
            slice.positives.to_string(),
            system.name.clone(),
            number(system.auc.map(|auc| auc.value)),
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
            "SYSTEM",
            "AUC",
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
