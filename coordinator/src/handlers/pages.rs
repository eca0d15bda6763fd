//! Pages of lists: how many entries one holds, and the texts by which a caller asks for the next.

use types::{Code, Problem};

/// Entries of a page where the caller does not say.
const PAGE_DEFAULT: usize = 100;

/// Entries of a page at most: a job in a listing has about 1 KiB.
const PAGE_MAX: usize = 500;

/// The size of a page: what was asked for, within bounds.
pub(crate) fn size(asked: u32) -> usize {
    match usize::try_from(asked).unwrap_or(PAGE_MAX) {
        0 => PAGE_DEFAULT,
        asked => asked.min(PAGE_MAX),
    }
}

/// A page's text that is a number.
pub(crate) fn number<T: std::str::FromStr>(page: &str) -> Result<Option<T>, Problem> {
    if page.is_empty() {
        return Ok(None);
    }
    page.parse().map(Some).map_err(|_| bad(page))
}

/// The text was not given out by this service.
pub(crate) fn bad(page: &str) -> Problem {
    let shown: String = page.chars().take(80).collect();
    Problem::new(
        Code::InvalidRequest,
        format!("field `page` is `{shown}`, which no answer gave as `next_page`"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_as_large_as_asked_within_bounds() {
        for (asked, expected) in [
            (0, PAGE_DEFAULT),
            (1, 1),
            (500, 500),
            (501, PAGE_MAX),
            (u32::MAX, PAGE_MAX),
        ] {
            assert_eq!(size(asked), expected);
        }
    }

    #[test]
    fn a_page_that_was_not_given_out_is_refused() {
        assert_eq!(number::<u32>(""), Ok(None));
        assert_eq!(number::<u32>("7"), Ok(Some(7)));
        assert_eq!(number::<u32>("x").unwrap_err().code, Code::InvalidRequest);
    }
}
