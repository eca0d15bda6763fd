//! The two redb tables of the embedded store and what is done with them: evaluating one transaction inside a redb
//! write transaction, reading one page, and counting and summing everything.
//!
//! Called by the writer thread and by readers; holds no state and never commits.

use std::fmt;
use std::io::ErrorKind;

use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::record::{self, Head, Leader};
use crate::{
    Compare, Entry, KeyRange, Op, PAGE_BYTES_MAX, PAGE_ENTRIES_MAX, Page, ReadError, Refusal,
    Revision, Txn,
};

pub(super) const RECORDS_TABLE: &str = "records";
pub(super) const HEAD_TABLE: &str = "head";
/// The one key of the head's table.
pub(super) const HEAD_NAME: &str = "head";
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(RECORDS_TABLE);
const HEAD: TableDefinition<'_, &str, &[u8]> = TableDefinition::new(HEAD_TABLE);

/// What is damaged, as closely as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// The table; `None` where it is the file's own structure.
    pub table: Option<&'static str>,
    /// The key within the table.
    pub key: Option<String>,
    /// Where the damaged value begins in the file, in bytes.
    pub offset: Option<u64>,
    /// What does not fit.
    pub cause: String,
}

/// What stands for the place of damage below the records.
pub(super) const STRUCTURE: &str = "the file's own structure";

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.table, &self.key) {
            (Some(table), Some(key)) => write!(f, "key `{key}` of table `{table}`")?,
            (Some(table), None) => write!(f, "table `{table}`")?,
            (None, _) => f.write_str(STRUCTURE)?,
        }
        if let Some(offset) = self.offset {
            write!(f, ", byte {offset}")?;
        }
        write!(f, ": {}", self.cause)
    }
}

/// Why a table could not be used.
#[derive(Debug)]
pub(super) enum Fault {
    /// The medium failed; what it holds is unknown until it is opened again.
    Medium(String),
    /// A record is damaged, or what lies below the records.
    Damaged(Damage),
}

impl From<redb::StorageError> for Fault {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library's errors are not a closed set; what is not known as damage may pass"
    )]
    fn from(error: redb::StorageError) -> Self {
        match error {
            redb::StorageError::Corrupted(cause) => structure(cause),
            // The file is no such file, or something in it points past its end.
            redb::StorageError::Io(error)
                if matches!(
                    error.kind(),
                    ErrorKind::InvalidData | ErrorKind::UnexpectedEof
                ) =>
            {
                structure(error.to_string())
            }
            other => Self::Medium(other.to_string()),
        }
    }
}

impl From<TableError> for Fault {
    fn from(error: TableError) -> Self {
        if let TableError::Storage(error) = error {
            return error.into();
        }
        structure(error.to_string())
    }
}

/// Damage below the records, where no key can be named.
pub(super) fn structure(cause: String) -> Fault {
    Fault::Damaged(Damage {
        cause,
        ..Damage::default()
    })
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Medium(cause) => Self::Unavailable { cause },
            Fault::Damaged(Damage { key, cause, .. }) => Self::Damaged {
                key: key.unwrap_or_else(|| STRUCTURE.to_owned()),
                cause,
            },
        }
    }
}

fn damaged(key: &[u8], cause: String) -> Fault {
    Fault::Damaged(Damage {
        table: Some(RECORDS_TABLE),
        key: Some(String::from_utf8_lossy(key).into_owned()),
        offset: None,
        cause,
    })
}

fn damaged_head(cause: String) -> Fault {
    Fault::Damaged(Damage {
        table: Some(HEAD_TABLE),
        key: Some(HEAD_NAME.to_owned()),
        offset: None,
        cause,
    })
}

fn parse_head(stored: Option<&[u8]>) -> Result<Head, Fault> {
    let parsed = stored
        .ok_or_else(|| "missing".to_owned())
        .and_then(Head::from_bytes);
    parsed.map_err(damaged_head)
}

