//! The plain shapes of containers, as far as hostile files need them: every field may be given as it should not be.

/// A WAV file: format tag, channels, rate, bits per sample, block align, stated length of the samples, samples.
#[derive(Clone, Debug)]
pub struct Wav<'a> {
    /// 1 for integers, 3 for floats.
    pub tag: u16,
    /// Channels.
    pub channels: u16,
    /// Rate in Hz.
    pub rate: u32,
    /// Bits of a sample.
    pub bits: u16,
    /// Bytes of a frame; channels times bits over 8 when it tells the truth.
    pub align: u16,
    /// Bytes of samples as stated.
    pub stated: u32,
    /// The samples.
    pub data: &'a [u8],
}

impl<'a> Wav<'a> {
    /// A truthful file of 16-bit samples.
    pub fn of_i16(channels: u16, rate: u32, data: &'a [u8]) -> Self {
        Self {
            tag: 1,
            channels,
            rate,
            bits: 16,
            align: channels.wrapping_mul(2),
            stated: data.len() as u32,
            data,
        }
    }

    /// A truthful file of 32-bit floats.
    pub fn of_f32(channels: u16, rate: u32, data: &'a [u8]) -> Self {
        Self {
            tag: 3,
            bits: 32,
            align: channels * 4,
            ..Self::of_i16(channels, rate, data)
        }
    }

    /// The file.
    pub fn file(&self) -> Vec<u8> {
        let mut file = b"RIFF".to_vec();
        file.extend(self.stated.wrapping_add(36).to_le_bytes());
        file.extend(b"WAVE");
        file.extend(self.format());
        file.extend(b"data");
        file.extend(self.stated.to_le_bytes());
        file.extend(self.data);
        file
    }

    /// The format chunk.
    pub fn format(&self) -> Vec<u8> {
        let mut chunk = b"fmt \x10\0\0\0".to_vec();
        chunk.extend(self.tag.to_le_bytes());
        chunk.extend(self.channels.to_le_bytes());
        chunk.extend(self.rate.to_le_bytes());
        let per_second = self.rate.wrapping_mul(u32::from(self.align));
        chunk.extend(per_second.to_le_bytes());
        chunk.extend(self.align.to_le_bytes());
        chunk.extend(self.bits.to_le_bytes());
        chunk
    }
}

/// An AIFF file of 16-bit stereo whose rate is this 80-bit float.
pub fn aiff(rate: [u8; 10], data: &[u8]) -> Vec<u8> {
    let mut file = b"FORM".to_vec();
    file.extend((46 + data.len() as u32).to_be_bytes());
    file.extend(b"AIFFCOMM\0\0\0\x12\0\x02");
    file.extend((data.len() as u32 / 4).to_be_bytes());
    file.extend([0, 16]);
    file.extend(rate);
    file.extend(b"SSND");
    file.extend((8 + data.len() as u32).to_be_bytes());
    file.extend([0; 8]);
    file.extend(data);
    file
}

/// A CAF file of 16-bit stereo PCM with this many frames a packet, and further chunks before its samples.
pub fn caf(frames_per_packet: u32, chunks: &[u8], data: &[u8]) -> Vec<u8> {
    let mut file = b"caff\0\x01\0\0desc".to_vec();
    file.extend(32u64.to_be_bytes());
    file.extend(44_100f64.to_be_bytes());
    file.extend(b"lpcm\0\0\0\0");
    for word in [4, frames_per_packet, 2, 16] {
        file.extend(u32::to_be_bytes(word));
    }
    file.extend(chunks);
    file.extend(b"data");
    file.extend((4 + data.len() as u64).to_be_bytes());
    file.extend([0; 4]);
    file.extend(data);
    file
}

/// A native FLAC file of nothing but digital silence: one constant block after another.
#[derive(Clone, Copy, Debug)]
pub struct SilentFlac {
    /// Rate in Hz: 20 bits.
    pub rate: u32,
    /// Channels, 1 to 8.
    pub channels: u8,
    /// Bits of a sample: 16 or 24.
    pub bits: u8,
    /// Seconds that are really in it.
    pub seconds: u32,
}

