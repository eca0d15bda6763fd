//! Sources as they stand in the configuration of coordinator and agent: `NAME=DIR` or `NAME=URL`, each name once. A folder need not
//! be there: its disk may be mounted later, and until then its tracks wait. What is there and no folder is refused. What a URL may
//! say is `storage`'s to read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use types::{Code, Problem, SourceName};

/// Where a source lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceAt {
    /// In an absolute folder, without links where it is there.
    Folder(PathBuf),
    /// In the store that a URL names, as it was given.
    Store(String),
}

/// Reads a list of `NAME=DIR` and `NAME=URL` by name.
///
/// # Errors
/// `CONFIG_INVALID` says which entry is wrong and how.
pub fn sources(list: &[String]) -> Result<BTreeMap<SourceName, SourceAt>, Problem> {
    let mut sources = BTreeMap::new();
    for text in list {
        let (name, at) = source(text)?;
        if sources.insert(name.clone(), at).is_some() {
            return Err(invalid(format!("setting `source` names `{name}` twice")));
        }
    }
    Ok(sources)
}

fn source(text: &str) -> Result<(SourceName, SourceAt), Problem> {
    let (name, at) = text
        .split_once('=')
        .ok_or_else(|| wrong(text, "is not NAME=DIR or NAME=URL"))?;
    let name =
        SourceName::new(name).map_err(|error| wrong(text, &format!("names no source: {error}")))?;
    match at.contains("://") {
        true => Ok((name, SourceAt::Store(at.to_owned()))),
        false => folder(text, at).map(|folder| (name, SourceAt::Folder(folder))),
    }
}

fn folder(text: &str, folder: &str) -> Result<PathBuf, Problem> {
    let folder = std::path::absolute(folder).map_err(|error| wrong(text, &error.to_string()))?;
    match folder.canonicalize() {
        Ok(found) if found.is_dir() => Ok(found),
        Ok(_) => Err(wrong(text, "names no folder")),
        Err(_) => Ok(folder),
    }
}

/// Shows nothing of a URL's query, where somebody may have put what is a secret.
fn wrong(text: &str, cause: &str) -> Problem {
    let shown = text.split('?').next().unwrap_or(text);
    invalid(format!("setting `source`: `{shown}` {cause}"))
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
    fn a_source_is_a_name_and_what_may_be_a_folder_or_is_a_url() {
        let folder = tempfile::tempdir().unwrap();
        let good = format!("music={}", folder.path().display());
        let read = sources(std::slice::from_ref(&good)).unwrap();
        let found: Vec<&SourceAt> = read.values().collect();
        let expected = SourceAt::Folder(folder.path().canonicalize().unwrap());
        assert_eq!(found, [&expected]);
        check_refused(&[&good, &good], "names `music` twice");
        check_refused(&["music"], "is not NAME=DIR");
        check_refused(&["m/x=/tmp"], "names no source");
        check_refused(&["m="], "cannot make an empty path absolute");
        check_refused(&["m=/dev/null"], "names no folder");
        let url = "s3://bucket/music?region=eu-west-1&credentials=file:/k";
        let read = sources(&[format!("far={url}")]).unwrap();
        let found: Vec<&SourceAt> = read.values().collect();
        assert_eq!(found, [&SourceAt::Store(url.to_owned())]);
        check_refused(&["m/x=s3://b?x"], "names no source");
    }
}
