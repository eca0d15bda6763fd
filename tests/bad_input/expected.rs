//! What becomes of each hostile file: the one table that the suite holds the product against, and that
//! `docs/reference/bad-input.md` shows to people.

use audio::host::Outcome;
use corpus::hostile::Hostile;
use std::fmt;
use types::Code::{
    ChannelLimit, Damaged, DecodeErrors, Empty, NoSamples, NonFiniteSamples, NotAudio,
    SampleRateLimit, TooLong, TooManySamples, UnsupportedCodec,
};
use types::Warning::{
    ChainedStreams, Clipped, FormatChanged, FramesLost, JunkSkipped, LengthDisagrees, NonFinite,
    Silent, TagsSkipped, TrailingData, Truncated, WrongExtension,
};
use types::{Code, Warning};

/// How a track ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// `unscannable`, with this code.
    Refused(Code),
    /// A verdict other than `unscannable`, with exactly these warnings.
    Scanned(&'static [Warning]),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&match self {
            Self::Refused(code) => refusal(*code),
            Self::Scanned(warnings) => scan(warnings),
        })
    }
}

/// What a decoder's answer makes of a track, in the words of [`Ending`].
pub(crate) fn ending(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(summary) => scan(&summary.warnings),
        Outcome::Failed(failure) => refusal(failure.code),
        Outcome::Died(code, how) => format!("decoder died: {code}, {how}"),
    }
}

/// A track that was not scanned.
pub(crate) fn refusal(code: Code) -> String {
    format!("`{code}`")
}

/// A scanned track with these warnings.
pub(crate) fn scan(warnings: &[Warning]) -> String {
    let names: Vec<String> = warnings
        .iter()
        .map(|warning| format!("`{warning}`"))
        .collect();
    ["scanned".to_owned()]
        .into_iter()
        .chain(names)
        .collect::<Vec<_>>()
        .join(", ")
}

/// One expectation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// The family.
    pub(crate) family: u8,
    /// A file's name; a `*` stands for any characters. The first case that fits a file counts.
    pub(crate) name: &'static str,
    /// How its row ends.
    pub(crate) ending: Ending,
    /// Processor time that its decoder may use, seconds.
    pub(crate) seconds: u32,
    /// Memory that its decoder may hold at its peak, MiB.
    pub(crate) mib: u32,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} within {} s and {} MiB",
            self.ending, self.seconds, self.mib
        )
    }
}

impl Case {
    fn fits(&self, file: &Hostile) -> bool {
        let named = match self.name.split_once('*') {
            None => file.name == self.name,
            Some((before, after)) => file.name.starts_with(before) && file.name.ends_with(after),
        };
        named && file.family == self.family
    }
}

/// The expectation of a file.
///
/// # Panics
/// When there is none.
pub(crate) fn of(file: &Hostile) -> &'static Case {
    let found = CASES.iter().find(|case| case.fits(file));
    found.unwrap_or_else(|| {
        panic!(
            "nothing is expected of `{}` of family {}",
            file.name, file.family
        )
    })
}

/// Files of which a decoder by itself says nothing, and the scan does: the mix cancels out or is too faint to hear, or the
/// resampled track has no sample left.
const SILENT_DECODERS: [&str; 3] = ["denormal.wav", "phase-inverted.wav", "one-frame.wav"];

/// How a decoder by itself ends a file.
pub(crate) fn of_decoder(file: &Hostile) -> Ending {
    if SILENT_DECODERS.contains(&file.name.as_str()) {
        Ending::Scanned(&[])
    } else {
        of(file).ending
    }
}

/// Processor seconds and MiB of a file that is no bomb.
const PLAIN: (u32, u32) = (2, 16);

const fn refused(family: u8, name: &'static str, code: Code) -> Case {
    Case {
        family,
        name,
        ending: Ending::Refused(code),
        seconds: PLAIN.0,
        mib: PLAIN.1,
    }
}

const fn scanned(family: u8, name: &'static str, warnings: &'static [Warning]) -> Case {
    Case {
        family,
        name,
        ending: Ending::Scanned(warnings),
        seconds: PLAIN.0,
        mib: PLAIN.1,
    }
}

impl Case {
    const fn within(self, seconds: u32, mib: u32) -> Self {
        Self {
            seconds,
            mib,
            ..self
        }
    }
}

