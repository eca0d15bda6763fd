//! The rows of a result as the report first reads them: each row of the CSV export as a line of the report's table, in pieces as
//! they come over the wire. A line is what decides whether a track has a card; the card itself is made from the whole row.

use super::rules::Rules;
use csv_core::{ReadFieldResult, Reader};
use std::collections::BTreeMap;
use types::{Code, Problem, Verdict};

/// Bytes of a field at most: keys and tags are far shorter, and what is longer is no export of ours.
const FIELD_BYTES_MAX: usize = 1 << 20;
/// Fields of a row at most: three times those of an export.
const FIELDS_MAX: usize = 128;

/// One track of the table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// Position in the list.
    pub(crate) ordinal: u32,
    /// The agency's id.
    pub(crate) track: String,
    /// The object within its source.
    pub(crate) key: String,
    /// What is said.
    pub(crate) verdict: Verdict,
    /// Why nothing is, or why it could not be scanned.
    pub(crate) why: String,
    /// The score that the verdict rests on.
    pub(crate) score: Option<Decider>,
    /// Whether the residual ran.
    pub(crate) separated: bool,
    /// Whether another device might decide otherwise.
    pub(crate) borderline: bool,
    /// Decoded length in milliseconds.
    pub(crate) duration_ms: Option<u64>,
    /// The codec.
    pub(crate) codec: String,
}

/// The score that a verdict rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Decider {
    /// Whether it is of both engines; else of the screen alone.
    pub(crate) fused: bool,
    /// In its rule's unit.
    pub(crate) score: f64,
    /// At `prior`.
    pub(crate) probability: f64,
    /// The share of machine-made tracks that it supposes.
    pub(crate) prior: f64,
    /// What tracks are put in order by.
    pub(crate) evidence: f64,
}

/// Reads an export as it comes.
pub(crate) struct Lines<'a> {
    rules: &'a Rules,
    reader: Reader,
    /// The bytes of the field that is being read.
    field: Vec<u8>,
    filled: usize,
    /// The fields of the row that is being read.
    row: Vec<String>,
    /// The place of each column, once the header is read.
    columns: Option<BTreeMap<String, usize>>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(rules: &'a Rules) -> Self {
        Self {
            rules,
            reader: Reader::new(),
            field: vec![0; 4_096],
            filled: 0,
            row: Vec::new(),
            columns: None,
        }
    }

    /// Takes the next bytes and gives each line that they end.
    ///
    /// # Errors
    /// `INTERNAL` where they are no export of this version.
    pub(crate) fn take(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(Line),
    ) -> Result<(), Problem> {
        while !bytes.is_empty() {
            let (result, read, written) = self
                .reader
                .read_field(bytes, &mut self.field[self.filled..]);
            bytes = &bytes[read..];
            self.filled += written;
            match result {
                ReadFieldResult::InputEmpty | ReadFieldResult::End => {}
                ReadFieldResult::OutputFull => self.grow()?,
                ReadFieldResult::Field { record_end } => {
                    self.end_field()?;
                    if record_end && let Some(line) = self.end_row()? {
                        each(line);
                    }
                }
            }
        }
        Ok(())
    }

    fn grow(&mut self) -> Result<(), Problem> {
        if self.field.len() >= FIELD_BYTES_MAX {
            return Err(strange("a field is longer than a megabyte"));
        }
        self.field.resize(self.field.len() * 2, 0);
        Ok(())
    }

    fn end_field(&mut self) -> Result<(), Problem> {
        let text = std::str::from_utf8(&self.field[..self.filled]);
        let text = text.map_err(|_| strange("a field is not UTF-8"))?;
        if self.row.len() >= FIELDS_MAX {
            return Err(strange("a row has too many fields"));
        }
        self.row.push(text.to_owned());
        self.filled = 0;
        Ok(())
    }

    fn end_row(&mut self) -> Result<Option<Line>, Problem> {
        let fields = std::mem::take(&mut self.row);
        let Some(columns) = &self.columns else {
            let columns = fields.into_iter().enumerate();
            self.columns = Some(columns.map(|(at, name)| (name, at)).collect());
            return Ok(None);
        };
        let row = Row { columns, fields };
        row.line(self.rules).map(Some)
    }
}

struct Row<'a> {
    columns: &'a BTreeMap<String, usize>,
    fields: Vec<String>,
}

