//! The figure of a card, on one axis of time: the mel picture above, the screen's windows below, with the thresholds drawn and the
//! separated segments marked. The scale of the windows is the same on all cards of a report, so that two cards can be compared.

use super::picture;
use super::rules::Rules;
use super::text::{clock, score};
use maud::{Markup, html};
use proto::v1;

/// Columns of the timeline at most; where there are more windows each column is its highest one.
pub(crate) const COLUMNS_MAX: usize = 320;
/// Marks of separated segments at most; further ones are drawn together with these.
pub(crate) const SEGMENTS_MAX: usize = 160;
/// The scale reaches at least so far on both sides of zero: scores beyond it are drawn at its edge.
const SCORE_FULL: f64 = 8.0;
/// Steps between two marks of the axis, in seconds, of which the first is taken that gives at most [`TICKS_MAX`].
const STEPS: [u64; 14] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200,
];
const TICKS_MAX: u64 = 10;

// The drawing, in units of its own.
const LEFT: f64 = 58.0;
const RIGHT: f64 = 826.0;
const WIDTH: f64 = 960.0;
const PICTURE_TOP: f64 = 4.0;
const PICTURE_HEIGHT: f64 = 104.0;
const PLOT_TOP: f64 = 122.0;
const PLOT_HEIGHT: f64 = 128.0;
const PLOT_BOTTOM: f64 = PLOT_TOP + PLOT_HEIGHT;
const MARKS: f64 = PLOT_BOTTOM + 5.0;
const AXIS: f64 = PLOT_BOTTOM + 26.0;
const HEIGHT: f64 = AXIS + 6.0;
/// From one line of text to the next: letters of 11 units with what hangs below them.
const LINE: f64 = 13.0;
/// How far below a threshold's line the name of its tier stands, so that it stands in the line's middle.
const TIER: f64 = 3.0;

