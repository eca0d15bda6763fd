//! Decoding one file: from its bytes to interleaved PCM at the wanted rate and channels, within limits, with an account.
//!
//! Called by the decoder process on untrusted files, where an abort or a hang costs one child, and by training on trusted
//! ones. It allocates by what the file holds, never by what a header claims; memory does not grow with length. Encoder
//! delay and padding are cut where the container states them: LAME's tag and Vorbis granules by symphonia, MP4 edit lists
//! of one entry here.
//!
//! The result is a function of the file's bytes and the wanted output alone: neither the size of reads nor the speed of
//! either side changes a sample.

mod output;
mod packets;

use std::ops::Range;

use symphonia::core::audio::{AudioSpec, GenericAudioBufferRef};
use types::{Code, Provenance, Warning};

use crate::fault::Fault;
use crate::limits::Limits;
use crate::plan::{self, FlacRead, Plan, check_channels, check_rate};
use crate::protocol::OutputSpec;
use crate::source::{Blocks, ReadAt};

use output::Output;
use packets::{Next, Packets};

/// What to make of a file, and at what cost at most.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The file's name; only its extension is compared with what is found.
    pub name: &'a str,
    /// What shall come out.
    pub output: OutputSpec,
    /// The bounds.
    pub limits: &'a Limits,
}

/// Where the PCM goes.
pub trait Sink {
    /// Takes interleaved samples, all finite and within [`crate::ring::SAMPLE_LIMIT`].
    ///
    /// # Errors
    /// Any fault ends the track.
    fn pcm(&mut self, interleaved: &[f32]) -> Result<(), Fault>;

    /// Told after each packet how many seconds are decoded: the place to count time.
    ///
    /// # Errors
    /// Any fault ends the track.
    fn progress(&mut self, decoded_s: f64) -> Result<(), Fault> {
        let _ = decoded_s;
        Ok(())
    }
}

impl Sink for Vec<f32> {
    fn pcm(&mut self, interleaved: &[f32]) -> Result<(), Fault> {
        self.extend_from_slice(interleaved);
        Ok(())
    }
}

/// The account of a decoded file.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// Frames that went into the sink.
    pub frames: u64,
    /// Their rate, Hz.
    pub rate_hz: u32,
    /// Their channels.
    pub channels: u16,
    /// The file's own rate, Hz.
    pub source_rate_hz: u32,
    /// The file's own channels.
    pub source_channels: u16,
    /// The codec, such as `mp3`.
    pub codec: String,
    /// Decoded length in milliseconds.
    pub duration_ms: u64,
    /// Reservations, sorted, each once.
    pub warnings: Vec<Warning>,
    /// Tags that claim a provenance.
    pub provenance: Vec<Provenance>,
}

/// Why a file was not decoded, with what its tags claim.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{fault}")]
pub struct Refused {
    /// The code and its particulars.
    pub fault: Fault,
    /// Tags that claim a provenance, as far as they were read.
    pub provenance: Vec<Provenance>,
}

/// Decodes a file into `sink`.
///
/// # Errors
/// [`Refused`] when the track ends in a code. The sink may hold samples by then; they are worthless.
pub fn decode<R: ReadAt>(
    blocks: &mut Blocks<R>,
    job: Job<'_>,
    sink: &mut dyn Sink,
) -> Result<Decoded, Refused> {
    let fault = blocks.fault_handle();
    let plan = plan::examine(blocks, job.name, job.limits)
        .map_err(|(fault, provenance)| Refused { fault, provenance })?;
    let mut account = Account::new(plan);
    let result = account.run(blocks, job, sink);
    let failed_read = fault
        .get()
        .map(|code| Fault::new(*code, "the file's bytes could not be read"));
    match (failed_read, result) {
        (Some(fault), _) | (None, Err(fault)) => Err(Refused {
            fault,
            provenance: account.plan.claims.into_kept(),
        }),
        (None, Ok(ended)) => Ok(account.close(ended)),
    }
}

/// Decodes a trusted file that fits in memory, for training and tests.
///
/// # Errors
/// As [`decode`].
pub fn decode_to_vec<R: ReadAt>(
    source: R,
    name: &str,
    output: OutputSpec,
) -> Result<(Decoded, Vec<f32>), Refused> {
    let mut pcm = Vec::new();
    let limits = Limits::default();
    let decoded = decode(
        &mut Blocks::new(source),
        Job {
            name,
            output,
            limits: &limits,
        },
        &mut pcm,
    )?;
    Ok((decoded, pcm))
}

