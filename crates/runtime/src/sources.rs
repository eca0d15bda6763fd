//! Sources as they stand in the configuration of coordinator and agent: `NAME=DIR`, each name once. A folder need not be there: its
//! disk may be mounted later, and until then its tracks wait. What is there and no folder is refused.

use std::collections::BTreeMap;
use std::path::PathBuf;

use types::{Code, Problem, SourceName};

/// Reads a list of `NAME=DIR` into absolute folders, without links where they are there, by name.
///
/// # Errors
/// `CONFIG_INVALID` says which entry is wrong and how.
pub fn sources(list: &[String]) -> Result<BTreeMap<SourceName, PathBuf>, Problem> {
    let mut sources = BTreeMap::new();
    for text in list {
        let (name, folder) = source(text)?;
        if sources.insert(name.clone(), folder).is_some() {
            return Err(invalid(format!("setting `source` names `{name}` twice")));
        }
    }
    Ok(sources)
}

fn source(text: &str) -> Result<(SourceName, PathBuf), Problem> {
    let wrong = |cause: String| invalid(format!("setting `source`: `{text}` {cause}"));
    let (name, folder) = text
        .split_once('=')
        .ok_or_else(|| wrong("is not NAME=DIR".to_owned()))?;
    let name = SourceName::new(name).map_err(|error| wrong(format!("names no source: {error}")))?;
    let folder = std::path::absolute(folder).map_err(|error| wrong(error.to_string()))?;
    match folder.canonicalize() {
        Ok(found) if found.is_dir() => Ok((name, found)),
        Ok(_) => Err(wrong("names no folder".to_owned())),
        Err(_) => Ok((name, folder)),
    }
}

fn invalid(message: String) -> Problem {
    Problem::new(Code::ConfigInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(list: &[&str], expected: &str) {
        let list: Vec<String> = list.iter().map(ToString::to_string).collect();
        let problem = sources(&list).unwrap_err();
        assert_eq!(problem.code, Code::ConfigInvalid);
        assert!(problem.message.contains(expected), "{problem}");
    }

    #[test]
    fn a_source_is_a_name_and_what_may_be_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let good = format!("music={}", folder.path().display());
        let read = sources(std::slice::from_ref(&good)).unwrap();
        let folders: Vec<&PathBuf> = read.values().collect();
        assert_eq!(folders, [&folder.path().canonicalize().unwrap()]);
        check_refused(&[&good, &good], "names `music` twice");
        check_refused(&["music"], "is not NAME=DIR");
        check_refused(&["m/x=/tmp"], "names no source");
        check_refused(&["m="], "cannot make an empty path absolute");
        check_refused(&["m=/dev/null"], "names no folder");
    }
}
