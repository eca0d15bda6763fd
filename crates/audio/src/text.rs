//! Text of strangers, made safe to store: what a file's tags say and what a decoder reports. Called where tags are read and again where a
//! decoder's messages arrive, which may come from one that was taken over.

use types::Provenance;

/// Most tags kept of one file: the tools seen in practice write one to four.
pub(crate) const KEPT_MAX: usize = 24;
/// Longest tag name kept, characters.
pub(crate) const NAME_CHARS_MAX: usize = 64;
/// Longest text kept, characters: a sentence with an address fits.
pub(crate) const TEXT_CHARS_MAX: usize = 256;

/// One line of at most `limit` characters without control characters, or those that reorder or hide text.
pub(crate) fn clean(text: &str, limit: usize) -> String {
    let visible = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !is_hidden(*c));
    visible.take(limit).collect::<String>().trim().to_owned()
}

/// Claims as they may be stored, from whom they may come.
pub(crate) fn cleaned(claims: &[Provenance]) -> Vec<Provenance> {
    let clean = |claim: &Provenance| Provenance {
        tag: clean(&claim.tag, NAME_CHARS_MAX),
        value: clean(&claim.value, TEXT_CHARS_MAX),
    };
    claims.iter().take(KEPT_MAX).map(clean).collect()
}

fn is_hidden(c: char) -> bool {
    let reorders = matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}');
    c.is_control() || reorders || matches!(c, '\u{feff}' | '\u{fff0}'..='\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_text_is_one_bounded_line_without_hidden_characters() {
        assert_eq!(
            clean("a\u{0}\u{1b}[31m\nb\u{202e}c\u{feff}", 10),
            "a[31m bc"
        );
        assert_eq!(clean(&"x".repeat(1000), 256).len(), 256);
        let claim = Provenance {
            tag: "t".repeat(1_000),
            value: "y".repeat(100_000),
        };
        let kept = cleaned(&vec![claim; 1_000]);
        assert_eq!(kept.len(), KEPT_MAX);
        assert_eq!(kept[0].tag.len(), NAME_CHARS_MAX);
        assert_eq!(kept[0].value.len(), TEXT_CHARS_MAX);
    }
}
