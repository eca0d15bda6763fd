//! The page as a whole: that no text of a track, tag or key becomes markup, that it asks for nothing, and how long it can get.

use super::super::card::Card;
use super::super::card::tests::row;
use super::super::line::Line;
use super::super::line::tests::line;
use super::super::rules::tests::{calibrated, of, policy};
use super::super::tally::Tally;
use super::*;
use proptest::prelude::*;
use proto::v1;
use std::sync::OnceLock;

/// A report over one track of each kind, all of whose texts are `text`.
fn report(text: &str) -> String {
    let rules = of(&calibrated(), policy());
    let (mut page, summary) = (Page::default(), summary(text, &rules, 2));
    page.begin(&summary, 2, 1);
    page.line(1, &named(text, Some(1.0)), true, &rules);
    page.line(2, &named(text, None), false, &rules);
    page.cards(&summary, 2, 1);
    page.card(&Card::of(1, &row(text), &rules));
    page.end(&summary, 1);
    String::from_utf8(page.rest()).unwrap()
}

fn named(text: &str, score: Option<f64>) -> Line {
    Line {
        track: text.to_owned(),
        key: text.to_owned(),
        why: text.to_owned(),
        codec: text.to_owned(),
        verdict: types::Verdict::Unscannable,
        ..line(7, score)
    }
}

fn summary(text: &str, rules: &Rules, stages: usize) -> Summary {
    let mut tally = Tally::default();
    tally.add(named(text, Some(1.0)), rules);
    let open = types::Verdict::Inconclusive;
    tally.add(
        Line {
            verdict: open,
            ..named(text, None)
        },
        rules,
    );
    let owned = || text.to_owned();
    let spec = v1::JobSpec {
        tenant: owned(),
        actor: owned(),
        job: owned(),
        catalog: owned(),
        list: owned(),
        ..v1::JobSpec::default()
    };
    let stage = v1::StageSummary {
        node: owned(),
        r#use: Some(v1::StageUse {
            device: owned(),
            ..v1::StageUse::default()
        }),
        ..v1::StageSummary::default()
    };
    let measured = v1::SummarizeResponse {
        job: Some(v1::Job {
            spec: Some(spec),
            manifest: Some(v1::Manifest {
                sha256: owned(),
                ..v1::Manifest::default()
            }),
            ..v1::Job::default()
        }),
        stages: vec![stage; stages],
        binding: v1::Stage::Screen.into(),
        binding_reason: owned(),
        wall_seconds: 1.0,
    };
    let bundle = v1::GetBundleResponse {
        bundle: Some(v1::Bundle {
            signed_by: owned(),
            ..v1::Bundle::default()
        }),
        card: owned(),
        manifest: String::new(),
    };
    Summary::of(&tally, measured, &bundle, rules)
}

/// A report over plain names.
fn plain() -> &'static str {
    static PLAIN: OnceLock<String> = OnceLock::new();
    PLAIN.get_or_init(|| report("x"))
}

/// What makes markup, counted.
fn marks(page: &str) -> [usize; 4] {
    ['<', '>', '"', '\''].map(|mark| page.matches(mark).count())
}

const HOSTILE: [&str; 9] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</title></style></script><svg onload=alert(1)>",
    "]]><!--",
    "--></p><iframe src=https://example.org>",
    "&lt;b&gt;&#60;b&#62;",
    "javascript:alert(1)",
    "\u{202e}<\u{0}\u{feff}\u{2028}>",
];

