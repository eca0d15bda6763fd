//! A command line that makes no sense, as a failure with code, cause and fix. Called where parsing failed; asking for help
//! or for the version is no misuse and never comes here.

use crate::failure::{Exit, Failure};
use types::Code;

/// The failure that clap's report is.
pub(crate) fn misuse(said: &clap::Error) -> Failure {
    let arguments = std::env::args_os().skip(1);
    let texts = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let help = format!("see `{} --help`", meant(texts));
    let (cause, tips) = parts(&said.render().to_string());
    let fix = tips.into_iter().chain([help]);
    Failure::Problem {
        code: Code::InvalidRequest.to_string(),
        cause,
        fix: fix.collect::<Vec<_>>().join("; "),
        exit: Exit::Usage,
    }
}

/// Cause and tips of a report, which has one in each paragraph; what is left is usage and a word about `--help`.
fn parts(report: &str) -> (String, Vec<String>) {
    let (mut causes, mut tips) = (Vec::new(), Vec::new());
    for paragraph in report.split("\n\n") {
        let lines: Vec<&str> = paragraph.lines().map(str::trim).collect();
        let text = lines.join(" ");
        if let Some(tip) = text.strip_prefix("tip: ") {
            tips.push(tip.to_owned());
        } else if !text.starts_with("Usage:") && !text.starts_with("For more information") {
            causes.push(text.strip_prefix("error: ").unwrap_or(&text).to_owned());
        }
    }
    (causes.join(" "), tips)
}

/// The command that a line names, as far as it names one.
fn meant(arguments: impl Iterator<Item = String>) -> String {
    let (mut command, mut path) = (super::tree(), "scanctl".to_owned());
    for argument in arguments.take_while(|argument| argument != "--") {
        if let Some(below) = command.find_subcommand(&argument).cloned() {
            path = format!("{path} {}", below.get_name());
            command = below;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(report: &str, cause: &str, tips: &[&str]) {
        let tips = tips.iter().map(ToString::to_string).collect();
        assert_eq!(parts(report), (cause.to_owned(), tips));
    }

    #[test]
    fn a_report_is_a_cause_of_one_line_and_its_tips() {
        check(
            "error: unexpected argument '--catalogue' found\n\n  tip: a similar argument exists: '--catalog'\n\n\
             Usage: scanctl scan submit --catalog <CATALOG>\n\nFor more information, try '--help'.\n",
            "unexpected argument '--catalogue' found",
            &["a similar argument exists: '--catalog'"],
        );
        check(
            "error: the following required arguments were not provided:\n  <NAME>\n  <PATH>\n\nUsage: scanctl\n",
            "the following required arguments were not provided: <NAME> <PATH>",
            &[],
        );
    }

    #[test]
    fn the_help_named_is_that_of_the_command_as_far_as_it_was_named() {
        for (line, command) in [
            ("", "scanctl"),
            ("scna ls", "scanctl"),
            ("-o json scan submit --x", "scanctl scan submit"),
            ("catalog import ls --x", "scanctl catalog import"),
            ("scan -- ls", "scanctl scan"),
        ] {
            let arguments = line.split_whitespace().map(str::to_owned);
            assert_eq!(meant(arguments), command, "{line}");
        }
    }
}
