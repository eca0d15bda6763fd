//! What a file is, and which bytes of it a parser gets to see: decided from its first bytes before any parser runs.
//!
//! A container is told by its magic alone; only MPEG audio and ADTS, which have none, are searched for. Headers are
//! walked here with every length checked against the file, so that parsers meet neither tags nor lengths that lie.

mod caf;
mod flac;
mod id3;
mod iff;
mod mp4;
mod mpeg;
mod ogg;

use std::io;

use types::{Code, Provenance, Warning};

use crate::fault::Fault;
use crate::limits::Limits;
use crate::source::{Blocks, ReadAt};
use crate::splice::Piece;
use crate::tags::Claims;

pub(crate) use flac::{FlacFrames, FlacRead};
pub(crate) use mp4::{Cut, Edited, is_plain_aac_lc};
pub(crate) use mpeg::FrameKind;

/// How far from the start an MPEG audio or ADTS stream is searched for when no magic is known.
pub(crate) const PROBE_BYTES: u64 = 1 << 20;
/// Most chunks, boxes or blocks walked in one container: real files have dozens.
const WALK_MAX: usize = 4096;
/// Most bytes behind the end of a recording that nobody is told of: far less than a second of any music that is sold.
const TRAILING_BYTES_MAX: u64 = 1024;
/// How much is looked at, at either end of what follows a recording, to tell padding from data.
const TRAILING_LOOK_BYTES: usize = 4096;
/// Tags passed over behind a recording: tools that add one leave those of others.
const TRAILING_TAGS_MAX: usize = 4;

/// The parser that a file goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Wav,
    Aiff,
    Caf,
    Flac,
    Ogg,
    Mp4,
    Mpeg,
    Adts,
}

impl Container {
    /// Extensions that go with it.
    fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Wav => &["wav", "wave", "bwf", "rf64", "w64"],
            Self::Aiff => &["aif", "aiff", "aifc"],
            Self::Caf => &["caf"],
            Self::Flac => &["flac"],
            Self::Ogg => &["ogg", "oga", "ogv", "ogx"],
            Self::Mp4 => &[
                "m4a", "mp4", "m4b", "m4p", "m4v", "m4r", "mov", "alac", "3gp", "qt",
            ],
            Self::Mpeg => &["mp3", "mpga", "mpeg", "mpg"],
            Self::Adts => &["aac", "adts"],
        }
    }
}

/// Extensions of audio files that this version knows of, by container.
const CONTAINERS: [Container; 8] = [
    Container::Wav,
    Container::Aiff,
    Container::Caf,
    Container::Flac,
    Container::Ogg,
    Container::Mp4,
    Container::Mpeg,
    Container::Adts,
];

/// What was found out about a file before parsing it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) container: Container,
    /// The file as the parser shall see it.
    pub(crate) pieces: Vec<Piece>,
    /// Whether the parser needs to jump; all others read from front to back.
    pub(crate) seekable: bool,
    /// Frames that the header promises, where it does so reliably.
    pub(crate) promised: Option<u64>,
    /// The kind of every frame of an MPEG stream.
    pub(crate) frame_kind: Option<FrameKind>,
    /// The frames of a FLAC stream, which tell their own end only once they are decoded.
    pub(crate) flac: Option<FlacFrames>,
    /// The streams of an MP4 that have an edit list.
    pub(crate) edited: Vec<Edited>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) claims: Claims,
}

impl Plan {
    fn of(container: Container, pieces: Vec<Piece>) -> Self {
        Self {
            container,
            pieces,
            seekable: false,
            promised: None,
            frame_kind: None,
            flac: None,
            edited: Vec::new(),
            warnings: Vec::new(),
            claims: Claims::default(),
        }
    }

    pub(crate) fn warn(&mut self, warning: Warning) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// A file under examination: its bytes between leading tags and the end.
struct Exam<'a, R> {
    blocks: &'a mut Blocks<R>,
    limits: &'a Limits,
    /// The first byte behind leading ID3v2 tags.
    start: u64,
    /// The file's end.
    end: u64,
}

