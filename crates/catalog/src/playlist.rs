//! An M3U8 playlist: one key a line, relative to the folder in which the playlist lies; lines that begin with `#` say
//! something of the key that follows.
//!
//! Called by `storage` with the playlist's bytes. UTF-8, with or without byte order mark. Understood are `#EXTINF`
//! (title), `#EXTART`, `#EXTALB`, `#EXTGENRE`; other comments are passed over. Percent signs are taken as they stand.

use std::io::{BufRead, Read};

use types::Code;

use crate::{Draft, FIELD_BYTES_MAX, ManifestError, Parsed, Rejected, Rules};

/// The entries of a playlist, in order.
#[derive(Debug)]
pub struct Playlist<R> {
    input: R,
    rules: Rules,
    said: Draft,
    line: u64,
    ended: bool,
}

enum Line {
    Text(String),
    Bad(Code, String),
}

impl<R: BufRead> Playlist<R> {
    /// The entries of the playlist.
    pub fn new(input: R, rules: Rules) -> Self {
        Self {
            input,
            rules,
            said: Draft::default(),
            line: 0,
            ended: false,
        }
    }

    fn advance(&mut self) -> Result<Option<Parsed>, ManifestError> {
        while let Some(line) = self.read_line()? {
            let parsed = match line {
                Line::Text(text) => self.entry(text.trim_end()),
                Line::Bad(code, detail) => {
                    self.said = Draft::default();
                    Some(Parsed::Rejected(Rejected::new(self.line, code, detail, "")))
                }
            };
            if parsed.is_some() {
                return Ok(parsed);
            }
        }
        Ok(None)
    }

    fn entry(&mut self, text: &str) -> Option<Parsed> {
        if let Some(comment) = text.strip_prefix('#') {
            self.note(comment);
            return None;
        }
        if text.is_empty() {
            return None;
        }
        let mut draft = std::mem::take(&mut self.said);
        draft.key = text.to_owned();
        Some(draft.judge(self.line, &self.rules))
    }

    fn note(&mut self, comment: &str) {
        let Some((name, value)) = comment.split_once(':') else {
            return;
        };
        let value = value.trim().to_owned();
        match name {
            "EXTINF" => {
                let title = value.split_once(',').map_or("", |(_, title)| title.trim());
                self.said.title = title.to_owned();
            }
            "EXTART" => self.said.artist = value,
            "EXTGENRE" => self.said.genre = value,
            "EXTALB" if !value.is_empty() => {
                drop(self.said.extra.insert("album".to_owned(), value))
            }
            _ => {}
        }
    }

    fn read_line(&mut self) -> Result<Option<Line>, ManifestError> {
        let mut bytes = Vec::new();
        let room = FIELD_BYTES_MAX as u64 + 2;
        if (&mut self.input).take(room).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        self.line += 1;
        if !bytes.ends_with(b"\n") && bytes.len() as u64 == room {
            self.input.skip_until(b'\n')?;
            let detail = format!("line of more than {FIELD_BYTES_MAX} bytes");
            return Ok(Some(Line::Bad(Code::FieldTooLong, detail)));
        }
        if self.line == 1 && bytes.starts_with(b"\xEF\xBB\xBF") {
            bytes.drain(..3);
        }
        Ok(Some(match String::from_utf8(bytes) {
            Ok(text) => Line::Text(text),
            Err(_) => Line::Bad(Code::EncodingInvalid, "line is not UTF-8".to_owned()),
        }))
    }
}

impl<R: BufRead> Iterator for Playlist<R> {
    type Item = Result<Parsed, ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.advance().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::SourceName;

    fn parse(bytes: &[u8], key: &str) -> Vec<Parsed> {
        let name = SourceName::new("music").unwrap();
        let rules = Rules {
            sources: [name.clone()].into(),
            source: name,
            folder: crate::key::folder_of(key).to_owned(),
        };
        Playlist::new(bytes, rules)
            .collect::<Result<_, _>>()
            .unwrap()
    }

    #[track_caller]
    fn check(bytes: &[u8], key: &str, expected: &[Result<&str, (u64, Code)>]) {
        let parsed = parse(bytes, key);
        let found = parsed.iter().map(|parsed| match parsed {
            Parsed::Row { row, .. } => Ok(row.key.as_str()),
            Parsed::Rejected(rejected) => Err((rejected.line, rejected.code)),
        });
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn entries_are_relative_to_the_folder_of_the_playlist() {
        check(
            b"a.mp3\nsub/b.mp3\n",
            "list.m3u8",
            &[Ok("a.mp3"), Ok("sub/b.mp3")],
        );
        check(
            b"a.mp3\r\n./b.mp3",
            "x/y/list.m3u8",
            &[Ok("x/y/a.mp3"), Ok("x/y/b.mp3")],
        );
    }

    #[test]
    fn an_entry_that_leaves_its_source_or_is_a_url_is_rejected_by_line() {
        check(
            b"#EXTM3U\nok\n../up\n/etc/shadow\nhttp://x/y\nfile:///z\nC:\\a\n/dev/zero\nData: One.flac\n",
            "sub/list.m3u8",
            &[
                Ok("sub/ok"),
                Err((3, Code::KeyInvalid)),
                Err((4, Code::KeyInvalid)),
                Err((5, Code::RawUrl)),
                Err((6, Code::RawUrl)),
                Err((7, Code::KeyInvalid)),
                Err((8, Code::RawUrl)),
                Ok("sub/Data: One.flac"),
            ],
        );
    }

    #[test]
    fn comments_describe_the_next_entry_and_only_that() {
        let text = "\u{feff}#EXTM3U\n#EXTINF:123 x=\"y\",Ann - Song, live\n#EXTART:Ann\n#EXTALB:First\n#EXTGENRE:Folk\n\na\nb\n";
        let parsed = parse(text.as_bytes(), "l.m3u8");
        let [
            Parsed::Row { row: a, line: 7 },
            Parsed::Row { row: b, line: 8 },
        ] = parsed.as_slice()
        else {
            panic!("{parsed:?}");
        };
        assert_eq!(a.title.as_deref(), Some("Ann - Song, live"));
        assert_eq!(a.artist.as_deref(), Some("Ann"));
        assert_eq!(a.genre.as_deref(), Some("Folk"));
        assert_eq!(a.extra, [("album".to_owned(), "First".to_owned())].into());
        assert_eq!((&b.title, &b.artist, b.extra.len()), (&None, &None, 0));
    }

    #[test]
    fn an_endless_or_undecodable_line_is_one_rejected_row() {
        let mut text = b"a\n\xff\xfe\n".to_vec();
        text.extend(vec![b'x'; 3 * FIELD_BYTES_MAX]);
        text.extend(b"\nb\n");
        check(
            &text,
            "l.m3u8",
            &[
                Ok("a"),
                Err((2, Code::EncodingInvalid)),
                Err((3, Code::FieldTooLong)),
                Ok("b"),
            ],
        );
    }
}
