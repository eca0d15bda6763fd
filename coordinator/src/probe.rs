//! What storage can promise, asked in two ways: by the call of the Admin service, and by `coordinator probe`, a process that opens the storage its
//! settings name and serves nobody, so that a storage can be judged before any coordinator runs on it. Nothing is decided here.

use std::ffi::OsString;

use runtime::config::Loaded;
use runtime::process;
use storage::probe::{Depth, Finding, Report};
use storage::{Place, Storage, StorageSettings};
use types::{Code, ProbeFinding, Probed, Problem};

use crate::app::{blocking, storage_problem};
use crate::settings::{self, Raw};

/// The first argument by which a process is a probe.
const WORD: &str = "probe";
/// Ask only what a coordinator asks when it starts.
const QUICK: &str = "--quick";

/// Takes a probe's words out of a process's arguments, and gives the rest: `probe [--quick]`. All other arguments are the coordinator's own.
#[must_use]
pub fn words(mut args: Vec<OsString>) -> (Option<Depth>, Vec<OsString>) {
    if args.get(1).is_none_or(|word| word != WORD) {
        return (None, args);
    }
    args.remove(1);
    let before = args.len();
    args.retain(|arg| arg != QUICK);
    let depth = if args.len() < before {
        Depth::Start
    } else {
        Depth::Whole
    };
    (Some(depth), args)
}

/// Asks the storage that the settings name, and reports what was found on stdout.
///
/// # Errors
/// `CONFIG_INVALID`, or what keeps the storage from being opened at all. One that does not answer is a finding.
pub fn run(loaded: &Loaded<Raw>, depth: Depth) -> Result<(), Problem> {
    let wanted = settings::storage_alone(loaded)?;
    let (format, filter) = settings::logs(loaded);
    let threads = process::threads(format, filter)?;
    process::probed(threads.block_on(ask(wanted, depth))?);
    Ok(())
}

async fn ask(wanted: StorageSettings, depth: Depth) -> Result<Probed, Problem> {
    let what = format!("ask storage `{wanted}`");
    // Opening would make it, and whoever mistyped a path would hear that all is well there.
    if let Place::Folder(folder) = &wanted.place
        && !folder.is_dir()
    {
        let said = format!("{what}: there is no such folder");
        return Err(Problem::new(Code::StorageMissing, said));
    }
    let opening = blocking("open storage", move || {
        Storage::connect(&wanted).map_err(|error| storage_problem(&what, &error))
    });
    Ok(probed(opening.await?.probe(depth).await))
}

/// A report as processes and the wire have it.
pub(crate) fn probed(report: Report) -> Probed {
    Probed {
        usable: report.is_usable(),
        place: report.place,
        findings: report.findings.into_iter().map(finding).collect(),
    }
}

fn finding(found: Finding) -> ProbeFinding {
    let trouble = found.trouble.map(|code| code.to_string());
    ProbeFinding {
        question: found.question.to_string(),
        answer: found.answer.as_str().to_owned(),
        seen: found.seen,
        without_it: found.question.without_it().to_owned(),
        needed: found.question.is_needed(),
        trouble: trouble.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<Depth>, rest: &str) {
        let args = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(words(args(line)), (expected, args(rest)), "{line}");
    }

    #[test]
    fn a_probe_s_words_are_taken_out_and_all_others_are_the_coordinator_s() {
        check("c --data probe", None, "c --data probe");
        check("c probe --data d", Some(Depth::Whole), "c --data d");
        check(
            "c probe --storage s --quick",
            Some(Depth::Start),
            "c --storage s",
        );
    }
}
