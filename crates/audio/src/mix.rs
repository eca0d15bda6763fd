//! From the file's channels to the channels that are wanted, plane by plane.
//!
//! Mono is the plain mean of all channels. Stereo of three and more channels is a weighted mean: fronts, sides and rears
//! go to their side, whatever stands in the middle goes to both at half power, low-frequency channels are left out, and
//! each side is divided by the sum of its weights, so that no mix exceeds full scale. A side on which nothing stands is the
//! mean of all. Channels without positions count as left and right in turn. Mono becomes stereo by doubling, wherever the
//! file says that its one channel stands.

use symphonia::core::audio::{Channels, Position};

use crate::protocol::ChannelRule;

/// Half power: what a channel in the middle gives to each side.
const MIDDLE: f32 = std::f32::consts::FRAC_1_SQRT_2;

const LEFTS: Position = Position::FRONT_LEFT
    .union(Position::REAR_LEFT)
    .union(Position::FRONT_LEFT_CENTER)
    .union(Position::SIDE_LEFT)
    .union(Position::TOP_FRONT_LEFT)
    .union(Position::TOP_REAR_LEFT)
    .union(Position::TOP_SIDE_LEFT)
    .union(Position::BOTTOM_FRONT_LEFT)
    .union(Position::FRONT_LEFT_WIDE);
const RIGHTS: Position = Position::FRONT_RIGHT
    .union(Position::REAR_RIGHT)
    .union(Position::FRONT_RIGHT_CENTER)
    .union(Position::SIDE_RIGHT)
    .union(Position::TOP_FRONT_RIGHT)
    .union(Position::TOP_REAR_RIGHT)
    .union(Position::TOP_SIDE_RIGHT)
    .union(Position::BOTTOM_FRONT_RIGHT)
    .union(Position::FRONT_RIGHT_WIDE);
const LOWS: Position = Position::LFE1.union(Position::LFE2);

/// How one file's channels are mixed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mix {
    /// As they are.
    Keep,
    /// One plane: the mean.
    Mean,
    /// Two planes, each a weighted sum: left and right weight of each channel.
    Sides(Vec<[f32; 2]>),
}

impl Mix {
    /// The mix for a file with these channels.
    pub(crate) fn of(rule: ChannelRule, channels: &Channels) -> Self {
        match (rule, channels.count()) {
            (ChannelRule::Native, _) | (ChannelRule::Mono, 1) | (ChannelRule::Stereo, 2) => {
                Self::Keep
            }
            (ChannelRule::Mono, _) => Self::Mean,
            (ChannelRule::Stereo, _) => Self::Sides(weights(channels)),
        }
    }

    /// How many planes come out of `channels` planes.
    pub(crate) fn planes(&self, channels: usize) -> usize {
        match self {
            Self::Keep => channels,
            Self::Mean => 1,
            Self::Sides(_) => 2,
        }
    }

    /// Mixes `planes`, all of the same length, into `out`.
    pub(crate) fn apply<'a>(
        &self,
        planes: &'a [Vec<f32>],
        out: &'a mut Vec<Vec<f32>>,
    ) -> &'a [Vec<f32>] {
        let frames = planes.first().map_or(0, Vec::len);
        out.resize_with(self.planes(planes.len()), Vec::new);
        match self {
            Self::Keep => return planes,
            Self::Mean => mean(planes, frames, &mut out[0]),
            Self::Sides(weights) => {
                for (side, out) in out.iter_mut().enumerate() {
                    out.clear();
                    out.resize(frames, 0.0);
                    for (plane, weight) in planes
                        .iter()
                        .zip(weights)
                        .filter(|(_, weight)| weight[side] > 0.0)
                    {
                        out.iter_mut()
                            .zip(plane)
                            .for_each(|(out, x)| *out += x * weight[side]);
                    }
                }
            }
        }
        out
    }
}

fn mean(planes: &[Vec<f32>], frames: usize, out: &mut Vec<f32>) {
    out.clear();
    match planes {
        [left, right] => out.extend(
            left.iter()
                .zip(right)
                .map(|(left, right)| (left + right) * 0.5),
        ),
        _ => {
            let share = 1.0 / planes.len() as f32;
            out.resize(frames, 0.0);
            for plane in planes {
                out.iter_mut()
                    .zip(plane)
                    .for_each(|(out, x)| *out += x * share);
            }
        }
    }
}

