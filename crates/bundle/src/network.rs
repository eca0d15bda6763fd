//! Whether a bundle's weights are those of its networks, by name and shape. Asked by whoever registers a bundle or runs it,
//! before a network is built; opening a folder does not ask. Pure.
//!
//! `models` makes the parameters under the same names; tests there hold the lists against each other.

use crate::error::BundleError;
use crate::manifest::{Architecture, CnnV1, Separator};
use crate::open::Bundle;
use crate::separator::shapes::compare;
use crate::separator::{Misfit, Shapes};

/// Sides of each convolution's kernel.
const KERNEL: usize = 3;

impl CnnV1 {
    /// The tensors of such a network.
    #[must_use]
    pub fn shapes(&self) -> Shapes {
        let mut shapes = Shapes::new();
        let mut put = |name: String, shape: Vec<usize>| drop(shapes.insert(name, shape));
        let mut from = 1;
        for (at, width) in self.channels.iter().enumerate() {
            let to = *width as usize;
            let conv = vec![to, from, KERNEL, KERNEL];
            put(format!("blocks.{at}.conv.weight"), conv);
            for part in ["weight", "bias", "running_mean", "running_var"] {
                put(format!("blocks.{at}.norm.{part}"), vec![to]);
            }
            from = to;
        }
        let (pooled, hidden) = (self.pooled() as usize, self.hidden as usize);
        for (name, from, to) in [("hidden", pooled, hidden), ("head", hidden, 1)] {
            put(format!("{name}.weight"), vec![to, from]);
            put(format!("{name}.bias"), vec![to]);
        }
        shapes
    }
}

impl Bundle {
    /// Whether the weights are those of the bundle's networks: each tensor of them, of its shape, and no other. The screen's
    /// come first; a bundle without a residual has no others.
    ///
    /// # Errors
    /// [`BundleError::Misfit`].
    pub fn check_fit(&self) -> Result<(), BundleError> {
        let screen = &self.manifest.screen;
        let Architecture::CnnV1(cnn) = &screen.architecture;
        fits(
            &screen.weights,
            compare(cnn.shapes(), &self.screen_shapes()),
        )?;
        let Some(residual) = &self.manifest.residual else {
            return Ok(());
        };
        let Separator::HtDemucs(config) = &residual.architecture;
        fits(
            &residual.weights,
            config.check_shapes(&self.residual_shapes),
        )
    }

    fn screen_shapes(&self) -> Shapes {
        let tensors = self.screen.0.iter();
        tensors
            .map(|tensor| (tensor.name.clone(), tensor.shape.clone()))
            .collect()
    }
}

fn fits(file: &str, found: Result<(), Misfit>) -> Result<(), BundleError> {
    found.map_err(|source| BundleError::Misfit {
        file: file.to_owned(),
        source,
    })
}