/// Why an examination ended early.
enum Refusal {
    Fault(Fault),
    Read(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

fn refuse<T>(code: Code, detail: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Fault(Fault::new(code, detail)))
}

/// Examines a file. `name` is only compared with what was found. Claims found before a refusal come with it.
pub(crate) fn examine<R: ReadAt>(
    blocks: &mut Blocks<R>,
    name: &str,
    limits: &Limits,
) -> Result<Plan, (Fault, Vec<Provenance>)> {
    let mut claims = Claims::default();
    match examine_with(blocks, name, limits, &mut claims) {
        Ok(mut plan) => {
            plan.claims = claims;
            Ok(plan)
        }
        Err(Refusal::Fault(fault)) => Err((fault, claims.into_kept())),
        Err(Refusal::Read(error)) => {
            let fault = blocks
                .fault()
                .unwrap_or_else(|| Fault::new(Code::Internal, error.to_string()));
            Err((fault, claims.into_kept()))
        }
    }
}

fn examine_with<R: ReadAt>(
    blocks: &mut Blocks<R>,
    name: &str,
    limits: &Limits,
    claims: &mut Claims,
) -> Result<Plan, Refusal> {
    let end = blocks.bytes();
    if end == 0 {
        return refuse(Code::Empty, "the file has no bytes");
    }
    if end > limits.file_bytes {
        return refuse(
            Code::TooManyBytes,
            format!("{end} bytes, {} allowed", limits.file_bytes),
        );
    }
    let mut warnings = Vec::new();
    let start = id3::skip_leading(blocks, limits, claims, &mut warnings)?;
    let mut exam = Exam {
        blocks,
        limits,
        start,
        end,
    };
    let mut plan = exam.plan(claims)?;
    for warning in warnings {
        plan.warn(warning);
    }
    if disagrees(name, plan.container) {
        plan.warn(Warning::WrongExtension);
    }
    Ok(plan)
}

/// Whether the name has the extension of another kind of audio file.
fn disagrees(name: &str, container: Container) -> bool {
    let Some((_, extension)) = name.rsplit_once('.') else {
        return false;
    };
    let extension = extension.to_ascii_lowercase();
    let known = CONTAINERS
        .iter()
        .any(|other| other.extensions().contains(&extension.as_str()));
    known && !container.extensions().contains(&extension.as_str())
}

impl<R: ReadAt> Exam<'_, R> {
    fn plan(&mut self, claims: &mut Claims) -> Result<Plan, Refusal> {
        let head = self.blocks.vec(self.start, 16)?;
        match Magic::of(&head) {
            Magic::Container(Container::Wav) => iff::wav(self, claims),
            Magic::Container(Container::Aiff) => iff::aiff(self, claims),
            Magic::Container(Container::Caf) => caf::plan(self, claims),
            Magic::Container(Container::Flac) => flac::plan(self, claims),
            Magic::Container(Container::Ogg) => Ok(ogg::plan(self)?),
            Magic::Container(Container::Mp4) => mp4::plan(self),
            Magic::Container(Container::Mpeg | Container::Adts) | Magic::Unknown => {
                mpeg::plan(self, claims)
            }
            Magic::Unsupported(kind) => refuse(
                Code::UnsupportedCodec,
                format!("{kind} is not decoded by this version"),
            ),
        }
    }

    /// The end of the audio when a trailing ID3v1 or APE tag is left out: for streams without a container.
    fn end_without_trailers(&mut self) -> io::Result<u64> {
        let mut end = self.end;
        if let Some(at) = end.checked_sub(128).filter(|at| *at >= self.start)
            && self.blocks.array::<3>(at)? == Some(*b"TAG")
        {
            end = at;
        }
        if let Some(at) = end.checked_sub(32).filter(|at| *at >= self.start)
            && let Some(footer) = self.blocks.array::<16>(at)?
            && &footer[..8] == b"APETAGEX"
        {
            let size = u64::from(u32::from_le_bytes([
                footer[12], footer[13], footer[14], footer[15],
            ]));
            // The size counts the footer but not the header of 32 bytes, which nearly every tag has.
            let tag = end
                .checked_sub(size)
                .filter(|at| *at >= self.start)
                .unwrap_or(at);
            let header = tag.checked_sub(32).filter(|at| *at >= self.start);
            let has_header = match header {
                Some(at) => self.blocks.array::<8>(at)? == Some(*b"APETAGEX"),
                None => false,
            };
            end = if has_header {
                header.unwrap_or(tag)
            } else {
                tag
            };
        }
        Ok(end)
    }

    /// Whether more than tags and padding stands behind the end of a recording. Looks at the edges of what follows, so that
    /// a long tail costs no more than a short one.
    fn holds_more_from(&mut self, end: u64) -> io::Result<bool> {
        let last = self.end_without_trailers()?;
        let mut at = end;
        for _ in 0..TRAILING_TAGS_MAX {
            let tag = self.blocks.array(at)?.and_then(id3::whole_bytes);
            let Some(tag) = tag else { break };
            at += tag;
        }
        let rest = last.saturating_sub(at);
        if rest <= TRAILING_BYTES_MAX {
            return Ok(false);
        }
        let edge = rest.min(TRAILING_LOOK_BYTES as u64);
        let first = self.blocks.vec(at, edge as usize)?;
        let is_padding = first.iter().all(|byte| *byte == 0)
            && self
                .blocks
                .vec(last - edge, edge as usize)?
                .iter()
                .all(|byte| *byte == 0);
        Ok(!is_padding)
    }

