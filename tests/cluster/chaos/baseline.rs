//! Whether the undisturbed job says what a job over this catalogue must say, before every other is held against it: a cluster that takes all tracks for
//! broken, or gives all one verdict, would agree with itself for ever. Pure but for reading the rows' file.

use crate::music;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// The verdict of a track that could not be scanned.
const UNSCANNABLE: &str = "unscannable";

/// Tracks that a complaint names.
const NAMED_MAX: usize = 5;

/// What the undisturbed job says of a track, beside what the judge compares.
#[derive(Debug, Deserialize)]
struct Told {
    key: String,
    verdict: String,
    /// The segments that the second stage separated.
    #[serde(default)]
    segments: Vec<IgnoredAny>,
}

/// Holds the exported rows against a catalogue of so many tracks.
pub(crate) fn check(rows: &Path, tracks: usize) -> Result<()> {
    let what = || format!("read the undisturbed rows in `{}`", rows.display());
    let told = read(BufReader::new(File::open(rows).with_context(what)?));
    hold(&told.with_context(what)?, tracks)
        .context("hold the undisturbed job against the catalogue")
}

fn read(lines: impl BufRead) -> Result<Vec<Told>> {
    let row = |line: std::io::Result<String>| -> Result<Told> { Ok(serde_json::from_str(&line?)?) };
    lines.lines().map(row).collect()
}

fn hold(told: &[Told], tracks: usize) -> Result<()> {
    ensure!(
        told.len() == tracks,
        "there are {} rows for {tracks} tracks",
        told.len()
    );
    let broken: BTreeSet<String> = (0..tracks)
        .filter(|number| music::is_broken(*number))
        .map(music::key)
        .collect();
    let (unscannable, sound): (Vec<&Told>, Vec<&Told>) =
        told.iter().partition(|row| row.verdict == UNSCANNABLE);
    let unscannable = unscannable.into_iter().map(|row| row.key.clone()).collect();
    let wrong: Vec<&String> = broken.symmetric_difference(&unscannable).collect();
    ensure!(
        wrong.is_empty(),
        "{} tracks are unscannable and sound, or scanned and broken: {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(NAMED_MAX)]
    );
    let verdicts: BTreeSet<&str> = sound.iter().map(|row| row.verdict.as_str()).collect();
    ensure!(
        verdicts.len() > 1,
        "all sound tracks have the verdict {verdicts:?}"
    );
    let separated = sound.iter().any(|row| !row.segments.is_empty());
    ensure!(separated, "no track went through the second stage");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACKS: usize = 128;

    /// Rows as they must be, each changed by number.
    fn rows(change: impl Fn(usize, &mut serde_json::Value)) -> Vec<Told> {
        let row = |number: usize| {
            let verdict = match (music::is_broken(number), number % 2) {
                (true, _) => UNSCANNABLE,
                (false, 0) => "no_evidence",
                (false, _) => "inconclusive",
            };
            let segments: &[u8] = if number == 4 { &[1, 2] } else { &[] };
            let mut row = serde_json::json!({
                "key": music::key(number), "verdict": verdict, "segments": segments
            });
            change(number, &mut row);
            row.to_string()
        };
        let lines: Vec<String> = (0..TRACKS).map(row).collect();
        read(lines.join("\n").as_bytes()).unwrap()
    }

    #[track_caller]
    fn check_refused(change: impl Fn(usize, &mut serde_json::Value), word: &str) {
        let why = hold(&rows(change), TRACKS).unwrap_err().to_string();
        assert!(why.contains(word), "{why}");
    }

    #[test]
    fn a_job_that_says_what_it_must_is_a_baseline() {
        hold(&rows(|_, _| {}), TRACKS).unwrap();
    }

    #[test]
    fn a_sound_track_that_is_unscannable_or_a_broken_one_that_is_not_is_named() {
        check_refused(
            |number, row| {
                if number == 7 {
                    row["verdict"] = UNSCANNABLE.into();
                }
            },
            "track-00007",
        );
        check_refused(
            |_, row| row["verdict"] = "no_evidence".into(),
            "track-00060",
        );
    }

    #[test]
    fn one_verdict_for_all_no_second_stage_and_a_missing_row_are_no_baseline() {
        let scanned = |row: &serde_json::Value| row["verdict"] != UNSCANNABLE;
        check_refused(
            |_, row| {
                if scanned(row) {
                    row["verdict"] = "no_evidence".into();
                }
            },
            "all sound tracks",
        );
        check_refused(
            |_, row| row["segments"] = serde_json::json!([]),
            "second stage",
        );
        let why = hold(&rows(|_, _| {}), TRACKS + 1).unwrap_err().to_string();
        assert!(why.contains("128 rows for 129"), "{why}");
    }
}