#[test]
fn no_text_becomes_markup() {
    let [open, close, double, _] = marks(plain());
    for text in HOSTILE {
        let page = report(text);
        let found = marks(&page);
        assert_eq!(
            [found[0], found[1], found[2]],
            [open, close, double],
            "{text}"
        );
        for word in ["<img", "<iframe", "<svg onload", "<!--", "<b>"] {
            assert_eq!(
                page.matches(word).count(),
                plain().matches(word).count(),
                "{text}: {word}"
            );
        }
        assert!(!page.contains(['\u{202e}', '\u{0}', '\u{feff}', '\u{2028}']));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_mark_of_any_text_survives(text in "[<>\"'&=/ a-z\\x00-\\x1f\u{202a}-\u{202e}é♫-]{1,60}") {
        let (plain, found) = (marks(plain()), marks(&report(&text)));
        // Attributes stand in double quotes alone, so that a single one is a letter like any other.
        prop_assert_eq!(&found[..3], &plain[..3]);
    }
}

#[test]
fn the_page_asks_for_nothing_and_runs_and_styles_by_its_own_two_texts_alone() {
    let page = report("x");
    for address in page
        .split("href=\"")
        .skip(1)
        .chain(page.split("src=\"").skip(1))
    {
        assert!(
            address.starts_with("#t") || address.starts_with("data:image/png;base64,"),
            "{}",
            &address[..40]
        );
    }
    for word in [
        "http:", "https:", "url(", "@import", "style=", "onclick", "<link",
    ] {
        assert!(!page.contains(word), "{word}");
    }
    let between = |open: &str, close: &str| {
        let (_, rest) = page.split_once(open).unwrap();
        rest.split_once(close).unwrap().0.to_owned()
    };
    assert_eq!(
        (
            page.matches("<style>").count(),
            page.matches("<script>").count()
        ),
        (1, 1)
    );
    for (open, close, name) in [
        ("<style>", "</style>", "style-src"),
        ("<script>", "</script>", "script-src"),
    ] {
        let digest = Digest::of(between(open, close).as_bytes());
        let allowed = format!("{name} 'sha256-{}'", STANDARD.encode(digest.0));
        assert!(super::policy().contains(&allowed), "{name}");
    }
    assert!(page.contains(&super::policy()));
}

/// The strip of colours in a caption is that of the pictures.
#[test]
fn the_scale_that_is_shown_is_the_one_that_is_drawn_by() {
    let (_, strip) = STYLE.split_once("linear-gradient(to right, ").unwrap();
    let (strip, _) = strip.split_once(')').unwrap();
    let colour = |[red, green, blue]: [u8; 3]| format!("#{red:02x}{green:02x}{blue:02x}");
    assert_eq!(strip, super::super::picture::SCALE.map(colour).join(", "));
}

/// The numbers of the module's first screen.
#[test]
fn a_report_is_bounded_whatever_its_tracks_are_called() {
    let rules = of(&calibrated(), policy());
    let worst = "\u{e0001}".repeat(50_000);
    let summary = &summary(&worst, &rules, 300);
    let mut page = Page::default();
    page.begin(summary, 1, 1);
    page.cards(summary, 1, 1);
    page.end(summary, 1);
    let frame = page.rest().len();
    assert!(frame <= 1 << 20, "{frame}");
    page.line(5_000, &named(&worst, Some(1.0)), true, &rules);
    let line = page.rest().len();
    assert!(line <= 6 << 10, "{line}");
    let mut row = row(&worst);
    row.timeline = (0..40_000)
        .map(|at| v1::TimelinePoint {
            start_ms: at * 360,
            logit: at as f32,
            rms_db: None,
        })
        .collect();
    row.segments = vec![v1::ResidualSegment::default(); 4_096];
    row.warnings = vec![worst.clone(); 100];
    row.provenance = vec![
        v1::Tag {
            name: worst.clone(),
            value: worst.clone()
        };
        100
    ];
    row.thumbnail = Some(v1::Thumbnail {
        bands: 64,
        columns: 64,
        levels: vec![9; 4_096],
    });
    page.card(&Card::of(2_000, &row, &rules));
    let card = page.rest().len();
    assert!(card <= 128 << 10, "{card}");
}

#[test]
fn the_command_for_the_rest_says_how_many_cards_there_can_be_and_is_left_out_where_there_are_no_more()
 {
    let rules = of(&calibrated(), policy());
    let command = |tracks: u64, cards: usize| {
        let summary = Summary {
            tracks,
            ..summary("x", &rules, 0)
        };
        let page = sections::the_rest(&summary, cards).into_string();
        let (_, rest) = page.split_once("report.html --cards ")?;
        rest.lines().next().map(str::to_owned)
    };
    assert_eq!(command(30, 2).as_deref(), Some("30"));
    assert_eq!(command(9_000, 500).as_deref(), Some("2000"));
    assert_eq!(command(30, 30), None);
    assert_eq!(command(9_000, 2_000), None);
}

#[test]
fn the_same_result_gives_the_same_bytes() {
    assert_eq!(report("x"), report("x"));
}
