//! From loose fields to a canonical row: the rules that hold whatever the manifest was.
//!
//! Called by each of the parsers with a [`Draft`]. Texts are kept as given but for surrounding blanks; an ISRC or ISWC
//! is put into its plain form where it has one and kept verbatim where not, since agencies' catalogs hold broken
//! ones and the track is to be scanned all the same.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};
use types::{CatalogRow, Code, DeclaredAi, SourceName, TrackId, UnixMillis};

use crate::{FIELD_BYTES_MAX, Parsed, Rejected, Rules, key};

/// The fields of one row as a manifest gave them; empty means absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each field is the column of the same name in `types::CatalogRow`"
)]
pub struct Draft {
    pub track_id: String,
    pub source: String,
    pub key: String,
    pub bytes: String,
    pub content_id: String,
    pub added_at: String,
    pub isrc: String,
    pub iswc: String,
    pub upc: String,
    pub title: String,
    pub artist: String,
    pub label: String,
    pub rights_holder: String,
    pub genre: String,
    pub declared_ai: String,
    pub extra: BTreeMap<String, String>,
}

impl Draft {
    /// Judges the row by itself. The key of a row that names no source is relative to the manifest's folder.
    pub fn judge(mut self, line: u64, rules: &Rules) -> Parsed {
        if self.source.is_empty() {
            self.key = key::of_manifest(&rules.folder, &self.key);
        }
        let named = match self.track_id.is_empty() {
            true => self.key.clone(),
            false => self.track_id.clone(),
        };
        match self.into_row(rules) {
            Ok(row) => Parsed::Row {
                row: Box::new(row),
                line,
            },
            Err((code, detail)) => Parsed::Rejected(Rejected::new(line, code, detail, &named)),
        }
    }

    fn into_row(self, rules: &Rules) -> Result<CatalogRow, (Code, String)> {
        self.check_lengths()?;
        let source = source(&self.source, rules)?;
        key::check_given(&self.key).map_err(|error| (error.code(), error.to_string()))?;
        let track_id = match self.track_id.is_empty() {
            true => derived_track_id(&source, &self.key),
            false => TrackId::new(self.track_id).map_err(|error| invalid(error.to_string()))?,
        };
        Ok(CatalogRow {
            ordinal: 0,
            track_id,
            source,
            bytes: optional(&self.bytes, bytes)?,
            added_at: optional(&self.added_at, moment)?,
            declared_ai: optional(&self.declared_ai, declared)?,
            key: self.key,
            content_id: text(self.content_id),
            isrc: text(self.isrc).map(|isrc| plain(isrc, is_isrc)),
            iswc: text(self.iswc).map(|iswc| plain(iswc, is_iswc)),
            upc: text(self.upc),
            title: text(self.title),
            artist: text(self.artist),
            label: text(self.label),
            rights_holder: text(self.rights_holder),
            genre: text(self.genre),
            extra: self.extra,
        })
    }

    fn check_lengths(&self) -> Result<(), (Code, String)> {
        let known = [
            ("track_id", &self.track_id),
            ("source", &self.source),
            ("key", &self.key),
            ("bytes", &self.bytes),
            ("content_id", &self.content_id),
            ("added_at", &self.added_at),
            ("isrc", &self.isrc),
            ("iswc", &self.iswc),
            ("upc", &self.upc),
            ("title", &self.title),
            ("artist", &self.artist),
            ("label", &self.label),
            ("rights_holder", &self.rights_holder),
            ("genre", &self.genre),
            ("declared_ai", &self.declared_ai),
        ];
        let extra = self
            .extra
            .iter()
            .map(|(name, value)| (name.as_str(), value));
        match known
            .into_iter()
            .chain(extra)
            .find(|(_, value)| value.len() > FIELD_BYTES_MAX)
        {
            Some((name, value)) => {
                let detail = format!(
                    "`{name}` of {} bytes, more than {FIELD_BYTES_MAX}",
                    value.len()
                );
                Err((Code::FieldTooLong, detail))
            }
            None => Ok(()),
        }
    }
}

/// The id of a track whose manifest gives none: the same for the same source and key, in every import.
pub fn derived_track_id(source: &SourceName, key: &str) -> TrackId {
    let mut hasher = Sha256::new();
    hasher.update(b"trackscan track id 1\0");
    hasher.update(source.as_str().as_bytes());
    hasher.update([0]);
    hasher.update(key.as_bytes());
    let id = hex::encode(&hasher.finalize()[..16]);
    TrackId::new(id).expect("32 hexadecimal digits are a track id")
}

