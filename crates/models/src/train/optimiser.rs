//! AdamW (Loshchilov and Hutter, 2019) whose moments can be saved, so that a resumed run goes on exactly where it stopped.
//!
//! libtorch's own optimisers keep their moments where tch cannot reach them.

use std::collections::BTreeMap;

use tch::{Kind, TchError, Tensor, nn};

/// Decay of the first and second moment per step, and what keeps the quotient finite.
const FIRST: f64 = 0.9;
const SECOND: f64 = 0.999;
const TINY: f64 = 1e-8;

/// Largest norm of all gradients together; a step beyond it is shortened.
const NORM_MAX: f64 = 1.0;

/// The optimiser of one network.
#[derive(Debug)]
pub struct AdamW {
    slots: BTreeMap<String, Slot>,
    steps: u64,
}

#[derive(Debug)]
struct Slot {
    parameter: Tensor,
    first: Tensor,
    second: Tensor,
}

impl AdamW {
    /// An optimiser at its start for every trainable parameter of `store`.
    pub fn new(store: &nn::VarStore) -> Self {
        let trainable = store
            .variables()
            .into_iter()
            .filter(|(_, parameter)| parameter.requires_grad());
        let slots = trainable.map(|(name, parameter)| {
            let (first, second) = (
                parameter.zeros_like().detach(),
                parameter.zeros_like().detach(),
            );
            (
                name,
                Slot {
                    parameter,
                    first,
                    second,
                },
            )
        });
        Self {
            slots: slots.collect(),
            steps: 0,
        }
    }

    /// Moves every parameter against the gradient of `loss`.
    pub fn step(
        &mut self,
        loss: &Tensor,
        learning_rate: f64,
        weight_decay: f64,
    ) -> Result<(), TchError> {
        for slot in self.slots.values_mut() {
            slot.parameter.zero_grad();
        }
        loss.f_backward()?;
        self.steps += 1;
        let correction =
            (1.0 - SECOND.powf(self.steps as f64)).sqrt() / (1.0 - FIRST.powf(self.steps as f64));
        tch::no_grad(|| {
            let shrink = self.shrink()?;
            self.slots.values_mut().try_for_each(|slot| {
                slot.step(
                    shrink,
                    learning_rate * correction,
                    learning_rate * weight_decay,
                )
            })
        })
    }

    /// Factor that brings the norm of all gradients down to [`NORM_MAX`].
    fn shrink(&self) -> Result<f64, TchError> {
        let mut squares = 0.0;
        for slot in self.slots.values() {
            let gradient = slot.parameter.grad();
            if gradient.defined() {
                squares += gradient.f_square()?.f_sum(Kind::Double)?.double_value(&[]);
            }
        }
        Ok((NORM_MAX / squares.sqrt().max(1e-12)).min(1.0))
    }

    /// Its moments by name (`first.NAME`, `second.NAME`) and the number of steps taken.
    pub fn state(&self) -> (Vec<(String, Tensor)>, u64) {
        let both = |(name, slot): (&String, &Slot)| {
            [
                (format!("first.{name}"), slot.first.shallow_clone()),
                (format!("second.{name}"), slot.second.shallow_clone()),
            ]
        };
        (self.slots.iter().flat_map(both).collect(), self.steps)
    }

    /// The number of steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Sets the number of steps taken, after the moments of [`AdamW::state`] have been filled.
    pub fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }
}

impl Slot {
    fn step(&mut self, shrink: f64, rate: f64, decay: f64) -> Result<(), TchError> {
        let gradient = self.parameter.grad();
        if !gradient.defined() {
            return Ok(());
        }
        let gradient = gradient.f_mul_scalar(shrink)?;
        let _ = self
            .first
            .f_mul_scalar_(FIRST)?
            .f_add_(&gradient.f_mul_scalar(1.0 - FIRST)?)?;
        let _ = self
            .second
            .f_mul_scalar_(SECOND)?
            .f_add_(&gradient.f_square()?.f_mul_scalar(1.0 - SECOND)?)?;
        // Biases and norms (one dimension) are not pulled towards zero.
        if self.parameter.dim() > 1 {
            let _ = self.parameter.f_mul_scalar_(1.0 - decay)?;
        }
        let change = self
            .first
            .f_div(&self.second.f_sqrt()?.f_add_scalar(TINY)?)?
            .f_mul_scalar(rate)?;
        let _ = self.parameter.f_sub_(&change)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_the_bottom_of_a_bowl() {
        let store = nn::VarStore::new(tch::Device::Cpu);
        let x = store.root().var("x", &[2], nn::Init::Const(3.0));
        let mut optimiser = AdamW::new(&store);
        for _ in 0..400 {
            let loss = (&x - Tensor::from_slice(&[1.0_f32, -2.0]))
                .square()
                .sum(Kind::Float);
            optimiser.step(&loss, 0.05, 0.0).unwrap();
        }
        let found = crate::params::values(&x).unwrap();
        assert!(
            (found[0] - 1.0).abs() < 0.05 && (found[1] + 2.0).abs() < 0.05,
            "{found:?}"
        );
    }
}
