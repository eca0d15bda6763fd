//! What agent and decoder say to each other, and how it lies on their socket.
//!
//! A frame is a length (u32, little-endian, at most [`FRAME_BYTES_MAX`]) and that many bytes of CBOR with numbered
//! fields. One message, [`ToDecoder::Bytes`], is followed by raw bytes outside of any frame, so that a block of a file
//! is copied once and parsed by nobody but the decoder.
//!
//! The course of one track: `Decode`; then any number of `ReadAt`, each answered by `Bytes` or `ReadFailed`; then
//! exactly one `Done` or `Failed`, after which the decoder writes nothing to the ring and awaits the next `Decode`.
//! There is at most one `ReadAt` unanswered. To give up a track, kill the decoder. Everything that a decoder says may
//! be a lie told by a file: the agent checks tokens, offsets and lengths, and believes no number beyond that.

use minicbor::{Decode as CborDecode, Encode as CborEncode};
use types::{Code, Provenance, Warning};

use crate::limits::Limits;
use crate::text;

/// Raised when an older side would misread a newer one.
pub const VERSION: u32 = 2;
/// Largest frame: a summary with all its provenance tags takes less than half of it.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of one `ReadAt`: more would only hold memory, fewer would cost round trips.
pub const READ_BYTES_MAX: u32 = 1 << 20;
/// Longest detail of a failure, bytes.
pub const DETAIL_BYTES_MAX: usize = 512;
/// Longest name of a codec, characters: `adpcm_ima_qt` is a long one.
const CODEC_CHARS_MAX: usize = 32;

