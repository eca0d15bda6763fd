//! What a chaos run comes to, as JSON for machines and as text for people. Pure: the run fills a [`Report`] in, nothing here measures.

use crate::fault::Kind;
use crate::oracle::{Findings, Tracks};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Durations of one thing that happened again and again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Times {
    /// How often.
    pub count: usize,
    /// Half were at most so long.
    pub p50_ms: Option<u64>,
    /// All but one of a hundred were at most so long.
    pub p99_ms: Option<u64>,
    /// The longest.
    pub most_ms: Option<u64>,
}

impl Times {
    /// Sums durations up. A percentile is one of the durations, the nearest above.
    #[must_use]
    pub fn of(mut measured_ms: Vec<u64>) -> Self {
        measured_ms.sort_unstable();
        let at = |percent: usize| {
            let rank = (measured_ms.len() * percent).div_ceil(100);
            measured_ms.get(rank.saturating_sub(1)).copied()
        };
        Self {
            count: measured_ms.len(),
            p50_ms: at(50),
            p99_ms: at(99),
            most_ms: measured_ms.last().copied(),
        }
    }
}

/// How long each part of a run took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Course {
    /// Until the cluster stood and its catalogue was imported.
    pub bring_up_ms: u64,
    /// Until the first job was published and read, alone.
    pub first_job_ms: u64,
    /// Of undisturbed work.
    pub undisturbed_ms: u64,
    /// Of faults.
    pub faults_ms: u64,
    /// From the last fault to the last publication; judges are at work meanwhile.
    pub last_jobs_ms: u64,
    /// From the last publication to the last judgement.
    pub judging_ms: u64,
}

/// What a run comes to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// The seed of its schedule.
    pub seed: u64,
    /// The builds that took part, each with its version and the digest of its coordinator; two of one digest are one build.
    pub builds: Vec<String>,
    /// How long faults happened.
    pub lasted_ms: u64,
    /// How long each part took.
    pub course: Course,
    /// Faults that began, by kind.
    pub faults: BTreeMap<Kind, usize>,
    /// Of those, which bit: they hit somebody, and met something where that is counted.
    pub bit: BTreeMap<Kind, usize>,
    /// Faults that could not be carried out or undone, with what was said.
    pub failed_faults: Vec<String>,
    /// Processes that ended by themselves and were started again as a service manager does.
    pub revived: usize,
    /// Commits that count.
    pub commits: u64,
    /// Commits that were refused since their attempt was no longer live.
    pub refused_stale_commits: u64,
    /// From a leader's SIGKILL to the next one's first acknowledged write, where etcd kept its leader.
    pub fail_over: Times,
    /// Fail-overs during which etcd changed its leader too.
    pub fail_over_unsteady: Times,
    /// All fail-overs, until the next leader answered calls: whatever there was to write.
    pub fail_over_answered: Times,
    /// From a leader's SIGTERM to the next one's first acknowledged write, whatever etcd did.
    pub hand_over: Times,
    /// The same until the next leader answered calls.
    pub hand_over_answered: Times,
    /// The same from the moment at which a leader stood still, whatever etcd did.
    pub stand_still: Times,
    /// How often etcd changed its leader.
    pub etcd_leader_changes: usize,
    /// From the moment at which a node was killed or stood still to the new grant of its work.
    pub re_grant: Times,
    /// The same from a new leader's first write, where one came in between.
    pub re_grant_after_leader: Times,
    /// Rows a second that came to count before the first fault.
    pub rows_per_s_undisturbed: f64,
    /// Rows a second that came to count while faults happened.
    pub rows_per_s: f64,
    /// Tracks that were scanned and did not count.
    pub tracks_scanned_in_vain: u64,
    /// Seconds of devices that went into them.
    pub device_seconds_in_vain: u64,
    /// Jobs that were published.
    pub jobs: usize,
    /// Jobs that were not, long after the last fault.
    pub unfinished: Vec<String>,
    /// Results that the product itself does not verify, with what it said.
    pub wrong: Vec<String>,
    /// What the judge found.
    pub findings: Findings,
}