/// Every case, by family.
#[rustfmt::skip]
pub(crate) static CASES: &[Case] = &[
    refused(1, "flac-10h-stereo.flac", TooLong).within(30, 24),
    refused(2, "flac-1h-8ch-192khz.flac", TooManySamples).within(30, 24),
    refused(3, "flac-655350hz-8ch.flac", SampleRateLimit),
    refused(4, "mp3-10h-8kbps.mp3", TooLong).within(30, 24),
    refused(5, "vorbis-10h.ogg", TooLong).within(30, 24),
    scanned(7, "ogg-100k-chained.ogg", &[]).within(5, 128),
    scanned(7, "ogg-100k-at-once.ogg", &[]).within(5, 128),
    refused(8, "wav-26ch-768khz.wav", SampleRateLimit),
    scanned(10, "m4a-1m-tiny-samples.m4a", &[]).within(5, 32),
    scanned(10, "m4a-1m-durations.m4a", &[]).within(5, 32),
    refused(10, "m4a-1m-tiny-packets.m4a", DecodeErrors).within(5, 32),
    scanned(11, "wav-claims-4gib.wav", &[Truncated]),
    scanned(12, "rf64-claims-2e63.wav", &[Truncated]),
    scanned(13, "mp3-xing-claims-100h.mp3", &[Truncated]),
    scanned(14, "flac-claims-2e36-samples.flac", &[Truncated]),
    refused(15, "caf-packet-table-2e60*", Damaged),
    refused(16, "caf-frames-per-packet*", Damaged),
    refused(17, "mp4-stsz-2e32.m4a", Damaged),
    refused(18, "mp4-stco-past-eof.m4a", Damaged),
    scanned(19, "mp4-elst-negative.m4a", &[LengthDisagrees]),
    scanned(20, "aiff-rate-sound.aiff", &[]),
    refused(20, "aiff-rate-*", SampleRateLimit),
    refused(21, "wav-rate-0.wav", SampleRateLimit),
    refused(22, "wav-rate-2e32.wav", SampleRateLimit),
    refused(23, "wav-0-channels.wav", ChannelLimit),
    refused(24, "wav-65535-channels.wav", ChannelLimit),
    scanned(25, "wav-align-*", &[Truncated]),
    refused(25, "wav-bits-0.wav", Damaged),
    refused(26, "mkv-lacing-negative.mka", UnsupportedCodec),
    refused(27, "mkv-unknown-size-nesting.mka", UnsupportedCodec),
    refused(28, "mp4-nested-*", Damaged),
    refused(29, "alac-cookie-2e32.*", Damaged),
    scanned(30, "id3-claims-256mib.mp3", &[TagsSkipped, JunkSkipped]),
    refused(30, "id3-claims-256mib-alone.mp3", NotAudio),
    scanned(31, "id3-200mb-picture.mp3", &[TagsSkipped]),
    refused(32, "id3-33-bytes.mp3", NotAudio),
    scanned(32, "id3-33-bytes-and-sound.mp3", &[]),
    scanned(33, "id3-100k-texts.mp3", &[TagsSkipped]),
    scanned(35, "comments-4g.*", &[TagsSkipped]),
    scanned(36, "tags-control-rtl-emoji.*", &[]),
    scanned(37, "tags-script.*", &[]),
    refused(41, "empty.mp3", Empty),
    refused(42, "one-byte.mp3", NotAudio),
    refused(43, "zeros-1mb.mp3", NotAudio),
    refused(44, "random-5mb.mp3", NotAudio),
    refused(45, "cut-at-*.m4a", Damaged),
    refused(45, "cut-at-10.ogg", Damaged),
    refused(45, "cut-at-20.ogg", Damaged),
    refused(45, "cut-at-30.ogg", Damaged),
    refused(45, "cut-at-40.ogg", Damaged),
    scanned(45, "cut-at-*", &[Truncated]),
    scanned(46, "flipped.mp3", &[]),
    refused(46, "flipped.alac.m4a", Damaged),
    scanned(46, "flipped.m4a", &[Truncated, FramesLost]),
    scanned(46, "flipped.aac", &[FramesLost]),
    scanned(46, "flipped.flac", &[FramesLost]),
    refused(46, "flipped.ogg", Damaged),
    scanned(46, "flipped.*", &[]),
    scanned(47, "twice.mp3", &[LengthDisagrees]),
    scanned(47, "twice.flac", &[FramesLost, TrailingData]),
    scanned(47, "twice.ogg", &[ChainedStreams]),
    scanned(47, "mp3-then-flac.mp3", &[FramesLost, FormatChanged]),
    scanned(47, "twice.aac", &[]),
    scanned(47, "twice.*", &[TrailingData]),
    scanned(48, "wav-named.txt", &[]),
    scanned(48, "*", &[WrongExtension]),
    refused(49, "junk-10mb.mp3", NotAudio),
    scanned(50, "changes.mp3", &[FormatChanged]),
    scanned(50, "changes.flac", &[FormatChanged]),
    scanned(51, "nan-inf-denormal.wav", &[NonFinite]),
    refused(51, "all-nan.wav", NonFiniteSamples),
    scanned(51, "denormal.wav", &[Silent]),
    scanned(51, "huge.wav", &[NonFinite, Clipped]),
    scanned(52, "digital-silence.wav", &[Silent]),
    scanned(53, "dc-full-scale.wav", &[]),
    scanned(53, "square-full-scale.wav", &[]),
    refused(54, "no-frame.wav", NoSamples),
    scanned(54, "10-ms.wav", &[]),
    refused(54, "one-frame.wav", NoSamples),
    scanned(55, "mono-in-one-channel.wav", &[]),
    scanned(55, "phase-inverted.wav", &[Silent]),
    refused(56, "*", UnsupportedCodec),
];
