//! Labels and the rows of a finished job, brought together: each label finds its row, each row that can be judged is kept
//! with what judging takes, and what cannot is counted by its reason. What the labels leave open of artist, label, genre and ISRC
//! is as the catalogue has it.

use super::labels::{By, Label, Labels};
use super::named;
use crate::failure::{Failure, problem};
use bundle::features::RESIDUAL_V1;
use evaluation::bucket::bucket;
use evaluation::split::{Identity, Side, clusters, distinct};
use proto::v1;
use std::collections::BTreeMap;
use types::{Code, InconclusiveReason};

/// Bytes that are kept of an artist, label or genre of the catalogue: no name comes near, and a field of a catalogue may have sixty
/// times as many.
const NAME_BYTES_MAX: usize = 1_024;

/// A track of which the truth is known and that was screened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    pub(crate) track_id: String,
    /// Whether a machine made it.
    pub(crate) ai: bool,
    pub(crate) identity: Identity,
    /// The side that the file puts it on.
    pub(crate) side: Option<Side>,
    pub(crate) label: Option<String>,
    pub(crate) genre: Option<String>,
    /// Codec and bitrate.
    pub(crate) bucket: String,
    /// The screen's score.
    pub(crate) screen: f64,
    /// The residual's feature vector; empty where the track was not separated.
    pub(crate) features: Vec<f32>,
}

/// Labelled tracks with what came of the others.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    /// By track id, so that a split depends on neither the order of the job nor that of the file; each content once.
    pub(crate) tracks: Vec<Known>,
    /// The cluster of each: what shares artist, label, content or ISRC.
    pub(crate) clusters: Vec<u32>,
    /// Labels in the file.
    pub(crate) labelled: u64,
    /// Labelled tracks that cannot be judged, by reason.
    pub(crate) left_out: BTreeMap<String, u64>,
    /// Labelled tracks whose content an earlier one has.
    pub(crate) copies: u64,
}

impl Joined {
    /// Whether each track is a positive.
    pub(crate) fn ai(&self) -> Vec<bool> {
        self.tracks.iter().map(|track| track.ai).collect()
    }

    /// How many tracks were separated.
    pub(crate) fn separated(&self) -> usize {
        let separated = self
            .tracks
            .iter()
            .filter(|track| !track.features.is_empty());
        separated.count()
    }

    /// The tracks on a side only.
    pub(crate) fn only(&self, sides: &[Side], side: Side) -> Self {
        let own = |at: &usize| sides[*at] == side;
        let kept: Vec<usize> = (0..self.tracks.len()).filter(own).collect();
        Self {
            tracks: kept.iter().map(|&at| self.tracks[at].clone()).collect(),
            clusters: kept.iter().map(|&at| self.clusters[at]).collect(),
            labelled: self.labelled,
            left_out: self.left_out.clone(),
            copies: self.copies,
        }
    }
}

/// Takes rows one by one.
pub(crate) struct Joiner {
    labels: Labels,
    /// The bundle that every row must be of.
    bundle: String,
    /// The track that a name was found on.
    met: BTreeMap<String, String>,
    tracks: Vec<Known>,
    left_out: BTreeMap<String, u64>,
}

impl Joiner {
    pub(crate) fn new(labels: Labels, bundle: String) -> Self {
        Self {
            labels,
            bundle,
            met: BTreeMap::new(),
            tracks: Vec::new(),
            left_out: BTreeMap::new(),
        }
    }