/// The head as of a read transaction.
pub(super) fn head(reading: &ReadTransaction) -> Result<Head, Fault> {
    let table = reading.open_table(HEAD)?;
    let stored = ReadableTable::get(&table, HEAD_NAME)?;
    parse_head(stored.as_ref().map(redb::AccessGuard::value))
}

/// The head within a write transaction.
pub(super) fn head_for_writing(writing: &WriteTransaction) -> Result<Head, Fault> {
    let table = writing.open_table(HEAD)?;
    let stored = table.get(HEAD_NAME)?;
    parse_head(stored.as_ref().map(|guard| guard.value()))
}

/// Puts the head.
pub(super) fn put_head(writing: &WriteTransaction, head: &Head) -> Result<(), Fault> {
    writing
        .open_table(HEAD)?
        .insert(HEAD_NAME, head.to_bytes().as_slice())?;
    Ok(())
}

/// Makes both tables in a new file.
pub(super) fn create(writing: &WriteTransaction, cluster: u64) -> Result<(), Fault> {
    writing.open_table(RECORDS)?;
    put_head(writing, &Head::new(cluster))
}

/// What a transaction came to.
pub(super) struct Applied {
    /// Its revision; the store's, where it changed nothing.
    pub(super) revision: Revision,
    /// For each operation whether it changed anything: removing what is absent does not.
    pub(super) changed: Vec<bool>,
}

/// Evaluates one transaction: changes tables and `head` and says what it came to, or gives the first refusal and
/// changes nothing.
pub(super) fn apply(
    writing: &WriteTransaction,
    head: &mut Head,
    txn: &Txn,
) -> Result<Result<Applied, Refusal>, Fault> {
    let mut records = writing.open_table(RECORDS)?;
    if let Some(refusal) = first_refusal(&records, head, &txn.compares)? {
        return Ok(Err(refusal));
    }
    let next = Revision(head.revision + 1);
    let mut changed = Vec::with_capacity(txn.ops.len());
    for op in &txn.ops {
        changed.push(match op {
            Op::Put { key, value } => put(&mut records, head, key, next, value)?,
            Op::Delete { key } => delete(&mut records, head, key)?,
        });
    }
    if changed.contains(&true) {
        head.revision = next.0;
    }
    let revision = Revision(head.revision);
    Ok(Ok(Applied { revision, changed }))
}

type Records<'txn> = redb::Table<'txn, &'static [u8], &'static [u8]>;

fn first_refusal(
    records: &Records<'_>,
    head: &Head,
    compares: &[Compare],
) -> Result<Option<Refusal>, Fault> {
    let leads = |epoch: u64| {
        head.leader
            .as_ref()
            .is_some_and(|leader| leader.epoch == epoch)
    };
    let over = |compare: &Compare| matches!(compare, Compare::Leads(epoch) if !leads(epoch.0));
    if compares.iter().any(over) {
        return Ok(Some(Refusal::Epoch));
    }
    for compare in compares {
        let (key, expected) = match compare {
            Compare::At { key, revision } => (key, Some(*revision)),
            Compare::Absent { key } => (key, None),
            Compare::Leads(_) => continue,
        };
        if revision_of(records, key)? != expected {
            return Ok(Some(Refusal::Key(key.clone())));
        }
    }
    Ok(None)
}

fn revision_of(records: &Records<'_>, key: &str) -> Result<Option<Revision>, Fault> {
    let Some(stored) = records.get(key.as_bytes())? else {
        return Ok(None);
    };
    let record = record::decode(key.as_bytes(), stored.value());
    record
        .map(|record| Some(record.revision))
        .map_err(|cause| damaged(key.as_bytes(), cause))
}

fn put(
    records: &mut Records<'_>,
    head: &mut Head,
    key: &str,
    revision: Revision,
    value: &[u8],
) -> Result<bool, Fault> {
    let (stored, crc) = record::encode(key, revision, value);
    let previous = records.insert(key.as_bytes(), stored.as_slice())?;
    count_out(head, key, previous)?;
    head.count_in(crc);
    Ok(true)
}