/// What is known of a track while it is decoded.
struct Account {
    plan: Plan,
    codec: String,
    promised: Option<u64>,
    /// The first packet's format; all later ones must have it.
    spec: Option<AudioSpec>,
    /// Frames decoded at the file's rate.
    decoded: u64,
    /// Where the last packet ended on the file's own time line, frames.
    reached: u64,
    /// The longest packet, frames.
    longest: u64,
    failed_packets: u64,
}

/// What the output knows at the end.
struct Ended {
    frames: u64,
    rate_hz: u32,
    channels: u16,
}

impl Account {
    fn new(plan: Plan) -> Self {
        let promised = plan.promised;
        Self {
            plan,
            codec: String::new(),
            promised,
            spec: None,
            decoded: 0,
            reached: 0,
            longest: 0,
            failed_packets: 0,
        }
    }

    fn run<R: ReadAt>(
        &mut self,
        blocks: &mut Blocks<R>,
        job: Job<'_>,
        sink: &mut dyn Sink,
    ) -> Result<Ended, Fault> {
        let mut packets = Packets::open(blocks, &mut self.plan, job.limits)?;
        self.codec = packets.codec().to_owned();
        self.promised = self.promised.or(packets.promised());
        let mut output = None;
        let mut cut = self.drain(&mut packets, job, &mut output, sink)?;
        self.failed_packets += packets.lost();
        let flac = packets.flac_read(self.promised);
        drop(packets);
        if let Some(read) = flac {
            cut &= !self.look_behind(read, blocks, job.limits);
        }
        let (Some(output), Some(spec)) = (output, self.spec.as_ref()) else {
            return Err(self.nothing(cut));
        };
        let (rate_hz, channels) = (output.rate_hz(), output.channels());
        let is_pcm_float = self.codec.starts_with("pcm_f");
        let heard = output.finish(sink)?;
        if self.decoded == 0 {
            return Err(self.nothing(cut));
        }
        if heard.unusable == self.decoded * spec.channels().count() as u64 {
            return Err(Fault::new(
                Code::NonFiniteSamples,
                "no sample is a finite number",
            ));
        }
        self.judge(cut);
        self.warn_if(heard.unusable > 0, Warning::NonFinite);
        self.warn_if(heard.peak == 0.0, Warning::Silent);
        self.warn_if(is_pcm_float && heard.peak > 1.0, Warning::Clipped);
        Ok(Ended {
            frames: heard.frames,
            rate_hz,
            channels,
        })
    }

    /// Looks at what stands behind the last frame of a FLAC stream. True when that is something else, which the parser took
    /// for a frame that is cut off.
    fn look_behind<R: ReadAt>(
        &mut self,
        read: FlacRead,
        blocks: &mut Blocks<R>,
        limits: &Limits,
    ) -> bool {
        let frames = self.plan.flac;
        // A failed read is remembered by the blocks, and ends the track.
        let warning = frames.and_then(|frames| frames.behind(blocks, limits, read).ok()?);
        let Some(warning) = warning else {
            return false;
        };
        self.plan.warnings.push(warning);
        self.failed_packets += u64::from(!read.is_whole);
        true
    }

    /// Decodes packet by packet. True when the file ended within one.
    fn drain(
        &mut self,
        packets: &mut Packets<'_>,
        job: Job<'_>,
        output: &mut Option<Output>,
        sink: &mut dyn Sink,
    ) -> Result<bool, Fault> {
        let mut failed_in_a_row = 0;
        loop {
            let ended = match packets.next() {
                Next::Packet(place, buffer, kept) => {
                    failed_in_a_row = 0;
                    self.place(place);
                    if !self.take(&buffer, kept, job, output, sink)? {
                        self.plan.warn(Warning::FormatChanged);
                        return Ok(false);
                    }
                    None
                }
                Next::Undecodable(place, detail) => {
                    self.place(place);
                    self.failed_packets += 1;
                    failed_in_a_row += 1;
                    if failed_in_a_row >= job.limits.errors_in_a_row {
                        return Err(Fault::new(Code::DecodeErrors, detail));
                    }
                    None
                }
                Next::Foreign => None,
                Next::End(warning) => {
                    self.plan.warnings.extend(warning);
                    Some(false)
                }
                Next::CutOff => Some(true),
                Next::Broken(detail) => {
                    if self.decoded == 0 {
                        return Err(Fault::new(Code::Damaged, detail));
                    }
                    self.failed_packets += 1;
                    Some(false)
                }
            };
            let rate = self.spec.as_ref().map_or(1, AudioSpec::rate);
            sink.progress(self.decoded as f64 / f64::from(rate))?;
            if let Some(cut) = ended {
                return Ok(cut);
            }
        }
    }

