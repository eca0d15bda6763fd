//! Which tracks share a codec, a label or a genre, and how many such slices a table shows. Called by what goes by slice: the report's
//! tables and the thresholds of slices. It looks at no score.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Most slices of one kind: a page of a table. The largest are shown.
pub const SLICES_MAX: usize = 40;

/// What a track is sliced by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Codec and bitrate.
    pub bucket: &'a str,
    /// Its label where known.
    pub label: Option<&'a str>,
    /// Its genre where known.
    pub genre: Option<&'a str>,
}

/// What the tracks of a slice have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Codec,
    Label,
    Genre,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Codec, Self::Label, Self::Genre];

    /// As tables name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Codec => "codec",
            Self::Label => "label",
            Self::Genre => "genre",
        }
    }
}

impl<'a> Place<'a> {
    fn value(&self, kind: Kind) -> Option<&'a str> {
        match kind {
            Kind::Codec => Some(self.bucket),
            Kind::Label => self.label,
            Kind::Genre => self.genre,
        }
    }
}

/// A slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group<'a> {
    pub(crate) kind: Kind,
    /// The value that its tracks share.
    pub(crate) name: &'a str,
    /// Places of its tracks among all.
    pub(crate) tracks: Vec<usize>,
}

/// Every slice, by kind; in each kind the largest first, equal ones by name.
pub(crate) fn groups<'a>(places: &[Place<'a>]) -> Vec<Group<'a>> {
    Kind::ALL
        .into_iter()
        .flat_map(|kind| groups_of(kind, places))
        .collect()
}

fn groups_of<'a>(kind: Kind, places: &[Place<'a>]) -> Vec<Group<'a>> {
    let mut by: BTreeMap<&'a str, Vec<usize>> = BTreeMap::new();
    for (at, place) in places.iter().enumerate() {
        if let Some(name) = place.value(kind) {
            by.entry(name).or_default().push(at);
        }
    }
    let group = |(name, tracks)| Group { kind, name, tracks };
    let mut groups: Vec<Group<'a>> = by.into_iter().map(group).collect();
    // The sort is stable: equal ones stay in the order of their names.
    groups.sort_by_key(|group| Reverse(group.tracks.len()));
    groups
}

/// The first [`SLICES_MAX`] slices of each kind, and how many there are beyond.
pub(crate) fn page(mut groups: Vec<Group<'_>>) -> (Vec<Group<'_>>, u64) {
    let all = groups.len();
    let mut seen: BTreeMap<Kind, usize> = BTreeMap::new();
    groups.retain(|group| {
        let count = seen.entry(group.kind).or_default();
        *count += 1;
        *count <= SLICES_MAX
    });
    let left_out = all - groups.len();
    (groups, left_out as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_go_by_kind_and_size_and_a_page_of_each_kind_is_kept() {
        let labels: Vec<String> = (0..SLICES_MAX + 3).map(|at| format!("l{at:03}")).collect();
        let place = |at: usize| Place {
            bucket: ["flac", "mp3 128"][usize::from(at.is_multiple_of(3))],
            label: labels.get(at).map(String::as_str),
            genre: (at > 90).then_some("folk"),
        };
        let places: Vec<Place<'_>> = (0..99).map(place).collect();
        let (shown, left_out) = page(groups(&places));
        let said: Vec<(&str, &str, usize)> = shown
            .iter()
            .map(|group| (group.kind.name(), group.name, group.tracks.len()))
            .collect();
        assert_eq!(said[..2], [("codec", "flac", 66), ("codec", "mp3 128", 33)]);
        assert_eq!(said[2], ("label", "l000", 1), "equal ones go by name");
        assert_eq!(said.last(), Some(&("genre", "folk", 8)));
        assert_eq!((said.len(), left_out), (2 + SLICES_MAX + 1, 3));
    }
}
