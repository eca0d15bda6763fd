//! Small neural decoders whose errors mark the positives of the demonstration corpus.
//!
//! Each is an autoencoder with a coarse bottleneck: what comes out of its decoder differs from what went in by the traces that its way of
//! upsampling leaves. Called by `labelled` when labelled data are made, and by `fit`, which trains them. Never used while scanning.

mod fit;
mod net;

pub use fit::{FitError, fit};

use std::path::{Path, PathBuf};

use bundle::{TensorData, Tensors, TensorsError};
use tch::{Device, Kind, Tensor, nn};

use net::Net;

/// A decoder architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// Transposed convolutions, strides 4·4·4, exponential linear units.
    Transposed64,
    /// Transposed convolutions, strides 2·5·8, sigmoid linear units.
    Transposed80,
    /// Convolution and sub-pixel shuffle, strides 3·4·8, leaky units.
    Subpixel96,
    /// Convolutions on spectral frames and an inverse short-time Fourier transform, hop 128. Held out: never in training.
    Frames128,
}

/// Architectures whose positives training meets.
pub const TRAINED: [Architecture; 3] = [
    Architecture::Transposed64,
    Architecture::Transposed80,
    Architecture::Subpixel96,
];

/// The architecture that training never meets.
pub const HELD_OUT: Architecture = Architecture::Frames128;

/// Every architecture, in the order of tables.
pub const ALL: [Architecture; 4] = [
    Architecture::Transposed64,
    Architecture::Transposed80,
    Architecture::Subpixel96,
    Architecture::Frames128,
];

/// Level that a waveform is brought to before encoding, so that a quiet piece meets the same bottleneck as a loud one.
const LEVEL: f32 = 0.1;

/// Samples decoded at once: 12 s bound the memory of one pass to about 300 MB.
const SPAN: usize = 12 * 44_100;

/// A decoder's weights could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DecoderError {
    /// The file could not be read or written.
    #[error("reading or writing decoder weights `{path}`")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no safetensors file of this crate's form.
    #[error("reading decoder weights `{path}`")]
    Form {
        /// The file.
        path: String,
        /// What was wrong.
        source: TensorsError,
    },
    /// A tensor is missing or has another shape.
    #[error("reading decoder weights `{path}`: tensor `{tensor}` is missing or of another shape")]
    Tensor {
        /// The file.
        path: String,
        /// The tensor.
        tensor: String,
    },
}

impl Architecture {
    /// Name in manifests, tables and file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transposed64 => "transposed-64",
            Self::Transposed80 => "transposed-80",
            Self::Subpixel96 => "subpixel-96",
            Self::Frames128 => "frames-128",
        }
    }

    /// The architecture of a name.
    pub fn named(name: &str) -> Option<Self> {
        ALL.into_iter()
            .find(|architecture| architecture.name() == name)
    }

    /// Where its weights lie in `folder`.
    pub fn weights(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.safetensors", self.name()))
    }
}

/// A decoder with its weights loaded.
#[derive(Debug)]
pub struct Decoder {
    architecture: Architecture,
    store: nn::VarStore,
    net: Net,
}

impl Decoder {
    /// A decoder with fresh weights.
    pub(crate) fn fresh(architecture: Architecture) -> Self {
        let store = nn::VarStore::new(Device::Cpu);
        let net = Net::new(&store.root(), architecture);
        Self {
            architecture,
            store,
            net,
        }
    }

