//! What a run's coordinators and agents say in their logs, kept as what the report needs: who led and first wrote when, which grants a node held as it
//! ended, which parts count. Pure: `tail` feeds it lines, `witness` the ends of processes, each with the suite's own time, so that stepped
//! clocks do not matter.

use cluster::Kind;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// A line of a log, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Line {
    target: String,
    message: String,
    action: String,
    what: String,
    detail: String,
    outcome: String,
    answer: String,
    rows: u64,
}

/// A grant by job, shard and attempt, as the audit trail spells them.
type Grant = (String, String);

/// One reign of a coordinator.
#[derive(Debug)]
struct Reign {
    process: String,
    wrote: bool,
}

/// The end of a leader, and when another had first written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handover {
    /// How it ended.
    pub(crate) kind: Kind,
    /// When.
    pub(crate) at_ms: u64,
    /// When the next one had read the state and answered calls.
    pub(crate) answered_ms: Option<u64>,
    /// When the next one's first write was acknowledged: it needs something to write.
    pub(crate) written_ms: Option<u64>,
}

/// All that was read.
#[derive(Debug, Default)]
pub(crate) struct Books {
    reigns: Vec<Reign>,
    /// Ends of leaders.
    pub(crate) handovers: Vec<Handover>,
    granted: BTreeMap<Grant, String>,
    orphaned: BTreeMap<Grant, u64>,
    waiting: BTreeMap<String, u64>,
    first_writes: Vec<u64>,
    /// From a node's end to the new grant of what it held, under one leader.
    pub(crate) re_grants: Vec<u64>,
    /// The same from a new leader's first write, where one came in between.
    pub(crate) re_grants_of_new: Vec<u64>,
    /// Commits that count.
    pub(crate) commits: u64,
    /// Commits that were refused since their attempt was no longer live.
    pub(crate) superseded: u64,
    /// Rows of commits that were answered as counting, by the second.
    counted: BTreeMap<u64, u64>,
    /// Jobs that are published.
    pub(crate) published: BTreeSet<String>,
}

impl Books {
    /// Takes a line of a process.
    pub(crate) fn read(&mut self, process: &str, line: &Line, now_ms: u64) {
        match (line.target.as_str(), line.message.as_str()) {
            ("audit", _) if line.outcome == "OK" => self.changed(process, line, now_ms),
            (_, "this coordinator leads") => self.reigns.push(Reign {
                process: process.to_owned(),
                wrote: false,
            }),
            (_, "state is read, calls are answered") => self.leads(now_ms),
            (_, "commit") => self.answered(line, now_ms),
            _ => {}
        }
    }

    fn changed(&mut self, process: &str, line: &Line, now_ms: u64) {
        self.wrote(process, now_ms);
        // Details of grants are `attempt N` and `attempt N to NODE`.
        let (attempt, node) = match line.detail.split_once(" to ") {
            Some((attempt, node)) => (attempt, Some(node)),
            None => (line.detail.as_str(), None),
        };
        let grant = (line.what.clone(), attempt.to_owned());
        match (line.action.as_str(), node) {
            ("Grant", Some(node)) => self.granted(grant, node, now_ms),
            ("Withdraw", _) => self.withdrawn(grant),
            ("Count", _) => self.commits += 1,
            ("Publish", _) => self.published(&line.what),
            _ => {}
        }
    }

    /// A leader that answers calls ends the waiting for one.
    fn leads(&mut self, now_ms: u64) {
        let open = self.handovers.iter_mut();
        for handover in open.filter(|handover| handover.answered_ms.is_none()) {
            handover.answered_ms = Some(now_ms);
        }
    }

    /// The first write of a reign ends the handovers before it.
    fn wrote(&mut self, process: &str, now_ms: u64) {
        let Some(reign) = self.reigns.last_mut() else {
            return;
        };
        if reign.wrote || reign.process != process {
            return;
        }
        reign.wrote = true;
        self.first_writes.push(now_ms);
        let open = self.handovers.iter_mut();
        for handover in open.filter(|handover| handover.written_ms.is_none()) {
            handover.written_ms = Some(now_ms);
        }
    }

    fn granted(&mut self, grant: Grant, node: &str, now_ms: u64) {
        if let Some(since) = self.waiting.remove(&grant.0) {
            let led = self.first_writes.iter().rev().find(|at| **at > since);
            match led {
                Some(first) => self.re_grants_of_new.push(now_ms.saturating_sub(*first)),
                None => self.re_grants.push(now_ms.saturating_sub(since)),
            }
        }
        self.granted.insert(grant, node.to_owned());
    }

    fn withdrawn(&mut self, grant: Grant) {
        self.granted.remove(&grant);
        if let Some(since) = self.orphaned.remove(&grant) {
            self.waiting.entry(grant.0).or_insert(since);
        }
    }

    fn published(&mut self, job: &str) {
        let of_it = |what: &str| what.split(' ').next() == Some(job);
        self.granted.retain(|(what, _), _| !of_it(what));
        self.orphaned.retain(|(what, _), _| !of_it(what));
        self.waiting.retain(|what, _| !of_it(what));
        self.published.insert(job.to_owned());
    }