    fn place(&mut self, place: packets::Place) {
        self.reached = self.reached.max(place.end);
        self.longest = self.longest.max(place.frames);
    }

    /// Hands on what is kept of a packet's samples. False when its format is not that of the packets before.
    fn take(
        &mut self,
        buffer: &GenericAudioBufferRef<'_>,
        kept: Range<usize>,
        job: Job<'_>,
        output: &mut Option<Output>,
        sink: &mut dyn Sink,
    ) -> Result<bool, Fault> {
        let spec = buffer.spec();
        let output = match (output, &self.spec) {
            (Some(output), Some(first)) => {
                if first != spec {
                    return Ok(false);
                }
                output
            }
            (output, _) => {
                check_rate(u64::from(spec.rate()), job.limits)?;
                check_channels(spec.channels().count() as u64, job.limits)?;
                self.spec = Some(spec.clone());
                output.insert(Output::new(spec, job.output)?)
            }
        };
        self.decoded += kept.len() as u64;
        check_length(self.decoded, spec, job.limits)?;
        if !kept.is_empty() {
            output.take(&buffer.slice(kept), sink)?;
        }
        Ok(true)
    }

    /// The fault of a file without a sample.
    fn nothing(&self, cut: bool) -> Fault {
        if self.failed_packets > 0 || cut || self.promised.is_some_and(|promised| promised > 0) {
            Fault::new(Code::Damaged, "no packet decoded before the file's end")
        } else {
            Fault::new(Code::NoSamples, "the file holds no sample")
        }
    }

    /// Compares what was promised with what came.
    fn judge(&mut self, cut: bool) {
        let slack = 2 * self.longest;
        let short = self
            .promised
            .is_some_and(|promised| self.reached.saturating_add(slack) < promised);
        let long = self
            .promised
            .is_some_and(|promised| promised.saturating_add(slack) < self.decoded);
        self.warn_if(cut || short, Warning::Truncated);
        self.warn_if(long, Warning::LengthDisagrees);
        self.warn_if(self.failed_packets > 0, Warning::FramesLost);
    }

    fn warn_if(&mut self, condition: bool, warning: Warning) {
        if condition {
            self.plan.warnings.push(warning);
        }
    }

    fn close(self, ended: Ended) -> Decoded {
        let (rate, channels) = self
            .spec
            .as_ref()
            .map_or((0, 0), |spec| (spec.rate(), spec.channels().count()));
        let mut warnings = self.plan.warnings;
        warnings.sort_unstable();
        warnings.dedup();
        Decoded {
            frames: ended.frames,
            rate_hz: ended.rate_hz,
            channels: ended.channels,
            source_rate_hz: rate,
            source_channels: u16::try_from(channels).unwrap_or(u16::MAX),
            codec: self.codec,
            duration_ms: self.decoded * 1000 / u64::from(rate.max(1)),
            warnings,
            provenance: self.plan.claims.into_kept(),
        }
    }
}

fn check_length(decoded: u64, spec: &AudioSpec, limits: &Limits) -> Result<(), Fault> {
    if decoded > u64::from(limits.duration_s) * u64::from(spec.rate()) {
        return Err(Fault::new(
            Code::TooLong,
            format!("longer than {} s", limits.duration_s),
        ));
    }
    if decoded * spec.channels().count() as u64 > limits.sample_values {
        return Err(Fault::new(
            Code::TooManySamples,
            format!("more than {} sample values", limits.sample_values),
        ));
    }
    Ok(())
}