impl Row<'_> {
    fn line(&self, rules: &Rules) -> Result<Line, Problem> {
        if self.text("bundle")? != rules.digest.to_string() {
            let said = format!(
                "read the result: a row was scored by another bundle than `{}`",
                rules.digest
            );
            return Err(Problem::new(Code::BundleDigestMismatch, said));
        }
        let fused = self.decider("fused", true, rules)?;
        let why = [self.text("reason")?, self.text("code")?].concat();
        Ok(Line {
            ordinal: self
                .number("ordinal")?
                .ok_or_else(|| strange("a row has no ordinal"))?,
            track: self.outside("track_id")?,
            key: self.outside("key")?,
            verdict: self
                .number("verdict")?
                .ok_or_else(|| strange("a row has no verdict"))?,
            why,
            score: match fused {
                Some(both) => Some(both),
                None => self.decider("screen", false, rules)?,
            },
            separated: fused.is_some() || self.number::<u32>("segments")?.unwrap_or(0) > 0,
            borderline: self.text("borderline")? == "true",
            duration_ms: self.number("duration_ms")?,
            codec: self.outside("codec")?,
        })
    }

    fn text(&self, column: &str) -> Result<&str, Problem> {
        let place = self.columns.get(column);
        let field = place.and_then(|at| self.fields.get(*at));
        let field = field.ok_or_else(|| strange(&format!("a row has no column `{column}`")))?;
        Ok(field)
    }

    /// A text that the export disarmed for spreadsheets, as it was.
    fn outside(&self, column: &str) -> Result<String, Problem> {
        let text = self.text(column)?;
        let disarmed = text.strip_prefix('\'');
        let armed = disarmed.filter(|rest| rest.starts_with(['=', '+', '-', '@', '\t', '\r']));
        Ok(armed.unwrap_or(text).to_owned())
    }

    fn number<T: std::str::FromStr>(&self, column: &str) -> Result<Option<T>, Problem> {
        let text = self.text(column)?;
        if text.is_empty() {
            return Ok(None);
        }
        let value = text.parse();
        value
            .map(Some)
            .map_err(|_| strange(&format!("column `{column}` has `{}`", text.escape_debug())))
    }

    /// A score, where there is one that is a number.
    fn decider(&self, stage: &str, fused: bool, rules: &Rules) -> Result<Option<Decider>, Problem> {
        let value = |what: &str| self.number::<f64>(&format!("{stage}_{what}"));
        let (Some(score), Some(probability), Some(prior)) =
            (value("logit")?, value("probability")?, value("prior")?)
        else {
            return Ok(None);
        };
        let evidence = rules.judge(fused).evidence(score);
        Ok(evidence.is_finite().then_some(Decider {
            fused,
            score,
            probability,
            prior,
            evidence,
        }))
    }
}

fn strange(why: &str) -> Problem {
    Problem::new(
        Code::Internal,
        format!("read the result: {why}; is the coordinator of this version?"),
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::rules::tests::{manifest, of, policy};
    use super::*;

    const HEADER: &str = "ordinal,track_id,key,verdict,reason,code,borderline,screen_logit,screen_probability,screen_prior,\
        fused_logit,fused_probability,fused_prior,segments,duration_ms,codec,bundle\n";

    pub(crate) fn line(ordinal: u32, score: Option<f64>) -> Line {
        Line {
            ordinal,
            track: format!("t-{ordinal}"),
            key: format!("{ordinal}.wav"),
            verdict: Verdict::NoEvidence,
            why: String::new(),
            score: score.map(|score| Decider {
                fused: false,
                score,
                probability: 0.5,
                prior: 0.5,
                evidence: score,
            }),
            separated: false,
            borderline: false,
            duration_ms: Some(1_000),
            codec: "pcm".to_owned(),
        }
    }

    fn read(text: &str, at_once: usize) -> Result<Vec<Line>, Problem> {
        let rules = of(&manifest(), policy());
        let text = text.replace("BUNDLE", &rules.digest.to_string());
        let (mut lines, mut found) = (Lines::new(&rules), Vec::new());
        for bytes in text.as_bytes().chunks(at_once) {
            lines.take(bytes, |line| found.push(line))?;
        }
        Ok(found)
    }

    #[test]
    fn rows_are_the_same_however_the_bytes_come_in_pieces() {
        let text = [
            HEADER,
            "0,t-0,\"a, \"\"b\"\"\nc.wav\",likely_ai,,,true,3,0.9,0.5,,,,0,4000,pcm,BUNDLE\n",
            "1,'=t,'-1.wav,inconclusive,TOO_SHORT,,false,,,,,,,0,,,BUNDLE\n",
            "2,t-2,2.mp3,unscannable,,DAMAGED,false,1,0.6,0.5,2,0.8,0.5,3,,mp3,BUNDLE\n",
        ]
        .concat();
        let whole = read(&text, usize::MAX).unwrap();
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[0].key, "a, \"b\"\nc.wav");
        assert_eq!(
            whole[0].score.map(|it| (it.fused, it.score)),
            Some((false, 3.0))
        );
        assert_eq!(
            (whole[1].track.as_str(), whole[1].key.as_str()),
            ("=t", "-1.wav")
        );
        assert_eq!((whole[1].why.as_str(), whole[1].score), ("TOO_SHORT", None));
        assert_eq!(
            whole[2].score.map(|it| (it.fused, it.score)),
            Some((true, 2.0))
        );
        assert!(whole[2].separated && !whole[0].separated);
        for at_once in [1, 2, 7, 64] {
            assert_eq!(read(&text, at_once).unwrap(), whole, "{at_once}");
        }
    }

    #[test]
    fn what_is_no_export_of_this_bundle_is_refused() {
        for (text, code) in [
            ("ordinal,bundle\n0,BUNDLE\n".to_owned(), Code::Internal),
            (
                format!("{HEADER}x,t,k,no_evidence,,,false,,,,,,,0,,,BUNDLE\n"),
                Code::Internal,
            ),
            (
                format!("{HEADER}0,t,k,guilty,,,false,,,,,,,0,,,BUNDLE\n"),
                Code::Internal,
            ),
            (
                format!(
                    "{HEADER}0,t,k,no_evidence,,,false,,,,,,,0,,,{}\n",
                    "0".repeat(64)
                ),
                Code::BundleDigestMismatch,
            ),
            (
                format!("{HEADER}0,\"{}", "x".repeat(2 << 20)),
                Code::Internal,
            ),
        ] {
            assert_eq!(
                read(&text, 4_096).unwrap_err().code,
                code,
                "{}",
                &text[..text.len().min(300)]
            );
        }
    }

    #[test]
    fn a_score_that_is_no_number_decides_nothing() {
        let text = format!("{HEADER}0,t,k,no_evidence,,,false,NaN,NaN,0.5,,,,0,,,BUNDLE\n");
        assert_eq!(read(&text, 4_096).unwrap()[0].score, None);
    }
}
