//! The coordinator's binary, which stands beside scanctl, run in the place of a coordinator for one report: a restore, a probe of storage. It
//! opens what its settings name; scanctl holds no credentials.

use crate::failure::{Failure, problem};
use crate::up::siblings;
use std::ffi::OsString;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use types::{Code, Report};

/// The sibling that does it.
const BINARY: &str = "coordinator";
/// Most that is read of what it says on stdout: one report, whose lists are bounded.
const REPORT_BYTES_MAX: u64 = 1 << 20;

/// What the last report of such a run said that is not a failure, as `wanted` takes it.
pub(super) async fn report<T>(
    arguments: Vec<OsString>,
    wanted: impl FnOnce(Report) -> Option<T>,
) -> Result<T, Failure> {
    let binary = siblings::folder()?.join(BINARY);
    let started = Command::new(&binary)
        .args(arguments)
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
    if let Some(Report::Failed(problem)) = said {
        return Err(problem.into());
    }
    said.and_then(wanted).ok_or_else(|| {
        let said = format!("`{}` ended with {status} and no report", binary.display());
        problem(Code::ChildDied, said)
    })
}