    /// Takes a row; one without a label is none of ours.
    pub(crate) fn take(&mut self, row: &v1::Row) -> Result<(), Failure> {
        let name = match self.labels.by {
            By::TrackId => &row.track_id,
            By::Key => &row.key,
        };
        let Some(label) = self.labels.rows.get(name) else {
            return Ok(());
        };
        if let Some(other) = self.met.insert(name.clone(), row.track_id.clone()) {
            let said = format!(
                "line {} of the labels: the key `{}` is that of tracks `{other}` and `{}`: name them by track_id",
                label.line, row.key, row.track_id
            );
            return Err(problem(Code::FieldInvalid, said));
        }
        if row.bundle != self.bundle {
            let said = format!(
                "track `{}` was scanned with bundle {}, the job names {}",
                row.track_id, row.bundle, self.bundle
            );
            return Err(problem(Code::BundleOther, said));
        }
        match score(row) {
            Err(reason) => *self.left_out.entry(reason).or_default() += 1,
            Ok(screen) => self.tracks.push(known(label, row, screen)?),
        }
        Ok(())
    }

    /// All rows were taken.
    pub(crate) fn finish(self) -> Result<Joined, Failure> {
        let rows = self.labels.rows.keys();
        let unmatched: Vec<&String> = rows.filter(|name| !self.met.contains_key(*name)).collect();
        if !unmatched.is_empty() {
            let said = format!(
                "{} of {} labelled tracks are not in the job: {}",
                unmatched.len(),
                self.labels.rows.len(),
                named(&unmatched)
            );
            return Err(problem(Code::LabelsUnmatched, said));
        }
        let mut tracks = self.tracks;
        tracks.sort_by(|a, b| a.track_id.cmp(&b.track_id));
        let identities: Vec<Identity> = tracks.iter().map(|t| t.identity.clone()).collect();
        let ai: Vec<bool> = tracks.iter().map(|track| track.ai).collect();
        let sides: Vec<Option<Side>> = tracks.iter().map(|track| track.side).collect();
        let (kept, contradict) = distinct(&identities, &ai, &sides);
        if let Some([a, b]) = contradict.first() {
            let said = format!(
                "tracks `{}` and `{}` have the same content, and one of them is labelled human and the other ai ({} such pairs)",
                tracks[*a].track_id,
                tracks[*b].track_id,
                contradict.len()
            );
            return Err(problem(Code::LabelsContradict, said));
        }
        let before = tracks.len();
        let tracks: Vec<Known> = kept.iter().map(|&at| tracks[at].clone()).collect();
        let identities: Vec<Identity> = tracks.iter().map(|t| t.identity.clone()).collect();
        Ok(Joined {
            clusters: clusters(&identities),
            copies: (before - tracks.len()) as u64,
            labelled: self.labels.rows.len() as u64,
            left_out: self.left_out,
            tracks,
        })
    }
}

/// The screen's score of a row on which a verdict can rest, or why none can.
pub(crate) fn score(row: &v1::Row) -> Result<f64, String> {
    let withheld = [InconclusiveReason::TooShort, InconclusiveReason::Silent];
    let is_withheld = withheld.iter().any(|reason| reason.as_str() == row.reason);
    let unscannable = row.verdict() == v1::Verdict::Unscannable;
    match row.screen {
        Some(score) if !is_withheld && !unscannable => Ok(f64::from(score.logit)),
        Some(_) | None if row.reason.is_empty() => Err("no score".to_owned()),
        Some(_) | None => Err(row.reason.clone()),
    }
}

fn known(label: &Label, row: &v1::Row, screen: f64) -> Result<Known, Failure> {
    let finite = screen.is_finite() && row.residual_features.iter().all(|value| value.is_finite());
    if !finite {
        let said = format!("track `{}` has a score that is not finite", row.track_id);
        return Err(problem(Code::ScoreNotFinite, said));
    }
    let features = &row.residual_features;
    if !features.is_empty() && features.len() != RESIDUAL_V1.len() {
        let said = format!(
            "track `{}` has {} residual features, this version knows {}",
            row.track_id,
            features.len(),
            RESIDUAL_V1.len()
        );
        return Err(problem(Code::VersionMismatch, said));
    }
    let none = v1::Credits::default();
    let catalog = row.credits.as_ref().unwrap_or(&none);
    let (artist, isrc) = (
        told(&label.artist, &catalog.artist),
        told(&label.isrc, &row.isrc),
    );
    let (name, genre) = (
        told(&label.label, &catalog.label),
        told(&label.genre, &catalog.genre),
    );
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Ok(Known {
        track_id: row.track_id.clone(),
        ai: label.ai,
        identity: Identity::new(artist, name, &row.content_sha256, isrc),
        side: label.side,
        label: some(name),
        genre: some(genre),
        bucket: bucket(&row.codec, row.bytes, row.duration_ms),
        screen,
        features: features.clone(),
    })
}

