//! What one file may cost: the bounds that the decoder enforces, each with the code that a track ends in.
//!
//! The agent sends them with each track, and tests send others; there is no setting for them. The constants are what it sends.

use minicbor::{Decode, Encode};

/// Largest file, bytes: longer recordings are catalogues in one file. `TOO_MANY_BYTES`.
pub const FILE_BYTES: u64 = 2 << 30;
/// Longest decoded duration, seconds: a DJ set or an opera act fits, an audio book in one file does not. `TOO_LONG`.
pub const DURATION_S: u32 = 4 * 3600;
/// Most decoded sample values (frames times channels): four hours of stereo at 48 kHz and a third more. `TOO_MANY_SAMPLES`.
pub const SAMPLE_VALUES: u64 = 2_000_000_000;
/// Lowest sample rate, Hz: telephone speech. `SAMPLE_RATE_LIMIT`.
pub const RATE_MIN_HZ: u32 = 8_000;
/// Highest sample rate, Hz: the highest that converters are sold with. `SAMPLE_RATE_LIMIT`.
pub const RATE_MAX_HZ: u32 = 384_000;
/// Most channels: 7.1. `CHANNEL_LIMIT`.
pub const CHANNELS: u16 = 8;
/// Most bytes of one tag block that a parser may read into memory; longer ones are passed over with `TAGS_SKIPPED`.
pub const TAG_BYTES: u64 = 8 << 20;
/// Processor time for any file, seconds. `DECODE_CPU_LIMIT`.
pub const CPU_S: u32 = 60;
/// Processor time on top of that per thousand seconds of decoded audio, seconds. `DECODE_CPU_LIMIT`.
pub const CPU_S_PER_1000_S: u32 = 20;
/// Processor time without a new packet, seconds: it does not count waits for space or bytes, nor a busy machine. `DECODE_STALLED`.
pub const STALL_S: u32 = 10;
/// Packets in a row that may fail to decode. `DECODE_ERRORS`.
pub const ERRORS_IN_A_ROW: u32 = 100;

/// The bounds for one track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Limits {
    /// See [`FILE_BYTES`].
    #[n(0)]
    pub file_bytes: u64,
    /// See [`DURATION_S`].
    #[n(1)]
    pub duration_s: u32,
    /// See [`SAMPLE_VALUES`].
    #[n(2)]
    pub sample_values: u64,
    /// See [`RATE_MIN_HZ`].
    #[n(3)]
    pub rate_min_hz: u32,
    /// See [`RATE_MAX_HZ`].
    #[n(4)]
    pub rate_max_hz: u32,
    /// See [`CHANNELS`].
    #[n(5)]
    pub channels: u16,
    /// See [`TAG_BYTES`].
    #[n(6)]
    pub tag_bytes: u64,
    /// See [`CPU_S`].
    #[n(7)]
    pub cpu_s: u32,
    /// See [`CPU_S_PER_1000_S`].
    #[n(8)]
    pub cpu_s_per_1000_s: u32,
    /// See [`STALL_S`].
    #[n(9)]
    pub stall_s: u32,
    /// See [`ERRORS_IN_A_ROW`].
    #[n(10)]
    pub errors_in_a_row: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: FILE_BYTES,
            duration_s: DURATION_S,
            sample_values: SAMPLE_VALUES,
            rate_min_hz: RATE_MIN_HZ,
            rate_max_hz: RATE_MAX_HZ,
            channels: CHANNELS,
            tag_bytes: TAG_BYTES,
            cpu_s: CPU_S,
            cpu_s_per_1000_s: CPU_S_PER_1000_S,
            stall_s: STALL_S,
            errors_in_a_row: ERRORS_IN_A_ROW,
        }
    }
}
