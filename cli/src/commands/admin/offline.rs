//! `admin restore` and `admin rebuild`: the coordinator's binary, which stands beside scanctl, run in the place of a coordinator. It opens the
//! store and storage that its settings name; scanctl holds no credentials of them.

use crate::args::{Global, Offline};
use crate::failure::{Failure, problem};
use crate::output::print;
use crate::up::siblings;
use crate::view::RebuiltView;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use types::{Code, Report};

/// The sibling that does it.
const BINARY: &str = "coordinator";
/// Most that is read of what it says on stdout: one report, whose warnings are bounded.
const REPORT_BYTES_MAX: u64 = 1 << 20;

pub(crate) async fn restore(global: &Global, file: &Path, offline: Offline) -> Result<(), Failure> {
    let words = vec!["restore".into(), file.as_os_str().to_owned()];
    run(global, words, offline).await
}

pub(crate) async fn rebuild(global: &Global, offline: Offline) -> Result<(), Failure> {
    run(global, vec!["rebuild".into()], offline).await
}

async fn run(global: &Global, words: Vec<OsString>, offline: Offline) -> Result<(), Failure> {
    let binary = siblings::folder()?.join(BINARY);
    let started = Command::new(&binary)
        .args(arguments(words, offline))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = started.map_err(|why| {
        let said = format!("could not start `{}`: {why}", binary.display());
        problem(Code::BinaryMissing, said)
    })?;
    let mut said = None;
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout.take(REPORT_BYTES_MAX)).lines();
        while let Some(line) = lines.next_line().await? {
            said = serde_json::from_str::<Report>(&line).ok().or(said);
        }
    }
    let status = child.wait().await?;
    match said {
        Some(Report::Rebuilt(rebuilt)) => print(global, &RebuiltView::new(rebuilt)),
        Some(Report::Failed(problem)) => Err(problem.into()),
        Some(Report::Ready { .. } | Report::Drained) | None => {
            let said = format!("`{}` ended with {status} and no report", binary.display());
            Err(problem(Code::ChildDied, said))
        }
    }
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
            "--storage",
            "file:///s",
        ];
        assert_eq!(words, expected.map(OsString::from));
    }
}