/// What the agent says.
#[derive(Clone, Debug, PartialEq, Eq, CborEncode, CborDecode)]
pub enum ToDecoder {
    /// Decode a track.
    #[n(0)]
    Decode(#[n(0)] Decode),
    /// `length` raw bytes follow this frame: those of the file from `offset` on, as many as were asked for.
    #[n(1)]
    Bytes {
        /// As asked for.
        #[n(0)]
        offset: u64,
        /// As asked for.
        #[n(1)]
        length: u32,
    },
    /// The bytes that were asked for cannot be had; the track ends in `Failed` with this code.
    #[n(2)]
    ReadFailed {
        /// Why, such as `SOURCE_CHANGED`.
        #[n(0)]
        code: Code,
    },
    /// End after the answer in hand.
    #[n(3)]
    Stop,
}

/// One track to decode.
#[derive(Clone, Debug, PartialEq, Eq, CborEncode, CborDecode)]
pub struct Decode {
    /// The agent's name for this try; comes back in the answer.
    #[n(0)]
    pub token: u64,
    /// The file's length.
    #[n(1)]
    pub bytes: u64,
    /// The file's name or its last part: only its extension is looked at, and the content is believed over it.
    #[n(2)]
    pub name: String,
    /// What the ring shall carry.
    #[n(3)]
    pub output: OutputSpec,
    /// What the track may cost.
    #[n(4)]
    pub limits: Limits,
}

/// The PCM that a ring shall carry: interleaved `f32`, full scale ±1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, CborEncode, CborDecode)]
pub struct OutputSpec {
    /// The sample rate in Hz, or the file's own. [`Limits`] bounds the file's rate, and the same bounds hold for this one.
    #[n(0)]
    pub rate_hz: Option<u32>,
    /// The channels.
    #[n(1)]
    pub channels: ChannelRule,
}

/// How many channels come out, and how they come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, CborEncode, CborDecode)]
#[cbor(index_only)]
pub enum ChannelRule {
    /// The plain mean of all channels, as librosa and torchaudio form it; a low-frequency channel counts like any other.
    #[n(0)]
    Mono,
    /// Two channels; see [`crate::mix`] for how more become two. Mono is doubled.
    #[n(1)]
    Stereo,
    /// The file's own channels in the file's order.
    #[n(2)]
    Native,
}

/// What the decoder says.
#[derive(Clone, Debug, PartialEq, CborEncode, CborDecode)]
pub enum FromDecoder {
    /// First word of a decoder's life: it is sandboxed and ready.
    #[n(0)]
    Hello {
        /// Its [`VERSION`].
        #[n(0)]
        version: u32,
    },
    /// Please send these bytes. They lie within the file's length as the agent gave it.
    #[n(1)]
    ReadAt {
        /// First byte.
        #[n(0)]
        offset: u64,
        /// How many: 1 to [`READ_BYTES_MAX`].
        #[n(1)]
        length: u32,
    },
    /// The track is decoded; all of its samples are in the ring.
    #[n(2)]
    Done(#[n(0)] Summary),
    /// The track ends in a code. What it left in the ring is worthless.
    #[n(3)]
    Failed(#[n(0)] Failure),
}

/// What became of a decoded track.
#[derive(Clone, Debug, PartialEq, CborEncode, CborDecode)]
pub struct Summary {
    /// The track.
    #[n(0)]
    pub token: u64,
    /// Frames that went into the ring: one value per output channel each.
    #[n(1)]
    pub frames: u64,
    /// Sample rate of the ring's PCM, Hz.
    #[n(2)]
    pub rate_hz: u32,
    /// Channels of the ring's PCM.
    #[n(3)]
    pub channels: u16,
    /// The file's own sample rate, Hz.
    #[n(4)]
    pub source_rate_hz: u32,
    /// The file's own channels.
    #[n(5)]
    pub source_channels: u16,
    /// The codec, such as `mp3`.
    #[n(6)]
    pub codec: String,
    /// Decoded length in milliseconds.
    #[n(7)]
    pub duration_ms: u64,
    /// Reservations, sorted, each once.
    #[n(8)]
    pub warnings: Vec<Warning>,
    /// Tags that claim a provenance.
    #[n(9)]
    pub provenance: Vec<Provenance>,
    /// Processor time, user and system, microseconds.
    #[n(10)]
    pub cpu_us: u64,
    /// The decoder has used so much of its life's processor time that it should be replaced.
    #[n(11)]
    pub retire: bool,
    /// Time for which the track waited for room in the ring, microseconds.
    #[n(12)]
    pub room_us: u64,
}

/// Why a track was not decoded.
#[derive(Clone, Debug, PartialEq, Eq, CborEncode, CborDecode)]
pub struct Failure {
    /// The track.
    #[n(0)]
    pub token: u64,
    /// The code that its row carries.
    #[n(1)]
    pub code: Code,
    /// The particulars, for people: cleaned, at most [`DETAIL_BYTES_MAX`].
    #[n(2)]
    pub detail: String,
    /// Samples that it had put into the ring.
    #[n(3)]
    pub samples: u64,
    /// Processor time, user and system, microseconds.
    #[n(4)]
    pub cpu_us: u64,
    /// As in [`Summary`].
    #[n(5)]
    pub retire: bool,
    /// Tags that claim a provenance, as far as they were read.
    #[n(6)]
    pub provenance: Vec<Provenance>,
    /// As in [`Summary`].
    #[n(7)]
    pub room_us: u64,
}

impl Summary {
    /// The same with its texts as they may be stored, whatever the decoder did to them: a file may have taken it over.
    #[must_use]
    pub fn cleaned(mut self) -> Self {
        self.codec = text::clean(&self.codec, CODEC_CHARS_MAX);
        self.provenance = text::cleaned(&self.provenance);
        self.warnings.sort_unstable();
        self.warnings.dedup();
        self
    }
}

impl Failure {
    /// As [`Summary::cleaned`].
    #[must_use]
    pub fn cleaned(mut self) -> Self {
        self.detail = text::clean(&self.detail, DETAIL_BYTES_MAX);
        self.detail
            .truncate(self.detail.floor_char_boundary(DETAIL_BYTES_MAX));
        self.provenance = text::cleaned(&self.provenance);
        self
    }
}

/// Why a socket is of no more use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The socket itself failed.
    #[error("the decoder's socket failed")]
    Socket(#[from] std::io::Error),
    /// A length above [`FRAME_BYTES_MAX`].
    #[error("a frame of {0} bytes is longer than {FRAME_BYTES_MAX}")]
    TooLong(usize),
    /// The payload is no message of this protocol.
    #[error("a frame of {0} bytes holds no message of this protocol")]
    Message(usize, #[source] minicbor::decode::Error),
    /// The other side closed within a frame.
    #[error("the socket closed within a frame")]
    Torn,
}

/// The frame of a message: length and CBOR.
///
/// # Panics
/// When the message exceeds [`FRAME_BYTES_MAX`], which bounded fields exclude.
#[must_use]
pub fn frame<M: CborEncode<()>>(message: &M) -> Vec<u8> {
    let mut frame = vec![0; 4];
    minicbor::encode(message, &mut frame).expect("a vector takes what is written");
    let length = frame.len() - 4;
    assert!(
        length <= FRAME_BYTES_MAX,
        "messages are made within the bound"
    );
    let head = u32::try_from(length).expect("checked against the bound");
    frame[..4].copy_from_slice(&head.to_le_bytes());
    frame
}

/// The length that a frame's first four bytes announce.
///
/// # Errors
/// [`FrameError::TooLong`] above [`FRAME_BYTES_MAX`].
pub fn payload_length(head: [u8; 4]) -> Result<usize, FrameError> {
    let length = u32::from_le_bytes(head) as usize;
    if length > FRAME_BYTES_MAX {
        Err(FrameError::TooLong(length))
    } else {
        Ok(length)
    }
}

/// The message of a frame's payload.
///
/// # Errors
/// [`FrameError::Message`] when the payload is no such message.
pub fn parse<M: for<'b> CborDecode<'b, ()>>(payload: &[u8]) -> Result<M, FrameError> {
    minicbor::decode(payload).map_err(|error| FrameError::Message(payload.len(), error))
}
