//! A result as one HTML file that needs nothing else: what `result report` writes. The view is made of plain data from rows of the
//! wire and the bundle's manifest; the HTML of that view by maud, which escapes every text. Called by `commands::report`, which
//! brings the rows and takes the bytes; calls nobody, reads no clock and no file, so that the same result gives the same bytes.
//!
//! The file is bounded whatever tracks are called: 1 MiB around the tracks, 6 KiB for each of at most 5,000 lines of the table,
//! 128 KiB for each card. All lists that enter it have a named bound, and `page/tests.rs` holds these numbers with the worst texts.

mod bands;
mod card;
mod figure;
mod line;
mod outlook;
mod page;
mod picture;
mod rules;
mod sections;
mod summary;
mod tally;
mod text;

pub(crate) use card::Card;
pub(crate) use line::Lines;
pub(crate) use page::Page;
pub(crate) use rules::Rules;
#[cfg(test)]
pub(crate) use rules::tests::calibrated;
pub(crate) use summary::Summary;
pub(crate) use tally::Tally;

/// Cards of a report at most: beyond it a browser is slow and nobody reads on. At 500, the default, a report is about 15 MB.
pub(crate) const CARDS_MAX: u16 = 2_000;
