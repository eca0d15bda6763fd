//! Texts and numbers as a report shows them. Every text of a track, tag or key may come from somebody who wants to mislead: it
//! is cut to a bound, what would hide or turn other characters is written as an escape, and maud escapes markup as it writes.

use maud::Render;

/// Characters of a key or id in a line of the table: two lines of it. The card has it whole.
pub(crate) const LINE_CHARS_MAX: usize = 160;
/// Characters of a text on a card: as long as the longest object key.
pub(crate) const CARD_CHARS_MAX: usize = 1_024;
/// Characters of what is a word by rule: a code, a codec, a digest.
pub(crate) const WORD_CHARS_MAX: usize = 80;
/// Characters of a model card: twenty pages.
pub(crate) const PAGE_CHARS_MAX: usize = 49_152;

/// A text from outside, fit to be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shown(String);

impl Shown {
    /// At most `chars` characters of the text; what is left out is counted behind it.
    pub(crate) fn new(text: &str, chars: usize) -> Self {
        Self::with(text, chars, misleads)
    }

    fn with(text: &str, chars: usize, misleads: fn(char) -> bool) -> Self {
        let mut shown = String::new();
        let mut rest = text.chars();
        for letter in rest.by_ref().take(chars) {
            match misleads(letter) {
                true => shown.extend(letter.escape_unicode()),
                false => shown.push(letter),
            }
        }
        let left_out = rest.count();
        if left_out > 0 {
            shown.push_str(&format!(" … ({left_out} more characters)"));
        }
        Self(shown)
    }

    /// As in a line of the table.
    pub(crate) fn line(text: &str) -> Self {
        Self::new(text, LINE_CHARS_MAX)
    }

    /// As what is a word by rule.
    pub(crate) fn word(text: &str) -> Self {
        Self::new(text, WORD_CHARS_MAX)
    }

    /// As text of many lines, which keeps them.
    pub(crate) fn page(text: &str) -> Self {
        Self::with(text, PAGE_CHARS_MAX, |letter| {
            letter != '\n' && misleads(letter)
        })
    }

    /// As on a card.
    pub(crate) fn card(text: &str) -> Self {
        Self::new(text, CARD_CHARS_MAX)
    }

    /// Whether there is nothing to show.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Render for Shown {
    fn render_to(&self, buffer: &mut String) {
        self.0.as_str().render_to(buffer);
    }
}

/// Controls, and characters without width that change how their neighbours are read: turned directions, marks, tags. The
/// joiners of scripts that need them (U+200C, U+200D) are let through.
fn misleads(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// A count with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A share in per cent, with a digit more where it is small.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        p if p != 0.0 && p.abs() < 0.1 => format!("{p:.3} %"),
        p if p.abs() < 10.0 => format!("{p:.2} %"),
        p => format!("{p:.1} %"),
    }
}

/// A part of a whole in per cent; of nothing, nothing.
pub(crate) fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => "–".to_owned(),
        _ => percent(part as f64 / whole as f64),
    }
}

/// A probability: never 0 and never 1, which no evidence gives.
pub(crate) fn probability(value: f64) -> String {
    match value {
        p if p > 0.999 => "> 0.999".to_owned(),
        p if p < 0.001 => "< 0.001".to_owned(),
        p => format!("{p:.3}"),
    }
}

/// A score or a distance between scores.
pub(crate) fn score(value: f64) -> String {
    // A minus before zero says nothing.
    let shown = format!("{value:.3}");
    match shown.as_str() {
        "-0.000" => "0.000".to_owned(),
        _ => shown,
    }
}

/// A place in a track: `3:07`, or `1:02:03`.
pub(crate) fn clock(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_turn_or_hide_a_text_is_seen_and_markup_stays_text() {
        for (text, shown) in [
            ("Ünder — ♫.flac", "Ünder — ♫.flac"),
            ("a\u{202e}3pm.exe", "a\\u{202e}3pm.exe"),
            ("a\nb\u{1b}[2J\u{0}", "a\\u{a}b\\u{1b}[2J\\u{0}"),
            ("می\u{200c}خواهم", "می\u{200c}خواهم"),
            ("<script>&\"'", "&lt;script&gt;&amp;&quot;'"),
            ("&lt;", "&amp;lt;"),
        ] {
            assert_eq!(Shown::card(text).render().into_string(), shown);
        }
    }

    #[test]
    fn a_long_text_is_cut_and_says_by_how_much() {
        let shown = Shown::new(&"é".repeat(12), 10);
        assert_eq!(shown.0, format!("{} … (2 more characters)", "é".repeat(10)));
        assert_eq!(Shown::new("whole", 5).0, "whole");
        assert!(Shown::new("", 5).is_empty());
        assert_eq!(Shown::page("# A\nb\tc").0, "# A\nb\\u{9}c");
    }

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0.0, 0.0005, 0.018_36, 0.5, 1.0].map(percent),
            ["0.00 %", "0.050 %", "1.84 %", "50.0 %", "100.0 %"]
        );
        assert_eq!(share(1, 0), "–");
        assert_eq!(
            [0.0, 0.5, 0.9999, 1.0].map(probability),
            ["< 0.001", "0.500", "> 0.999", "> 0.999"]
        );
        assert_eq!([-0.0001, 2.7099].map(score), ["0.000", "2.710"]);
        assert_eq!(
            [0, 187_900, 3_723_000].map(clock),
            ["0:00", "3:07", "1:02:03"]
        );
    }
}
