//! The card of a track that both engines looked at, as its reader sees it: the committed catalogue under the committed bundle, a report of it, a browser.
//! `docs/reference/report-card.png` is the picture that is taken here, where REPORT_CARD names a file below the root of the tree.

use crate::world::{demonstration_by_both, run, text};
use std::fs;
use std::path::{Path, PathBuf};
use tests::browser;

/// Pixels from a card's head to below what would change its verdict, at the width of the browser's window.
const CARD_HEIGHT: u32 = 1_200;

/// A report over the committed catalogue as both engines see it, with a card of each track.
fn report(folder: &Path) -> PathBuf {
    let file = folder.join("report.html");
    let job = demonstration_by_both();
    let (code, _, said) = run(&["result", "report", job, "--out", text(&file)]);
    assert_eq!(code, Some(0), "{said}");
    file
}

/// The first card on which the verdict rests on both engines.
fn of_both(page: &str) -> &str {
    let cards = page.split("<article ").skip(1);
    let mut cards = cards.filter_map(|rest| rest.split_once("</article>"));
    let (card, _) = cards
        .find(|(card, _)| card.contains("<th scope=\"row\">both</th>"))
        .expect("the bundle's gate sends a track of the committed catalogue on");
    card
}

/// The page with nothing but this card on it.
fn alone(page: &str, card: &str) -> String {
    let (head, _) = page.split_once("<body>").expect("a page has a body");
    format!("{head}<body>\n<article {card}</article>\n</body>\n</html>\n")
}

#[test]
fn a_track_that_both_engines_looked_at_has_a_card_with_all_that_its_verdict_rests_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = report(folder.path());
    let page = fs::read_to_string(&file).unwrap();
    let card = of_both(&page);
    for shown in [
        "<th scope=\"row\">screen</th>",
        "<th scope=\"row\">residual</th>",
        "the verdict rests on it",
        "<image class=\"mel\"",
        "Black: the segments that were separated.",
        "residual by band against known-human tracks",
        "<rect class=\"humans\"",
        "What would change the verdict",
        "SHA-256",
    ] {
        assert!(card.contains(shown), "{shown} in {card}");
    }
    let opened = browser::open(&file, "");
    assert_eq!(opened.console, Vec::<String>::new());
    assert_eq!(opened.asked, Vec::<String>::new());
    assert!(opened.dom.contains("<circle class=\"track"), "it is drawn");

    let one = folder.path().join("card.html");
    fs::write(&one, alone(&page, card)).unwrap();
    let picture = picture(folder.path());
    browser::picture(&one, "", CARD_HEIGHT, &picture);
    let png = fs::read(&picture).unwrap();
    assert!(
        png.starts_with(b"\x89PNG") && png.len() > 20_000,
        "{} bytes",
        png.len()
    );
}

/// Where the picture goes: to the test's own folder, unless somebody wants it.
fn picture(folder: &Path) -> PathBuf {
    match std::env::var_os("REPORT_CARD") {
        Some(wanted) => tests::tree().join(wanted),
        None => folder.join("card.png"),
    }
}
