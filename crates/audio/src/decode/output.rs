//! From a packet's buffer to the sink: checked, mixed, resampled, interleaved. Knows no container and no codec.

use symphonia::core::audio::{AudioSpec, GenericAudioSlice};

use super::Sink;
use crate::fault::Fault;
use crate::mix::Mix;
use crate::protocol::OutputSpec;
use crate::resample::Resampler;
use crate::ring::SAMPLE_LIMIT;

/// The loudest sample taken from a file. A resampler can overshoot; a quarter of the limit leaves room for any of its sums.
const LOUDEST: f32 = SAMPLE_LIMIT / 4.0;

/// All bits of a float but its sign.
const MAGNITUDE: u32 = 0x7fff_ffff;

/// What was heard of a whole track.
pub(super) struct Heard {
    /// Frames that went into the sink.
    pub(super) frames: u64,
    /// The largest usable magnitude in the file.
    pub(super) peak: f32,
    /// Samples of the file that were replaced by zero.
    pub(super) unusable: u64,
}

/// The way from one file's format to the wanted one.
pub(super) struct Output {
    rate_hz: u32,
    mix: Mix,
    resampler: Option<Resampler>,
    planes: Vec<Vec<f32>>,
    mixed: Vec<Vec<f32>>,
    interleaved: Vec<f32>,
    channels: usize,
    heard: Heard,
}

impl Output {
    pub(super) fn new(spec: &AudioSpec, wanted: OutputSpec) -> Result<Self, Fault> {
        let mix = Mix::of(wanted.channels, spec.channels());
        let channels = mix.planes(spec.channels().count());
        let rate_hz = wanted.rate_hz.unwrap_or(spec.rate());
        let resampler = (rate_hz != spec.rate())
            .then(|| Resampler::new(spec.rate(), rate_hz, channels))
            .transpose()?;
        Ok(Self {
            rate_hz,
            mix,
            resampler,
            planes: Vec::new(),
            mixed: Vec::new(),
            interleaved: Vec::new(),
            channels,
            heard: Heard {
                frames: 0,
                peak: 0.0,
                unusable: 0,
            },
        })
    }

    pub(super) fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    pub(super) fn channels(&self) -> u16 {
        u16::try_from(self.channels).unwrap_or(u16::MAX)
    }

    /// Takes a packet's samples.
    pub(super) fn take(
        &mut self,
        buffer: &GenericAudioSlice<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Fault> {
        if self.resampler.is_none() && self.mix == Mix::Keep {
            buffer.copy_to_vec_interleaved(&mut self.interleaved);
            hear(&mut self.interleaved, &mut self.heard);
            self.heard.frames += buffer.frames() as u64;
            return sink.pcm(&self.interleaved);
        }
        buffer.copy_to_vecs_planar(&mut self.planes);
        for plane in &mut self.planes {
            hear(plane, &mut self.heard);
        }
        let Self {
            mix,
            resampler,
            planes,
            mixed,
            interleaved,
            heard,
            ..
        } = self;
        let mixed = mix.apply(planes, mixed);
        match resampler {
            Some(resampler) => {
                resampler.push(mixed, |planes| give(planes, interleaved, heard, sink))
            }
            None => {
                let planes: Vec<&[f32]> = mixed.iter().map(Vec::as_slice).collect();
                give(&planes, interleaved, heard, sink)
            }
        }
    }

    /// Hands on what is still inside.
    pub(super) fn finish(self, sink: &mut dyn Sink) -> Result<Heard, Fault> {
        let Self {
            resampler,
            mut interleaved,
            mut heard,
            ..
        } = self;
        if let Some(resampler) = resampler {
            resampler.finish(|planes| give(planes, &mut interleaved, &mut heard, sink))?;
        }
        Ok(heard)
    }
}

/// Notes the peak and silences what no honest file holds.
fn hear(samples: &mut [f32], heard: &mut Heard) {
    let peak = peak_bits(samples);
    if peak > LOUDEST.to_bits() {
        for x in samples
            .iter_mut()
            .filter(|x| x.to_bits() & MAGNITUDE > LOUDEST.to_bits())
        {
            *x = 0.0;
            heard.unusable += 1;
        }
        return hear_clean(peak_bits(samples), heard);
    }
    hear_clean(peak, heard);
}

fn hear_clean(peak: u32, heard: &mut Heard) {
    heard.peak = heard.peak.max(f32::from_bits(peak));
}

/// The largest magnitude as bits, which order like the magnitudes; infinities and NaN come out above all numbers.
fn peak_bits(samples: &[f32]) -> u32 {
    // Signed compares, since the baseline instruction set has no unsigned ones; without the sign bit both order alike.
    let magnitude = |x: &f32| (x.to_bits() & MAGNITUDE).cast_signed();
    samples
        .iter()
        .map(magnitude)
        .fold(0, i32::max)
        .cast_unsigned()
}

fn give(
    planes: &[&[f32]],
    interleaved: &mut Vec<f32>,
    heard: &mut Heard,
    sink: &mut dyn Sink,
) -> Result<(), Fault> {
    let frames = planes.first().map_or(0, |plane| plane.len());
    heard.frames += frames as u64;
    match planes {
        [plane] => return sink.pcm(plane),
        [left, right] => {
            interleaved.clear();
            interleaved.extend(
                left.iter()
                    .zip(*right)
                    .flat_map(|(left, right)| [*left, *right]),
            );
        }
        _ => {
            interleaved.clear();
            interleaved.resize(frames * planes.len(), 0.0);
            for (channel, plane) in planes.iter().enumerate() {
                let places = interleaved.iter_mut().skip(channel).step_by(planes.len());
                places.zip(*plane).for_each(|(place, x)| *place = *x);
            }
        }
    }
    sink.pcm(interleaved)
}
