//! The one place that talks to symphonia's readers and decoders: opens them for a plan, gives decoded packets one by one,
//! and turns their errors into what they mean for the track.

use std::io::ErrorKind;
use std::ops::Range;

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_AAC, CODEC_ID_ALAC};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::RawValue;
use symphonia::core::packet::Packet;
use symphonia::core::units::Duration;
use symphonia::default::formats::{
    AdtsReader, AiffReader, CafReader, FlacReader, IsoMp4Reader, MpaReader, OggReader, WavReader,
};
use symphonia::default::get_codecs;
use types::{Code, Warning};

use crate::fault::Fault;
use crate::limits::Limits;
use crate::plan::{
    Container, Cut, FlacFrames, FlacRead, FrameKind, Plan, check_channels, check_rate,
    is_plain_aac_lc,
};
use crate::source::{Blocks, ReadAt};
use crate::splice::Spliced;
use crate::tags::Claims;

/// Largest buffer of one packet that a decoder may make, frames: ALAC's usual 4,096, sixteen times over.
const PACKET_FRAMES_MAX: u64 = 65_536;
/// Packets past the stated end that padding may explain: LAME's field holds 4,095 frames at most.
const PADDING_PACKETS_MAX: u32 = 4;
/// Packets of another kind at the end of a stream that are taken for a change of format rather than for damage.
const CHANGED_PACKETS_MIN: u32 = 2;
/// Packets of other streams passed over between two of ours: a film has a few dozen.
const OTHERS_MAX: u32 = 100_000;

/// An open file: its demuxer and its decoder.
pub(super) struct Packets<'s> {
    reader: Box<dyn FormatReader + 's>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    container: Container,
    promised: Option<u64>,
    frame_kind: Option<FrameKind>,
    /// Packets of another kind since the last one of ours.
    changed: u32,
    errors_max: u32,
    /// Packets that lay wholly past the stated end.
    past_end: u32,
    /// Whether the stated end is believed; one that much follows is not.
    trims_end: bool,
    /// What to keep of an MP4's stream.
    cut: Option<Cut>,
    /// Where the next packet of a FLAC stream should start.
    expected: u64,
    /// Gaps seen between packets.
    gaps: u64,
    /// The frames of a FLAC stream, how many bytes of them were read, and whether some were of another format.
    flac: Option<FlacFrames>,
    bytes: u64,
    foreign: bool,
}

/// Where a packet lies on the file's time line.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Its first frame.
    start: u64,
    /// The frame behind its last one.
    pub(super) end: u64,
    /// Its length in frames.
    pub(super) frames: u64,
}

/// What comes next.
pub(super) enum Next<'p> {
    /// Samples, and which frames of them to keep.
    Packet(Place, GenericAudioBufferRef<'p>, Range<usize>),
    /// A packet that does not decode; the next one may.
    Undecodable(Place, String),
    /// A packet of another format: damage, or the first of what is no longer decoded; told apart by what follows.
    Foreign,
    /// The end, with a reservation.
    End(Option<Warning>),
    /// The file ended within a packet.
    CutOff,
    /// The container is broken from here on.
    Broken(String),
}