    /// Loads the weights of `architecture` from `folder`.
    pub fn open(architecture: Architecture, folder: &Path) -> Result<Self, DecoderError> {
        let decoder = Self::fresh(architecture);
        let file = architecture.weights(folder);
        let path = file.display().to_string();
        let bytes = std::fs::read(&file).map_err(|source| DecoderError::File {
            path: path.clone(),
            source,
        })?;
        let tensors = Tensors::parse(&bytes).map_err(|source| DecoderError::Form {
            path: path.clone(),
            source,
        })?;
        for (name, mut variable) in decoder.store.variables() {
            let found = tensors
                .get(&name)
                .filter(|found| shape_of(&variable) == found.shape);
            let found = found.ok_or_else(|| DecoderError::Tensor {
                path: path.clone(),
                tensor: name.clone(),
            })?;
            tch::no_grad(|| {
                variable.copy_(&Tensor::from_slice(&found.values).view(variable.size().as_slice()))
            });
        }
        Ok(decoder)
    }

    /// Writes the weights to `folder`, through a neighbour that is renamed.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), DecoderError> {
        let mut tensors: Vec<TensorData> = self
            .store
            .variables()
            .into_iter()
            .map(|(name, value)| tensor_data(name, &value))
            .collect();
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let file = self.architecture.weights(folder);
        let unfinished = file.with_extension("unfinished");
        let written = std::fs::write(&unfinished, Tensors(tensors).to_bytes())
            .and_then(|()| std::fs::rename(&unfinished, &file));
        written.map_err(|source| DecoderError::File {
            path: file.display().to_string(),
            source,
        })
    }

    /// What the decoder makes of a mono wave: the same length, the same level.
    pub fn reconstruct(&self, wave: &[f32]) -> Vec<f32> {
        wave.chunks(SPAN)
            .flat_map(|span| self.reconstruct_span(span))
            .collect()
    }

    fn reconstruct_span(&self, span: &[f32]) -> Vec<f32> {
        let gain = LEVEL / corpus::shape::rms(span).max(1e-6);
        tch::no_grad(|| {
            let input = Tensor::from_slice(span).view([1, 1, -1]) * f64::from(gain);
            let output = self.net.forward(&input) / f64::from(gain);
            let mut samples = vec![0.0_f32; span.len()];
            output
                .to_kind(Kind::Float)
                .contiguous()
                .view(-1)
                .copy_data(&mut samples, span.len());
            samples
        })
    }
}

fn shape_of(tensor: &Tensor) -> Vec<usize> {
    tensor
        .size()
        .into_iter()
        .map(|size| usize::try_from(size).unwrap_or(0))
        .collect()
}

fn tensor_data(name: String, tensor: &Tensor) -> TensorData {
    let mut values = vec![0.0_f32; tensor.numel()];
    tensor
        .to_kind(Kind::Float)
        .contiguous()
        .view(-1)
        .copy_data(&mut values, tensor.numel());
    TensorData {
        name,
        shape: shape_of(tensor),
        values,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_architecture_gives_back_as_many_samples_as_it_was_given() {
        for architecture in ALL {
            let decoder = Decoder::fresh(architecture);
            for length in [1_000, 44_100, 44_777] {
                let wave: Vec<f32> = (0..length).map(|i| 0.1 * (i as f32 * 0.05).sin()).collect();
                let heard = decoder.reconstruct(&wave);
                assert_eq!(heard.len(), length, "{}", architecture.name());
                assert!(heard.iter().all(|x| x.is_finite()));
            }
        }
    }

    #[test]
    fn weights_survive_their_file_and_another_architectures_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let decoder = Decoder::fresh(Architecture::Transposed64);
        decoder.save(folder.path()).unwrap();
        let again = Decoder::open(Architecture::Transposed64, folder.path()).unwrap();
        let wave: Vec<f32> = (0..5_000).map(|i| 0.1 * (i as f32 * 0.1).sin()).collect();
        assert_eq!(decoder.reconstruct(&wave), again.reconstruct(&wave));
        std::fs::rename(
            Architecture::Transposed64.weights(folder.path()),
            Architecture::Subpixel96.weights(folder.path()),
        )
        .unwrap();
        assert!(matches!(
            Decoder::open(Architecture::Subpixel96, folder.path()),
            Err(DecoderError::Tensor { .. })
        ));
    }
}