    fn answered(&mut self, line: &Line, now_ms: u64) {
        let says = |outcome: &str| line.answer.contains(outcome);
        if says("outcome: Counted") || says("outcome: DoneAlready") {
            *self.counted.entry(now_ms / 1_000).or_default() += line.rows;
        } else if says("outcome: Superseded") {
            self.superseded += 1;
        }
    }

    /// A node is killed or stands still from here on.
    pub(crate) fn node_ended(&mut self, node: &str, now_ms: u64) {
        let held = self.granted.iter().filter(|(_, holder)| *holder == node);
        let held: Vec<Grant> = held.map(|(grant, _)| grant.clone()).collect();
        self.orphaned
            .extend(held.into_iter().map(|grant| (grant, now_ms)));
    }

    /// A coordinator is hit; it matters where it leads.
    pub(crate) fn coordinator_ended(&mut self, process: &str, kind: Kind, now_ms: u64) {
        let leads = |reign: &Reign| reign.process == process;
        if self.reigns.last().is_some_and(leads) {
            self.handovers.push(Handover {
                kind,
                at_ms: now_ms,
                answered_ms: None,
                written_ms: None,
            });
        }
    }

    /// Rows that came to count in a span.
    pub(crate) fn counted_within(&self, from_ms: u64, until_ms: u64) -> u64 {
        let seconds = from_ms / 1_000..until_ms / 1_000;
        self.counted.range(seconds).map(|(_, rows)| rows).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[(&str, u64, &str)]) -> Books {
        let mut books = Books::default();
        for (process, now_ms, text) in lines {
            match text.split_once(' ') {
                Some(("killed", _)) if process.starts_with("node") => {
                    books.node_ended(process, *now_ms);
                }
                Some(("killed", _)) => {
                    books.coordinator_ended(process, Kind::KillLeader, *now_ms);
                }
                _ => books.read(process, &serde_json::from_str(text).unwrap(), *now_ms),
            }
        }
        books
    }

    const LEADS: &str = r#"{"message":"this coordinator leads"}"#;
    const ANSWERS: &str = r#"{"message":"state is read, calls are answered","epoch":"7"}"#;
    const GRANT: &str = r#"{"target":"audit","outcome":"OK","action":"Grant","what":"j shard 3","detail":"attempt 1 to node-1"}"#;
    const AGAIN: &str = r#"{"target":"audit","outcome":"OK","action":"Grant","what":"j shard 3","detail":"attempt 2 to node-2"}"#;
    const WITHDRAW: &str = r#"{"target":"audit","outcome":"OK","action":"Withdraw","what":"j shard 3","detail":"attempt 1"}"#;
    const REFUSED: &str = r#"{"target":"audit","outcome":"NOT_LEADER","action":"SubmitJob"}"#;

    #[test]
    fn a_fail_over_lasts_from_the_kill_to_the_next_leaders_first_stored_change() {
        let books = told(&[
            ("c1", 10, LEADS),
            ("c1", 20, GRANT),
            ("c1", 100, "killed now"),
            ("c2", 4_000, LEADS),
            ("c2", 4_200, ANSWERS),
            ("c2", 4_500, REFUSED),
            ("c2", 5_100, GRANT),
            ("c2", 6_000, AGAIN),
        ]);
        let times = books.handovers.iter();
        let times: Vec<_> = times.map(|h| (h.answered_ms, h.written_ms)).collect();
        assert_eq!(times, [(Some(4_200), Some(5_100))]);
    }

    #[test]
    fn a_coordinator_that_follows_hands_nothing_over() {
        let books = told(&[("c1", 10, LEADS), ("c2", 100, "killed now")]);
        assert!(books.handovers.is_empty());
    }

    #[test]
    fn what_a_dead_node_held_is_timed_until_it_is_granted_again() {
        let lines = [
            ("c1", 10, LEADS),
            ("c1", 20, GRANT),
            ("node-1", 1_000, "killed now"),
            ("c1", 21_000, WITHDRAW),
            ("c1", 21_500, AGAIN),
        ];
        assert_eq!(told(&lines).re_grants, [20_500]);
        let mut led = lines.to_vec();
        led.insert(3, ("c2", 5_000, LEADS));
        led.insert(4, ("c2", 6_000, REFUSED));
        led.insert(5, ("c2", 7_000, AGAIN));
        led[6].0 = "c2";
        led[7].0 = "c2";
        let books = told(&led);
        assert_eq!(
            (books.re_grants, books.re_grants_of_new),
            (vec![], vec![14_500])
        );
    }

    #[test]
    fn rows_count_in_the_second_in_which_they_were_answered() {
        let counted = r#"{"message":"commit","rows":64,"answer":"Ok(Committed { outcome: Counted, order: Stop })"}"#;
        let late = r#"{"message":"commit","rows":64,"answer":"Ok(Committed { outcome: Superseded, order: Stop })"}"#;
        let books = told(&[("node-1", 1_500, counted), ("node-1", 2_500, late)]);
        assert_eq!(books.counted_within(1_000, 3_000), 64);
        assert_eq!(books.counted_within(2_000, 3_000), 0);
        assert_eq!(books.superseded, 1);
    }
}
