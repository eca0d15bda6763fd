//! CAF: the description is checked, since the parser sizes buffers from it; samples, cookie and packet table are kept.

use types::{Code, Warning};

use super::{Container, Exam, Plan, Refusal, WALK_MAX, is_name, refuse};
use crate::source::ReadAt;
use crate::splice::Piece;
use crate::tags::Claims;

/// Longest packet table: four hours of ALAC in packets of 4,096 frames take half of one MiB.
const TABLE_BYTES_MAX: u64 = 16 << 20;
/// Longest cookie or channel layout.
const SMALL_BYTES_MAX: u64 = 64 * 1024;
/// Most frames in one packet: ALAC's usual 4,096, sixteen times over. A buffer of this size is what the parser makes.
const PACKET_FRAMES_MAX: u32 = 65_536;
/// Chunks that may stand behind the samples; one of another name is believed only while it ends within the file.
const BEHIND: [&[u8; 4]; 14] = [
    b"pakt", b"info", b"free", b"kuki", b"chan", b"strg", b"mark", b"regn", b"inst", b"midi",
    b"ovvw", b"peak", b"uuid", b"umid",
];
/// Texts looked at in the information chunk.
const TEXTS_MAX: usize = 512;

pub(super) fn plan<R: ReadAt>(
    exam: &mut Exam<'_, R>,
    claims: &mut Claims,
) -> Result<Plan, Refusal> {
    let Some(header) = exam.blocks.array::<8>(exam.start)? else {
        return refuse(Code::Damaged, "the file ends within its header");
    };
    let mut kept = header.to_vec();
    let (mut description, mut data, mut names, mut warnings) = (None, None, Vec::new(), Vec::new());
    let mut at = exam.start + 8;
    for _ in 0..WALK_MAX {
        let Some(chunk) = exam.blocks.array::<12>(at)? else {
            break;
        };
        let [n0, n1, n2, n3, ..] = chunk;
        let (name, size) = (
            &[n0, n1, n2, n3],
            chunk[4..]
                .iter()
                .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)),
        );
        let offset = at + 12;
        let rest = exam.end - offset;
        let is_sound = is_name(name) && (size <= rest || BEHIND.contains(&name));
        if data.is_some() && !is_sound {
            break;
        }
        if name == b"data" && data.is_none() {
            data = Some((offset, size.min(rest), size));
        }
        if size > rest {
            at = exam.end;
            break;
        }
        match name {
            b"desc" if size == 32 => description = exam.blocks.array::<32>(offset)?,
            b"info" if size <= exam.limits.tag_bytes => {
                look_at_texts(&exam.blocks.vec(offset, size as usize)?, claims)
            }
            b"info" => warnings.push(Warning::TagsSkipped),
            _ => {}
        }
        let limit = match name {
            b"desc" | b"kuki" | b"chan" => SMALL_BYTES_MAX,
            b"pakt" => TABLE_BYTES_MAX,
            _ => 0,
        };
        if (1..=limit).contains(&size) {
            // An honest file has each once; a thousand tables would fill the decoder's memory.
            let name = [chunk[0], chunk[1], chunk[2], chunk[3]];
            if names.contains(&name) {
                return refuse(Code::Damaged, "a chunk that may stand once stands twice");
            }
            names.push(name);
            kept.extend_from_slice(&chunk);
            kept.extend(exam.blocks.vec(offset, size as usize)?);
        }
        at = offset + size;
    }
    let Some(description) = description else {
        return refuse(Code::Damaged, "there is no description chunk");
    };
    let Some((offset, there, stated)) = data else {
        return refuse(Code::Damaged, "there is no data chunk");
    };
    let frame_bytes = check_description(exam, &description)?;
    // Packets of varying length without a table of lengths cannot be told apart.
    if description[16..20] == [0; 4] && !names.contains(b"pakt") {
        return refuse(Code::Damaged, "there is no packet table");
    }
    kept.extend_from_slice(b"data");
    kept.extend_from_slice(&there.to_be_bytes());
    let mut plan = Plan::of(
        Container::Caf,
        vec![Piece::Bytes(kept), Piece::Range(offset, there)],
    );
    plan.promised = frame_bytes
        .filter(|_| stated != u64::MAX)
        .map(|bytes| stated.saturating_sub(4) / bytes);
    plan.warnings = warnings;
    if exam.holds_more_from(at)? {
        plan.warn(Warning::TrailingData);
    }
    Ok(plan)
}

/// Refuses what no honest file describes; gives the bytes of a frame of PCM.
fn check_description<R: ReadAt>(
    exam: &Exam<'_, R>,
    description: &[u8; 32],
) -> Result<Option<u64>, Refusal> {
    let word = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| description[at + i]));
    let rate = f64::from_be_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| description[i]));
    let (packet_bytes, packet_frames, channels) = (word(16), word(20), word(24));
    exam.check_format(rate as u64, u64::from(channels))?;
    let is_pcm = &description[8..12] == b"lpcm";
    if packet_frames > PACKET_FRAMES_MAX || (is_pcm && (packet_frames != 1 || packet_bytes == 0)) {
        return refuse(
            Code::Damaged,
            format!("{packet_frames} frames of {packet_bytes} bytes a packet are described"),
        );
    }
    Ok(is_pcm.then_some(u64::from(packet_bytes)))
}

/// A count, then that many pairs of names and texts, each ending in NUL.
fn look_at_texts(content: &[u8], claims: &mut Claims) {
    let texts = content.get(4..).unwrap_or(&[]).split(|byte| *byte == 0);
    let texts: Vec<String> = texts
        .take(2 * TEXTS_MAX)
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .collect();
    for [name, text] in texts.as_chunks::<2>().0 {
        claims.look_at("CAF", name, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::plan::examine;
    use crate::source::Blocks;

    /// A stereo ALAC file's chunks in this order, each with its content.
    fn file(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut file = b"caff\x00\x01\x00\x00".to_vec();
        for (name, content) in chunks {
            file.extend_from_slice(*name);
            file.extend((content.len() as u64).to_be_bytes());
            file.extend_from_slice(content);
        }
        file
    }

    fn description() -> Vec<u8> {
        let words = [0, 0, 4_096, 2, 16_u32].map(u32::to_be_bytes).concat();
        [&44_100_f64.to_be_bytes()[..], b"alac", &words].concat()
    }

    #[test]
    fn what_the_parser_keeps_in_memory_may_stand_once() {
        let (description, table, data) = (description(), [0; 64], [0; 16]);
        let check = |more: &[(&[u8; 4], &[u8])], expected: Option<Code>| {
            let mut chunks: Vec<(&[u8; 4], &[u8])> =
                vec![(b"desc", &description), (b"pakt", &table)];
            chunks.extend(more);
            chunks.push((b"data", &data));
            let bytes = file(&chunks);
            let mut blocks = Blocks::new(&bytes[..]);
            let planned = examine(&mut blocks, "a.caf", &Limits::default());
            assert_eq!(planned.err().map(|(fault, _)| fault.code), expected);
        };
        check(&[(b"kuki", &table), (b"chan", &table)], None);
        check(&[(b"free", &table), (b"free", &table)], None);
        check(&[(b"pakt", &table)], Some(Code::Damaged));
        check(&[(b"kuki", &table), (b"kuki", &table)], Some(Code::Damaged));
        check(&[(b"chan", &table), (b"chan", &table)], Some(Code::Damaged));
    }
}
