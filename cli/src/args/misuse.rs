//! A command line that makes no sense, as a failure with code, cause and fix. Called where parsing failed; asking for help
//! or for the version is no misuse and never comes here.

use crate::failure::{Exit, Failure};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};
use types::Code;

/// The failure that clap's report is.
pub(crate) fn misuse(said: &clap::Error) -> Failure {
    let arguments = std::env::args_os().skip(1);
    let texts = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let (command, path) = meant(texts);
    let help = format!("see `{path} --help`");
    let (cause, tips) = parts(&said.render().to_string());
    let fix = tips
        .into_iter()
        .chain(instead(&command, said))
        .chain([help]);
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

/// The flags that can stand in the place of an argument that is missing, which are those that exclude it: clap names the argument alone.
fn instead(command: &Command, said: &clap::Error) -> Vec<String> {
    let Some(ContextValue::Strings(missing)) = said.get(ContextKind::InvalidArg) else {
        return Vec::new();
    };
    let tip = |flag: &Arg| {
        let excluded = command.get_arg_conflicts_with(flag).into_iter();
        let place = excluded.map(place).find(|place| missing.contains(place))?;
        Some(format!(
            "`--{}` takes the place of `{place}`",
            flag.get_long()?
        ))
    };
    command.get_arguments().filter_map(tip).collect()
}

/// An argument that has no flag, as clap writes it where it is required.
fn place(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let name = names
        .first()
        .map_or(arg.get_id().as_str(), |name| name.as_str());
    format!("<{name}>")
}

/// The command that a line names, as far as it names one, and how it is called.
fn meant(arguments: impl Iterator<Item = String>) -> (Command, String) {
    let (mut command, mut path) = (super::tree(), "scanctl".to_owned());
    for argument in arguments.take_while(|argument| argument != "--") {
        if let Some(below) = command.find_subcommand(&argument).cloned() {
            path = format!("{path} {}", below.get_name());
            command = below;
        }
    }
    (command, path)
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
            assert_eq!(meant(arguments).1, command, "{line}");
        }
    }

    #[test]
    fn a_flag_that_takes_the_place_of_what_is_missing_is_named() {
        let folder = "`--folder` takes the place of `<JOB>`";
        for (line, expected) in [
            ("evaluate --labels labels.csv", vec![folder]),
            ("calibrate --labels labels.csv", vec![folder]),
            ("evaluate last", vec![]),
            ("scan get", vec![]),
            ("scan get --nonsense", vec![]),
        ] {
            let words = || line.split_whitespace().map(str::to_owned);
            let whole = std::iter::once("scanctl".to_owned()).chain(words());
            let said = crate::args::tree().try_get_matches_from(whole);
            let (command, _) = meant(words());
            assert_eq!(instead(&command, &said.unwrap_err()), expected, "{line}");
        }
    }
}