/// What is drawn.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    picture: Option<String>,
    columns: Vec<Column>,
    segments: Vec<(u64, u64)>,
    length_ms: u64,
    scale: Scale,
    /// Lowest and highest frequency of the picture.
    hertz: (f64, f64),
    /// The level that is lightest and the one that is darkest.
    pub(crate) decibels: (f64, f64),
    /// Windows of the track.
    pub(crate) windows: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Column {
    from_ms: u64,
    to_ms: u64,
    score: f64,
    silent: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Scale {
    low: f64,
    high: f64,
    likely: Option<(f64, String)>,
    no_evidence: Option<f64>,
}

impl Figure {
    /// The figure of a row; none where the row has neither picture nor windows.
    pub(crate) fn of(row: &v1::Row, rules: &Rules) -> Option<Self> {
        let picture = row.thumbnail.as_ref().and_then(picture::address);
        let window_ms = rules.window_ms();
        let ends = row
            .timeline
            .iter()
            .map(|window| u64::from(window.start_ms) + window_ms);
        let length_ms = row.duration_ms.or(ends.max()).unwrap_or(0).max(1);
        if picture.is_none() && row.timeline.is_empty() {
            return None;
        }
        let (bundle, shown) = (
            &rules.manifest.screen.preprocessing,
            &rules.manifest.picture,
        );
        Some(Self {
            picture,
            columns: columns(&row.timeline, rules, length_ms),
            segments: segments(&row.segments, rules.segment_ms(), length_ms),
            length_ms,
            scale: Scale::of(rules),
            hertz: (bundle.low_hz, bundle.high_hz),
            decibels: (shown.low_db, shown.high_db),
            windows: row.timeline.len(),
        })
    }

    /// Whether it holds a picture.
    pub(crate) fn has_picture(&self) -> bool {
        self.picture.is_some()
    }

    /// Whether segments are marked.
    pub(crate) fn has_segments(&self) -> bool {
        !self.segments.is_empty()
    }

    /// Whether a column stands for more than one window.
    pub(crate) fn is_condensed(&self) -> bool {
        self.windows > self.columns.len()
    }

    fn x(&self, ms: u64) -> f64 {
        let share = ms.min(self.length_ms) as f64 / self.length_ms as f64;
        LEFT + share * (RIGHT - LEFT)
    }

    /// As SVG.
    pub(crate) fn draw(&self) -> Markup {
        let view = format!("0 0 {WIDTH} {HEIGHT}");
        html! {
            svg.figure viewBox=(view) role="img" aria-label="mel picture and timeline of the track" {
                @if let Some(picture) = &self.picture { (self.draw_picture(picture)) }
                (self.draw_windows())
                @for (from, to) in &self.segments {
                    (bar("segment", self.x(*from), MARKS, self.x(*to) - self.x(*from), 4.0))
                }
                (self.draw_time())
            }
        }
    }

    fn draw_picture(&self, address: &str) -> Markup {
        html! {
            image.mel href=(address) x=(place(LEFT)) y=(place(PICTURE_TOP)) width=(place(RIGHT - LEFT))
                height=(place(PICTURE_HEIGHT)) preserveAspectRatio="none" {}
            (bar("frame", LEFT, PICTURE_TOP, RIGHT - LEFT, PICTURE_HEIGHT))
            (label("tick end", LEFT - 6.0, PICTURE_TOP + 10.0, &hertz(self.hertz.1)))
            (label("tick end", LEFT - 6.0, PICTURE_TOP + PICTURE_HEIGHT, &hertz(self.hertz.0)))
        }
    }

    fn draw_windows(&self) -> Markup {
        let scale = &self.scale;
        html! {
            (bar("plot", LEFT, PLOT_TOP, RIGHT - LEFT, PLOT_HEIGHT))
            @for (class, path) in self.paths() { path class=(class) d=(path) {} }
            (rule("zero", scale.y(0.0)))
            @for tick in [scale.low, 0.0, scale.high] {
                (label("tick end", LEFT - 6.0, scale.y(tick) + 4.0, &format!("{tick:+.0}").replace("+0", "0")))
            }
            @if let Some((likely, tier)) = &scale.likely {
                (rule("likely", scale.y(*likely)))
                (label("likely", RIGHT + 6.0, scale.y(*likely) + TIER - LINE, &format!("likely_ai ≥ {}", score(*likely))))
                (label("tick", RIGHT + 6.0, scale.y(*likely) + TIER, tier))
            }
            @if let Some(low) = scale.no_evidence {
                (rule("low", scale.y(low)))
                (label("low", RIGHT + 6.0, scale.y(low) + scale.apart(low), &format!("no_evidence < {}", score(low))))
            }
        }
    }

    /// The columns as one path for each kind of them: a bar is a dozen bytes so.
    fn paths(&self) -> Vec<(&'static str, String)> {
        let mut paths: Vec<(&str, String)> = Vec::new();
        let zero = self.scale.y(0.0);
        for column in &self.columns {
            let kind = self.scale.kind(column);
            let at = paths.iter().position(|(class, _)| *class == kind);
            let at = at.unwrap_or_else(|| {
                paths.push((kind, String::new()));
                paths.len() - 1
            });
            let (from, to) = (self.x(column.from_ms), self.x(column.to_ms));
            // A hair of paper between two bars, where they are wide enough to be told apart.
            let wide = (to - from - 0.6).max(0.6);
            let tall = self.scale.y(column.score) - zero;
            let tall = if tall.abs() < 1.0 { 1.0 } else { tall };
            paths[at].1.push_str(&format!(
                "M{from:.1} {zero:.1}h{wide:.1}v{tall:.1}h-{wide:.1}z"
            ));
        }
        paths
    }

    fn draw_time(&self) -> Markup {
        let seconds = self.length_ms / 1_000;
        let step = STEPS.into_iter().find(|step| seconds / step <= TICKS_MAX);
        let step = step.unwrap_or(STEPS[STEPS.len() - 1]);
        html! {
            @for at in (0..=seconds / step).take(2 * TICKS_MAX as usize).map(|mark| mark * step * 1_000) {
                (label("tick middle", self.x(at), AXIS, &clock(at)))
            }
        }
    }
}

impl Scale {
    fn of(rules: &Rules) -> Self {
        let screen = rules.screen();
        let likely = screen.verdicts.likely_ai();
        let no_evidence = screen.verdicts.no_evidence_below;
        let edges = || likely.map(|tier| tier.score).into_iter().chain(no_evidence);
        let reach = |edge: f64| edge.is_finite().then(|| edge.abs().ceil() + 1.0);
        let high = edges().filter_map(reach).fold(SCORE_FULL, f64::max);
        Self {
            low: -high,
            high,
            likely: likely.map(|tier| (tier.score, tier.name.clone())),
            no_evidence,
        }
    }

    fn y(&self, score: f64) -> f64 {
        let score = if score.is_nan() {
            self.low
        } else {
            score.clamp(self.low, self.high)
        };
        let share = (score - self.low) / (self.high - self.low);
        PLOT_BOTTOM - share * PLOT_HEIGHT
    }

    /// How far below its own line the lower threshold is named, so that it does not run into the upper one's tier.
    fn apart(&self, low: f64) -> f64 {
        let upper = self
            .likely
            .as_ref()
            .map(|(likely, _)| self.y(*likely) + TIER + LINE);
        upper.map_or(4.0, |upper| (upper - self.y(low)).max(4.0))
    }

    fn kind(&self, column: &Column) -> &'static str {
        let likely = self
            .likely
            .as_ref()
            .is_some_and(|(from, _)| column.score >= *from);
        match (column.silent, likely) {
            (true, _) => "window silent",
            (false, true) => "window over",
            (false, false) => "window under",
        }
    }
}

