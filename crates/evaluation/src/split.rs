//! Which tracks belong together, and which side they stand on. What was fitted on a track must not be judged on it, nor on
//! the same recording under another name, nor on its artist's other ones.

use crate::dice::hash;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What is known of a track that others may share. Texts are as they are compared: [`Identity::new`] makes them so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Main artist.
    pub artist: Option<String>,
    /// Label; tracks without an artist are kept together by it.
    pub label: Option<String>,
    /// Digest of the content.
    pub content: Option<String>,
    /// International Standard Recording Code.
    pub isrc: Option<String>,
}

impl Identity {
    /// Texts without what is written in many ways: outer and repeated blanks and case of artist and label, dashes and case of the
    /// ISRC. An empty text is none.
    #[must_use]
    pub fn new(artist: &str, label: &str, content: &str, isrc: &str) -> Self {
        let name = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
            some(words.join(" "))
        };
        let code = |text: &str| {
            let letters = text.chars().filter(char::is_ascii_alphanumeric);
            some(letters.map(|c| c.to_ascii_uppercase()).collect())
        };
        Self {
            artist: name(artist),
            label: name(label),
            content: some(content.trim().to_ascii_lowercase()),
            isrc: code(isrc),
        }
    }

    /// What keeps the track with others, by kind and text.
    fn ties(&self) -> impl Iterator<Item = (Shared, &str)> {
        // The label stands in where the artist is not known.
        let label = self.label.as_deref().filter(|_| self.artist.is_none());
        [
            (Shared::Artist, self.artist.as_deref()),
            (Shared::Label, label),
            (Shared::Content, self.content.as_deref()),
            (Shared::Isrc, self.isrc.as_deref()),
        ]
        .into_iter()
        .filter_map(|(kind, text)| text.map(|text| (kind, text)))
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// What two tracks have in common.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Shared {
    /// The bytes.
    Content,
    /// The recording.
    Isrc,
    /// The artist.
    Artist,
    /// The label, where no artist is known.
    Label,
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Content => "content",
            Self::Isrc => "ISRC",
            Self::Artist => "artist",
            Self::Label => "label",
        })
    }
}

/// The cluster of each track: tracks that share artist (else label), content or ISRC have the same, by way of others too. A
/// cluster is named by its first track.
#[must_use]
pub fn clusters(tracks: &[Identity]) -> Vec<u32> {
    let mut parent: Vec<usize> = (0..tracks.len()).collect();
    let mut first: BTreeMap<(Shared, &str), usize> = BTreeMap::new();
    for (at, track) in tracks.iter().enumerate() {
        for tie in track.ties() {
            let other = *first.entry(tie).or_insert(at);
            let (a, b) = (root(&mut parent, at), root(&mut parent, other));
            parent[a.max(b)] = a.min(b);
        }
    }
    let name = |at| u32::try_from(root(&mut parent, at)).unwrap_or(u32::MAX);
    (0..tracks.len()).map(name).collect()
}

/// The first track of a cluster; paths are halved on the way, so that long chains cost little.
fn root(parent: &mut [usize], mut at: usize) -> usize {
    while parent[at] != at {
        parent[at] = parent[parent[at]];
        at = parent[at];
    }
    at
}

/// A side of the split.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Calibration and thresholds are fitted on it.
    Calibrate,
    /// Rates are counted on it; it sets nothing.
    Test,
}

/// Puts each cluster whole on one side, so that each side has about half of each class. By the seed alone, for the same tracks in
/// the same order.
#[must_use]
pub fn sides(clusters: &[u32], ai: &[bool], seed: u64) -> Vec<Side> {
    let part = parts(clusters, ai, seed, 2);
    part.into_iter()
        .map(|part| match part {
            0 => Side::Calibrate,
            _ => Side::Test,
        })
        .collect()
}

