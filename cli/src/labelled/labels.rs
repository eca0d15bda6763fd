//! The operator's CSV: which track is human, which is not, and what else is known of it. Read by `evaluate` and `calibrate`, which have
//! it refused before a scan where no scan could make it enough. Of a folder it looks at names alone.

use super::lines::Lines;
use super::{enough_of, named};
use crate::failure::{Failure, problem};
use evaluation::split::Side;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use types::Code;

/// Most labelled tracks: what is kept of each, with a residual's features, is about half a kilobyte.
const LABELS_MAX: usize = 1_000_000;
/// Largest file: a quarter of a kilobyte for each of the most labels.
const BYTES_MAX: u64 = 256 << 20;

/// How the file names its tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// By `track_id`.
    TrackId,
    /// By `key`.
    Key,
}

impl By {
    const fn column(self) -> &'static str {
        match self {
            Self::TrackId => "track_id",
            Self::Key => "key",
        }
    }
}

/// What is known of a track. Texts are empty where nothing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    /// Line of the file.
    pub(crate) line: u64,
    /// Whether a machine made it.
    pub(crate) ai: bool,
    pub(crate) artist: String,
    pub(crate) label: String,
    pub(crate) genre: String,
    pub(crate) isrc: String,
    /// The side that it is to stand on, where the file says so of each.
    pub(crate) side: Option<Side>,
}

/// The file, by the tracks' names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Labels {
    pub(crate) by: By,
    pub(crate) rows: BTreeMap<String, Label>,
}

impl Labels {
    /// Refuses what no scan of a folder can make enough for work on these sides: too few of a class, on a side too, or a name that the
    /// folder does not have where it is on this machine.
    ///
    /// # Errors
    /// `LABELS_ONE_CLASS`, `LABELS_TOO_FEW`, `LABELS_UNMATCHED`.
    pub(crate) fn before_a_scan(&self, folder: &Path, sides: &[Side]) -> Result<(), Failure> {
        self.enough(|_| true, "the labels")?;
        if self.rows.values().any(|label| label.side.is_some()) {
            sides.iter().try_for_each(|side| self.enough_on(*side))?;
        } else if sides.len() > 1 {
            self.enough_in_half()?;
        }
        match self.by {
            By::Key if folder.is_dir() => self.all_in(folder),
            By::Key | By::TrackId => Ok(()),
        }
    }

    /// The same of a folder that lies at a path within its source, from which keys begin there; empty of the source's own folder.
    pub(crate) fn below(self, path: &str) -> Self {
        let by = self.by;
        let keyed = |name: String| match by {
            By::Key if !path.is_empty() => format!("{path}/{name}"),
            By::Key | By::TrackId => name,
        };
        let rows = self.rows.into_iter();
        Self {
            by,
            rows: rows.map(|(name, label)| (keyed(name), label)).collect(),
        }
    }

    /// Enough on a side that the file names.
    fn enough_on(&self, side: Side) -> Result<(), Failure> {
        let place = match side {
            Side::Calibrate => "the side `calibrate` of the labels",
            Side::Test => "the side `test` of the labels",
        };
        self.enough(|label| label.side == Some(side), place)
    }

    /// Enough on both sides, whichever are drawn: of each class one of them has no more than half.
    fn enough_in_half(&self) -> Result<(), Failure> {
        let (humans, positives) = self.counted(|_| true);
        let place = "half of the labels, for either side";
        enough_of(humans / 2, positives / 2, place)
    }

    fn enough(&self, own: impl Fn(&Label) -> bool, place: &str) -> Result<(), Failure> {
        let (humans, positives) = self.counted(own);
        enough_of(humans, positives, place)
    }

    /// Human and ai tracks.
    fn counted(&self, own: impl Fn(&Label) -> bool) -> (usize, usize) {
        let own: Vec<&Label> = self.rows.values().filter(|label| own(label)).collect();
        let positives = own.iter().filter(|label| label.ai).count();
        (own.len() - positives, positives)
    }