/// Windows as columns; each shows its highest window that is heard, so that a short passage stays visible.
fn columns(windows: &[v1::TimelinePoint], rules: &Rules, length_ms: u64) -> Vec<Column> {
    let floor = rules.manifest.screen.level.silent_below_db;
    // Rows of older parts have no levels: of those nothing is known to be silent.
    let levels = windows.iter().any(|window| window.rms_db.is_some());
    let silent = |window: &v1::TimelinePoint| {
        levels && window.rms_db.is_none_or(|level| f64::from(level) < floor)
    };
    let (count, window_ms) = (windows.len().min(COLUMNS_MAX), rules.window_ms());
    let column = |at: usize| {
        let (from, to) = (at * windows.len() / count, (at + 1) * windows.len() / count);
        let within = &windows[from..to];
        let rank = |window: &&v1::TimelinePoint| (!silent(window), ordered(window.logit));
        let highest = within.iter().max_by_key(rank)?;
        let begin = u64::from(within.first()?.start_ms);
        let next = windows.get(to).map(|window| u64::from(window.start_ms));
        let end = next.unwrap_or(u64::from(within.last()?.start_ms) + window_ms);
        Some(Column {
            from_ms: begin.min(length_ms),
            to_ms: end.clamp(begin, length_ms.max(begin)),
            score: f64::from(highest.logit),
            silent: silent(highest),
        })
    };
    (0..count).filter_map(column).collect()
}

/// A score as a number that is in order with others.
fn ordered(score: f32) -> i64 {
    match score.is_nan() {
        true => i64::MIN,
        false => (f64::from(score) * 1e6) as i64,
    }
}

fn segments(segments: &[v1::ResidualSegment], segment_ms: u64, length_ms: u64) -> Vec<(u64, u64)> {
    let every = segments.len().div_ceil(SEGMENTS_MAX).max(1);
    let mark = |group: &[v1::ResidualSegment]| {
        let from = u64::from(group.first()?.start_ms);
        let to = u64::from(group.last()?.start_ms) + segment_ms;
        Some((
            from.min(length_ms),
            to.min(length_ms).max(from.min(length_ms)),
        ))
    };
    segments.chunks(every).filter_map(mark).collect()
}

fn hertz(hertz: f64) -> String {
    match hertz {
        high if high >= 1_000.0 => format!("{:.1} kHz", high / 1_000.0),
        low => format!("{low:.0} Hz"),
    }
}

/// A coordinate of the drawing.
pub(crate) fn place(at: f64) -> String {
    format!("{at:.1}")
}

/// A filled or framed box.
pub(crate) fn bar(class: &str, x: f64, y: f64, wide: f64, tall: f64) -> Markup {
    html! { rect class=(class) x=(place(x)) y=(place(y)) width=(place(wide.max(0.0))) height=(place(tall)) {} }
}

