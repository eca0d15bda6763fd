//! Whether a disturbed run says of every track exactly what an undisturbed one does. Pure: the chaos run exports both jobs as JSON and asks.
//! It knows nothing of how a row came about, and repairs nothing.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::BufRead;

/// Tracks that a finding names; the count says how many there are.
const EXAMPLES_MAX: usize = 20;

/// The verdict of a track that could not be scanned.
const UNSCANNABLE: &str = "unscannable";

/// What a row says of its track; an export's other columns do not matter here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Row {
    /// The agency's id.
    pub track_id: String,
    /// `likely_ai`, `no_evidence`, `inconclusive` or `unscannable`.
    pub verdict: String,
    /// Why it is inconclusive.
    #[serde(default)]
    pub reason: Option<String>,
    /// Why it is unscannable.
    #[serde(default)]
    pub code: Option<String>,
}

/// Reads rows as `result export --format jsonl` writes them, one JSON object each line; blank lines are none.
///
/// # Errors
/// With the line's number where one cannot be read.
pub fn read(lines: impl BufRead) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (number, line) in lines.lines().enumerate() {
        let at = |why: String| anyhow::anyhow!("read row in line {}: {why}", number + 1);
        let line = line.map_err(|why| at(why.to_string()))?;
        if !line.trim().is_empty() {
            rows.push(serde_json::from_str(&line).map_err(|why| at(why.to_string()))?);
        }
    }
    Ok(rows)
}

/// Tracks that one promise was broken for: how many, and the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tracks {
    /// How many.
    pub count: usize,
    /// The first, by id.
    pub examples: Vec<String>,
}

impl Tracks {
    fn add(&mut self, track_id: &str) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(track_id.to_owned());
        }
    }

    fn join(&mut self, other: Self) {
        let room = EXAMPLES_MAX.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.into_iter().take(room));
        self.count += other.count;
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Findings {
    /// Rows of the disturbed run.
    pub rows: usize,
    /// Tracks without a row.
    pub lost: Tracks,
    /// Tracks with more than one row.
    pub twice: Tracks,
    /// Tracks that nobody asked for.
    pub foreign: Tracks,
    /// Tracks with another verdict or reason than undisturbed, but for the next.
    pub differing: Tracks,
    /// Tracks that are `unscannable` although they were scanned undisturbed.
    pub unscannable: Tracks,
}

impl Findings {
    /// Joins what was found of another job.
    pub fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.lost.join(other.lost);
        self.twice.join(other.twice);
        self.foreign.join(other.foreign);
        self.differing.join(other.differing);
        self.unscannable.join(other.unscannable);
    }

    /// Whether every track has exactly its one row.
    #[must_use]
    pub fn nothing(&self) -> bool {
        let Self {
            rows: _,
            lost,
            twice,
            foreign,
            differing,
            unscannable,
        } = self;
        [lost, twice, foreign, differing, unscannable]
            .iter()
            .all(|tracks| tracks.count == 0)
    }
}

/// Holds a disturbed run against an undisturbed one of the same list.
///
/// A track's rows beyond the first are `twice`; each is judged all the same, so that a wrong second row is not hidden by a right first one.
#[must_use]
pub fn judge(disturbed: &[Row], undisturbed: &[Row]) -> Findings {
    let found = by_track(disturbed);
    let expected = by_track(undisturbed);
    let mut findings = Findings {
        rows: disturbed.len(),
        ..Findings::default()
    };
    for (track, rows) in &found {
        match expected.get(track).and_then(|rows| rows.first()) {
            Some(right) => judge_track(&mut findings, rows, right),
            None => findings.foreign.add(track),
        }
    }
    for track in expected.keys().filter(|track| !found.contains_key(*track)) {
        findings.lost.add(track);
    }
    findings
}

fn judge_track(findings: &mut Findings, rows: &[&Row], right: &Row) {
    if rows.len() > 1 {
        findings.twice.add(&right.track_id);
    }
    if let Some(wrong) = rows.iter().find(|row| **row != right) {
        let lost_soundness = wrong.verdict == UNSCANNABLE && right.verdict != UNSCANNABLE;
        match lost_soundness {
            true => findings.unscannable.add(&right.track_id),
            false => findings.differing.add(&right.track_id),
        }
    }
}

