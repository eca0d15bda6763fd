//! What `up` starts and with which arguments: flags of `up` become flags of the coordinator and of the agent. Pure.

use super::child::Plan;
use super::keeper::AGENT_DRAIN_SECS;
use super::siblings;
use crate::args::{Device, Up};
use crate::failure::{Failure, problem};
use crate::output::say;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use types::{Code, file_url};

/// Which bundles are registered, and whose signatures are trusted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trust {
    /// What scans use that name none.
    default: Option<PathBuf>,
    /// What counts only where no other bundle is registered.
    shipped: Option<PathBuf>,
    keys: Vec<String>,
}

impl Trust {
    /// What the flags say, and what ships with the binaries where they say nothing.
    pub(super) fn of(flags: &Up, binaries: &Path) -> Self {
        let trust = Self::with(flags, siblings::demonstration(binaries));
        if trust.default.is_none() && trust.shipped.is_none() {
            say(
                "no bundle is registered by default: name one with --default-bundle DIR --trusted-key HEX; the demonstration \
                 bundle is used where it stands beside the binaries and no other key than its own is asked for",
            );
        }
        trust
    }

    /// A bundle that ships is used where its key is trusted: by an operator who names no keys, or names this one.
    fn with(flags: &Up, shipped: Option<(PathBuf, String)>) -> Self {
        let mut keys = flags.trusted_keys.clone();
        if let (true, Some((_, key))) = (keys.is_empty(), &shipped) {
            keys.push(key.clone());
        }
        let usable =
            shipped.filter(|(_, key)| keys.iter().any(|one| one.eq_ignore_ascii_case(key)));
        let default = flags.default_bundle.clone();
        let shipped = usable.map(|(dir, _)| dir).filter(|_| default.is_none());
        Self {
            default,
            shipped,
            keys,
        }
    }
}

/// The arguments of a child, made one flag at a time.
struct Arguments(Vec<String>);

impl Arguments {
    fn flag(&mut self, name: &str, value: impl ToString) -> &mut Self {
        self.0.extend([name.to_owned(), value.to_string()]);
        self
    }

    fn each<T: ToString>(&mut self, name: &str, values: impl IntoIterator<Item = T>) -> &mut Self {
        for value in values {
            self.flag(name, value);
        }
        self
    }

    fn switch(&mut self, name: &str) -> &mut Self {
        self.0.push(name.to_owned());
        self
    }

    /// What both children are told alike.
    fn shared(&mut self, flags: &Up, trust: &Trust) -> Result<&mut Self, Failure> {
        for (name, dir) in &flags.sources {
            self.flag("--source", format!("{name}={}", text(dir)?));
        }
        let storage = file_url(&flags.data.join("storage"));
        Ok(self
            .flag("--storage", storage)
            .each("--trusted-key", &trust.keys)
            .each("--min-bundle", &flags.min_bundles))
    }
}

/// How the coordinator is started.
pub(super) fn coordinator(
    flags: &Up,
    listen: SocketAddr,
    binaries: &Path,
    trust: &Trust,
) -> Result<Plan, Failure> {
    let mut arguments = Arguments(Vec::new());
    arguments
        .flag("--data", text(&flags.data)?)
        .flag("--listen", listen)
        .flag("--metrics", &flags.metrics)
        .switch("--folder-sources")
        .shared(flags, trust)?;
    for (name, bundle) in [
        ("--default-bundle", &trust.default),
        ("--shipped-bundle", &trust.shipped),
    ] {
        if let Some(bundle) = bundle {
            arguments.flag(name, text(bundle)?);
        }
    }
    if let Some(folder) = &flags.journal {
        arguments.flag("--journal", text(folder)?);
    }
    Ok(Plan {
        name: "coordinator",
        binary: binaries.join("coordinator"),
        arguments: arguments.0,
    })
}

/// How the agent is started.
pub(super) fn agent(
    flags: &Up,
    coordinator: SocketAddr,
    binaries: &Path,
    trust: &Trust,
) -> Result<Plan, Failure> {
    let device = match flags.device {
        Device::Auto => "auto",
        Device::Cpu => "cpu",
        Device::Cuda => "cuda",
    };
    let mut arguments = Arguments(Vec::new());
    arguments
        .flag("--coordinator", format!("http://{coordinator}"))
        .flag("--data", text(&flags.data.join("node"))?)
        .flag("--node", &flags.node)
        .flag("--device", device)
        .flag("--dtype", flags.dtype)
        .flag("--metrics", &flags.node_metrics)
        .flag("--drain-secs", AGENT_DRAIN_SECS)
        .switch("--accept-sources")
        .each("--flush-secs", flags.flush_secs)
        .shared(flags, trust)?;
    if flags.decoders > 0 {
        arguments.flag("--decoders", flags.decoders);
    }
    Ok(Plan {
        name: "node-agent",
        binary: binaries.join("node-agent"),
        arguments: arguments.0,
    })
}

