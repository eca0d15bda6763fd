//! Tracks of which an operator knows the truth: read from a CSV, joined with the rows of a finished job, judged by a bundle's
//! rules, and made into a new version of it. All but the reading of the file, and a look at a folder's names, is pure. Used by `evaluate` and `calibrate`.

mod card;
mod join;
mod judge;
mod labels;
mod lines;
mod page;
mod remake;
mod slices;

pub(crate) use card::card;
pub(crate) use join::{Joined, Joiner, score};
pub(crate) use judge::{Judge, tables};
pub(crate) use labels::{Labels, read};
pub(crate) use page::{Page, page};
pub(crate) use remake::{Asked, Remade, enough, enough_of, remake, split};
pub(crate) use slices::{by_slice, say_of_slices, scored};

/// Names of tracks that a refusal shows: enough to see what they have in common.
pub(crate) const NAMED_MAX: usize = 10;

/// Names as a refusal shows them: the first ones, and how many more there are.
pub(crate) fn named<T: AsRef<str>>(names: &[T]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(NAMED_MAX)
        .map(|name| format!("`{}`", name.as_ref().escape_debug()))
        .collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    match more {
        0 => shown.join(", "),
        _ => format!("{} and {more} more", shown.join(", ")),
    }
}