/// Puts each cluster whole into one of `count` parts of about the same size in each class: in an order drawn by the seed, each
/// to the part that has the fewest tracks of its own classes so far, each class by how many the cluster has of it.
pub(crate) fn parts(clusters: &[u32], ai: &[bool], seed: u64, count: usize) -> Vec<usize> {
    let mut sizes: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for (cluster, ai) in clusters.iter().zip(ai) {
        let size = sizes.entry(*cluster).or_default();
        if *ai { size.1 += 1 } else { size.0 += 1 }
    }
    let mut order: Vec<(u64, u32)> = sizes
        .keys()
        .map(|&cluster| (hash(seed, &cluster.to_string()), cluster))
        .collect();
    order.sort_unstable();
    let (mut filled, mut part_of) = (vec![(0, 0); count], BTreeMap::new());
    for (_, cluster) in order {
        let (humans, positives) = sizes[&cluster];
        let part = (0..count)
            .min_by_key(|&part| {
                let (h, p): (usize, usize) = filled[part];
                (h * humans + p * positives, part)
            })
            .unwrap_or(0);
        filled[part].0 += humans;
        filled[part].1 += positives;
        part_of.insert(cluster, part);
    }
    clusters.iter().map(|cluster| part_of[cluster]).collect()
}

/// Something that stands on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// What is shared.
    pub shared: Shared,
    /// The text that both have.
    pub text: String,
    /// The first track on the side that is fitted on.
    pub calibrate: usize,
    /// The first track on the other side.
    pub test: usize,
}

/// What stands on both sides: the same content, ISRC or artist, in this order and by text. A label may stand on both, unless it is
/// all that is known.
#[must_use]
pub fn leaks(tracks: &[Identity], sides: &[Side]) -> Vec<Leak> {
    let mut seen: BTreeMap<(Shared, &str), [Option<usize>; 2]> = BTreeMap::new();
    for (at, (track, side)) in tracks.iter().zip(sides).enumerate() {
        for tie in track.ties() {
            let places = seen.entry(tie).or_default();
            let place = match side {
                Side::Calibrate => &mut places[0],
                Side::Test => &mut places[1],
            };
            place.get_or_insert(at);
        }
    }
    let both = seen.into_iter().filter_map(|((shared, text), places)| {
        let (calibrate, test) = places[0].zip(places[1])?;
        Some(Leak {
            shared,
            text: text.to_owned(),
            calibrate,
            test,
        })
    });
    both.collect()
}

