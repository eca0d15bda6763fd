//! Which record is damaged, where the file's own checksums only say that something is. The file is read page by page as it
//! lies, without following a single pointer of it, since any of them may be what is damaged.
//!
//! A leaf page of redb is `1 | unused | pairs: u16 | key ends: u32 × pairs | value ends: u32 × pairs | keys | values`, all
//! little endian. A page is taken for one of ours when most of its records hold their own checksums, or when it is the
//! head's. A page that is no longer in use may be found too: what it names was damaged all the same.

use super::medium::Medium;
use super::record::{self, Head};
use super::tables::{Damage, HEAD_NAME, HEAD_TABLE, RECORDS_TABLE};

/// Bytes at which pages begin: redb's page size on every system that this runs on.
const PAGE_BYTES: u64 = 4_096;

/// Longest page read: the largest value with its key and frame.
const LEAF_BYTES_MAX: u64 = 2 * 1024 * 1024;

const LEAF: u8 = 1;
const FRAME_BYTES: usize = 4;

/// One pair of a leaf, with the place of its value in the page.
struct Pair<'a> {
    key: &'a [u8],
    value: &'a [u8],
    at: usize,
}

/// The first record whose own checksum does not hold; `None` where each does, or no page can be read.
pub(super) fn find(medium: &dyn Medium) -> Option<Damage> {
    let len = medium.len().ok()?;
    let pages = (0..len / PAGE_BYTES).map(|page| page * PAGE_BYTES);
    pages
        .into_iter()
        .find_map(|at| look(&leaf(medium, at, len)?, at))
}

/// The bytes of the leaf that begins there, where one may.
fn leaf(medium: &dyn Medium, at: u64, len: u64) -> Option<Vec<u8>> {
    let mut page = vec![0; PAGE_BYTES as usize];
    medium.read(at, &mut page).ok()?;
    let end = end(&page)?;
    if end > page.len() as u64 {
        if end > LEAF_BYTES_MAX || at + end > len {
            return None;
        }
        page.resize(usize::try_from(end).ok()?, 0);
        medium.read(at, &mut page).ok()?;
    }
    Some(page)
}

/// Where the last value of a leaf ends; `None` where the page cannot be one.
fn end(page: &[u8]) -> Option<u64> {
    let pairs = pairs_of(page)?;
    let last = FRAME_BYTES + 4 * (2 * pairs - 1);
    number(page, last).map(u64::from)
}

fn pairs_of(page: &[u8]) -> Option<usize> {
    let (frame, _) = page.split_first_chunk::<FRAME_BYTES>()?;
    let pairs = usize::from(u16::from_le_bytes([frame[2], frame[3]]));
    (frame[0] == LEAF && pairs > 0).then_some(pairs)
}

fn number(page: &[u8], at: usize) -> Option<u32> {
    let bytes = page.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes))
}

/// The pairs of a leaf; those whose ends make no sense are left out.
fn pairs(page: &[u8]) -> Vec<Pair<'_>> {
    let count = pairs_of(page).unwrap_or(0);
    let ends = |nth: usize| Some(number(page, FRAME_BYTES + 4 * nth)? as usize);
    let keys = FRAME_BYTES + 8 * count;
    let pair = |nth: usize| {
        let key = if nth == 0 { keys } else { ends(nth - 1)? };
        let values = ends(count - 1)?;
        let at = if nth == 0 {
            values
        } else {
            ends(count + nth - 1)?
        };
        Some(Pair {
            key: page.get(key..ends(nth)?)?,
            value: page.get(at..ends(count + nth)?)?,
            at,
        })
    };
    (0..count).filter_map(pair).collect()
}

/// What is damaged in a leaf, where it is one of ours.
fn look(page: &[u8], at: u64) -> Option<Damage> {
    let pairs = pairs(page);
    if let [
        Pair {
            key,
            value,
            at: within,
        },
    ] = pairs.as_slice()
        && *key == HEAD_NAME.as_bytes()
    {
        let cause = Head::from_bytes(value).err()?;
        return Some(Damage {
            table: Some(HEAD_TABLE),
            key: Some(HEAD_NAME.to_owned()),
            offset: Some(at + *within as u64),
            cause,
        });
    }
    let judged: Vec<_> = pairs
        .iter()
        .map(|pair| (pair, record::decode(pair.key, pair.value)))
        .collect();
    let sound = judged.iter().filter(|(_, read)| read.is_ok()).count();
    if 2 * sound <= judged.len() {
        return None;
    }
    let (pair, cause) = judged
        .into_iter()
        .find_map(|(pair, read)| Some((pair, read.err()?)))?;
    Some(Damage {
        table: Some(RECORDS_TABLE),
        key: Some(String::from_utf8_lossy(pair.key).into_owned()),
        offset: Some(at + pair.at as u64),
        cause,
    })
}
