//! The digest that names a list: SHA-256 over the digests of its chunks, each over canonical rows, in order.
//!
//! Fed row by row by whoever writes a snapshot. Two lists have one digest only if every field of every row is the same:
//! each field enters with its length, an absent one differs from an empty one. Whoever reads a piece of a snapshot checks
//! the chunks it read against the list of chunk digests, and that list against the name, without reading the rest.

use sha2::{Digest as _, Sha256};
use types::{CatalogRow, Digest};

/// Rows of one chunk; the last has fewer. Also the rows of one row group of a snapshot: a few megabytes, so that an agent
/// reads little more than it needs and the index of a hundred million rows stays small.
pub const CHUNK_ROWS: u32 = 32_768;

/// Bumped when a column is added, so that old and new digests can never be mistaken for each other.
const PREAMBLE: &[u8] = b"trackscan list 1\0";

/// What a list comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListDigest {
    /// The digest that names the list.
    pub digest: Digest,
    /// How many rows it has.
    pub rows: u32,
    /// The digest of each chunk, in order.
    pub chunks: Vec<Digest>,
}

impl ListDigest {
    /// The list of `rows` rows whose chunks have these digests.
    pub fn of_chunks(rows: u32, chunks: Vec<Digest>) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(PREAMBLE);
        hasher.update(rows.to_le_bytes());
        chunks.iter().for_each(|chunk| hasher.update(chunk.0));
        Self {
            digest: Digest(hasher.finalize().into()),
            rows,
            chunks,
        }
    }
}

/// The digest of one chunk.
pub fn chunk_digest(rows: &[CatalogRow]) -> Digest {
    let (mut hasher, mut scratch) = (Sha256::new(), Vec::new());
    for row in rows {
        scratch.clear();
        encode(row, &mut scratch);
        hasher.update(&scratch);
    }
    Digest(hasher.finalize().into())
}

fn encode(row: &CatalogRow, out: &mut Vec<u8>) {
    out.extend_from_slice(&row.ordinal.to_le_bytes());
    field(out, Some(row.track_id.as_str().as_bytes()));
    field(out, Some(row.source.as_str().as_bytes()));
    field(out, Some(row.key.as_bytes()));
    field(
        out,
        row.bytes
            .map(u64::to_le_bytes)
            .as_ref()
            .map(<[u8; 8]>::as_slice),
    );
    let added_at = row.added_at.map(|moment| moment.0.to_le_bytes());
    field(out, added_at.as_ref().map(<[u8; 8]>::as_slice));
    field(
        out,
        row.declared_ai.map(|declared| declared.as_str().as_bytes()),
    );
    for text in [
        &row.content_id,
        &row.isrc,
        &row.iswc,
        &row.upc,
        &row.title,
        &row.artist,
        &row.label,
        &row.rights_holder,
        &row.genre,
    ] {
        field(out, text.as_deref().map(str::as_bytes));
    }
    out.extend_from_slice(&(row.extra.len() as u64).to_le_bytes());
    for (name, value) in &row.extra {
        field(out, Some(name.as_bytes()));
        field(out, Some(value.as_bytes()));
    }
}

/// Absent: one 0 byte. Present: one 1 byte, the length, the bytes.
fn field(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => out.push(0),
        Some(bytes) => {
            out.push(1);
            out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            out.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{DeclaredAi, SourceName, TrackId, UnixMillis};

    fn row(ordinal: u32) -> CatalogRow {
        CatalogRow {
            ordinal,
            track_id: TrackId::new(format!("t{ordinal}")).unwrap(),
            source: SourceName::new("music").unwrap(),
            key: format!("{ordinal}.mp3"),
            bytes: None,
            content_id: None,
            added_at: None,
            isrc: None,
            iswc: None,
            upc: None,
            title: None,
            artist: None,
            label: None,
            rights_holder: None,
            genre: None,
            declared_ai: None,
            extra: Default::default(),
        }
    }

    fn digest(rows: &[CatalogRow]) -> Digest {
        ListDigest::of_chunks(rows.len() as u32, vec![chunk_digest(rows)]).digest
    }

    #[test]
    fn the_digest_changes_with_each_field_and_with_nothing_else() {
        let changes: [fn(&mut CatalogRow); 17] = [
            |r| r.ordinal = 9,
            |r| r.track_id = TrackId::new("other").unwrap(),
            |r| r.source = SourceName::new("other").unwrap(),
            |r| r.key = "other".into(),
            |r| r.bytes = Some(0),
            |r| r.content_id = Some(String::new()),
            |r| r.added_at = Some(UnixMillis(0)),
            |r| r.isrc = Some("x".into()),
            |r| r.iswc = Some("x".into()),
            |r| r.upc = Some("x".into()),
            |r| r.title = Some("x".into()),
            |r| r.artist = Some("x".into()),
            |r| r.label = Some("x".into()),
            |r| r.rights_holder = Some("x".into()),
            |r| r.genre = Some("x".into()),
            |r| r.declared_ai = Some(DeclaredAi::None),
            |r| drop(r.extra.insert("a".into(), "b".into())),
        ];
        let mut seen = std::collections::BTreeSet::from([digest(&[row(0)])]);
        for (number, change) in changes.iter().enumerate() {
            let mut changed = row(0);
            change(&mut changed);
            assert!(seen.insert(digest(&[changed])), "change {number}");
        }
        assert_eq!(digest(&[row(0)]), digest(&[row(0)]));
    }

    #[test]
    fn order_number_and_chunks_of_rows_are_part_of_the_digest() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let lists = [
            ListDigest::of_chunks(0, vec![]),
            ListDigest::of_chunks(1, vec![]),
            ListDigest::of_chunks(1, vec![a]),
            ListDigest::of_chunks(2, vec![a, b]),
            ListDigest::of_chunks(2, vec![b, a]),
        ];
        let digests: std::collections::BTreeSet<_> = lists.iter().map(|list| list.digest).collect();
        assert_eq!(digests.len(), lists.len());
        assert_ne!(digest(&[row(0), row(1)]), digest(&[row(1), row(0)]));
    }
}
