//! Guards that must bite, and a table whose slices must add up.

use super::*;
use crate::train::facts::Facts;
use corpus::dice::Dice;
use corpus::manifest::{Entry, Split};

fn track(index: usize, label: Label, score: f64, rms_db: f32) -> Scored {
    let positive = label == Label::Ai;
    let entry = Entry {
        path: format!("{index}"),
        label,
        piece: format!("{index}"),
        split: Split::Test,
        seconds: None,
        codec: Some(["mp3", "aac", "vorbis"][index % 3].to_owned()),
        kbps: Some([96, 112][index % 2]),
        snr_db: positive.then_some(10.0 + (index % 25) as f32),
        decoder: positive.then(|| ["a", "b"][index % 2].to_owned()),
        unseen: (index % 2 == 1).then(|| {
            if positive {
                "bitrate+decoder".to_owned()
            } else {
                "bitrate".to_owned()
            }
        }),
    };
    let facts = Facts {
        samples: 1,
        rms_db,
        peak_db: rms_db + 10.0,
        crest_db: 10.0,
        thirds: vec![-20.0; corpus::shape::BANDS],
        bytes_per_second: 12_000.0,
        edge: 20,
        codec: entry.codec.clone().unwrap_or_default(),
    };
    Scored {
        entry,
        facts,
        score,
    }
}

fn tracks(seed: u64, level_tells: bool) -> Vec<Scored> {
    let mut dice = Dice::new(seed);
    (0..900)
        .map(|index| {
            let label = if (index / 2) % 2 == 0 {
                Label::Human
            } else {
                Label::Ai
            };
            let shift = if label == Label::Ai { 1.0 } else { 0.0 };
            let level = -20.0 + dice.normal() + if level_tells { 2.0 * shift } else { 0.0 };
            track(index, label, f64::from(dice.normal() + 1.5 * shift), level)
        })
        .collect()
}

const RULE: Rule = Rule {
    likely_ai: 2.0,
    slope: 1.0,
    intercept: -0.75,
};

#[test]
fn matched_classes_pass_the_guards_and_a_level_that_tells_is_refused() {
    assert!(report(&tracks(1, false), &tracks(2, false), RULE).may_be_believed());
    let told = report(&tracks(1, true), &tracks(2, true), RULE);
    assert!(!told.may_be_believed());
    assert!(
        !told.guards[0].passed && told.guards[1].passed,
        "{:?}",
        told.guards
    );
}

#[test]
fn a_guard_that_was_fitted_on_one_class_does_not_pass() {
    let one_class: Vec<Scored> = tracks(1, true)
        .into_iter()
        .filter(|track| !is_positive(track))
        .collect();
    for train in [one_class, Vec::new()] {
        assert!(!report(&train, &tracks(2, true), RULE).may_be_believed());
    }
}

#[test]
fn too_few_held_out_tracks_pass_no_guard() {
    let few: Vec<Scored> = tracks(2, false).into_iter().take(600).collect();
    assert!(!report(&tracks(1, false), &few, RULE).may_be_believed());
}

#[test]
fn one_piece_in_many_versions_passes_no_guard() {
    let versions = |mut tracks: Vec<Scored>| {
        for (index, track) in tracks.iter_mut().enumerate() {
            track.entry.piece = format!("{}", index % 40);
        }
        tracks
    };
    for (train, test) in [
        (versions(tracks(1, false)), tracks(2, false)),
        (tracks(1, false), versions(tracks(2, false))),
    ] {
        assert!(!report(&train, &test, RULE).may_be_believed());
    }
}

#[test]
fn the_table_has_every_slice_with_the_counts_of_its_tracks() {
    let report = report(&tracks(1, false), &tracks(2, false), RULE);
    let find = |group: &str, name: &str| {
        report
            .rows
            .iter()
            .find(|row| row.group == group && row.name == name)
            .unwrap()
    };
    assert_eq!(find("held-out pieces", "all").screen.positives, 450);
    assert_eq!(
        find("codec", "aac").screen.positives
            + find("codec", "mp3").screen.positives
            + find("codec", "vorbis").screen.positives,
        450
    );
    assert_eq!(find("decoder", "b (held out)").screen.humans, 450);
    assert_eq!(
        find("kbps", "112 (held out)").screen,
        find("held-out bitrates", "all").screen
    );
    let all = find("held-out pieces", "all");
    assert!(all.margin() > 0.2 && all.found.unwrap() > all.flagged.unwrap());
    let text = report.text();
    let line = text.lines().find(|line| line.contains("b (held out)"));
    let told: Vec<&str> = line.unwrap().split_whitespace().take(6).collect();
    let row = find("decoder", "b (held out)");
    let (ai, human) = (
        row.screen.positives.to_string(),
        row.screen.humans.to_string(),
    );
    assert_eq!(
        told,
        ["decoder", "b", "(held", "out)", &ai, &human],
        "{text}"
    );
}
