//! Labelled pieces as a separator meets them in service: as composed and as a positive, worn and through the same codec. What of the positive is
//! not in the other is what the residual is to hold.
//!
//! Drawn from by batches. Only pieces of the split `train` are heard, none that calibration or the table use; their stems are not known.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use corpus::RATE_HZ;
use corpus::dice::Dice;
use corpus::manifest::{Label, Manifest, Split};
use types::Digest;

use super::SeparatorError;
use crate::train::tracks::hear_on;

/// Both versions of a piece from one place on, channel after channel.
pub(super) struct Crop {
    pub(super) human: Vec<f32>,
    pub(super) positive: Vec<f32>,
}

/// The pieces.
#[derive(Debug)]
pub(super) struct LabelledPieces {
    /// Files of a piece, as composed and as a positive.
    files: Vec<[PathBuf; 2]>,
    /// Of the manifest's words.
    pub(super) digest: Digest,
    channels: u32,
}

impl LabelledPieces {
    /// Those of a manifest that have both versions.
    pub(super) fn open(path: &Path, channels: u32) -> Result<Self, SeparatorError> {
        let manifest = Manifest::read(path)?;
        let text = std::fs::read(path).map_err(|source| SeparatorError::Labelled {
            path: path.display().to_string(),
            source,
        })?;
        let mut pieces: BTreeMap<&str, [Option<PathBuf>; 2]> = BTreeMap::new();
        for entry in manifest.of(Split::Train) {
            let version = usize::from(entry.label == Label::Ai);
            pieces.entry(&entry.piece).or_default()[version] = Some(manifest.file(entry));
        }
        let both = |[human, positive]: [Option<PathBuf>; 2]| Some([human?, positive?]);
        Ok(Self {
            files: pieces.into_values().filter_map(both).collect(),
            digest: Digest::of(&text),
            channels,
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.files.len()
    }

    /// So many frames of a drawn piece, where it is as long.
    pub(super) fn draw(
        &self,
        dice: &mut Dice,
        frames: usize,
    ) -> Result<Option<Crop>, SeparatorError> {
        let [human, positive] = &self.files[dice.below(self.files.len())];
        let hear = |file: &Path| hear_on(file, RATE_HZ, self.channels).map(|track| track.pcm);
        let (human, positive) = (hear(human)?, hear(positive)?);
        let width = self.channels as usize;
        let whole = human.len().min(positive.len()) / width;
        if whole < frames {
            return Ok(None);
        }
        let first = dice.below(whole - frames + 1);
        let crop = |pcm: &[f32]| {
            let frames = first * width..(first + frames) * width;
            apart(&pcm[frames], width)
        };
        Ok(Some(Crop {
            human: crop(&human),
            positive: crop(&positive),
        }))
    }
}

/// Interleaved samples, channel after channel.
fn apart(interleaved: &[f32], channels: usize) -> Vec<f32> {
    let of = |channel| interleaved.iter().skip(channel).step_by(channels).copied();
    (0..channels).flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use corpus::Stereo;
    use corpus::manifest::Entry;

    fn entry(path: &str, label: Label, piece: &str, split: Split) -> Entry {
        Entry {
            path: path.to_owned(),
            label,
            piece: piece.to_owned(),
            split,
            seconds: None,
            codec: None,
            kbps: None,
            snr_db: None,
            decoder: None,
            unseen: None,
        }
    }

    fn constant(path: &Path, level: f32) {
        let channel = vec![level; 44_100];
        let audio = Stereo {
            left: channel.clone(),
            right: channel,
        };
        corpus::wav::write(path, &audio).unwrap();
    }

    #[test]
    fn pieces_of_training_with_both_versions_are_heard_from_one_place_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let entries = [
            entry("h.wav", Label::Human, "one", Split::Train),
            entry("a.wav", Label::Ai, "one", Split::Train),
            entry("alone.wav", Label::Human, "two", Split::Train),
            entry("t.wav", Label::Human, "three", Split::Test),
            entry("u.wav", Label::Ai, "three", Split::Test),
        ];
        constant(&folder.path().join("h.wav"), 0.25);
        constant(&folder.path().join("a.wav"), 0.5);
        let path = folder.path().join("labels.csv");
        Manifest::write(&entries, &path).unwrap();
        let pieces = LabelledPieces::open(&path, 1).unwrap();
        assert_eq!(pieces.count(), 1);
        let mut dice = Dice::new(1);
        let crop = pieces.draw(&mut dice, 1_000).unwrap().unwrap();
        assert!(crop.human.iter().all(|x| (x - 0.25).abs() < 1e-3));
        assert!(crop.positive.iter().all(|x| (x - 0.5).abs() < 1e-3));
        assert_eq!(crop.human.len(), 1_000);
        assert!(pieces.draw(&mut dice, 50_000).unwrap().is_none());
    }

    #[test]
    fn channels_come_one_after_the_other() {
        assert_eq!(apart(&[1.0, 2.0, 3.0, 4.0], 2), [1.0, 3.0, 2.0, 4.0]);
    }
}
