//! The stems that a separator learns from: pieces of the generator, played once and kept in half precision under the cache folder, from which
//! crops are read. A piece is made when it is first asked for, so that training begins at once; what a file holds depends on its name alone.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use corpus::dice::{Dice, derive};
use corpus::stems::{Microphones, STEMS, Stems, stems};
use corpus::{RATE_HZ, Stereo};
use half::f16;
use types::Digest;

use super::{SeparatorError, SeparatorRecipe};

/// Pieces that a trained separator is judged on.
const JUDGED_PIECES: usize = 8;
/// Share of the pieces that were recorded in one room.
const SHARED_ROOMS: f32 = 0.5;
/// Bytes of a value.
const VALUE: u64 = 2;

/// What pieces are for: those of one use are none of the other's, nor of any labelled split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Fitting weights.
    Training,
    /// Telling how good they are.
    Judging,
}

/// Pieces under a cache folder.
#[derive(Debug)]
pub(super) struct Pieces {
    folder: PathBuf,
    stream: u64,
    count: usize,
    seconds: f32,
    channels: usize,
    frames: usize,
}

impl Pieces {
    /// The pieces of a recipe.
    pub(super) fn new(
        recipe: &SeparatorRecipe,
        cache: &Path,
        purpose: Use,
    ) -> Result<Self, SeparatorError> {
        let fitting = &recipe.fitting;
        let folder = cache.join("stems");
        std::fs::create_dir_all(&folder).map_err(at(&folder))?;
        let (name, count) = match purpose {
            Use::Training => ("separator pieces", fitting.pieces as usize),
            Use::Judging => ("separator judged pieces", JUDGED_PIECES),
        };
        Ok(Self {
            folder,
            stream: derive(fitting.seed, name),
            count,
            seconds: fitting.seconds,
            channels: usize::try_from(recipe.architecture.audio_channels).unwrap_or(1),
            frames: (fitting.seconds * RATE_HZ as f32) as usize,
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Frames of each.
    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    /// Channels of each.
    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// So many frames of one stem from `first` on, channel after channel. The crop lies within the piece.
    pub(super) fn crop(
        &self,
        piece: usize,
        stem: usize,
        first: usize,
        frames: usize,
    ) -> Result<Vec<f32>, SeparatorError> {
        let path = self.ready(piece)?;
        let mut file = File::open(&path).map_err(at(&path))?;
        let mut bytes = vec![0; frames * VALUE as usize];
        let mut out = Vec::with_capacity(frames * self.channels);
        for channel in 0..self.channels {
            let row = (stem * self.channels + channel) * self.frames + first;
            let read = file
                .seek(SeekFrom::Start(row as u64 * VALUE))
                .and_then(|_| file.read_exact(&mut bytes));
            read.map_err(at(&path))?;
            let (values, _) = bytes.as_chunks::<{ VALUE as usize }>();
            out.extend(
                values
                    .iter()
                    .map(|&value| f16::from_le_bytes(value).to_f32()),
            );
        }
        Ok(out)
    }

    /// The file of a piece, made where it is not there or not whole.
    fn ready(&self, piece: usize) -> Result<PathBuf, SeparatorError> {
        let seed = derive(self.stream, &piece.to_string());
        let text = format!("stems 1\n{seed}\n{}\n{}", self.seconds, self.channels);
        let path = self
            .folder
            .join(format!("{}.stems", Digest::of(text.as_bytes())));
        let whole = (STEMS.len() * self.channels * self.frames) as u64 * VALUE;
        let found = std::fs::metadata(&path).map(|metadata| metadata.len());
        if found.is_ok_and(|bytes| bytes == whole) {
            return Ok(path);
        }
        let played = play(seed, self.seconds);
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, self.bytes(&played))
            .and_then(|()| std::fs::rename(&unfinished, &path))
            .map_err(at(&path))?;
        Ok(path)
    }

    fn bytes(&self, played: &Stems) -> Vec<u8> {
        let rows = played.parts.iter().flat_map(|part| match self.channels {
            1 => vec![middle(part)],
            _ => vec![part.left.clone(), part.right.clone()],
        });
        rows.flatten()
            .flat_map(|sample| f16::from_f32(sample).to_le_bytes())
            .collect()
    }
}

fn play(seed: u64, seconds: f32) -> Stems {
    let one_room = Dice::new(seed).child("microphones").chance(SHARED_ROOMS);
    let microphones = if one_room {
        Microphones::Shared
    } else {
        Microphones::Apart
    };
    stems(seed, seconds, microphones)
}

fn middle(part: &Stereo) -> Vec<f32> {
    let pairs = part.left.iter().zip(&part.right);
    pairs.map(|(left, right)| 0.5 * (left + right)).collect()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SeparatorError {
    let path = path.display().to_string();
    move |source| SeparatorError::Stems { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(channels: i64) -> SeparatorRecipe {
        let mut recipe = SeparatorRecipe::default();
        recipe.architecture.audio_channels = channels;
        recipe.architecture.segment = 22_050;
        recipe.fitting.seconds = 1.0;
        recipe.fitting.pieces = 6;
        recipe
    }

    #[test]
    fn a_crop_is_what_was_played_there_in_either_number_of_channels() {
        let folder = tempfile::tempdir().unwrap();
        for channels in [1, 2] {
            let pieces = Pieces::new(&short(channels), folder.path(), Use::Training).unwrap();
            let played = play(derive(pieces.stream, "3"), 1.0);
            for (stem, part) in played.parts.iter().enumerate() {
                let crop = pieces.crop(3, stem, 1_000, 500).unwrap();
                let rows = if channels == 1 {
                    vec![middle(part)]
                } else {
                    vec![part.left.clone(), part.right.clone()]
                };
                let expected = rows.iter().flat_map(|row| &row[1_000..1_500]);
                for (found, wanted) in crop.iter().zip(expected) {
                    assert!((found - wanted).abs() <= 1e-3 * wanted.abs().max(0.1));
                }
                assert_eq!(crop.len(), 500 * pieces.channels());
            }
        }
    }

    #[test]
    fn a_file_that_was_cut_off_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let pieces = Pieces::new(&short(1), folder.path(), Use::Training).unwrap();
        let whole = pieces.crop(0, 2, 0, 44_100).unwrap();
        let path = pieces.ready(0).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert_eq!(pieces.crop(0, 2, 0, 44_100).unwrap(), whole);
    }

    #[test]
    fn pieces_of_judging_are_none_of_training() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = short(1);
        let paths = |purpose| {
            let pieces = Pieces::new(&recipe, folder.path(), purpose).unwrap();
            (0..6).map(|piece| pieces.ready(piece).unwrap()).collect()
        };
        let training: Vec<PathBuf> = paths(Use::Training);
        let judging: Vec<PathBuf> = paths(Use::Judging);
        assert!(judging.iter().all(|path| !training.contains(path)));
    }
}