/// What the labels say, or else the catalogue.
fn told<'a>(label: &'a str, catalog: &'a str) -> &'a str {
    match label {
        "" => &catalog[..catalog.floor_char_boundary(NAME_BYTES_MAX)],
        label => label,
    }
}

#[cfg(test)]
mod tests {
    use super::super::split;
    use super::*;

    fn label(line: u64, ai: bool, side: Option<Side>) -> Label {
        Label {
            line,
            ai,
            artist: String::new(),
            label: String::new(),
            genre: String::new(),
            isrc: String::new(),
            side,
        }
    }

    fn row(name: &str, content: &str) -> v1::Row {
        v1::Row {
            track_id: name.to_owned(),
            key: format!("{name}.wav"),
            verdict: v1::Verdict::NoEvidence.into(),
            screen: Some(v1::Score {
                logit: 0.5,
                probability: 0.5,
                prior: 0.5,
                windows: 3,
            }),
            content_sha256: content.to_owned(),
            codec: "flac".to_owned(),
            bundle: "b".to_owned(),
            ..v1::Row::default()
        }
    }

    fn join(labels: &[(&str, Label)], rows: &[v1::Row]) -> Result<Joined, Failure> {
        let labels = Labels {
            by: By::TrackId,
            rows: labels
                .iter()
                .map(|(name, label)| ((*name).to_owned(), label.clone()))
                .collect(),
        };
        let mut joiner = Joiner::new(labels, "b".to_owned());
        rows.iter().try_for_each(|row| joiner.take(row))?;
        joiner.finish()
    }

