//! The `SCANCTL_*` variable of each long flag, put onto the finished command tree, and the parsing over it.

use super::Cli;
use clap::builder::FalseyValueParser;
use clap::{ArgAction, CommandFactory, FromArgMatches};

/// Flags that mean something else in another command: their variables carry the command's name.
const PER_COMMAND: [(&str, &str); 13] = [
    ("up", "source"),
    ("import", "source"),
    ("import", "format"),
    ("export", "format"),
    ("revoke", "device"),
    ("revoke", "to"),
    ("revoke", "request-id"),
    ("calibrate", "bundle"),
    ("calibrate", "out"),
    ("report", "out"),
    ("backup", "out"),
    ("restore", "data"),
    ("rebuild", "data"),
];

/// The command tree with a `SCANCTL_*` variable for each long flag.
pub(crate) fn tree() -> clap::Command {
    with_variables(Cli::command(), |variable| {
        match std::env::var_os(variable) {
            None => Holds::Nothing,
            Some(text) if text.is_empty() => Holds::Empty,
            Some(_) => Holds::Text,
        }
    })
}

/// What a variable holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// It is not set.
    Nothing,
    /// It is set to nothing, as scripts switch it off: as good as not set.
    Empty,
    /// It is set.
    Text,
}

/// Parses the process's arguments.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&tree().try_get_matches()?)
}

fn with_variables(command: clap::Command, holds: fn(&str) -> Holds) -> clap::Command {
    let name = command.get_name().to_owned();
    let named = command.mut_args(|arg| match arg.get_long() {
        None | Some("help" | "version") => arg,
        Some(long) => {
            let variable = variable(&name, long);
            let holds = holds(&variable);
            if holds == Holds::Empty {
                return arg;
            }
            // Only a variable's text is split: a flag is repeated, and a folder's name may have a comma.
            let list = matches!(arg.get_action(), ArgAction::Append) && holds == Holds::Text;
            let flag = matches!(arg.get_action(), ArgAction::SetTrue);
            let arg = arg.env(variable).hide_env_values(true);
            match (flag, list) {
                (true, _) => arg.value_parser(FalseyValueParser::new()),
                (false, true) => arg.value_delimiter(','),
                (false, false) => arg,
            }
        }
    });
    named.mut_subcommands(|command| with_variables(command, holds))
}

fn variable(command: &str, long: &str) -> String {
    let flag = long.replace('-', "_").to_uppercase();
    if PER_COMMAND.contains(&(command, long)) {
        format!("SCANCTL_{}_{flag}", command.to_uppercase())
    } else {
        format!("SCANCTL_{flag}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Command;

    /// Each flag's variable with what the flag's help says, of a command and all below it.
    fn variables(command: &clap::Command) -> Vec<(String, String)> {
        let long = |arg: &&clap::Arg| !matches!(arg.get_long(), None | Some("help" | "version"));
        let own = command.get_arguments().filter(long).map(|arg| {
            let variable = arg.get_env().expect("a long flag has its variable");
            let help = arg.get_help().expect("a flag has its help");
            (variable.to_string_lossy().into_owned(), help.to_string())
        });
        let below = command.get_subcommands().flat_map(variables);
        own.chain(below).collect()
    }

    #[test]
    fn every_long_flag_has_its_variable_and_no_variable_means_two_things() {
        tree().debug_assert();
        let mut meanings = std::collections::BTreeMap::new();
        for (variable, help) in variables(&tree()) {
            let first = meanings.entry(variable.clone()).or_insert(help.clone());
            assert_eq!(*first, help, "{variable}");
        }
        assert!(meanings.contains_key("SCANCTL_UP_SOURCE"));
    }

    #[test]
    fn a_variable_holds_a_list_and_a_flag_does_not() {
        let sources = |holds: fn(&str) -> Holds| {
            let tree = with_variables(Cli::command(), holds);
            let line = ["scanctl", "up", "--source", "a=/x,b=/y"];
            let cli = Cli::from_arg_matches(&tree.get_matches_from(line)).expect("it parses");
            let Command::Up(flags) = cli.command else {
                panic!("the line says `up`");
            };
            flags.sources.len()
        };
        let (set, unset) = (sources(|_| Holds::Text), sources(|_| Holds::Nothing));
        assert_eq!((set, unset), (2, 1));
    }

    #[test]
    fn an_empty_variable_is_as_good_as_none() {
        let tree = with_variables(Cli::command(), |_| Holds::Empty);
        assert_eq!(variables_of(&tree), 0);
        let cli = tree.try_get_matches_from(["scanctl", "version"]);
        assert!(cli.is_ok());
    }

    fn variables_of(command: &clap::Command) -> usize {
        let own = command
            .get_arguments()
            .filter(|arg| arg.get_env().is_some());
        let below = command.get_subcommands().map(variables_of);
        own.count() + below.sum::<usize>()
    }
}
