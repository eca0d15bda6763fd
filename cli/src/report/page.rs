//! The page around tables and cards, in the pieces in which it is written: head, summary, the table's begin, its lines, the cards'
//! begin, the end. Only constants of this program and what maud has escaped can be put into a [`Page`], and the policy in its head
//! lets a browser run and style by nothing but the two files beside this one, and fetch nothing at all.

use super::line::Line;
use super::rules::Rules;
use super::sections;
use super::summary::Summary;
use super::tally::TABLE_LINES_MAX;
use super::text::{Shown, clock, count, probability, score as number};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, PreEscaped, html};
use types::Digest;

const STYLE: &str = include_str!("style.css");
const SORT: &str = include_str!("sort.js");

/// Bytes gathered before they are written.
const PIECE_BYTES: usize = 64 * 1024;

/// A page in the making.
#[derive(Debug, Default)]
pub(crate) struct Page(String);

impl Page {
    /// A constant piece: tags that open in one piece and close in another.
    fn frame(&mut self, constant: &'static str) {
        self.0.push_str(constant);
    }

    fn add(&mut self, markup: &Markup) {
        self.0.push_str(&markup.0);
        self.0.push('\n');
    }

    /// What there is to write, where it is worth it.
    pub(crate) fn ready(&mut self) -> Option<Vec<u8>> {
        (self.0.len() >= PIECE_BYTES).then(|| self.rest())
    }

    /// All that there is to write.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).into_bytes()
    }

    /// From the first byte to the begin of the table's lines.
    pub(crate) fn begin(&mut self, summary: &Summary, lines: usize, cards: usize) {
        self.frame("<!DOCTYPE html>\n<html lang=\"en\">\n");
        self.add(&head(summary));
        self.frame("<body>\n<main>\n");
        self.add(&sections::all(summary));
        self.add(&list_head(summary, lines, cards));
        self.frame("<table id=\"tracks\" class=\"tracks\">\n");
        self.add(&columns());
        self.frame("<tbody>\n");
    }

    /// A line of the table; `place` is by its evidence, from 1.
    pub(crate) fn line(&mut self, place: usize, line: &Line, has_card: bool, rules: &Rules) {
        self.add(&table_line(place, line, has_card, rules));
    }

    /// From the table's last line to the first card.
    pub(crate) fn cards(&mut self, summary: &Summary, lines: usize, cards: usize) {
        self.frame("</tbody>\n</table>\n");
        self.add(&rest_of_table(summary, lines));
        self.frame("</section>\n<section id=\"cards\">\n");
        self.add(&html! { h2 { "Tracks with the most evidence" } (cards_head(summary, cards)) });
    }

    /// A card.
    pub(crate) fn card(&mut self, card: &super::card::Card) {
        self.add(&card.draw());
    }

    /// From the last card to the last byte.
    pub(crate) fn end(&mut self, summary: &Summary, cards: usize) {
        self.frame("</section>\n");
        self.add(&sections::the_rest(summary, cards));
        self.frame("</main>\n<script>");
        self.frame(SORT);
        self.frame("</script>\n</body>\n</html>\n");
    }
}

/// What a browser may do with the page, by the digests of the two things that it may use.
fn policy() -> String {
    let digest = |text: &str| STANDARD.encode(Digest::of(text.as_bytes()).0);
    format!(
        "default-src 'none'; img-src data:; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        digest(STYLE),
        digest(SORT)
    )
}

fn head(summary: &Summary) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content=(policy());
            meta name="referrer" content="no-referrer";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="generator" content={ "scanctl " (env!("CARGO_PKG_VERSION")) };
            title { "Scan report " (summary.job) }
            style { (PreEscaped(STYLE)) }
        }
    }
}

fn list_head(summary: &Summary, lines: usize, cards: usize) -> Markup {
    let all = count(summary.tracks);
    html! {
        section {
            h2 { "Tracks" }
            p {
                @if (lines as u64) < summary.tracks {
                    "The " (count(lines as u64)) " of " (all) " tracks with the most evidence; a table here holds no more than "
                    (count(TABLE_LINES_MAX as u64)) ". "
                } @else {
                    "All " (all) " tracks, the most evidence first. "
                }
                "Evidence is the calibrated log odds of the score that the verdict rests on, less those of its prior: it puts scores of "
                "different rules in one order, and decides nothing. "
                @if cards > 0 { "Tracks with a link have a card below." }
            }
        }
    }
}

const COLUMNS: [(&str, &str, &str); 9] = [
    ("place", "number", "#"),
    ("track", "text", "track"),
    ("object", "text", "object"),
    ("verdict", "text", "verdict"),
    ("score", "number", "score"),
    ("probability", "number", "probability, at its prior"),
    ("length", "number", "length"),
    ("codec", "text", "codec"),
    ("notes", "text", "notes"),
];

fn columns() -> Markup {
    html! {
        thead { tr {
            @for (name, kind, title) in COLUMNS { th scope="col" data-name=(name) data-kind=(kind) { (title) } }
        } }
    }
}

fn table_line(place: usize, line: &Line, has_card: bool, rules: &Rules) -> Markup {
    let track = Shown::line(&line.track);
    let score = line.score;
    let rule = score.map(|score| rules.judge(score.fused).name);
    html! {
        tr {
            td.number data-v=(place) { (place) }
            td { @if has_card { a href={ "#t" (line.ordinal) } { bdi { (track) } } } @else { bdi { (track) } } }
            td.object { bdi { (Shown::line(&line.key)) } }
            td { span class={ "verdict " (line.verdict.as_str()) } { (line.verdict.as_str()) } @if !line.why.is_empty() { " " small { (Shown::word(&line.why)) } } }
            td.number data-v=[score.map(|score| score.score)] { @if let Some(score) = score { (number(score.score)) } @else { "–" } }
            td.number data-v=[score.map(|score| score.probability)] {
                @if let Some(score) = score { (probability(score.probability)) " " small { "at " (score.prior) } } @else { "–" }
            }
            td.number data-v=[line.duration_ms] { @if let Some(ms) = line.duration_ms { (clock(ms)) } @else { "–" } }
            td { (Shown::word(&line.codec)) }
            td { (notes(line, rule)) }
        }
    }
}

fn notes(line: &Line, rule: Option<&'static str>) -> String {
    let borderline = line.borderline.then_some("borderline");
    let engines = match rule {
        None | Some("screen") => "separated",
        Some(_) => "both engines",
    };
    let separated = line.separated.then_some(engines);
    let notes: Vec<&str> = [borderline, separated].into_iter().flatten().collect();
    notes.join(", ")
}

fn rest_of_table(summary: &Summary, lines: usize) -> Markup {
    let left_out = summary.tracks.saturating_sub(lines as u64);
    html! {
        @if left_out > 0 {
            p { (count(left_out)) " more tracks are not in this table. All rows: " code { "scanctl result export " (summary.job) " --format csv --to rows.csv" } }
        }
    }
}

fn cards_head(summary: &Summary, cards: usize) -> Markup {
    html! {
        p {
            (count(cards as u64)) " of " (count(summary.tracks)) " tracks. What a card shows was measured by the bundle named above; a score is evidence of traces that "
            "some generators leave, never proof, and a codec can hide them."
        }
    }
}

#[cfg(test)]
mod tests;
