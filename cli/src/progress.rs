//! Progress on stderr, of a job or an import: a bar on a terminal, a plain line every half minute otherwise. Talks only;
//! what counts is printed by the command.

use crate::args::Global;
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
        let rate = (job.tracks_done - before.min(job.tracks_done)) as f64
            / since.elapsed().as_secs_f64().max(1e-3);
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

    /// A plain line, where it is time for one.
    fn line(&mut self, text: impl FnOnce() -> String) {
        let due = self
            .last_line
            .is_none_or(|at| at.elapsed() >= PLAIN_INTERVAL);
        if self.plain && due {
            self.last_line = Some(Instant::now());
            eprintln!("{}", text());
        }
    }

    /// Says a line that is no progress, beside the bar where there is one.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
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

fn rest(job: &JobView, rate: f64) -> String {
    let left = job.tracks.saturating_sub(job.tracks_done);
    let eta = if rate > 0.0 {
        format!("ETA {}", span((left as f64 / rate) as u64))
    } else {
        "ETA -".to_owned()
    };
    let v = &job.verdicts;
    format!(
        "{rate:.2}/s  {eta}  {} likely_ai, {} unscannable",
        v.likely_ai, v.unscannable
    )
}