/// Frames of one block: the most that the format allows in a fixed-size stream.
const FLAC_BLOCK: u16 = 65_535;

impl SilentFlac {
    /// The file.
    pub fn file(self) -> Vec<u8> {
        let frames = u64::from(self.rate) * u64::from(self.seconds);
        let mut file = b"fLaC\x80\0\0\x22".to_vec();
        file.extend(self.description(frames));
        for number in 0..frames.div_ceil(u64::from(FLAC_BLOCK)) {
            file.extend(self.block(number));
        }
        file
    }

    fn description(self, frames: u64) -> [u8; 34] {
        let mut info = [0; 34];
        info[..2].copy_from_slice(&FLAC_BLOCK.to_be_bytes());
        info[2..4].copy_from_slice(&FLAC_BLOCK.to_be_bytes());
        let channels = u64::from(self.channels - 1) << 41;
        let bits = u64::from(self.bits - 1) << 36;
        let packed = u64::from(self.rate) << 44 | channels | bits | frames;
        info[10..18].copy_from_slice(&packed.to_be_bytes());
        info
    }

    /// A block whose every channel is one constant.
    fn block(self, number: u64) -> Vec<u8> {
        // Fixed blocks; their length in 16 bits behind the number; rate and width as the description has them.
        let mut block = vec![0xff, 0xf8, 0x70, (self.channels - 1) << 4];
        block.extend(utf8_like(number));
        block.extend((FLAC_BLOCK - 1).to_be_bytes());
        block.push(crc8(&block));
        for _ in 0..self.channels {
            block.resize(block.len() + 1 + usize::from(self.bits / 8), 0);
        }
        block.extend(crc16(&block).to_be_bytes());
        block
    }
}

/// FLAC's way to write a block's number: UTF-8, stretched to 36 bits.
fn utf8_like(number: u64) -> Vec<u8> {
    if number < 0x80 {
        return vec![number as u8];
    }
    let mut bytes = Vec::new();
    let mut rest = number;
    // The first byte has room for six bits less the number of bytes behind it.
    while rest >= 1 << (6 - bytes.len()) {
        bytes.push(0x80 | (rest & 0x3f) as u8);
        rest >>= 6;
    }
    let lead = !((1u16 << (7 - bytes.len())) - 1) as u8;
    bytes.push(lead | rest as u8);
    bytes.reverse();
    bytes
}

fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc: u8, _| {
            crc << 1 ^ if crc & 0x80 == 0 { 0 } else { 7 }
        })
    })
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc: u16, _| {
            crc << 1 ^ if crc & 0x8000 == 0 { 0 } else { 0x8005 }
        })
    })
}

/// Ogg: a page begins a stream.
pub const OGG_FIRST: u8 = 2;
/// Ogg: a page ends a stream.
pub const OGG_LAST: u8 = 4;

/// An Ogg page of whole packets, each shorter than 255 segments hold together.
pub fn ogg_page(serial: u32, sequence: u32, flags: u8, granule: u64, packets: &[&[u8]]) -> Vec<u8> {
    let mut page = b"OggS\0".to_vec();
    page.push(flags);
    page.extend(granule.to_le_bytes());
    page.extend(serial.to_le_bytes());
    page.extend(sequence.to_le_bytes());
    page.extend([0; 4]);
    let mut segments = Vec::new();
    for packet in packets {
        segments.resize(segments.len() + packet.len() / 255, 255);
        segments.push((packet.len() % 255) as u8);
    }
    page.push(u8::try_from(segments.len()).expect("builders fill no page beyond 255 segments"));
    page.extend(segments);
    packets.iter().for_each(|packet| page.extend(*packet));
    let crc = ogg_crc(&page);
    page[22..26].copy_from_slice(&crc.to_le_bytes());
    page
}

fn ogg_crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc: u32, _| {
            crc << 1 ^ if crc & 1 << 31 == 0 { 0 } else { 0x04c1_1db7 }
        })
    })
}