impl Report {
    /// Whether the run kept its promises: every job published, every track once and right, every fault carried out and undone, and every kind of
    /// fault noticed by somebody, since promises that nothing tried are not kept.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let failed = [&self.failed_faults, &self.unfinished, &self.wrong];
        let kept = self.findings.nothing() && failed.iter().all(|list| list.is_empty());
        kept && self.toothless().is_empty()
    }

    /// Kinds that happened and of which nothing bit.
    #[must_use]
    pub fn toothless(&self) -> Vec<Kind> {
        let bit = |kind: &Kind| self.bit.get(kind).is_some_and(|count| *count > 0);
        let kinds = self.faults.keys().copied();
        kinds.filter(|kind| !bit(kind)).collect()
    }

    /// As text, a line for each figure.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{name:<26}{value}");
        };
        line("seed", self.seed.to_string());
        for build in &self.builds {
            line("build", build.clone());
        }
        line("lasted", format!("{} s", self.lasted_ms / 1_000));
        line("course", course(&self.course));
        let [began, bit] = [&self.faults, &self.bit].map(|kinds| kinds.values().sum());
        line("faults", of_kind(began, bit));
        for (kind, count) in &self.faults {
            let bit = self.bit.get(kind).copied().unwrap_or(0);
            line(&format!("  {}", name(*kind)), of_kind(*count, bit));
        }
        line("faults that failed", self.failed_faults.len().to_string());
        for failed in &self.failed_faults {
            line("", failed.clone());
        }
        let toothless = self.toothless().into_iter().map(name);
        let toothless: Vec<String> = toothless.collect();
        line("kinds that never bit", listed(&toothless));
        line("processes revived", self.revived.to_string());
        line("commits", self.commits.to_string());
        line(
            "stale commits refused",
            self.refused_stale_commits.to_string(),
        );
        for (name, measured) in self.times() {
            line(name, times(measured));
        }
        line(
            "etcd's leader changed",
            self.etcd_leader_changes.to_string(),
        );
        let (before, during) = (self.rows_per_s_undisturbed, self.rows_per_s);
        line(
            "rows a second",
            format!("{during:.1}, undisturbed {before:.1}"),
        );
        let (tracks, seconds) = (self.tracks_scanned_in_vain, self.device_seconds_in_vain);
        line(
            "work lost",
            format!("{tracks} tracks, {seconds} device-seconds"),
        );
        line("jobs", self.jobs.to_string());
        for (name, list) in [("unfinished", &self.unfinished), ("wrong", &self.wrong)] {
            line(name, list.len().to_string());
            for entry in list {
                line("", entry.clone());
            }
        }
        line("rows", self.findings.rows.to_string());
        for (name, tracks) in promises(&self.findings) {
            line(name, found(tracks));
        }
        let verdict = if self.is_good() { "good" } else { "NOT GOOD" };
        line("run", verdict.to_owned());
        text
    }
}