    fn all_in(&self, folder: &Path) -> Result<(), Failure> {
        let keys = self.rows.keys();
        let lacking: Vec<&String> = keys
            .filter(|key| folder.join(key).symlink_metadata().is_err())
            .collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let said = format!(
            "{} of {} labelled tracks are not in the folder `{}`: {}",
            lacking.len(),
            self.rows.len(),
            folder.display(),
            named(&lacking)
        );
        Err(problem(Code::LabelsUnmatched, said))
    }
}

/// Reads the file.
pub(crate) fn read(path: &Path) -> Result<Labels, Failure> {
    let shown = path.display().to_string();
    let refuse = |why: String| {
        problem(
            Code::InvalidRequest,
            format!("could not read `{shown}`: {why}"),
        )
    };
    let file = File::open(path).map_err(|why| refuse(why.to_string()))?;
    let bytes = file
        .metadata()
        .map_err(|why| refuse(why.to_string()))?
        .len();
    if bytes > BYTES_MAX {
        return Err(refuse(format!("it has more than {BYTES_MAX} bytes")));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(|why| refuse(why.to_string()))?;
    parse(&bytes, &shown)
}

fn malformed(why: &csv::Error, lines: &mut Lines<'_>, file: &str) -> Failure {
    let line = lines.of(why.position());
    let kind = why.kind();
    let said = if let csv::ErrorKind::UnequalLengths {
        expected_len, len, ..
    } = kind
    {
        format!("line {line}: it has {len} fields, and the header {expected_len}")
    } else if let csv::ErrorKind::Utf8 { .. } = kind {
        format!("line {line}: it is no UTF-8")
    } else {
        why.to_string()
    };
    problem(Code::RowMalformed, format!("read `{file}`: {said}"))
}

/// Reads the bytes of a file named so.
fn parse(bytes: &[u8], file: &str) -> Result<Labels, Failure> {
    let mut reader = csv::Reader::from_reader(bytes);
    let mut lines = Lines::new(bytes);
    let header = reader.headers();
    let header = header.map_err(|why| malformed(&why, &mut lines, file))?;
    let columns = Columns::of(header, file)?;
    let mut rows = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|why| malformed(&why, &mut lines, file))?;
        if rows.len() == LABELS_MAX {
            let said = format!("read `{file}`: it has more than {LABELS_MAX} tracks");
            return Err(problem(Code::InvalidRequest, said));
        }
        let line = lines.of(record.position());
        let (name, label) = columns.row(&record, line, file)?;
        if let Some(other) = rows.insert(name, label) {
            let code = match columns.by {
                By::TrackId => Code::DuplicateTrackId,
                By::Key => Code::DuplicateKey,
            };
            let said = format!(
                "read `{file}`: lines {} and {line} name the same track",
                other.line
            );
            return Err(problem(code, said));
        }
    }
    one_way(&rows, file)?;
    Ok(Labels {
        by: columns.by,
        rows,
    })
}

/// Either each track has its side, or none has.
fn one_way(rows: &BTreeMap<String, Label>, file: &str) -> Result<(), Failure> {
    let told = rows.values().filter(|label| label.side.is_some()).count();
    let untold = rows.values().find(|label| label.side.is_none());
    match untold {
        Some(label) if told > 0 => Err(field(
            file,
            label.line,
            "split is empty, though other lines have one: give it to each track or to none",
        )),
        Some(_) | None => Ok(()),
    }
}

fn field(file: &str, line: u64, what: &str) -> Failure {
    problem(
        Code::FieldInvalid,
        format!("read `{file}`: line {line}: {what}"),
    )
}

/// Where each column stands.
struct Columns {
    by: By,
    name: usize,
    class: usize,
    artist: Option<usize>,
    label: Option<usize>,
    genre: Option<usize>,
    isrc: Option<usize>,
    split: Option<usize>,
}