impl<'s> Packets<'s> {
    pub(super) fn open<R: ReadAt + 's>(
        blocks: &'s mut Blocks<R>,
        plan: &mut Plan,
        limits: &Limits,
    ) -> Result<Self, Fault> {
        let source = Spliced::new(blocks, std::mem::take(&mut plan.pieces), plan.seekable);
        let stream = MediaSourceStream::new(Box::new(source), MediaSourceStreamOptions::default());
        let mut reader = open_reader(plan.container, stream).map_err(refusal)?;
        gather(&mut *reader, plan.container, &mut plan.claims);
        let track = reader.default_track(TrackType::Audio);
        let Some((track, CodecParameters::Audio(params))) =
            track.and_then(|t| Some((t, t.codec_params.as_ref()?)))
        else {
            return Err(Fault::new(
                Code::UnsupportedCodec,
                "the file has no audio stream of a known codec",
            ));
        };
        check_params(params, limits)?;
        let decoder = get_codecs()
            .make_audio_decoder(params, &AudioDecoderOptions::default())
            .map_err(unsupported)?;
        let believes_end = plan.container != Container::Mpeg || track.delay.is_some();
        let cut = cut_of(track, plan);
        let stated = track.num_frames.filter(|frames| *frames > 0);
        Ok(Self {
            track: track.id,
            promised: stated
                .filter(|_| plan.container != Container::Adts)
                .map(|frames| cut.map_or(frames, |cut| frames.min(cut.end))),
            decoder,
            cut,
            container: plan.container,
            frame_kind: plan
                .frame_kind
                .filter(|_| plan.container == Container::Mpeg),
            changed: 0,
            errors_max: limits.errors_in_a_row,
            past_end: 0,
            trims_end: believes_end,
            expected: 0,
            gaps: 0,
            flac: plan.flac,
            bytes: 0,
            foreign: false,
            reader,
        })
    }

    /// The codec's short name.
    pub(super) fn codec(&self) -> &'static str {
        self.decoder.codec_info().short_name
    }

    /// Frames that the container states.
    pub(super) fn promised(&self) -> Option<u64> {
        self.promised
    }

    /// Packets that went missing without a word.
    pub(super) fn lost(&self) -> u64 {
        self.gaps
    }

    /// What was read of a FLAC stream; none when frames are missing, for then nobody knows where the rest stands.
    pub(super) fn flac_read(&self, promised: Option<u64>) -> Option<FlacRead> {
        (self.gaps == 0).then_some(FlacRead {
            bytes: self.bytes,
            is_whole: promised.is_some_and(|promised| self.expected >= promised),
        })
    }

    /// The next packet of our stream, decoded.
    pub(super) fn next(&mut self) -> Next<'_> {
        let mut packet = match self.next_of_ours() {
            Ok(Some(packet)) => packet,
            Ok(None) => return self.at_end(),
            Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                return Next::CutOff;
            }
            Err(Error::ResetRequired) => return Next::End(Some(Warning::ChainedStreams)),
            Err(error) => return Next::Broken(error.to_string()),
        };
        self.untrim(&mut packet);
        let place = place(&packet);
        if self.is_past_end(place) {
            return Next::End(None);
        }
        self.note(&packet, place);
        if let Some(kind) = self.frame_kind
            && FrameKind::of(&packet.data) != Some(kind)
        {
            self.changed += 1;
            if self.changed >= self.errors_max {
                return Next::End(Some(Warning::FormatChanged));
            }
            return Next::Foreign;
        }
        // Frames of another kind between two of ours were damaged ones.
        self.gaps += u64::from(std::mem::take(&mut self.changed));
        match self.decoder.decode(&packet) {
            Ok(_) => {
                let buffer = self.decoder.last_decoded();
                let frames = buffer.frames();
                let kept = self.cut.map_or(0..frames, |cut| {
                    cut.kept(place.start, frames, buffer.spec().rate())
                });
                Next::Packet(place, buffer, kept)
            }
            Err(Error::ResetRequired) => Next::End(Some(Warning::FormatChanged)),
            Err(error) => Next::Undecodable(place, error.to_string()),
        }
    }

    fn at_end(&self) -> Next<'_> {
        let warning = match self.changed {
            0 if self.foreign => Some(Warning::FormatChanged),
            0 => None,
            1..CHANGED_PACKETS_MIN => Some(Warning::FramesLost),
            _ => Some(Warning::FormatChanged),
        };
        Next::End(warning)
    }

    fn next_of_ours(&mut self) -> Result<Option<Packet>, Error> {
        for _ in 0..OTHERS_MAX {
            match self.reader.next_packet()? {
                Some(packet) if packet.track_id != self.track => {}
                packet => return Ok(packet),
            }
        }
        Err(Error::LimitError("packets of other streams"))
    }

    /// Takes back a cut at the stated end when the stream goes on behind it: a short header must not hide audio.
    fn untrim(&mut self, packet: &mut Packet) {
        // A packet's stated length includes what is to be trimmed.
        if packet.trim_end > Duration::ZERO && packet.trim_end >= packet.dur {
            self.past_end += 1;
            self.trims_end &= self.past_end <= PADDING_PACKETS_MAX;
        }
        if !self.trims_end {
            packet.trim_end = Duration::ZERO;
        }
    }

    /// Whether a packet lies behind the end of the recording: of an MP4's by its edit list; of a FLAC's when the numbers of
    /// its frames begin anew, as they do in a second stream.
    fn is_past_end(&self, place: Place) -> bool {
        match self.container {
            Container::Mp4 => self.cut.is_some_and(|cut| place.start >= cut.end),
            Container::Flac => place.start < self.expected,
            Container::Wav
            | Container::Aiff
            | Container::Caf
            | Container::Ogg
            | Container::Mpeg
            | Container::Adts => false,
        }
    }

    fn note(&mut self, packet: &Packet, place: Place) {
        if let Some(flac) = self.flac {
            let bytes = packet.data.len() as u64;
            self.bytes += bytes;
            // The parser takes frames of another format, whose checksums fit, for the rest of the one before them; zeros too.
            let longest = flac.frame_bytes_max(place.frames);
            self.foreign |= bytes > longest
                && packet.data.iter().rposition(|byte| *byte != 0) >= usize::try_from(longest).ok();
            self.gaps += u64::from(place.start > self.expected);
            self.expected = place.end;
        }
    }
}