/// Tracks of the same content: those to keep, one for each content and side, and pairs of which one is said to be human and the
/// other is not. Tracks whose content is not known are all kept; where sides are not given yet, all stand on none.
#[must_use]
pub fn distinct(
    tracks: &[Identity],
    ai: &[bool],
    sides: &[Option<Side>],
) -> (Vec<usize>, Vec<[usize; 2]>) {
    let (mut first, mut seen) = (BTreeMap::new(), BTreeSet::new());
    let (mut kept, mut contradict) = (Vec::new(), Vec::new());
    for (at, track) in tracks.iter().enumerate() {
        let Some(content) = track.content.as_deref() else {
            kept.push(at);
            continue;
        };
        let earlier = *first.entry(content).or_insert(at);
        if ai[earlier] != ai[at] {
            contradict.push([earlier, at]);
        }
        if seen.insert((content, sides[at])) {
            kept.push(at);
        }
    }
    (kept, contradict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn track(artist: &str, label: &str, content: &str, isrc: &str) -> Identity {
        Identity::new(artist, label, content, isrc)
    }

    #[test]
    fn tracks_that_share_anything_stay_together_by_way_of_others_too() {
        let tracks = [
            track("A", "x", "1", ""),
            track("B", "x", "2", "QZ-ABC-12-00001"),
            track("b ", "y", "3", ""),
            track("C", "y", "4", "qzabc1200001"),
            track("", "x", "5", ""),
            track("", "X", "6", ""),
            track("", "", "1", ""),
            track("", "", "", ""),
        ];
        assert_eq!(clusters(&tracks), [0, 1, 1, 1, 4, 4, 0, 7]);
    }

    #[test]
    fn the_same_content_isrc_or_artist_on_both_sides_is_found_and_a_label_of_two_artists_is_not() {
        let tracks = [
            track("A", "x", "1", "i"),
            track("B", "x", "1", ""),
            track("C", "x", "2", "I"),
            track("a", "x", "3", ""),
            track("", "x", "4", ""),
        ];
        use Side::{Calibrate, Test};
        let sides = [Calibrate, Test, Test, Test, Test];
        let found = leaks(&tracks, &sides);
        let said: Vec<_> = found
            .iter()
            .map(|leak| (leak.shared, leak.text.as_str(), leak.calibrate, leak.test))
            .collect();
        assert_eq!(
            said,
            [
                (Shared::Content, "1", 0, 1),
                (Shared::Isrc, "I", 0, 2),
                (Shared::Artist, "a", 0, 3),
            ]
        );
    }

    #[test]
    fn a_content_counts_once_and_one_of_two_labels_is_said() {
        let tracks = [
            track("", "", "1", ""),
            track("", "", "1", ""),
            track("", "", "", ""),
            track("", "", "", ""),
            track("", "", "1", ""),
        ];
        let ai = [false, false, true, false, true];
        let (kept, contradict) = distinct(&tracks, &ai, &[None; 5]);
        assert_eq!((kept, contradict), (vec![0, 2, 3], vec![[0, 4]]));
        let [c, t] = [Side::Calibrate, Side::Test].map(Some);
        let (kept, _) = distinct(&tracks, &[false; 5], &[c, t, t, t, c]);
        assert_eq!(
            kept,
            [0, 1, 2, 3],
            "a copy on the other side stays, for the split to judge"
        );
    }

    #[test]
    fn tracks_of_their_own_are_halved_in_each_class() {
        let ai: Vec<bool> = (0..101).map(|at| at % 4 == 0).collect();
        let sides = sides(&(0..101).collect::<Vec<u32>>(), &ai, 9);
        let count = |class: bool, side| {
            let pairs = ai.iter().zip(&sides);
            pairs.filter(|found| *found == (&class, &side)).count()
        };
        let counted =
            [false, true].map(|class| [Side::Calibrate, Side::Test].map(|side| count(class, side)));
        assert_eq!(counted, [[38, 37], [13, 13]]);
    }

    proptest! {
        #[test]
        fn a_split_of_ours_never_leaks_follows_the_seed_and_halves_each_class(
            told in prop::collection::vec((0u32..60, 0u32..9, any::<bool>(), 0u32..4), 2..150),
            seed in any::<u64>(),
        ) {
            let text = |n: u32, most: u32| if n < most { n.to_string() } else { String::new() };
            let tracks: Vec<Identity> = told
                .iter()
                .enumerate()
                .map(|(at, (artist, label, _, isrc))| track(&text(*artist, 50), &text(*label, 7), &at.to_string(), &text(*isrc, 1)))
                .collect();
            let ai: Vec<bool> = told.iter().map(|(_, _, ai, _)| *ai).collect();
            let clusters = clusters(&tracks);
            let split = sides(&clusters, &ai, seed);
            prop_assert_eq!(leaks(&tracks, &split), vec![]);
            prop_assert_eq!(&split, &sides(&clusters, &ai, seed));
            // Each cluster turns the difference of the sides back, or adds no more than itself across it.
            let mut sizes = BTreeMap::<u32, usize>::new();
            clusters.iter().for_each(|cluster| *sizes.entry(*cluster).or_default() += 1);
            let squares: usize = sizes.values().map(|size| size * size).sum();
            let all = |side| split.iter().filter(|found| **found == side).count();
            let apart = all(Side::Calibrate).abs_diff(all(Side::Test)) as f64;
            prop_assert!(apart <= (2.0 * squares as f64).sqrt() + 1e-9, "{} of {:?}", apart, sizes);
        }
    }
}