fn invalid(detail: String) -> (Code, String) {
    (Code::FieldInvalid, detail)
}

fn source(given: &str, rules: &Rules) -> Result<SourceName, (Code, String)> {
    if given.is_empty() {
        return Ok(rules.source.clone());
    }
    let name = SourceName::new(given).map_err(|error| invalid(error.to_string()))?;
    match rules.sources.contains(&name) {
        true => Ok(name),
        false => Err((
            Code::SourceUnknown,
            format!("source `{name}` is not configured"),
        )),
    }
}

fn text(given: String) -> Option<String> {
    (!given.is_empty()).then_some(given)
}

fn optional<T>(
    given: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, (Code, String)> {
    match given.is_empty() {
        true => Ok(None),
        false => parse(given).map(Some).map_err(invalid),
    }
}

fn bytes(given: &str) -> Result<u64, String> {
    given
        .parse()
        .map_err(|_| format!("`bytes` is `{}`, no whole number", shown(given)))
}

fn declared(given: &str) -> Result<DeclaredAi, String> {
    let found = DeclaredAi::ALL
        .iter()
        .find(|value| value.as_str().eq_ignore_ascii_case(given));
    found.copied().ok_or_else(|| {
        format!(
            "`declared_ai` is `{}`, not `All`, `Partly` or `None`",
            shown(given)
        )
    })
}

/// Length of `2026-11-21`; a day parser alone would take a moment without offset and drop its time.
const DAY_BYTES: usize = 10;

/// A day, or a moment with its offset; a day means its beginning in UTC.
fn moment(given: &str) -> Result<UnixMillis, String> {
    let instant = match given.len() {
        DAY_BYTES => given
            .parse::<Date>()
            .and_then(|day| day.to_zoned(TimeZone::UTC))
            .map(|day| day.timestamp()),
        _ => given.parse(),
    };
    instant
        .map(|instant: Timestamp| UnixMillis(instant.as_millisecond()))
        .map_err(|_| {
            format!(
                "`added_at` is `{}`, neither a date nor a moment of RFC 3339",
                shown(given)
            )
        })
}

fn shown(given: &str) -> &str {
    &given[..given.floor_char_boundary(64)]
}

/// The code without its separators and in capitals where that makes it well-formed, else as given.
fn plain(given: String, is_well_formed: fn(&[u8]) -> bool) -> String {
    let kept = given.chars().filter(|c| !matches!(c, '-' | '.' | ' '));
    let plain: String = kept.map(|c| c.to_ascii_uppercase()).collect();
    match is_well_formed(plain.as_bytes()) {
        true => plain,
        false => given,
    }
}

fn is_isrc(code: &[u8]) -> bool {
    code.len() == 12
        && code[..2].iter().all(u8::is_ascii_uppercase)
        && code[2..5].iter().all(u8::is_ascii_alphanumeric)
        && code[5..].iter().all(u8::is_ascii_digit)
}

fn is_iswc(code: &[u8]) -> bool {
    code.len() == 11 && code[0] == b'T' && code[1..].iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn rules() -> Rules {
        let name = |name: &str| SourceName::new(name).unwrap();
        Rules {
            sources: [name("music"), name("other")].into(),
            source: name("music"),
            folder: String::new(),
        }
    }

    fn draft(change: impl FnOnce(&mut Draft)) -> Draft {
        let mut draft = Draft {
            key: "a.mp3".into(),
            ..Draft::default()
        };
        change(&mut draft);
        draft
    }

    #[track_caller]
    fn accept(change: impl FnOnce(&mut Draft)) -> CatalogRow {
        match draft(change).judge(1, &rules()) {
            Parsed::Row { row, .. } => *row,
            Parsed::Rejected(rejected) => panic!("{rejected:?}"),
        }
    }

    #[track_caller]
    fn reject(change: impl FnOnce(&mut Draft)) -> Code {
        match draft(change).judge(1, &rules()) {
            Parsed::Row { row, .. } => panic!("{row:?}"),
            Parsed::Rejected(rejected) => rejected.code,
        }
    }

    #[test]
    fn a_derived_id_depends_on_source_and_key_alone() {
        let id = |source: &str, key: &str| derived_track_id(&SourceName::new(source).unwrap(), key);
        assert_eq!(
            id("music", "a.mp3"),
            accept(|d| d.title = "A".into()).track_id
        );
        assert_ne!(id("music", "a.mp3"), id("other", "a.mp3"));
        assert_ne!(id("music", "a.mp3"), id("music", "b.mp3"));
        assert_eq!(
            id("music", "a.mp3").as_str(),
            "0af313066aded30885c1abefca3a95d3"
        );
    }

    #[test]
    fn the_declaration_is_read_in_the_words_of_ddex_only() {
        for (given, expected) in [
            ("All", DeclaredAi::All),
            ("partly", DeclaredAi::Partly),
            ("NONE", DeclaredAi::None),
        ] {
            assert_eq!(
                accept(|d| d.declared_ai = given.into()).declared_ai,
                Some(expected)
            );
        }
        assert_eq!(accept(|_| ()).declared_ai, None);
        for given in ["yes", "true", "0", "Part", "unknown"] {
            assert_eq!(
                reject(|d| d.declared_ai = given.into()),
                Code::FieldInvalid,
                "{given}"
            );
        }
    }

    #[test]
    fn a_day_is_its_beginning_in_utc_and_a_moment_needs_an_offset() {
        for (given, expected) in [
            ("1970-01-02", 86_400_000),
            ("1970-01-01T00:00:01Z", 1_000),
            ("1970-01-01T01:00:00.5+01:00", 500),
            ("1969-12-31", -86_400_000),
        ] {
            let row = accept(|d| d.added_at = given.into());
            assert_eq!(row.added_at, Some(UnixMillis(expected)), "{given}");
        }
        for given in ["yesterday", "1970-13-01", "1970-01-01T00:00:00"] {
            assert_eq!(
                reject(|d| d.added_at = given.into()),
                Code::FieldInvalid,
                "{given}"
            );
        }
    }

    #[test]
    fn recording_and_work_codes_lose_their_separators_or_stay_as_they_are() {
        for (given, expected) in [
            ("us-s1z-99-00001", "USS1Z9900001"),
            ("USS1Z9900001", "USS1Z9900001"),
            ("not an isrc", "not an isrc"),
        ] {
            assert_eq!(
                accept(|d| d.isrc = given.into()).isrc.as_deref(),
                Some(expected)
            );
        }
        assert_eq!(
            accept(|d| d.iswc = "T-034.524.680-1".into())
                .iswc
                .as_deref(),
            Some("T0345246801")
        );
    }

    #[test]
    fn a_key_is_relative_to_the_manifest_unless_the_row_names_a_source() {
        let rules = Rules {
            folder: "lists/".to_owned(),
            ..rules()
        };
        let key = |source: &str, key: &str| {
            let (source, key) = (source.to_owned(), key.to_owned());
            let draft = Draft {
                source,
                key,
                ..Draft::default()
            };
            match draft.judge(1, &rules) {
                Parsed::Row { row, .. } => Ok(row.key),
                Parsed::Rejected(rejected) => Err(rejected.code),
            }
        };
        assert_eq!(key("", "a.mp3"), Ok("lists/a.mp3".to_owned()));
        assert_eq!(
            key("", "Memory: Live.mp3"),
            Ok("lists/Memory: Live.mp3".to_owned())
        );
        assert_eq!(key("music", "a.mp3"), Ok("a.mp3".to_owned()));
        assert_eq!(key("", "../a.mp3"), Err(Code::KeyInvalid));
        assert_eq!(key("", ""), Err(Code::KeyInvalid));
        assert_eq!(key("", "http://x/a.mp3"), Err(Code::RawUrl));
    }

    #[test]
    fn a_field_outside_its_column_s_rules_rejects_the_row_by_code() {
        assert_eq!(reject(|d| d.bytes = "-1".into()), Code::FieldInvalid);
        assert_eq!(reject(|d| d.bytes = "1e6".into()), Code::FieldInvalid);
        assert_eq!(reject(|d| d.track_id = "a\nb".into()), Code::FieldInvalid);
        assert_eq!(reject(|d| d.source = "no such".into()), Code::FieldInvalid);
        assert_eq!(reject(|d| d.source = "nowhere".into()), Code::SourceUnknown);
        assert_eq!(reject(|d| d.key = "../a".into()), Code::KeyInvalid);
        assert_eq!(reject(|d| d.key = "http://a/b.mp3".into()), Code::RawUrl);
        assert_eq!(
            reject(|d| d.title = "t".repeat(FIELD_BYTES_MAX + 1)),
            Code::FieldTooLong
        );
        let long = || [("notes".to_owned(), "n".repeat(FIELD_BYTES_MAX + 1))].into();
        assert_eq!(reject(|d| d.extra = long()), Code::FieldTooLong);
        assert_eq!(
            accept(|d| d.source = "other".into()).source.as_str(),
            "other"
        );
    }
}
