//! The words that make a coordinator's process a restore: the first argument, a file, `--replace` and
//! `--ignore-missing-marks`. All other arguments are the
//! coordinator's own. Pure.

use std::ffi::OsString;
use std::path::PathBuf;

use types::{Code, Problem};

/// What a process was asked to restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The backup; none for a rebuild from storage.
    pub file: Option<PathBuf>,
    /// Whether records that stand in the store may go.
    pub replace: bool,
    /// Whether they may go although storage knows nothing of the store.
    pub ignore_missing_marks: bool,
}

const REPLACE: &str = "--replace";
pub(super) const IGNORE_MISSING_MARKS: &str = "--ignore-missing-marks";

/// Takes a restore's words out of a process's arguments, and gives the rest: `restore FILE` or `rebuild`, each with
/// `--replace` and `--ignore-missing-marks` where they are given.
///
/// # Errors
/// `CONFIG_INVALID` where `restore` is given no file.
pub fn words(
    args: impl IntoIterator<Item = OsString>,
) -> Result<(Option<Asked>, Vec<OsString>), Problem> {
    let mut args = args.into_iter().collect::<Vec<_>>();
    let word = args.get(1).and_then(|arg| arg.to_str());
    let takes_file = match word {
        Some("restore") => true,
        Some("rebuild") => false,
        Some(_) | None => return Ok((None, args)),
    };
    args.remove(1);
    let mut asked = Asked::default();
    if takes_file {
        let file = args.get(1).filter(|arg| !is_flag(arg));
        if file.is_none() {
            let said = "`restore` is followed by no backup's file";
            return Err(Problem::new(Code::ConfigInvalid, said));
        }
        asked.file = Some(args.remove(1).into());
    }
    asked.replace = take(&mut args, REPLACE);
    asked.ignore_missing_marks = take(&mut args, IGNORE_MISSING_MARKS);
    Ok((Some(asked), args))
}

/// Takes a flag out, and says whether it was there.
fn take(args: &mut Vec<OsString>, flag: &str) -> bool {
    let before = args.len();
    args.retain(|arg| arg != flag);
    args.len() < before
}

fn is_flag(arg: &OsString) -> bool {
    arg.as_encoded_bytes().starts_with(b"-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<Asked>, rest: &str) {
        let args = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let found = words(args(line)).unwrap();
        assert_eq!(found, (expected, args(rest)), "{line}");
    }

    #[test]
    fn a_restore_s_words_are_taken_out_and_all_others_are_the_coordinator_s() {
        check("c --data d", None, "c --data d");
        check("c --data restore", None, "c --data restore");
        let asked = |file: &str, replace| {
            let file = Some(PathBuf::from(file)).filter(|file| !file.as_os_str().is_empty());
            Some(Asked {
                file,
                replace,
                ignore_missing_marks: false,
            })
        };
        check("c restore f --data d", asked("f", false), "c --data d");
        check("c restore f --replace", asked("f", true), "c");
        check(
            "c rebuild --data d --replace",
            asked("", true),
            "c --data d",
        );
        let forced = Asked {
            ignore_missing_marks: true,
            ..asked("", true).unwrap()
        };
        check(
            "c rebuild --ignore-missing-marks --data d --replace",
            Some(forced),
            "c --data d",
        );
        for line in ["c restore", "c restore --replace"] {
            let args = line.split(' ').map(OsString::from);
            assert_eq!(words(args).unwrap_err().code, Code::ConfigInvalid);
        }
    }
}
