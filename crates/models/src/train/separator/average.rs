//! The running mean of a network's weights over its last steps: steadier than the weights of any one of them.

use bundle::{TensorData, Tensors};
use tch::nn::VarStore;
use tch::{TchError, Tensor};

use crate::params;

/// Means beside the weights that they follow.
#[derive(Debug)]
pub(super) struct Average {
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    name: String,
    weight: Tensor,
    mean: Tensor,
}

impl Average {
    /// Means that are the weights of `store` as they stand.
    pub(super) fn new(store: &VarStore) -> Result<Self, TchError> {
        let mut variables: Vec<(String, Tensor)> = store.variables().into_iter().collect();
        variables.sort_by(|a, b| a.0.cmp(&b.0));
        let slots = variables.into_iter().map(|(name, weight)| {
            let mean = tch::no_grad(|| weight.f_zeros_like()?.f_add(&weight))?;
            Ok(Slot { name, weight, mean })
        });
        Ok(Self {
            slots: slots.collect::<Result<_, TchError>>()?,
        })
    }

    /// Takes the weights in after step number `steps`, leaving `share` of the means; less of them while there were few steps, so that the
    /// random start is soon forgotten.
    pub(super) fn add(&mut self, steps: u64, share: f64) -> Result<(), TchError> {
        let settled = (1.0 + steps as f64) / (10.0 + steps as f64);
        let taken = 1.0 - share.min(settled);
        tch::no_grad(|| {
            self.slots.iter_mut().try_for_each(|slot| {
                let _ = slot.mean.f_lerp_(&slot.weight, taken)?;
                Ok(())
            })
        })
    }

    /// The means under their names in a checkpoint (`average.NAME`).
    pub(super) fn state(&self) -> Vec<(String, Tensor)> {
        let named = |slot: &Slot| (format!("average.{}", slot.name), slot.mean.shallow_clone());
        self.slots.iter().map(named).collect()
    }

    /// The means as weights, in order of name.
    pub(super) fn weights(&self) -> Result<Tensors, TchError> {
        let tensors = self.slots.iter().map(|slot| {
            let size = slot.mean.size();
            let shape = size.iter().map(|&side| usize::try_from(side).unwrap_or(0));
            Ok(TensorData {
                name: slot.name.clone(),
                shape: shape.collect(),
                values: params::values(&slot.mean)?,
            })
        });
        Ok(Tensors(tensors.collect::<Result<_, TchError>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, nn};

    #[test]
    fn means_follow_the_weights_closely_at_first_and_slowly_later() {
        let store = VarStore::new(Device::Cpu);
        let mut weight = store.root().var("x", &[2], nn::Init::Const(0.0));
        let mut average = Average::new(&store).unwrap();
        tch::no_grad(|| {
            let _ = weight.f_add_scalar_(1.0).unwrap();
        });
        let after = |average: &Average| average.weights().unwrap().0[0].values[0];
        assert!(after(&average).abs() < 1e-9, "the means are copies");
        average.add(1, 0.99).unwrap();
        assert!((after(&average) - 9.0 / 11.0).abs() < 1e-6);
        let before = after(&average);
        average.add(1_000_000, 0.99).unwrap();
        assert!((after(&average) - (before + 0.01 * (1.0 - before))).abs() < 1e-6);
    }
}
