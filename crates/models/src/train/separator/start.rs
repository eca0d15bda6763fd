//! A start from which the stems add up to the mix: an equal share of it in each. Drawn weights lose the mix and learn slowly to keep it, and what
//! they lose hides what a generator left; from here all that ends outside of the sum is what training put there.
//!
//! Called once by a run whose recipe asks for it, before the first step. The share goes by the time branch alone: its outermost encoder and
//! decoder hold each sample of a stride in a pair of channels, one for either sign, since an activation's two halves add up to its input.
//! All other paths to the output begin at zero and are free to learn.

use bundle::separator::Config;
use tch::nn::VarStore;
use tch::{TchError, Tensor};

/// Bias of a gate that stands open, and what it then lets through.
const OPEN: f64 = 4.0;

/// Why a network cannot start so; none where it can.
pub(super) fn hindrance(config: &Config) -> Option<&'static str> {
    let tapped = config.kernel / 4 + config.stride <= config.kernel;
    let fits = config.depth >= 2 && config.rewrite && !config.has_norm(0) && tapped;
    if !fits {
        return Some(
            "needs a gate and no norm in the first of two layers, and a kernel over a whole stride",
        );
    }
    let pairs = 2 * config.stride * config.audio_channels;
    (config.width(0) < pairs).then_some("needs two channels for each sample of a stride")
}

/// Where the pairs of channels stand.
struct Pairs<'a> {
    config: &'a Config,
    store: &'a VarStore,
}

/// Sets the weights of `store`, a network of that configuration, so that its stems add up to the mix.
pub(super) fn give_back(store: &VarStore, config: &Config) -> Result<(), TchError> {
    let pairs = Pairs { config, store };
    tch::no_grad(|| {
        pairs.silence_others()?;
        pairs.take_apart()?;
        pairs.gate("tencoder.0", config.context_encoder)?;
        pairs.gate(&pairs.outermost(), config.context_decoder)?;
        pairs.put_together()
    })
}

impl Pairs<'_> {
    fn count(&self) -> i64 {
        2 * self.config.stride * self.config.audio_channels
    }

    /// The outermost decoder of the time branch.
    fn outermost(&self) -> String {
        format!("tdecoder.{}", self.config.depth - 1)
    }

    /// Channel of the sound, tap and sign of a channel of the layer.
    fn place(&self, channel: i64) -> (i64, i64, f64) {
        let sample = channel / 2;
        let tap = self.config.kernel / 4 + sample % self.config.stride;
        let sign = if channel % 2 == 0 { 1.0 } else { -1.0 };
        (sample / self.config.stride, tap, sign)
    }

    fn tensor(&self, name: &str) -> Result<Tensor, TchError> {
        let found = self.store.variables().remove(name);
        found.ok_or_else(|| TchError::Kind(format!("the network has no tensor `{name}`")))
    }

    /// Nothing else reaches the output or the pairs.
    fn silence_others(&self) -> Result<(), TchError> {
        let last = self.config.depth - 1;
        for branch in ["", "t"] {
            for part in ["weight", "bias"] {
                let mut out = self.tensor(&format!("{branch}decoder.{last}.conv_tr.{part}"))?;
                let _ = out.f_zero_()?;
            }
        }
        let inner = format!("tdecoder.{}.conv_tr", last - 1);
        let weight = self.tensor(&format!("{inner}.weight"))?;
        let bias = self.tensor(&format!("{inner}.bias"))?;
        let _ = weight.f_narrow(1, 0, self.count())?.f_zero_()?;
        let _ = bias.f_narrow(0, 0, self.count())?.f_zero_()?;
        Ok(())
    }

    /// The first convolution gives each pair its sample.
    fn take_apart(&self) -> Result<(), TchError> {
        let weight = self.tensor("tencoder.0.conv.weight")?;
        let bias = self.tensor("tencoder.0.conv.bias")?;
        let _ = weight.f_narrow(0, 0, self.count())?.f_zero_()?;
        let _ = bias.f_narrow(0, 0, self.count())?.f_zero_()?;
        for channel in 0..self.count() {
            let (sound, tap, sign) = self.place(channel);
            let _ = at(&weight, [channel, sound, tap])?.f_fill_(sign)?;
        }
        Ok(())
    }

    /// A layer's gate lets the pairs through as they are.
    fn gate(&self, layer: &str, context: i64) -> Result<(), TchError> {
        let weight = self.tensor(&format!("{layer}.rewrite.weight"))?;
        let bias = self.tensor(&format!("{layer}.rewrite.bias"))?;
        let (pairs, width) = (self.count(), self.config.width(0));
        let through = 1.0 + (-OPEN).exp();
        for (first, open) in [(0, 0.0), (width, OPEN)] {
            let _ = weight.f_narrow(0, first, pairs)?.f_zero_()?;
            let _ = bias.f_narrow(0, first, pairs)?.f_fill_(open)?;
        }
        for channel in 0..pairs {
            let _ = at(&weight, [channel, channel, context])?.f_fill_(through)?;
        }
        Ok(())
    }

    /// The last convolution gives each stem its share of each sample.
    fn put_together(&self) -> Result<(), TchError> {
        let weight = self.tensor(&format!("{}.conv_tr.weight", self.outermost()))?;
        let (stems, sounds) = (self.config.stems(), self.config.audio_channels);
        for channel in 0..self.count() {
            let (sound, tap, sign) = self.place(channel);
            for stem in 0..stems {
                let share = sign / stems as f64;
                let _ = at(&weight, [channel, stem * sounds + sound, tap])?.f_fill_(share)?;
            }
        }
        Ok(())
    }
}

/// One value of a weight, to be set.
fn at(weight: &Tensor, [first, second, third]: [i64; 3]) -> Result<Tensor, TchError> {
    weight
        .f_select(0, first)?
        .f_select(0, second)?
        .f_select(0, third)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::htdemucs::HtDemucs;
    use crate::train::separator::SeparatorRecipe;
    use tch::{Device, Kind};

    #[test]
    fn the_stems_of_a_fresh_network_are_equal_shares_of_the_mix_in_one_channel_and_in_two() {
        for (channels, sounds) in [(12, 1), (16, 2)] {
            let config = Config {
                segment: 8_192,
                nfft: 512,
                depth: 3,
                channels,
                audio_channels: sounds,
                bottom_channels: Some(16),
                ..SeparatorRecipe::default().architecture
            };
            assert_eq!(hindrance(&config), None);
            let store = VarStore::new(Device::Cpu);
            let net = HtDemucs::new(&store.root(), &config).unwrap();
            give_back(&store, &config).unwrap();
            let mix = Tensor::randn([2, sounds, 8_192], (Kind::Float, Device::Cpu));
            let stems = tch::no_grad(|| net.forward(&mix)).unwrap();
            for stem in 0..4 {
                let off = stems.select(1, stem) - &mix * 0.25;
                let share = f64::try_from(off.square().mean(Kind::Double)).unwrap();
                assert!(share < 1e-4, "stem {stem} of {sounds}: {share}");
            }
        }
    }

    #[test]
    fn a_network_without_room_for_the_pairs_is_told_so() {
        let config = SeparatorRecipe::default().architecture;
        let narrow = Config {
            channels: 4,
            ..config.clone()
        };
        let flat = Config { depth: 1, ..config };
        assert!(hindrance(&narrow).unwrap().contains("two channels"));
        assert!(hindrance(&flat).unwrap().contains("two layers"));
    }
}