impl Columns {
    fn of(header: &csv::StringRecord, file: &str) -> Result<Self, Failure> {
        let place = |name: &str| header.iter().position(|title| title.trim() == name);
        let missing = |what: &str| {
            problem(
                Code::ColumnMissing,
                format!("read `{file}`: it has no column {what}"),
            )
        };
        let by_id = place(By::TrackId.column()).map(|at| (By::TrackId, at));
        let by_key = || place(By::Key.column()).map(|at| (By::Key, at));
        let (by, name) = by_id
            .or_else(by_key)
            .ok_or_else(|| missing("`track_id` and none `key`"))?;
        Ok(Self {
            by,
            name,
            class: place("label").ok_or_else(|| missing("`label`"))?,
            artist: place("artist"),
            label: place("label_name"),
            genre: place("genre"),
            isrc: place("isrc"),
            split: place("split"),
        })
    }

    fn row(
        &self,
        record: &csv::StringRecord,
        line: u64,
        file: &str,
    ) -> Result<(String, Label), Failure> {
        let cell = |at: usize| record.get(at).unwrap_or_default().trim();
        let any = |at: Option<usize>| at.map_or_else(String::new, |at| cell(at).to_owned());
        // A key may begin or end with a blank; an id may not.
        let name = match self.by {
            By::TrackId => cell(self.name),
            By::Key => record.get(self.name).unwrap_or_default(),
        };
        if name.is_empty() {
            return Err(field(file, line, &format!("{} is empty", self.by.column())));
        }
        let ai = match cell(self.class) {
            "human" => false,
            "ai" => true,
            _ => return Err(field(file, line, "label is neither `human` nor `ai`")),
        };
        let side = match any(self.split).as_str() {
            "" => None,
            "calibrate" => Some(Side::Calibrate),
            "test" => Some(Side::Test),
            _ => return Err(field(file, line, "split is neither `calibrate` nor `test`")),
        };
        let label = Label {
            line,
            ai,
            artist: any(self.artist),
            label: any(self.label),
            genre: any(self.genre),
            isrc: any(self.isrc),
            side,
        };
        Ok((name.to_owned(), label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name_in_any_order_and_others_are_left_alone() {
        let text = "note,label,track_id,genre,artist,split\nx,human,t1,folk, A ,calibrate\ny,ai,t2,,,test\n";
        let read = parse(text.as_bytes(), "f").unwrap();
        assert_eq!((read.by, read.rows.len()), (By::TrackId, 2));
        let first = &read.rows["t1"];
        assert_eq!(
            (
                first.ai,
                first.artist.as_str(),
                first.genre.as_str(),
                first.side
            ),
            (false, "A", "folk", Some(Side::Calibrate))
        );
        assert_eq!((read.rows["t2"].ai, read.rows["t2"].line), (true, 3));
        let keyed = parse("key,label\n a/b.mp3 ,ai\n".as_bytes(), "f").unwrap();
        assert!(keyed.by == By::Key && keyed.rows.contains_key(" a/b.mp3 "));
    }

    #[test]
    fn a_file_that_is_no_table_of_labels_is_refused_by_code_and_line() {
        for (text, code, said) in [
            ("track,label\n", "COLUMN_MISSING", "`track_id`"),
            ("key\na\n", "COLUMN_MISSING", "`label`"),
            ("key,label\na,human\nb,robot\n", "FIELD_INVALID", "line 3"),
            ("key,label\n,human\n", "FIELD_INVALID", "key is empty"),
            (
                "key,label,split\na,human,train\n",
                "FIELD_INVALID",
                "`calibrate`",
            ),
            (
                "key,label,split\na,human,test\nb,ai,\n",
                "FIELD_INVALID",
                "line 3",
            ),
            (
                "key,label\na,human\na,ai\n",
                "DUPLICATE_KEY",
                "lines 2 and 3",
            ),
            (
                "track_id,label\na,ai\na,ai\n",
                "DUPLICATE_TRACK_ID",
                "lines 2",
            ),
            ("key,label\na,human,more\n", "ROW_MALFORMED", "line 2"),
            ("key,label\n\n\na,robot\n", "FIELD_INVALID", "line 4"),
            (
                "key,label\n\"a\nb\",ai\nc,robot\n",
                "FIELD_INVALID",
                "line 4",
            ),
        ] {
            for end in ["\n", "\r\n"] {
                refused(&text.replace('\n', end), code, said);
            }
        }
    }

    fn refused(text: &str, code: &str, said: &str) {
        let refused = parse(text.as_bytes(), "f").unwrap_err();
        let Failure::Problem {
            code: found, cause, ..
        } = &refused
        else {
            panic!("{text:?}: {refused:?}");
        };
        assert_eq!(found, code, "{text:?}: {cause}");
        assert!(cause.contains(said), "{text:?}: {cause}");
        assert!(cause.contains("`f`"), "{cause}");
    }

    #[test]
    fn labels_that_no_scan_can_make_enough_are_refused_before_one() {
        let refused = |classes: &dyn Fn(usize) -> &'static str, header: &str| {
            first_refusal(&labels_of(60, classes, header), &[Side::Test])
        };
        let halves = |at: usize| if at.is_multiple_of(2) { "ai" } else { "human" };
        assert_eq!(refused(&halves, ""), "");
        assert_eq!(refused(&|_| "human", ""), "LABELS_ONE_CLASS");
        let few = |at: usize| if at < 19 { "ai" } else { "human" };
        assert_eq!(refused(&few, ""), "LABELS_TOO_FEW");
        let one_side = |at: usize| match at % 2 {
            0 => "ai,calibrate",
            _ => "human,calibrate",
        };
        assert_eq!(refused(&one_side, ",split"), "LABELS_TOO_FEW");
    }

    #[test]
    fn labels_of_which_no_split_gives_both_sides_enough_calibrate_nothing() {
        let both = [Side::Calibrate, Side::Test];
        let halves = |at: usize| if at.is_multiple_of(2) { "ai" } else { "human" };
        let drawn = |tracks: usize| labels_of(tracks, &halves, "");
        assert_eq!(first_refusal(&drawn(80), &both), "");
        assert_eq!(first_refusal(&drawn(78), &both), "LABELS_TOO_FEW");
        assert_eq!(first_refusal(&drawn(78), &[Side::Test]), "");
        let on_test = |at: usize| match at % 2 {
            0 => "ai,test",
            _ => "human,test",
        };
        let told = labels_of(80, &on_test, ",split");
        assert_eq!(first_refusal(&told, &both), "LABELS_TOO_FEW");
        assert_eq!(first_refusal(&told, &[Side::Test]), "");
    }

    fn labels_of(tracks: usize, classes: &dyn Fn(usize) -> &'static str, header: &str) -> Labels {
        let mut text = format!("track_id,label{header}\n");
        for at in 0..tracks {
            text.push_str(&format!("t{at},{}\n", classes(at)));
        }
        parse(text.as_bytes(), "f").unwrap()
    }

    /// The code of the refusal before a scan; empty without one.
    fn first_refusal(labels: &Labels, sides: &[Side]) -> String {
        match labels.before_a_scan(Path::new("nowhere"), sides) {
            Ok(()) => String::new(),
            Err(Failure::Problem { code, .. }) => code,
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_below_a_folder_begin_with_its_path_in_the_source_and_ids_stay() {
        let below = |text: &str, path: &str| -> Vec<String> {
            let labels = parse(text.as_bytes(), "f").unwrap().below(path);
            labels.rows.into_keys().collect()
        };
        let keys = "key,label\na/b.mp3,ai\nc.mp3,human\n";
        assert_eq!(
            below(keys, "known/2020"),
            ["known/2020/a/b.mp3", "known/2020/c.mp3"]
        );
        assert_eq!(below(keys, ""), ["a/b.mp3", "c.mp3"]);
        assert_eq!(below("track_id,label\nt1,ai\n", "known"), ["t1"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_line() {
        let refused = parse(b"key,label\r\na,human\r\n\xff,ai\r\n", "f").unwrap_err();
        let Failure::Problem { code, cause, .. } = &refused else {
            panic!("{refused:?}");
        };
        assert_eq!(code, "ROW_MALFORMED");
        assert!(cause.contains("line 3"), "{cause}");
    }
}
