//! Draws a track's timeline in a terminal line: one block per column, as high as the odds are. Used by the tables of
//! results; knows nothing of verdicts.

use crate::output::Paint;
use crate::view::WindowView;

/// What the picture means, for the line below a table.
pub(crate) const LEGEND: &str = "timeline: log-odds of each window from -6 (low) to +6 (high)";

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Log-odds drawn as the full height: beyond it nothing more can be seen.
const LOGIT_FULL: f32 = 6.0;

/// The timeline in at most `columns` characters; each shows its highest window, so that a short passage stays visible.
pub(crate) fn draw(windows: &[WindowView], columns: usize, paint: Paint) -> String {
    let columns = columns.min(windows.len());
    let highest = |column: usize| {
        let (from, to) = (
            column * windows.len() / columns,
            (column + 1) * windows.len() / columns,
        );
        windows[from..to]
            .iter()
            .map(|w| w.logit)
            .fold(f32::NEG_INFINITY, f32::max)
    };
    (0..columns)
        .map(|column| block(highest(column), paint))
        .collect()
}

fn block(logit: f32, paint: Paint) -> String {
    let share = ((logit + LOGIT_FULL) / (2.0 * LOGIT_FULL)).clamp(0.0, 1.0);
    let level = (share * (BLOCKS.len() - 1) as f32).round() as usize;
    let sgr = if logit > 0.0 { "31" } else { "36" };
    paint.colour(sgr, &BLOCKS[level.min(BLOCKS.len() - 1)].to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    fn check(logits: &[f32], columns: usize, expected: &str) {
        let windows: Vec<_> = logits
            .iter()
            .map(|logit| WindowView {
                start_ms: 0,
                logit: *logit,
                rms_db: None,
            })
            .collect();
        assert_eq!(draw(&windows, columns, Paint::plain()), expected);
    }

    #[test]
    fn a_short_peak_stays_visible_and_nothing_draws_nothing() {
        check(&[], 10, "");
        check(&[-9.0, 9.0], 10, "▁█");
        check(&[-6.0, -6.0, 6.0, -6.0], 2, "▁█");
        check(&[f32::NAN], 5, "▁");
    }
}
