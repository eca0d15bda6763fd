//! Checkpoints: everything that training needs to go on exactly where it stopped, in one safetensors file that is replaced whole.

use std::path::{Path, PathBuf};

use bundle::{TensorData, Tensors, TensorsError};
use tch::{TchError, Tensor, nn};
use types::Digest;

use super::optimiser::AdamW;
use crate::params::{self, ParamError};

/// Steps are kept as two numbers below this base: single precision holds each exactly.
const BASE: u64 = 1 << 20;

/// A checkpoint could not be written or used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file could not be read or written.
    #[error("reading or writing checkpoint `{path}`")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no safetensors file.
    #[error("reading checkpoint `{path}`")]
    Form {
        /// The file.
        path: String,
        /// What was wrong.
        source: TensorsError,
    },
    /// Its tensors are not those of this network.
    #[error("checkpoint `{path}` does not fit this network")]
    Params {
        /// The file.
        path: String,
        /// What did not fit.
        source: ParamError,
    },
    /// A part of it is missing.
    #[error("checkpoint `{path}` has no tensor `{tensor}`")]
    Missing {
        /// The file.
        path: String,
        /// The tensor.
        tensor: String,
    },
    /// libtorch refused.
    #[error("moving tensors of a checkpoint")]
    Torch(#[from] TchError),
}

/// How far training had come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Passes or rounds that are done.
    pub epochs: u32,
    /// Seconds that they took, over all runs; none where a checkpoint does not say.
    pub seconds: Option<f64>,
}

impl Progress {
    /// Nothing is done.
    const START: Self = Self {
        epochs: 0,
        seconds: Some(0.0),
    };
}

/// Where the checkpoint of one recipe on one manifest lies.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
}

impl Checkpoint {
    /// The checkpoint in `folder` of training that is described by `what`.
    pub fn of(folder: &Path, what: &str) -> Self {
        Self {
            path: folder.join(format!("{}.safetensors", Digest::of(what.as_bytes()))),
        }
    }

    /// Writes the state after `epochs` passes.
    pub fn save(
        &self,
        store: &nn::VarStore,
        optimiser: &AdamW,
        epochs: u32,
    ) -> Result<(), CheckpointError> {
        let progress = Progress {
            epochs,
            seconds: None,
        };
        self.save_with(store, optimiser, &[], progress)
    }

    /// As [`Checkpoint::save`], with more tensors whose names none of the others have.
    pub fn save_with(
        &self,
        store: &nn::VarStore,
        optimiser: &AdamW,
        more: &[(String, Tensor)],
        progress: Progress,
    ) -> Result<(), CheckpointError> {
        let (mut moments, steps) = optimiser.state();
        let shared = more
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        moments.extend(shared);
        let net = params::save(store)?.0.into_iter().map(|tensor| TensorData {
            name: format!("net.{}", tensor.name),
            ..tensor
        });
        let mut tensors: Vec<TensorData> = net.collect();
        for (name, moment) in moments {
            let shape = moment
                .size()
                .iter()
                .map(|&size| usize::try_from(size).unwrap_or(0))
                .collect();
            tensors.push(TensorData {
                name,
                shape,
                values: params::values(&moment)?,
            });
        }
        let [high, low] = [steps / BASE, steps % BASE].map(|part| part as f32);
        let mut values = vec![progress.epochs as f32, high, low];
        values.extend(progress.seconds.map(|seconds| seconds as f32));
        tensors.push(TensorData {
            name: "progress".to_owned(),
            shape: vec![values.len()],
            values,
        });
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let unfinished = self.path.with_extension("unfinished");
        let written = std::fs::write(&unfinished, Tensors(tensors).to_bytes())
            .and_then(|()| std::fs::rename(&unfinished, &self.path));
        written.map_err(|source| CheckpointError::File {
            path: self.named(),
            source,
        })
    }

    /// Restores the state, where there is one; returns the passes that are done.
    pub fn restore(
        &self,
        store: &nn::VarStore,
        optimiser: &mut AdamW,
    ) -> Result<u32, CheckpointError> {
        let progress = self.restore_with(store, optimiser, &[])?;
        Ok(progress.epochs)
    }

    /// As [`Checkpoint::restore`], filling the tensors that [`Checkpoint::save_with`] was given too; returns the seconds as well.
    pub fn restore_with(
        &self,
        store: &nn::VarStore,
        optimiser: &mut AdamW,
        more: &[(String, Tensor)],
    ) -> Result<Progress, CheckpointError> {
        if !self.path.exists() {
            return Ok(Progress::START);
        }
        let bytes = std::fs::read(&self.path).map_err(|source| CheckpointError::File {
            path: self.named(),
            source,
        })?;
        let all = Tensors::parse(&bytes).map_err(|source| CheckpointError::Form {
            path: self.named(),
            source,
        })?;
        let missing = |tensor: &str| CheckpointError::Missing {
            path: self.named(),
            tensor: tensor.to_owned(),
        };
        let shared = more
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        for (name, mut place) in optimiser.state().0.into_iter().chain(shared) {
            let found = all
                .get(&name)
                .filter(|found| found.values.len() == place.numel())
                .ok_or_else(|| missing(&name))?;
            let values = Tensor::f_from_slice(&found.values)?.f_view(place.size().as_slice())?;
            tch::no_grad(|| place.f_copy_(&values))?;
        }
        let progress = all
            .get("progress")
            .filter(|found| matches!(found.values.len(), 3 | 4))
            .ok_or_else(|| missing("progress"))?
            .values
            .clone();
        let net = all.0.into_iter().filter_map(|tensor| {
            tensor
                .name
                .strip_prefix("net.")
                .map(str::to_owned)
                .map(|name| TensorData { name, ..tensor })
        });
        params::load(store, &Tensors(net.collect())).map_err(|source| CheckpointError::Params {
            path: self.named(),
            source,
        })?;
        optimiser.set_steps(progress[1] as u64 * BASE + progress[2] as u64);
        Ok(Progress {
            epochs: progress[0] as u32,
            seconds: progress.get(3).map(|seconds| f64::from(*seconds)),
        })
    }

    fn named(&self) -> String {
        self.path.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn a_checkpoint_gives_its_seconds_back_and_one_that_does_not_say_them_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::of(folder.path(), "some training");
        let store = nn::VarStore::new(Device::Cpu);
        let _weight = store.root().var("x", &[2], nn::Init::Const(1.0));
        let mut optimiser = AdamW::new(&store);
        let mut found = || {
            checkpoint
                .restore_with(&store, &mut optimiser, &[])
                .unwrap()
        };
        assert_eq!(found(), Progress::START);
        for (epochs, seconds) in [(3, None), (4, Some(90.5))] {
            let progress = Progress { epochs, seconds };
            let saved = checkpoint.save_with(&store, &AdamW::new(&store), &[], progress);
            saved.unwrap();
            assert_eq!(found(), progress);
        }
    }
}