    /// Refuses rates and channels beyond the limits.
    fn check_format(&self, rate_hz: u64, channels: u64) -> Result<(), Refusal> {
        check_rate(rate_hz, self.limits)?;
        Ok(check_channels(channels, self.limits)?)
    }
}

/// Refuses a sample rate beyond the limits.
pub(crate) fn check_rate(rate_hz: u64, limits: &Limits) -> Result<(), Fault> {
    if (u64::from(limits.rate_min_hz)..=u64::from(limits.rate_max_hz)).contains(&rate_hz) {
        return Ok(());
    }
    Err(Fault::new(Code::SampleRateLimit, format!("{rate_hz} Hz")))
}

/// Refuses a number of channels beyond the limits.
pub(crate) fn check_channels(channels: u64, limits: &Limits) -> Result<(), Fault> {
    if (1..=u64::from(limits.channels)).contains(&channels) {
        return Ok(());
    }
    Err(Fault::new(
        Code::ChannelLimit,
        format!("{channels} channels"),
    ))
}

/// Names of chunks and boxes that are the magic of a file of their own.
fn begins_file(name: &[u8; 4]) -> bool {
    let magics: [&[u8; 4]; 8] = [
        b"RIFF", b"RF64", b"BW64", b"riff", b"FORM", b"caff", b"fLaC", b"OggS",
    ];
    magics.contains(&name)
}

/// Whether a chunk's name is one that a person could have given it.
fn is_name(name: &[u8; 4]) -> bool {
    let printable = name
        .iter()
        .all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    printable && !begins_file(name)
}

/// What the first bytes say.
enum Magic {
    Container(Container),
    Unsupported(&'static str),
    Unknown,
}

impl Magic {
    fn of(head: &[u8]) -> Self {
        let at = |offset: usize, magic: &[u8]| {
            head.get(offset..)
                .is_some_and(|rest| rest.starts_with(magic))
        };
        if (at(0, b"RIFF") || at(0, b"RF64") || at(0, b"BW64")) && at(8, b"WAVE") {
            return Self::Container(Container::Wav);
        }
        if at(0, b"FORM") && (at(8, b"AIFF") || at(8, b"AIFC")) {
            return Self::Container(Container::Aiff);
        }
        for (magic, container) in [
            (b"caff", Container::Caf),
            (b"fLaC", Container::Flac),
            (b"OggS", Container::Ogg),
        ] {
            if at(0, magic) {
                return Self::Container(container);
            }
        }
        if [
            b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot",
        ]
        .iter()
        .any(|kind| at(4, *kind))
        {
            return Self::Container(Container::Mp4);
        }
        let unsupported = UNSUPPORTED
            .iter()
            .find(|(offset, magic, _)| at(*offset, magic));
        unsupported.map_or(Self::Unknown, |(_, _, kind)| Self::Unsupported(kind))
    }
}

/// Magic of audio and video files that no codec here decodes: offset, bytes, name.
const UNSUPPORTED: [(usize, &[u8], &str); 24] = [
    (0, &[0x1a, 0x45, 0xdf, 0xa3], "Matroska or WebM"),
    (0, b"wvpk", "WavPack"),
    (0, b"DSD ", "DSD"),
    (0, b"FRM8", "DSDIFF"),
    (0, b"MThd", "MIDI"),
    (8, b"RMID", "MIDI"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"TTA1", "TTA"),
    (0, b"TTA2", "TTA"),
    (0, b"MPCK", "Musepack"),
    (0, b"MP+", "Musepack"),
    (0, b"OFR ", "OptimFROG"),
    (0, b"#!AMR", "AMR"),
    (0, b".snd", "AU"),
    (0, b"Creative Voice", "VOC"),
    (0, b".ra\xfd", "RealAudio"),
    (0, b".RMF", "RealMedia"),
    (0, b"FLV\x01", "Flash video"),
    (
        0,
        &[0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11],
        "Windows Media",
    ),
    (8, b"AVI ", "AVI"),
    (0, &[0, 0, 1, 0xba], "an MPEG program stream"),
    (0, &[0x0b, 0x77], "AC-3"),
    (0, &[0x7f, 0xfe, 0x80, 0x01], "DTS"),
    (0, b"riff\x2e\x91\xcf\x11", "Wave64"),
];
