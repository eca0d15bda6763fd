//! `admin restore` and `admin rebuild`: the coordinator's binary run in the place of a coordinator.

use crate::args::{Global, Offline};
use crate::commands::sibling;
use crate::failure::Failure;
use crate::output::print;
use crate::view::RebuiltView;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use types::Report;

pub(crate) async fn restore(global: &Global, file: &Path, offline: Offline) -> Result<(), Failure> {
    let words = vec!["restore".into(), file.as_os_str().to_owned()];
    run(global, words, offline).await
}

pub(crate) async fn rebuild(global: &Global, offline: Offline) -> Result<(), Failure> {
    run(global, vec!["rebuild".into()], offline).await
}

async fn run(global: &Global, words: Vec<OsString>, offline: Offline) -> Result<(), Failure> {
    let reported = sibling::report(arguments(words, offline), |report| match report {
        Report::Rebuilt(rebuilt) => Some(rebuilt),
        Report::Ready { .. } | Report::Failed(_) | Report::Drained | Report::Probed(_) => None,
    });
    print(global, &RebuiltView::new(reported.await?))
}

/// The words, then what this command was told of the coordinator's settings, then its further flags.
fn arguments(mut words: Vec<OsString>, offline: Offline) -> Vec<OsString> {
    let mut flag = |name: &str, value: Option<PathBuf>| {
        if let Some(value) = value {
            words.extend([name.into(), value.into_os_string()]);
        }
    };
    flag("--data", offline.data);
    flag("--config", offline.config);
    if offline.replace {
        words.push("--replace".into());
    }
    if offline.ignore_missing_marks {
        words.push("--ignore-missing-marks".into());
    }
    words.extend(offline.flags);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coordinator_gets_its_words_first_and_its_own_flags_last() {
        let offline = Offline {
            replace: true,
            ignore_missing_marks: true,
            data: Some("d".into()),
            config: None,
            flags: vec!["--storage".into(), "file:///s".into()],
        };
        let words = arguments(vec!["restore".into(), "f".into()], offline);
        let expected = [
            "restore",
            "f",
            "--data",
            "d",
            "--replace",
            "--ignore-missing-marks",
            "--storage",
            "file:///s",
        ];
        assert_eq!(words, expected.map(OsString::from));
    }
}