/// The packets of an Ogg file, in order.
pub fn ogg_packets(file: &[u8]) -> Vec<Vec<u8>> {
    let (mut packets, mut packet, mut at) = (Vec::new(), Vec::new(), 0);
    while let Some(&count) = file.get(at + 26) {
        let segments = &file[at + 27..at + 27 + usize::from(count)];
        at += 27 + segments.len();
        for &length in segments {
            packet.extend_from_slice(&file[at..at + usize::from(length)]);
            at += usize::from(length);
            if length < 255 {
                packets.push(std::mem::take(&mut packet));
            }
        }
    }
    packets
}

/// An MP4 box.
pub fn mp4_box(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&(8 + content.len() as u32).to_be_bytes(), kind, content].concat()
}

/// An MP4 file with one sound stream; the fields that files lie in are free.
#[derive(Clone, Debug)]
pub struct Mp4<'a> {
    /// The sample entry: see [`mp4_pcm`] and [`mp4_aac`].
    pub entry: Vec<u8>,
    /// How many samples the size table claims.
    pub count: u32,
    /// The sizes that really are in it.
    pub sizes: Vec<u32>,
    /// Frames of a sample.
    pub sample_frames: u32,
    /// The table of durations, as pairs of samples and frames; one entry for all unless given.
    pub durations: Option<Vec<u32>>,
    /// Where its one chunk begins; the truth unless given.
    pub chunk_at: Option<u32>,
    /// Boxes of the track before its media.
    pub track_boxes: Vec<u8>,
    /// The samples.
    pub data: &'a [u8],
}

impl<'a> Mp4<'a> {
    /// A truthful file of samples of equal size.
    pub fn of(entry: Vec<u8>, sample_bytes: u32, sample_frames: u32, data: &'a [u8]) -> Self {
        let count = data.len() as u32 / sample_bytes;
        Self {
            entry,
            count,
            sizes: vec![sample_bytes; count as usize],
            sample_frames,
            durations: None,
            chunk_at: None,
            track_boxes: Vec::new(),
            data,
        }
    }

    /// The file: samples first, then the index.
    pub fn file(&self) -> Vec<u8> {
        let mut file = mp4_box(b"ftyp", b"M4A \0\0\0\0isommp42");
        let at = file.len() as u32 + 8;
        file.extend(mp4_box(b"mdat", self.data));
        file.extend(self.index(self.chunk_at.unwrap_or(at)));
        file
    }

    fn index(&self, chunk_at: u32) -> Vec<u8> {
        let frames = (self.sizes.len() as u32).wrapping_mul(self.sample_frames);
        let head = numbers(&[0, 0, 0, 44_100, frames]);
        let movie = [
            head.clone(),
            numbers(&[0x1_0000, 0x100_0000, 0, 0]),
            MATRIX.concat(),
            vec![0; 24],
            numbers(&[2]),
        ]
        .concat();
        let track = [
            numbers(&[7, 0, 0, 1, 0, frames, 0, 0, 0, 0x100_0000]),
            MATRIX.concat(),
            vec![0; 8],
        ]
        .concat();
        let media = [head, vec![0x55, 0xc4, 0, 0]].concat();
        let handler = [numbers(&[0, 0]), b"soun".to_vec(), vec![0; 13]].concat();
        let reference = [numbers(&[0, 1]), mp4_box(b"url ", &[0, 0, 0, 1])].concat();
        let information = [
            mp4_box(b"smhd", &[0; 8]),
            mp4_box(b"dinf", &mp4_box(b"dref", &reference)),
            mp4_box(b"stbl", &self.tables(chunk_at)),
        ];
        let media = [
            mp4_box(b"mdhd", &media),
            mp4_box(b"hdlr", &handler),
            mp4_box(b"minf", &information.concat()),
        ];
        let track = [
            mp4_box(b"tkhd", &track),
            self.track_boxes.clone(),
            mp4_box(b"mdia", &media.concat()),
        ];
        mp4_box(
            b"moov",
            &[mp4_box(b"mvhd", &movie), mp4_box(b"trak", &track.concat())].concat(),
        )
    }