fn place(packet: &Packet) -> Place {
    let frames = packet.dur.get();
    let start = u64::try_from(packet.pts.get()).unwrap_or(0);
    Place {
        start,
        end: start.saturating_add(frames),
        frames,
    }
}

/// What to keep of an MP4's stream by its edit list. A list that is not applied is told of: players play something else.
fn cut_of(track: &Track, plan: &mut Plan) -> Option<Cut> {
    let edited = plan.edited.iter().find(|edited| edited.track == track.id)?;
    // Fragmented files state no length.
    let length = track.duration.map_or(0, Duration::get);
    let cut = edited.cut.filter(|cut| length == 0 || cut.start < length);
    if cut.is_none() {
        plan.warn(Warning::LengthDisagrees);
    }
    cut
}

fn open_reader(
    container: Container,
    stream: MediaSourceStream<'_>,
) -> Result<Box<dyn FormatReader + '_>, Error> {
    let options = FormatOptions::default();
    Ok(match container {
        Container::Wav => Box::new(WavReader::try_new(stream, options)?),
        Container::Aiff => Box::new(AiffReader::try_new(stream, options)?),
        Container::Caf => Box::new(CafReader::try_new(stream, options)?),
        Container::Flac => Box::new(FlacReader::try_new(stream, options)?),
        Container::Ogg => Box::new(OggReader::try_new(stream, options)?),
        Container::Mp4 => Box::new(IsoMp4Reader::try_new(stream, options)?),
        Container::Mpeg => Box::new(MpaReader::try_new(stream, options)?),
        Container::Adts => Box::new(AdtsReader::try_new(stream, options)?),
    })
}

/// Why a container could not be opened.
fn refusal(error: Error) -> Fault {
    let code = if matches!(error, Error::Unsupported(_)) {
        Code::UnsupportedCodec
    } else {
        Code::Damaged
    };
    Fault::new(code, error.to_string())
}

/// Why a decoder could not be made.
fn unsupported(error: Error) -> Fault {
    let damaged = matches!(error, Error::DecodeError(_) | Error::IoError(_));
    let code = if damaged {
        Code::Damaged
    } else {
        Code::UnsupportedCodec
    };
    Fault::new(code, error.to_string())
}

/// Refuses what a decoder would take for granted.
fn check_params(params: &AudioCodecParameters, limits: &Limits) -> Result<(), Fault> {
    if let Some(rate) = params.sample_rate {
        check_rate(u64::from(rate), limits)?;
    }
    if let Some(channels) = &params.channels {
        check_channels(channels.count() as u64, limits)?;
    }
    let cookie = params
        .extra_data
        .as_deref()
        .filter(|_| params.codec == CODEC_ID_ALAC);
    let cookie_frames = cookie.and_then(alac_packet_frames);
    let frames = params.max_frames_per_packet.max(cookie_frames).unwrap_or(0);
    if frames > PACKET_FRAMES_MAX {
        return Err(Fault::new(
            Code::Damaged,
            format!("a packet of {frames} frames is described"),
        ));
    }
    let rate = params.sample_rate.unwrap_or(0);
    if params.codec == CODEC_ID_AAC && !is_plain_aac_lc(params.extra_data.as_deref(), rate) {
        return Err(Fault::new(
            Code::UnsupportedCodec,
            "AAC other than plain low complexity (HE-AAC, or a core of 24 kHz or less)",
        ));
    }
    Ok(())
}

/// Frames of a packet as ALAC's cookie states them: its first word, behind the boxes that old files wrap it in.
fn alac_packet_frames(cookie: &[u8]) -> Option<u64> {
    let mut rest = cookie;
    for wrapper in [b"frma", b"alac"] {
        if rest.get(4..8) == Some(wrapper) {
            rest = rest.get(12..)?;
        }
    }
    Some(u64::from(u32::from_be_bytes(*rest.first_chunk::<4>()?)))
}

/// Looks for claims in the tags that the reader has read.
fn gather(reader: &mut dyn FormatReader, container: Container, claims: &mut Claims) {
    let place = match container {
        Container::Ogg => "Vorbis",
        Container::Mp4 => "MP4",
        // Their tags were read while the file was examined.
        Container::Wav
        | Container::Aiff
        | Container::Caf
        | Container::Flac
        | Container::Mpeg
        | Container::Adts => return,
    };
    let mut metadata = reader.metadata();
    loop {
        if let Some(revision) = metadata.current() {
            for tag in revision.media.tags.iter().chain(
                revision
                    .per_track
                    .iter()
                    .flat_map(|track| &track.metadata.tags),
            ) {
                if let RawValue::String(text) = &tag.raw.value {
                    claims.look_at(place, &tag.raw.key, text);
                }
            }
        }
        if metadata.pop().is_none() {
            return;
        }
    }
}
