//! The `SCANCTL_*` variable of each long flag, put onto the finished command tree, and the parsing over it.

use super::Cli;
use clap::builder::FalseyValueParser;
use clap::{ArgAction, CommandFactory, FromArgMatches};

/// Flags that mean something else in another command: their variables carry the command's name.
const PER_COMMAND: [(&str, &str); 7] = [
    ("up", "source"),
    ("import", "source"),
    ("import", "format"),
    ("export", "format"),
    ("revoke", "device"),
    ("revoke", "to"),
    ("revoke", "request-id"),
];

/// The command tree with a `SCANCTL_*` variable for each long flag.
pub(crate) fn tree() -> clap::Command {
    with_variables(Cli::command(), |variable| {
        std::env::var_os(variable).is_some()
    })
}

/// Parses the process's arguments.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&tree().try_get_matches()?)
}

fn with_variables(command: clap::Command, is_set: fn(&str) -> bool) -> clap::Command {
    let name = command.get_name().to_owned();
    let named = command.mut_args(|arg| match arg.get_long() {
        None | Some("help" | "version") => arg,
        Some(long) => {
            let variable = variable(&name, long);
            // Only a variable's text is split: a flag is repeated, and a folder's name may have a comma.
            let list = matches!(arg.get_action(), ArgAction::Append) && is_set(&variable);
            let flag = matches!(arg.get_action(), ArgAction::SetTrue);
            let arg = arg.env(variable).hide_env_values(true);
            match (flag, list) {
                (true, _) => arg.value_parser(FalseyValueParser::new()),
                (false, true) => arg.value_delimiter(','),
                (false, false) => arg,
            }
        }
    });
    named.mut_subcommands(|command| with_variables(command, is_set))
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
        let sources = |is_set: fn(&str) -> bool| {
            let tree = with_variables(Cli::command(), is_set);
            let line = ["scanctl", "up", "--source", "a=/x,b=/y"];
            let cli = Cli::from_arg_matches(&tree.get_matches_from(line)).expect("it parses");
            let Command::Up(flags) = cli.command else {
                panic!("the line says `up`");
            };
            flags.sources.len()
        };
        assert_eq!((sources(|_| true), sources(|_| false)), (2, 1));
    }
}