    fn code(found: Result<Joined, Failure>) -> String {
        match found {
            Err(Failure::Problem { code, cause, .. }) => {
                assert!(cause.contains('`'), "it names a track: {cause}");
                code
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_cannot_be_judged_is_counted_by_its_reason_and_a_copy_counts_once() {
        let mut silent = row("c", "3");
        silent.verdict = v1::Verdict::Inconclusive.into();
        silent.reason = "SILENT".to_owned();
        let mut withheld = row("d", "4");
        withheld.verdict = v1::Verdict::Inconclusive.into();
        withheld.reason = "DEMONSTRATION_BUNDLE".to_owned();
        let mut broken = row("e", "5");
        broken.verdict = v1::Verdict::Unscannable.into();
        broken.reason = "DAMAGED".to_owned();
        broken.screen = None;
        let names = ["a", "b", "c", "d", "e"];
        let labels = names.map(|name| (name, label(2, false, None)));
        let rows = [
            row("z", "9"),
            row("b", "1"),
            row("a", "1"),
            silent,
            withheld,
            broken,
        ];
        let joined = join(&labels, &rows).unwrap();
        let kept: Vec<&str> = joined.tracks.iter().map(|t| t.track_id.as_str()).collect();
        assert_eq!(
            (kept, joined.copies, joined.labelled),
            (vec!["a", "d"], 1, 5)
        );
        assert_eq!(joined.left_out["SILENT"], 1);
        assert_eq!(joined.left_out["DAMAGED"], 1);
    }

    #[test]
    fn labels_that_do_not_fit_the_job_are_refused_and_named() {
        let human = || label(2, false, None);
        assert_eq!(
            code(join(&[("a", human()), ("x", human())], &[row("a", "1")])),
            "LABELS_UNMATCHED"
        );
        let two = [("a", human()), ("b", label(3, true, None))];
        assert_eq!(
            code(join(&two, &[row("a", "1"), row("b", "1")])),
            "LABELS_CONTRADICT"
        );
        let mut other = row("a", "1");
        other.bundle = "c".to_owned();
        assert_eq!(code(join(&[("a", human())], &[other])), "BUNDLE_OTHER");
        let mut infinite = row("a", "1");
        infinite.screen = infinite.screen.map(|score| v1::Score {
            logit: f32::NAN,
            ..score
        });
        assert_eq!(
            code(join(&[("a", human())], &[infinite])),
            "SCORE_NOT_FINITE"
        );
        let mut short = row("a", "1");
        short.residual_features = vec![0.0; 3];
        assert_eq!(code(join(&[("a", human())], &[short])), "VERSION_MISMATCH");
    }

    #[test]
    fn a_key_of_two_tracks_is_refused() {
        let labels = Labels {
            by: By::Key,
            rows: [("k".to_owned(), label(2, true, None))].into(),
        };
        let mut joiner = Joiner::new(labels, "b".to_owned());
        let keyed = |name: &str| v1::Row {
            key: "k".to_owned(),
            ..row(name, name)
        };
        joiner.take(&keyed("a")).unwrap();
        let refused = joiner.take(&keyed("b")).unwrap_err();
        assert!(refused.to_string().contains("FIELD_INVALID"), "{refused}");
    }

    /// A row of which the catalogue knows something.
    fn credited(name: &str, artist: &str, genre: &str) -> v1::Row {
        v1::Row {
            isrc: format!("isrc {name}"),
            credits: Some(v1::Credits {
                artist: artist.to_owned(),
                label: "Blue".to_owned(),
                genre: genre.to_owned(),
            }),
            ..row(name, name)
        }
    }

    #[test]
    fn what_the_labels_leave_open_is_as_the_catalogue_has_it_and_what_they_say_stands() {
        let own = Label {
            artist: "Own".to_owned(),
            genre: "dance".to_owned(),
            ..label(3, true, None)
        };
        let labels = [("a", label(2, false, None)), ("b", own)];
        let long = "ü".repeat(NAME_BYTES_MAX);
        let rows = [credited("a", "Ann", &long), credited("b", "Ben", "folk")];
        let joined = join(&labels, &rows).unwrap();
        let [a, b] = &joined.tracks[..] else {
            panic!("{joined:?}");
        };
        let artist = |track: &Known| track.identity.artist.clone();
        assert_eq!(artist(a).as_deref(), Some("ann"));
        assert_eq!(a.identity.isrc.as_deref(), Some("ISRCA"));
        assert_eq!(a.label.as_deref(), Some("Blue"));
        assert_eq!(a.genre.as_ref().map(String::len), Some(NAME_BYTES_MAX));
        assert_eq!(artist(b).as_deref(), Some("own"));
        assert_eq!(b.genre.as_deref(), Some("dance"));
    }

    #[test]
    fn tracks_that_only_the_catalogue_gives_one_artist_stay_on_one_side() {
        let rows = [credited("a", "Ann", ""), credited("b", " ANN", "")];
        let open = [("a", label(2, false, None)), ("b", label(3, false, None))];
        let joined = join(&open, &rows).unwrap();
        assert_eq!(joined.clusters, [0, 0]);
        let apart = [
            ("a", label(2, false, Some(Side::Calibrate))),
            ("b", label(3, false, Some(Side::Test))),
        ];
        let joined = join(&apart, &rows).unwrap();
        let refused = split(&joined, 1).unwrap_err().to_string();
        assert!(refused.contains("LABELS_LEAK: "), "{refused}");
        assert!(refused.contains("artist ann of "), "{refused}");
    }

    #[test]
    fn a_copy_that_the_file_puts_on_a_side_is_kept_for_the_split_to_judge() {
        let labels = [
            ("a", label(2, false, Some(Side::Calibrate))),
            ("b", label(3, false, Some(Side::Test))),
        ];
        let joined = join(&labels, &[row("a", "1"), row("b", "1")]).unwrap();
        assert_eq!((joined.tracks.len(), joined.copies), (2, 0));
    }
}