/// Left and right weight of each channel; each side's weights sum to one.
fn weights(channels: &Channels) -> Vec<[f32; 2]> {
    let mut weights: Vec<[f32; 2]> = if channels.count() == 1 {
        // Wherever the file says that it stands: many say left.
        vec![[1.0, 1.0]]
    } else if let Channels::Positioned(positions) = channels {
        positions.iter().map(weight_of).collect()
    } else {
        // A channel set of another kind names no sides.
        (0..channels.count())
            .map(|i| if i % 2 == 0 { [1.0, 0.0] } else { [0.0, 1.0] })
            .collect()
    };
    for side in 0..2 {
        let sum: f32 = weights.iter().map(|weight| weight[side]).sum();
        if sum == 0.0 {
            // A side on which nothing stands, as in a layout of low-frequency channels alone: better heard than lost.
            let share = 1.0 / weights.len().max(1) as f32;
            weights.iter_mut().for_each(|weight| weight[side] = share);
        } else {
            weights.iter_mut().for_each(|weight| weight[side] /= sum);
        }
    }
    weights
}

fn weight_of(position: Position) -> [f32; 2] {
    if LEFTS.contains(position) {
        [1.0, 0.0]
    } else if RIGHTS.contains(position) {
        [0.0, 1.0]
    } else if LOWS.contains(position) {
        [0.0, 0.0]
    } else {
        [MIDDLE, MIDDLE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE_ONE: Position = Position::FRONT_LEFT
        .union(Position::FRONT_RIGHT)
        .union(Position::FRONT_CENTER)
        .union(Position::LFE1)
        .union(Position::REAR_LEFT)
        .union(Position::REAR_RIGHT);

    fn mixed(rule: ChannelRule, channels: Channels, frame: &[f32]) -> Vec<f32> {
        let planes: Vec<Vec<f32>> = frame.iter().map(|x| vec![*x]).collect();
        let mut out = Vec::new();
        Mix::of(rule, &channels)
            .apply(&planes, &mut out)
            .iter()
            .map(|plane| plane[0])
            .collect()
    }

    #[test]
    fn channels_mix_by_the_stated_rules() {
        let stereo = || Channels::Positioned(Position::FRONT_LEFT | Position::FRONT_RIGHT);
        let mono = || Channels::Positioned(Position::FRONT_CENTER);
        let share = 1.0 / (2.0 + MIDDLE);
        #[rustfmt::skip]
        let rows = [
            (ChannelRule::Mono, stereo(), vec![1.0, 0.5], vec![0.75]),
            (ChannelRule::Mono, stereo(), vec![0.5, -0.5], vec![0.0]),
            (ChannelRule::Mono, Channels::Positioned(FIVE_ONE), vec![0.6; 6], vec![0.6]),
            (ChannelRule::Stereo, mono(), vec![0.5], vec![0.5, 0.5]),
            (ChannelRule::Stereo, Channels::Positioned(Position::FRONT_LEFT), vec![0.5], vec![0.5, 0.5]),
            (ChannelRule::Stereo, Channels::Positioned(Position::LFE1), vec![0.5], vec![0.5, 0.5]),
            (ChannelRule::Stereo, Channels::Discrete(1), vec![0.5], vec![0.5, 0.5]),
            (ChannelRule::Stereo, Channels::Positioned(Position::FRONT_LEFT | Position::REAR_LEFT | Position::LFE1), vec![0.5, 0.7, 0.3], vec![0.4, 0.5]),
            (ChannelRule::Stereo, stereo(), vec![0.5, 0.25], vec![0.5, 0.25]),
            (ChannelRule::Stereo, Channels::Positioned(FIVE_ONE), vec![1.0, 0.0, 0.0, 1.0, 1.0, 0.0], vec![2.0 * share, 0.0]),
            (ChannelRule::Stereo, Channels::Positioned(FIVE_ONE), vec![0.0, 0.0, 1.0, 0.0, 0.0, 0.0], vec![MIDDLE * share; 2]),
            (ChannelRule::Stereo, Channels::Discrete(4), vec![1.0, 0.0, 0.5, 0.25], vec![0.75, 0.125]),
            (ChannelRule::Native, Channels::Discrete(3), vec![0.1, 0.2, 0.3], vec![0.1, 0.2, 0.3]),
        ];
        for (rule, channels, frame, expected) in rows {
            let found = mixed(rule, channels, &frame);
            let near = found
                .iter()
                .zip(&expected)
                .all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(
                near && found.len() == expected.len(),
                "{rule:?} {frame:?}: {found:?}"
            );
        }
    }

    #[test]
    fn no_mix_exceeds_full_scale() {
        for rule in [ChannelRule::Mono, ChannelRule::Stereo] {
            let mixed = mixed(rule, Channels::Positioned(FIVE_ONE), &[1.0; 6]);
            assert!(mixed.iter().all(|x| *x <= 1.0 + 1e-6), "{mixed:?}");
        }
    }
}
