//! The known scores of a canary clip, for whoever makes a bundle: computed once, in single precision on a processor, by
//! the code that serves.

use crate::mel::{Mel, MelError};
use crate::params::{self, ParamError};
use crate::screen::Folded;
use bundle::{Architecture, CanaryScore, Clip, Screen, Tensors, WindowSpec};
use tch::{Device, Kind, TchError, Tensor};

/// Why a clip could not be scored.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    /// The preprocessing cannot be made.
    #[error("scoring the canary clip")]
    Mel(#[from] MelError),
    /// The weights do not fit.
    #[error("scoring the canary clip")]
    Params(#[from] ParamError),
    /// libtorch refused.
    #[error("scoring the canary clip")]
    Torch(#[from] TchError),
}

/// The logit of each window of the clip, in order.
///
/// # Errors
/// [`CanaryError`].
pub fn known_scores(
    screen: &Screen,
    weights: &Tensors,
    clip: &Clip,
) -> Result<Vec<CanaryScore>, CanaryError> {
    let mel = Mel::new(&screen.preprocessing, Device::Cpu)?;
    let Architecture::CnnV1(cnn) = &screen.architecture;
    let (_store, net) = crate::screen::load(cnn, weights, Device::Cpu)?;
    let net = Folded::new(&net, Kind::Float)?;
    let spec = WindowSpec::of(screen);
    let score = |start| {
        let window = Tensor::f_from_slice(&spec.cut(&clip.0, start))?.f_unsqueeze(0)?;
        let output = tch::no_grad(|| net.forward(&mel.windows(&window)?))?;
        let logit = params::values(&output.logits)?
            .first()
            .copied()
            .map_or(f64::NAN, f64::from);
        Ok(CanaryScore { logit })
    };
    spec.starts(clip.0.len() as u64).map(score).collect()
}