/// A path as an argument: settings are text.
fn text(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| {
        problem(
            Code::ConfigInvalid,
            format!("the path `{}` is not UTF-8", path.display()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn up(arguments: &[&str]) -> Up {
        let line = ["scanctl", "up", "--data", "/d"].iter().chain(arguments);
        let cli = Cli::try_parse_from(line).expect("the line parses");
        let Command::Up(flags) = cli.command else {
            panic!("the line says `up`");
        };
        flags
    }

    #[track_caller]
    fn check(arguments: &[&str], bundles: &[&str], keys: &[&str]) {
        let shipped = Some((PathBuf::from("/demo"), "aa".to_owned()));
        let flags = up(arguments);
        let trust = Trust::with(&flags, shipped);
        let expected = keys.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(trust.keys, expected);
        let plan = coordinator(&flags, flags.listen, Path::new("/bin"), &trust).expect("a plan");
        let passed = plan.arguments.windows(2);
        let passed = passed.filter(|pair| pair[0].ends_with("-bundle"));
        let passed: Vec<String> = passed.map(|pair| pair.join(" ")).collect();
        assert_eq!(passed, bundles);
    }

    #[test]
    fn the_shipped_bundle_is_used_only_where_its_key_is_trusted() {
        check(&[], &["--shipped-bundle /demo"], &["aa"]);
        check(
            &["--trusted-key", "AA"],
            &["--shipped-bundle /demo"],
            &["AA"],
        );
        check(&["--trusted-key", "bb"], &[], &["bb"]);
    }

    #[test]
    fn the_operators_bundle_is_the_default_and_the_shipped_one_then_no_matter() {
        let own = ["--default-bundle /b"];
        check(&["--default-bundle", "/b"], &own, &["aa"]);
        check(
            &["--trusted-key", "bb", "--default-bundle", "/b"],
            &own,
            &["bb"],
        );
    }

    #[test]
    fn every_source_is_passed_to_both_children() {
        let flags = up(&["--source", "a=/x", "--source", "b=/y"]);
        let (trust, at) = (Trust::with(&flags, None), flags.listen);
        let both = [
            coordinator(&flags, at, Path::new("/bin"), &trust).expect("a plan"),
            agent(&flags, at, Path::new("/bin"), &trust).expect("a plan"),
        ];
        for plan in both {
            let pairs = plan.arguments.windows(2);
            let sources = pairs.filter(|pair| pair[0] == "--source");
            let sources: Vec<&str> = sources.map(|pair| pair[1].as_str()).collect();
            assert_eq!(sources, ["a=/x", "b=/y"], "{}", plan.name);
        }
    }

    #[test]
    fn the_agent_is_told_the_devices_and_their_number_format() {
        let check = |arguments: &[&str], expected: [&str; 2]| {
            let flags = up(arguments);
            let trust = Trust::with(&flags, None);
            let plan = agent(&flags, flags.listen, Path::new("/bin"), &trust).expect("a plan");
            let pairs = plan.arguments.windows(2);
            let told = pairs.filter(|pair| ["--device", "--dtype"].contains(&pair[0].as_str()));
            let told: Vec<&str> = told.map(|pair| pair[1].as_str()).collect();
            assert_eq!(told, expected);
        };
        check(&[], ["auto", "f32"]);
        check(&["--device", "cuda", "--dtype", "bf16"], ["cuda", "bf16"]);
    }

    #[test]
    fn a_folder_of_any_name_is_passed_so_that_it_reads_back() {
        let mut flags = up(&[]);
        flags.data = PathBuf::from("/100%25 of it");
        let trust = Trust::with(&flags, None);
        let at = SocketAddr::from(([127, 0, 0, 1], 1));
        let plan = coordinator(&flags, at, Path::new("/bin"), &trust).expect("a plan");
        let after = |name: &str| {
            let at = plan.arguments.iter().position(|argument| argument == name);
            at.map(|at| plan.arguments[at + 1].as_str())
        };
        assert_eq!(after("--data"), Some("/100%25 of it"));
        assert_eq!(
            after("--storage"),
            Some("file:///100%2525%20of%20it/storage")
        );
    }
}
