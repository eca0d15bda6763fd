//! The rule by which a page is cut to its bytes, for backends that read more entries than fit. Called where a page is made.

use crate::{Entry, PAGE_BYTES_MAX, Page, Revision};

/// The page of these entries within [`PAGE_BYTES_MAX`], though never fewer than one entry. `next` is the last key where more follow.
pub(crate) fn shortened(revision: Revision, entries: Vec<Entry>, next: Option<String>) -> Page {
    let mut bytes = 0;
    let fits = |entry: &Entry| {
        let first = bytes == 0;
        bytes += entry.key.len() + entry.value.len();
        first || bytes <= PAGE_BYTES_MAX
    };
    let read = entries.len();
    let entries: Vec<Entry> = entries.into_iter().take_while(fits).collect();
    let cut = entries.len() < read;
    let next = match cut {
        true => entries.last().map(|entry| entry.key.clone()),
        false => next,
    };
    Page {
        revision,
        entries,
        next,
    }
}