    fn tables(&self, chunk_at: u32) -> Vec<u8> {
        let there = self.sizes.len() as u32;
        let sizes = [numbers(&[0, 0, self.count]), numbers(&self.sizes)].concat();
        let one = || vec![there, self.sample_frames];
        let durations = self.durations.clone().unwrap_or_else(one);
        let head = numbers(&[0, durations.len() as u32 / 2]);
        [
            mp4_box(b"stsd", &[numbers(&[0, 1]), self.entry.clone()].concat()),
            mp4_box(b"stts", &[head, numbers(&durations)].concat()),
            mp4_box(b"stsc", &numbers(&[0, 1, 1, there, 1])),
            mp4_box(b"stsz", &sizes),
            mp4_box(b"stco", &numbers(&[0, 1, chunk_at])),
        ]
        .concat()
    }
}

/// The unit matrix of movie and track headers.
const MATRIX: [[u8; 4]; 9] = {
    let (zero, one, last) = ([0; 4], [0, 1, 0, 0], [0x40, 0, 0, 0]);
    [one, zero, zero, zero, one, zero, zero, zero, last]
};

/// 32-bit numbers, big end first.
pub fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}

/// A sample entry of this kind: stereo, 16 bits, 44.1 kHz, then its own boxes.
pub fn mp4_entry(kind: &[u8; 4], boxes: &[u8]) -> Vec<u8> {
    let fields = b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\x02\0\x10\0\0\0\0\xac\x44\0\0";
    mp4_box(kind, &[fields.as_slice(), boxes].concat())
}

/// The sample entry of little-endian 16-bit PCM.
pub fn mp4_pcm() -> Vec<u8> {
    mp4_entry(b"sowt", &[])
}

/// An `esds` box around the decoder's configuration of an AAC stream.
pub fn mp4_aac(config: &[u8]) -> Vec<u8> {
    let specific = [&[5, config.len() as u8], config].concat();
    let decoder = [
        &[4, 13 + specific.len() as u8, 0x40, 0x15],
        &[0; 11][..],
        &specific,
    ]
    .concat();
    let stream = [
        &[3, 3 + decoder.len() as u8 + 3, 0, 1, 0],
        &decoder[..],
        &[6, 1, 2],
    ]
    .concat();
    mp4_box(b"esds", &[&[0; 4][..], &stream].concat())
}

/// An ID3v2 tag of this version around a body.
pub fn id3(version: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    [&id3_header(version, flags, body.len() as u32)[..], body].concat()
}

/// The header of an ID3v2 tag that states this length.
pub fn id3_header(version: u8, flags: u8, stated: u32) -> [u8; 10] {
    let [a, b, c, d] = [21, 14, 7, 0].map(|by| (stated >> by & 0x7f) as u8);
    [b'I', b'D', b'3', version, 0, flags, a, b, c, d]
}

/// A frame of an ID3v2.3 tag.
pub fn id3_frame(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [
        name.as_slice(),
        &(content.len() as u32).to_be_bytes(),
        &[0, 0],
        content,
    ]
    .concat()
}

/// A block of Vorbis comments that claims `count` comments and holds these.
pub fn comments(count: u32, held: &[&str]) -> Vec<u8> {
    let counted = |text: &str| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let mut block = counted("hostile");
    block.extend(count.to_le_bytes());
    held.iter().for_each(|text| block.extend(counted(text)));
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_formats() {
        assert_eq!(crc8(b"123456789"), 0xf4);
        assert_eq!(crc16(b"123456789"), 0xfee8);
        assert_eq!(ogg_crc(b"123456789"), 0x89a1_897f);
    }

    #[test]
    fn block_numbers_are_written_like_utf_8() {
        for number in [0u32, 0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x1_0000] {
            let expected = char::from_u32(number).unwrap().to_string().into_bytes();
            assert_eq!(utf8_like(u64::from(number)), expected, "{number:#x}");
        }
    }

    #[test]
    fn packets_are_read_back_from_their_pages() {
        let (long, short) = (vec![7; 600], vec![1, 2]);
        let pages = [
            ogg_page(1, 0, OGG_FIRST, 0, &[&long, &short]),
            ogg_page(1, 1, OGG_LAST, 9, &[&[]]),
        ];
        assert_eq!(ogg_packets(&pages.concat()), [long, short, vec![]]);
    }
}