/// Whether there was something to remove.
fn delete(records: &mut Records<'_>, head: &mut Head, key: &str) -> Result<bool, Fault> {
    let previous = records.remove(key.as_bytes())?;
    count_out(head, key, previous)
}

fn count_out(
    head: &mut Head,
    key: &str,
    previous: Option<redb::AccessGuard<'_, &'static [u8]>>,
) -> Result<bool, Fault> {
    let Some(previous) = previous else {
        return Ok(false);
    };
    let record = record::decode(key.as_bytes(), previous.value())
        .map_err(|cause| damaged(key.as_bytes(), cause))?;
    head.count_out(record.crc);
    Ok(true)
}

/// Makes `candidate` the leader at a revision of its own, which is the epoch; the holder's name when somebody leads.
pub(super) fn lead(head: &mut Head, candidate: &str) -> Result<u64, String> {
    match &head.leader {
        Some(leader) => Err(leader.candidate.clone()),
        None => {
            head.revision += 1;
            head.leader = Some(Leader {
                epoch: head.revision,
                candidate: candidate.to_owned(),
            });
            Ok(head.revision)
        }
    }
}

/// One key as of a read transaction.
pub(super) fn get(reading: &ReadTransaction, key: &str) -> Result<Option<Entry>, Fault> {
    let table = reading.open_table(RECORDS)?;
    match ReadableTable::get(&table, key.as_bytes())? {
        Some(stored) => entry(key.as_bytes(), stored.value()).map(Some),
        None => Ok(None),
    }
}

fn entry(key: &[u8], stored: &[u8]) -> Result<Entry, Fault> {
    let record = record::decode(key, stored).map_err(|cause| damaged(key, cause))?;
    let text = str::from_utf8(key).map_err(|error| damaged(key, error.to_string()))?;
    Ok(Entry {
        key: text.to_owned(),
        value: record.value.to_vec(),
        revision: record.revision,
    })
}

/// One page as of a read transaction.
pub(super) fn page(reading: &ReadTransaction, range: &KeyRange) -> Result<Page, Fault> {
    let revision = Revision(head(reading)?.revision);
    let table = reading.open_table(RECORDS)?;
    let start = match &range.after {
        Some(after) if after.as_str() >= range.prefix.as_str() => format!("{after}\0"),
        Some(_) | None => range.prefix.clone(),
    };
    let limit = range.limit.clamp(1, PAGE_ENTRIES_MAX);
    let mut page = Page {
        revision,
        entries: Vec::new(),
        next: None,
    };
    let mut bytes = 0;
    for row in ReadableTable::range(&table, start.as_bytes()..)? {
        let (key, stored) = row?;
        if !key.value().starts_with(range.prefix.as_bytes()) {
            break;
        }
        bytes += key.value().len() + stored.value().len();
        let full = page.entries.len() == limit || bytes > PAGE_BYTES_MAX;
        match page.entries.last() {
            Some(last) if full => {
                page.next = Some(last.key.clone());
                break;
            }
            Some(_) | None => page.entries.push(entry(key.value(), stored.value())?),
        }
    }
    Ok(page)
}

/// Reads everything once: each record's checksum, then the number of keys and the sum against the head.
pub(super) fn verify(reading: &ReadTransaction) -> Result<Head, Fault> {
    let expected = head(reading)?;
    let mut found = Head {
        keys: 0,
        sum: 0,
        ..expected.clone()
    };
    let table = reading.open_table(RECORDS)?;
    for row in ReadableTable::iter(&table)? {
        let (key, stored) = row?;
        let record = record::decode(key.value(), stored.value())
            .map_err(|cause| damaged(key.value(), cause))?;
        found.count_in(record.crc);
    }
    if found == expected {
        return Ok(expected);
    }
    let cause = format!(
        "{} keys with sum {:016x} stored, {} with {:016x} found",
        expected.keys, expected.sum, found.keys, found.sum
    );
    Err(damaged_head(cause))
}