impl Report {
    fn times(&self) -> [(&'static str, &Times); 8] {
        [
            ("fail-over", &self.fail_over),
            ("fail-over, etcd's too", &self.fail_over_unsteady),
            ("fail-over, answered", &self.fail_over_answered),
            ("hand-over", &self.hand_over),
            ("hand-over, answered", &self.hand_over_answered),
            ("leader stood still", &self.stand_still),
            ("re-grant", &self.re_grant),
            ("re-grant by a new leader", &self.re_grant_after_leader),
        ]
    }
}

fn course(course: &Course) -> String {
    let parts = [
        ("bring-up", course.bring_up_ms),
        ("first job", course.first_job_ms),
        ("undisturbed", course.undisturbed_ms),
        ("faults", course.faults_ms),
        ("last jobs", course.last_jobs_ms),
        ("judging", course.judging_ms),
    ];
    let told = parts.map(|(name, ms)| format!("{name} {} s", ms / 1_000));
    told.join(", ")
}

fn listed(all: &[String]) -> String {
    match all.is_empty() {
        true => "0".to_owned(),
        false => format!("{}: {}", all.len(), all.join(", ")),
    }
}

fn of_kind(count: usize, bit: usize) -> String {
    match bit == count {
        true => count.to_string(),
        false => format!("{count}, {bit} of them bit"),
    }
}

fn promises(findings: &Findings) -> [(&'static str, &Tracks); 5] {
    [
        ("lost", &findings.lost),
        ("twice", &findings.twice),
        ("foreign", &findings.foreign),
        ("verdict differs", &findings.differing),
        ("sound but unscannable", &findings.unscannable),
    ]
}

fn found(tracks: &Tracks) -> String {
    match tracks.count {
        0 => "0".to_owned(),
        count => format!("{count}: {}", tracks.examples.join(", ")),
    }
}

fn times(times: &Times) -> String {
    let shown = |ms: Option<u64>| ms.map_or("–".to_owned(), |ms| format!("{ms} ms"));
    format!(
        "p50 {}, p99 {}, most {}, of {}",
        shown(times.p50_ms),
        shown(times.p99_ms),
        shown(times.most_ms),
        times.count
    )
}

/// A kind as records spell it.
fn name(kind: Kind) -> String {
    serde_json::to_value(kind)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            seed: 7,
            builds: vec!["first 0.2.0 of digest".to_owned()],
            course: Course {
                last_jobs_ms: 7_900,
                ..Course::default()
            },
            faults: BTreeMap::from([(Kind::KillLeader, 3), (Kind::SlowSync, 2)]),
            bit: BTreeMap::from([(Kind::KillLeader, 3), (Kind::SlowSync, 1)]),
            fail_over: Times::of(vec![5_000, 4_000, 9_000]),
            ..Report::default()
        }
    }

    #[test]
    fn percentiles_are_measured_durations() {
        let times = Times::of((1..=200).rev().collect());
        assert_eq!((times.p50_ms, times.p99_ms), (Some(100), Some(198)));
        assert_eq!((times.most_ms, times.count), (Some(200), 200));
        assert_eq!(Times::of(vec![7]).p99_ms, Some(7));
        assert_eq!(Times::of(Vec::new()), Times::default());
    }

    #[test]
    fn a_report_reads_back_from_its_json() {
        let json = serde_json::to_string(&report()).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report());
        assert!(json.contains(r#""kill_leader":3"#));
        // What a record of an hour is read for.
        for figure in [
            "faults",
            "bit",
            "fail_over",
            "re_grant",
            "re_grant_after_leader",
            "rows_per_s_undisturbed",
            "rows_per_s",
            "rows",
            "p50_ms",
            "p99_ms",
        ] {
            assert!(json.contains(&format!("\"{figure}\":")), "{figure}");
        }
    }

    #[test]
    fn the_text_has_each_kind_the_times_and_the_verdict() {
        let text = report().text();
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        for expected in [
            vec!["faults", "5,", "4", "of", "them", "bit"],
            vec!["build", "first", "0.2.0", "of", "digest"],
            vec!["kill_leader", "3"],
            vec!["slow_sync", "2,", "1", "of", "them", "bit"],
            vec!["run", "good"],
        ] {
            assert!(lines.contains(&expected), "{expected:?} in\n{text}");
        }
        assert!(text.contains("p50 5000 ms, p99 9000 ms"));
        assert!(text.contains("last jobs 7 s, judging 0 s"));
    }

    #[test]
    fn a_kind_of_which_nothing_bit_makes_a_run_not_good_and_is_named() {
        let mut report = report();
        assert!(report.toothless().is_empty());
        report.faults.insert(Kind::StoreFull, 2);
        report.faults.insert(Kind::Loss, 1);
        report.bit.insert(Kind::Loss, 0);
        assert_eq!(report.toothless(), [Kind::Loss, Kind::StoreFull]);
        assert!(!report.is_good());
        assert!(report.text().contains("2: loss, store_full"));
    }

    #[test]
    fn a_lost_track_a_fault_that_failed_or_a_job_without_end_makes_a_run_not_good() {
        let mut lossy = report();
        lossy.findings.lost.count = 1;
        let mut failed = report();
        failed
            .failed_faults
            .push("kill: no such process".to_owned());
        let mut unfinished = report();
        unfinished.unfinished.push("job".to_owned());
        assert!(report().is_good() && !lossy.is_good());
        assert!(!failed.is_good() && !unfinished.is_good());
        assert!(lossy.text().contains("NOT GOOD"));
    }
}
