//! Reads what an operator knows of tracks, for `result get --truth`: a CSV with the columns `key` and `truth`.

use crate::failure::{Failure, problem};
use std::collections::BTreeMap;
use std::path::Path;
use types::Code;

/// Rows read at most: the table beside which they stand is for people.
const ROWS_MAX: usize = 100_000;

/// What is known, by key.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let refuse = |why: String| {
        problem(
            Code::InvalidRequest,
            format!("could not read `{}`: {why}", path.display()),
        )
    };
    let mut reader = csv::Reader::from_path(path).map_err(|why| refuse(why.to_string()))?;
    let header = reader.headers().map_err(|why| refuse(why.to_string()))?;
    let column = |name: &str| {
        header
            .iter()
            .position(|title| title == name)
            .ok_or_else(|| refuse(format!("it has no column `{name}`")))
    };
    let (key, truth) = (column("key")?, column("truth")?);
    let mut known = BTreeMap::new();
    for record in reader.records().take(ROWS_MAX) {
        let record = record.map_err(|why| refuse(why.to_string()))?;
        let cell = |at: usize| record.get(at).unwrap_or_default().to_owned();
        known.insert(cell(key), cell(truth));
    }
    Ok(known)
}
