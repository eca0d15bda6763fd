//! The digest that names a snapshot: SHA-256 over its canonical rows, in order.
//!
//! Fed row by row by whoever writes or checks a snapshot. Two lists have one digest only if every field of every row
//! is the same: each field enters with its length, an absent one differs from an empty one.

use sha2::{Digest as _, Sha256};
use types::{CatalogRow, Digest};

/// Bumped when a column is added, so that old and new digests can never be mistaken for each other.
const PREAMBLE: &[u8] = b"trackscan snapshot 1\0";

/// The running digest of a list.
#[derive(Clone, Debug)]
pub struct RowDigest {
    hasher: Sha256,
    rows: u64,
    scratch: Vec<u8>,
}

impl Default for RowDigest {
    fn default() -> Self {
        let mut hasher = Sha256::new();
        hasher.update(PREAMBLE);
        Self {
            hasher,
            rows: 0,
            scratch: Vec::new(),
        }
    }
}

impl RowDigest {
    /// Adds the next row.
    pub fn add(&mut self, row: &CatalogRow) {
        self.scratch.clear();
        encode(row, &mut self.scratch);
        self.hasher.update(&self.scratch);
        self.rows += 1;
    }

    /// The digest over all rows added, and how many they were.
    pub fn finish(mut self) -> (Digest, u64) {
        self.hasher.update(b"rows");
        self.hasher.update(self.rows.to_le_bytes());
        (Digest(self.hasher.finalize().into()), self.rows)
    }
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
        let mut digest = RowDigest::default();
        rows.iter().for_each(|row| digest.add(row));
        digest.finish().0
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
    fn order_and_number_of_rows_are_part_of_the_digest() {
        let lists = [
            vec![],
            vec![row(0)],
            vec![row(0), row(1)],
            vec![row(1), row(0)],
        ];
        let digests: std::collections::BTreeSet<_> =
            lists.iter().map(|list| digest(list)).collect();
        assert_eq!(digests.len(), lists.len());
    }
}
