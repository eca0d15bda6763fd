//! A set of tracks as text, for footers and manifests that people read: `5..18,20..21`, each range without its end.

/// For `#[serde(with)]`.
pub(crate) mod tracks {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};
    use types::{Range, TrackSet};

    pub(crate) fn serialize<S: Serializer>(tracks: &TrackSet, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&write(tracks))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<TrackSet, D::Error> {
        read(&String::deserialize(from)?).map_err(D::Error::custom)
    }

    pub(crate) fn write(tracks: &TrackSet) -> String {
        let ranges = tracks
            .ranges()
            .iter()
            .map(|range| format!("{}..{}", range.first, range.end));
        ranges.collect::<Vec<_>>().join(",")
    }

    pub(crate) fn read(text: &str) -> Result<TrackSet, String> {
        let range = |text: &str| {
            let (first, end) = text.split_once("..")?;
            Range::new(first.parse().ok()?, end.parse().ok()?).ok()
        };
        let ranges = text
            .split(',')
            .filter(|part| !part.is_empty())
            .map(range)
            .collect::<Option<_>>();
        let ranges = ranges.ok_or_else(|| format!("`{text}` is no set of tracks"))?;
        let tracks = TrackSet::from_ranges(ranges).map_err(|error| error.to_string())?;
        match write(&tracks) == text {
            true => Ok(tracks),
            false => Err(format!("`{text}` is a set of tracks oddly spelt")),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_set_of_tracks_reads_back_from_its_one_spelling_only() {
            for tracks in [vec![], vec![0], vec![5, 6, 7, 9], vec![u32::MAX - 1]] {
                let tracks: TrackSet = tracks.into_iter().collect();
                assert_eq!(read(&write(&tracks)), Ok(tracks));
            }
            for bad in [
                "5",
                "5..5",
                "7..5",
                "05..6",
                "1..2,2..3",
                "3..4,1..2",
                "1..2,",
                " 1..2",
                "a..b",
            ] {
                assert!(read(bad).is_err(), "{bad}");
            }
        }
    }
}
