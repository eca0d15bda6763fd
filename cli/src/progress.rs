//! Progress on stderr, of a job or an import: a bar on a terminal, a plain line every half minute otherwise. Talks only;
//! what counts is printed by the command.

use crate::args::Global;
use crate::output::say;
use crate::view::{JobView, span};
use indicatif::{ProgressBar, ProgressStyle};
use proto::v1;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time between two plain lines: often enough to see life in a log, seldom enough not to fill it.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);

/// Progress of one job or import.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    plain: bool,
    last_line: Option<Instant>,
    started: Option<(Instant, u64)>,
}

impl Progress {
    /// Begins; shows nothing yet.
    pub(crate) fn new(global: &Global) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = (terminal && !global.quiet).then(ProgressBar::no_length);
        Self {
            bar,
            plain: !terminal && !global.quiet,
            last_line: None,
            started: None,
        }
    }

    /// Shows where the job stands.
    pub(crate) fn show(&mut self, job: &JobView) {
        let (since, before) = *self
            .started
            .get_or_insert_with(|| (Instant::now(), job.tracks_done));
        let rate = rate(before, job.tracks_done, since.elapsed());
        if let Some(bar) = &self.bar {
            style(bar, "{bar:32} {pos}/{len} tracks  {msg}");
            bar.set_length(job.tracks);
            bar.set_position(job.tracks_done);
            bar.set_message(rest(job, rate));
        }
        self.line(|| {
            let (done, all) = (job.tracks_done, job.tracks);
            let rest = rest(job, rate);
            format!("job {} {}: {done}/{all} tracks, {rest}", job.job, job.state)
        });
    }

    /// Shows how far an import is; how much is still to come, nobody knows.
    pub(crate) fn show_import(&mut self, seen: &v1::ImportProgress) {
        let text = format!(
            "{} seen, {} accepted, {} rejected",
            seen.seen, seen.accepted, seen.rejected
        );
        if let Some(bar) = &self.bar {
            style(bar, "{spinner} {msg}");
            bar.set_message(text.clone());
            bar.tick();
        }
        self.line(|| text);
    }

    /// Shows how much of a report is made.
    pub(crate) fn show_report(&mut self, what: &str, done: u64, all: u64) {
        if let Some(bar) = &self.bar {
            style(bar, "{bar:32} {pos}/{len} {msg}");
            bar.set_length(all);
            bar.set_position(done);
            bar.set_message(what.to_owned());
        }
        self.line(|| format!("report: {done} of {all} {what}"));
    }

    /// A plain line, where it is time for one.
    fn line(&mut self, text: impl FnOnce() -> String) {
        let due = self
            .last_line
            .is_none_or(|at| at.elapsed() >= PLAIN_INTERVAL);
        if self.plain && due {
            self.last_line = Some(Instant::now());
            say(text());
        }
    }

    /// Says a line that is no progress, beside the bar where there is one.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(line)),
            None => say(line),
        }
    }

    /// Clears the bar.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

/// Tracks per second since this command began to look: what was done before says nothing of the speed now.
fn rate(before: u64, done: u64, looked: Duration) -> f64 {
    done.saturating_sub(before) as f64 / looked.as_secs_f64().max(1e-3)
}

/// The time that what is left takes at this rate.
fn eta(left: u64, rate: f64) -> String {
    match left {
        0 => span(0),
        _ if rate > 0.0 => span((left as f64 / rate) as u64),
        _ => "-".to_owned(),
    }
}

fn rest(job: &JobView, rate: f64) -> String {
    let eta = eta(job.tracks.saturating_sub(job.tracks_done), rate);
    let v = &job.verdicts;
    format!(
        "{rate:.2}/s  ETA {eta}  {} likely_ai, {} unscannable",
        v.likely_ai, v.unscannable
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_of_what_was_done_while_one_looked() {
        let looked = Duration::from_secs(10);
        assert_eq!(rate(100, 150, looked), 5.0);
        assert_eq!(rate(100, 100, looked), 0.0);
        assert_eq!(rate(100, 90, looked), 0.0, "a revocation takes tracks back");
        assert!(rate(0, 5, Duration::ZERO).is_finite());
    }

    #[test]
    fn the_end_is_where_the_rest_takes_it_and_unknown_while_nothing_moves() {
        assert_eq!(eta(50, 5.0), "10s");
        assert_eq!(eta(36_000, 5.0), "2h");
        assert_eq!(eta(50, 0.0), "-");
        assert_eq!(eta(0, 0.0), "0s");
    }

    #[test]
    fn a_line_says_rate_end_and_verdicts() {
        let mut job = JobView::from(v1::Job {
            spec: Some(v1::JobSpec {
                job: "j".to_owned(),
                rows: 200,
                ..v1::JobSpec::default()
            }),
            tracks_done: 150,
            ..v1::Job::default()
        });
        job.verdicts.likely_ai = 3;
        assert_eq!(
            rest(&job, 5.0),
            "5.00/s  ETA 10s  3 likely_ai, 0 unscannable"
        );
    }
}