/// A line from left to right of the plot.
fn rule(class: &str, y: f64) -> Markup {
    html! { line class=(class) x1=(place(LEFT)) x2=(place(RIGHT)) y1=(place(y)) y2=(place(y)) {} }
}

/// A short text of ours.
pub(crate) fn label(class: &str, x: f64, y: f64, text: &str) -> Markup {
    html! { text class=(class) x=(place(x)) y=(place(y)) { (text) } }
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::{manifest, of, policy};
    use super::*;

    fn windows(scores: &[(f32, Option<f32>)]) -> Vec<v1::TimelinePoint> {
        let window = |(at, (logit, rms_db)): (u32, &(f32, Option<f32>))| v1::TimelinePoint {
            start_ms: at * 512,
            logit: *logit,
            rms_db: *rms_db,
        };
        (0..).zip(scores).map(window).collect()
    }

    fn figure(timeline: Vec<v1::TimelinePoint>) -> Figure {
        let row = v1::Row {
            timeline,
            ..v1::Row::default()
        };
        Figure::of(&row, &of(&manifest(), policy())).unwrap()
    }

    #[test]
    fn windows_over_the_threshold_silent_ones_and_others_are_told_apart() {
        let scores = [
            (3.0, Some(-20.0)),
            (1.0, Some(-20.0)),
            (9.0, Some(-90.0)),
            (9.0, None),
        ];
        let kinds: Vec<_> = figure(windows(&scores))
            .paths()
            .into_iter()
            .map(|(kind, path)| (kind, path.matches('M').count()))
            .collect();
        assert_eq!(
            kinds,
            [
                ("window over", 1),
                ("window under", 1),
                ("window silent", 2)
            ]
        );
        let unknown = figure(windows(&[(3.0, None), (1.0, None)]));
        assert!(
            unknown
                .paths()
                .iter()
                .all(|(kind, _)| *kind != "window silent")
        );
    }

    #[test]
    fn of_many_windows_the_highest_that_is_heard_is_seen() {
        let mut scores = vec![(-1.0, Some(-20.0)); 10 * COLUMNS_MAX];
        scores[1_234] = (5.0, Some(-20.0));
        scores[2_000] = (99.0, Some(-120.0));
        let figure = figure(windows(&scores));
        assert_eq!(figure.columns.len(), COLUMNS_MAX);
        assert!(figure.is_condensed());
        let high: Vec<f64> = figure
            .columns
            .iter()
            .map(|column| column.score)
            .filter(|score| *score > 0.0)
            .collect();
        assert_eq!(high, [5.0]);
    }

    #[test]
    fn a_row_without_picture_and_windows_has_no_figure_and_none_breaks_the_drawing() {
        let rules = of(&manifest(), policy());
        assert!(Figure::of(&v1::Row::default(), &rules).is_none());
        for scores in [
            &[(f32::NAN, None)][..],
            &[(f32::INFINITY, Some(f32::NAN))],
            &[(-1e30, Some(0.0)); 3],
        ] {
            let drawn = figure(windows(scores)).draw().into_string();
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        }
    }

    #[test]
    fn the_names_of_two_thresholds_stand_a_line_apart_however_near_they_are() {
        for low in [2.0, 1.9, 0.5, -7.0] {
            let scale = Scale {
                low: -SCORE_FULL,
                high: SCORE_FULL,
                likely: Some((2.0, "fpr_1e-2".to_owned())),
                no_evidence: Some(low),
            };
            let (tier, below) = (scale.y(2.0) + TIER, scale.y(low) + scale.apart(low));
            assert!(below >= tier + LINE - 1e-9, "{low}: {tier}, {below}");
        }
    }

    #[test]
    fn separated_segments_are_marked_and_many_of_them_together() {
        let starts = |count: u32| -> Vec<v1::ResidualSegment> {
            (0..count)
                .map(|at| v1::ResidualSegment {
                    start_ms: at * 100,
                    features: Vec::new(),
                })
                .collect()
        };
        assert_eq!(segments(&starts(2), 100, 150), [(0, 100), (100, 150)]);
        assert!(segments(&starts(4_096), 100, 409_600).len() <= SEGMENTS_MAX);
    }
}