fn by_track(rows: &[Row]) -> BTreeMap<&str, Vec<&Row>> {
    let mut tracks: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        tracks.entry(&row.track_id).or_default().push(row);
    }
    tracks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Row> {
        let lines = text.split(';').map(|row| {
            let words: Vec<&str> = row.split(' ').collect();
            let (track_id, verdict, code) = (words[0], words[1], words.get(2));
            let row = serde_json::json!({
                "ordinal": 1, "track_id": track_id, "verdict": verdict, "reason": null, "code": code
            });
            row.to_string()
        });
        read(lines.collect::<Vec<_>>().join("\n").as_bytes()).unwrap()
    }

    const RIGHT: &str = "a likely_ai;b no_evidence;c unscannable DAMAGED";

    #[track_caller]
    fn check(disturbed: &str, which: fn(&Findings) -> &Tracks, track: &str) {
        let findings = judge(&rows(disturbed), &rows(RIGHT));
        assert_eq!(which(&findings).examples, [track]);
        assert!(!findings.nothing());
        let all = [
            &findings.lost,
            &findings.twice,
            &findings.foreign,
            &findings.differing,
            &findings.unscannable,
        ];
        assert_eq!(all.iter().map(|tracks| tracks.count).sum::<usize>(), 1);
    }

    #[test]
    fn a_run_that_says_the_same_in_any_order_has_no_findings() {
        let other_order = "c unscannable DAMAGED;a likely_ai;b no_evidence";
        assert!(judge(&rows(other_order), &rows(RIGHT)).nothing());
    }

    #[test]
    fn each_broken_promise_is_found_as_itself_and_nothing_else() {
        check("a likely_ai;c unscannable DAMAGED", |f| &f.lost, "b");
        check(&format!("{RIGHT};b no_evidence"), |f| &f.twice, "b");
        check(&format!("{RIGHT};d no_evidence"), |f| &f.foreign, "d");
        check(
            "a no_evidence;b no_evidence;c unscannable DAMAGED",
            |f| &f.differing,
            "a",
        );
        check(
            "a unscannable KILLED;b no_evidence;c unscannable DAMAGED",
            |f| &f.unscannable,
            "a",
        );
        check(
            "a likely_ai;b no_evidence;c unscannable KILLED",
            |f| &f.differing,
            "c",
        );
    }

    #[test]
    fn a_wrong_second_row_is_not_hidden_by_a_right_first_one() {
        let findings = judge(&rows(&format!("{RIGHT};a no_evidence")), &rows(RIGHT));
        assert_eq!((findings.twice.count, findings.differing.count), (1, 1));
    }

    #[test]
    fn examples_are_bounded_and_counts_are_not() {
        let many: Vec<String> = (0..1_000).map(|n| format!("t{n} no_evidence")).collect();
        let findings = judge(&[], &rows(&many.join(";")));
        assert_eq!(findings.lost.count, 1_000);
        assert_eq!(findings.lost.examples.len(), EXAMPLES_MAX);
    }

    #[test]
    fn findings_of_several_jobs_add_up() {
        let mut all = judge(&rows("a likely_ai"), &rows(RIGHT));
        all.add(judge(&rows(RIGHT), &rows(RIGHT)));
        all.add(judge(&rows("b no_evidence"), &rows(RIGHT)));
        assert_eq!((all.rows, all.lost.count), (5, 4));
        assert_eq!(all.lost.examples, ["b", "c", "a", "c"]);
        assert_eq!(all.twice, Tracks::default());
    }

    #[test]
    fn a_line_that_is_no_row_is_named_by_its_number() {
        let why = read("{\"track_id\":\"a\",\"verdict\":\"no_evidence\"}\n\nhello".as_bytes());
        assert!(why.unwrap_err().to_string().contains("line 3"));
    }
}
