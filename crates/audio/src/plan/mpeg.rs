//! Streams without a container: MPEG audio layer III and ADTS. Both are told by a chain of frames that fit each other,
//! since two bytes of any file look like the start of one.

use types::{Code, Warning};

use super::{Container, Exam, PROBE_BYTES, Plan, Refusal, refuse};
use crate::source::ReadAt;
use crate::splice::Piece;
use crate::tags::Claims;

/// Frames that must follow each other where the stream may begin anywhere.
const CHAIN: usize = 4;
/// Frames that must follow each other at the very start, where a stream is expected.
const CHAIN_AT_START: usize = 2;

/// What all frames of one stream have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameKind {
    container: Container,
    /// Version, layer and rate bits of an MPEG header; profile, rate and channel bits of an ADTS header.
    mark: u32,
    mono: bool,
}

impl FrameKind {
    /// The kind of the frame that begins with these bytes, if one does.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        Header::of(bytes).map(|header| header.kind)
    }
}

#[derive(Clone, Copy)]
struct Header {
    kind: FrameKind,
    /// The frame's length with its header, bytes.
    length: u64,
    /// Why it cannot be decoded, if so.
    unsupported: Option<&'static str>,
}

impl Header {
    fn of(bytes: &[u8]) -> Option<Self> {
        let head = u32::from_be_bytes(*bytes.first_chunk::<4>()?);
        if head >> 20 == 0xfff && head >> 17 & 3 == 0 {
            Self::adts(bytes)
        } else {
            Self::mpeg(head)
        }
    }

    fn mpeg(head: u32) -> Option<Self> {
        let (version, layer, rate_index) = (head >> 19 & 3, head >> 17 & 3, head >> 10 & 3);
        let bitrate_index = (head >> 12 & 15) as usize;
        if head >> 21 != 0x7ff
            || version == 1
            || layer == 0
            || rate_index == 3
            || !(1..15).contains(&bitrate_index)
        {
            return None;
        }
        let rate = [44_100, 48_000, 32_000][rate_index as usize] >> [2, 0, 1, 0][version as usize];
        let is_first = version == 3;
        let kilobits = bitrate(is_first, layer)[bitrate_index - 1];
        let padding = u64::from(head >> 9 & 1);
        let length = match layer {
            3 => (12_000 * kilobits / rate + padding) * 4,
            1 if !is_first => 72_000 * kilobits / rate + padding,
            _ => 144_000 * kilobits / rate + padding,
        };
        let kind = FrameKind {
            container: Container::Mpeg,
            mark: head & 0xfffe_0c00,
            mono: head >> 6 & 3 == 3,
        };
        Some(Self {
            kind,
            length,
            unsupported: (layer != 1).then_some("MPEG audio layer I or II"),
        })
    }

    fn adts(bytes: &[u8]) -> Option<Self> {
        let head = u64::from_be_bytes([&[0], bytes.get(..7)?].concat().try_into().ok()?);
        let (profile, rate_index, length) = (head >> 38 & 3, head >> 34 & 15, head >> 13 & 0x1fff);
        if rate_index > 12 || length < 7 {
            return None;
        }
        let kind = FrameKind {
            container: Container::Adts,
            mark: (head >> 24) as u32 & 0xfff6_fdc0,
            mono: false,
        };
        // Index 6 is 24 kHz: at and below it, band replication usually hides behind the core.
        let unsupported = if profile != 1 {
            Some("AAC of another profile than low complexity")
        } else {
            (rate_index >= 6).then_some("AAC with a core rate of 24 kHz or less (HE-AAC)")
        };
        Some(Self {
            kind,
            length,
            unsupported,
        })
    }
}

/// Kilobits per second by index, from 1.
fn bitrate(is_first: bool, layer: u32) -> [u64; 14] {
    match (is_first, layer) {
        (true, 3) => [
            32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448,
        ],
        (true, 2) => [
            32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384,
        ],
        (true, _) => [
            32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
        ],
        (false, 3) => [
            32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256,
        ],
        (false, _) => [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    }
}

pub(super) fn plan<R: ReadAt>(
    exam: &mut Exam<'_, R>,
    claims: &mut Claims,
) -> Result<Plan, Refusal> {
    let end = exam.end_without_trailers()?;
    let Some((start, header)) = find(exam, end)? else {
        return refuse(
            Code::NotAudio,
            "no audio format was recognised in the first MiB",
        );
    };
    if let Some(kind) = header.unsupported {
        return refuse(
            Code::UnsupportedCodec,
            format!("{kind} is not decoded by this version"),
        );
    }
    look_at_encoder(&exam.blocks.vec(start, ENCODER_SEARCH_BYTES)?, claims);
    let mut plan = Plan::of(
        header.kind.container,
        vec![Piece::Range(start, end - start)],
    );
    plan.frame_kind = Some(header.kind);
    if start > exam.start {
        plan.warn(Warning::JunkSkipped);
    }
    Ok(plan)
}

/// The first place where enough frames follow each other.
fn find<R: ReadAt>(exam: &mut Exam<'_, R>, end: u64) -> Result<Option<(u64, Header)>, Refusal> {
    let head = exam.blocks.vec(exam.start, 7)?;
    if let Some(header) = Header::of(&head)
        && chain(exam, exam.start, end, header, CHAIN_AT_START)?
    {
        return Ok(Some((exam.start, header)));
    }
    let window = exam.blocks.vec(
        exam.start,
        PROBE_BYTES.min(end.saturating_sub(exam.start)) as usize,
    )?;
    for (skipped, _) in window
        .iter()
        .enumerate()
        .skip(1)
        .filter(|(_, byte)| **byte == 0xff)
    {
        let Some(header) = Header::of(&window[skipped..]) else {
            continue;
        };
        let at = exam.start + skipped as u64;
        if chain(exam, at, end, header, CHAIN)? {
            return Ok(Some((at, header)));
        }
    }
    Ok(None)
}

/// Whether `wanted` frames of one kind follow each other from `at` on, or fewer that end exactly at the end or are cut off by it.
fn chain<R: ReadAt>(
    exam: &mut Exam<'_, R>,
    at: u64,
    end: u64,
    first: Header,
    wanted: usize,
) -> Result<bool, Refusal> {
    let mut next = at + first.length;
    for counted in 1..wanted {
        if next + 7 > end {
            // A clip of a few frames: believed at the start of a file, and elsewhere once two frames fitted.
            return Ok(at == exam.start || counted > 1);
        }
        let bytes = exam.blocks.array::<7>(next)?.unwrap_or_default();
        match Header::of(&bytes) {
            Some(header) if header.kind == first.kind => next += header.length,
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// How far into the first frame an encoder's name may stand.
const ENCODER_SEARCH_BYTES: usize = 256;

/// The encoder's name that LAME and libavformat leave in the first frame.
fn look_at_encoder(frame: &[u8], claims: &mut Claims) {
    let has_info = frame
        .windows(4)
        .any(|four| four == b"Xing" || four == b"Info");
    let name = frame
        .windows(9)
        .find(|nine| nine.starts_with(b"LAME") || nine.starts_with(b"Lav"));
    if let Some(name) = name.filter(|_| has_info) {
        claims.look_at(
            "MPEG",
            "encoder",
            String::from_utf8_lossy(name).trim_end_matches(['\0', '\u{fffd}']),
        );
    }
}
