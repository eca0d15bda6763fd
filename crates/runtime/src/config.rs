//! Configuration: defaults, then a TOML file, then the environment, then flags; the last one that speaks wins.
//!
//! A process declares its settings in one table of [`Setting`]s; flags, variables, file keys and help all follow from
//! it. Keys of the file that no setting has are refused. [`Loaded::print`] shows each value with where it came from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Largest configuration file: thousands of sources fit, and a wrong path to something huge does not.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The flag, and variable, that names the file.
const FILE: &str = "config";

/// The flag that prints the configuration and ends.
const PRINT: &str = "print-config";

/// The programs that may have a table in a shared file.
const PROGRAMS: [&str; 3] = ["coordinator", "node-agent", "scanctl"];

/// What a process says of itself to load its configuration.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Name of the binary, and of its table in the file.
    pub name: &'static str,
    /// One sentence for `--help`.
    pub about: &'static str,
    /// Version for `--version`.
    pub version: &'static str,
    /// Every setting it has.
    pub settings: &'static [Setting],
}

/// One setting: `--some-key`, `TRACKSCAN_SOME_KEY`, `some-key` in the file.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The key, words joined by dashes.
    pub key: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// One sentence for `--help`.
    pub help: &'static str,
}

/// What values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text, with a default or none.
    Text(Option<&'static str>),
    /// A whole number with its default.
    Number(i64),
    /// On or off; off unless named. In the environment `true` or `false`.
    Switch,
    /// Any number of texts; the flag is repeated, the variable is split at commas. A later layer replaces the list.
    List,
}

/// Which layer a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The table of settings.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// A configuration and where each value of it came from.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// The configuration.
    pub config: T,
    /// Whether `--print-config` was given: print and end.
    pub print_only: bool,
    values: BTreeMap<&'static str, (Value, Origin)>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The flags are wrong, or ask for help or version only: `exit` prints and ends the process as clap does.
    #[error(transparent)]
    Flags(#[from] clap::Error),
    /// The file cannot be read.
    #[error("read configuration file `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than a configuration can be.
    #[error("configuration file `{path}` has more than {FILE_BYTES_MAX} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is no TOML.
    #[error("parse configuration file `{path}`")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The file has a key that no setting has.
    #[error("configuration file `{path}` has the unknown key `{key}`")]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// A value is not of its setting's kind.
    #[error("setting `{key}` from {origin}: expected {expected}")]
    Kind {
        /// The setting.
        key: &'static str,
        /// Where the value came from.
        origin: Origin,
        /// What it should have been.
        expected: &'static str,
    },
    /// The values do not make a configuration.
    #[error("configuration: {0}")]
    Value(String),
}

impl Program {
    /// Loads the configuration of this process from its arguments and environment.
    ///
    /// # Errors
    /// When a layer cannot be read, has a key or value that no setting takes, or the values do not make a `T`.
    pub fn load<T: DeserializeOwned>(&self) -> Result<Loaded<T>, ConfigError> {
        self.load_from(std::env::args_os(), |name| std::env::var(name).ok())
    }

    /// Loads the configuration from given arguments (the first is the program's name) and variables.
    ///
    /// # Errors
    /// As [`Program::load`].
    pub fn load_from<T: DeserializeOwned>(
        &self,
        args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Loaded<T>, ConfigError> {
        let flags = self.command().try_get_matches_from(args)?;
        let file = flags
            .get_one::<String>(FILE)
            .cloned()
            .or_else(|| variable(&variable_name(FILE)));
        let file = file
            .map(|path| read_file(self, Path::new(&path)))
            .transpose()?;
        let mut values = BTreeMap::new();
        for setting in self.settings {
            if let Some(found) = self.find(setting, &flags, &variable, file.as_ref())? {
                values.insert(setting.key, found);
            }
        }
        let table: Table = values
            .iter()
            .map(|(key, (value, _))| ((*key).to_owned(), value.clone()))
            .collect();
        let config = T::deserialize(table)
            .map_err(|error| ConfigError::Value(error.message().to_owned()))?;
        Ok(Loaded {
            config,
            print_only: flags.get_flag(PRINT),
            values,
        })
    }

    /// The value of the highest layer that has one.
    fn find(
        &self,
        setting: &Setting,
        flags: &ArgMatches,
        variable: &impl Fn(&str) -> Option<String>,
        file: Option<&(PathBuf, Table)>,
    ) -> Result<Option<(Value, Origin)>, ConfigError> {
        if flags.value_source(setting.key) == Some(ValueSource::CommandLine) {
            return Ok(Some((setting.kind.flag(setting.key, flags), Origin::Flag)));
        }
        let name = variable_name(setting.key);
        if let Some(text) = variable(&name) {
            return setting
                .typed(setting.kind.parse(&text), Origin::Environment(name))
                .map(Some);
        }
        if let Some((path, value)) =
            file.and_then(|(path, table)| Some((path, table.get(setting.key)?)))
        {
            return setting
                .typed(setting.kind.accept(value), Origin::File(path.clone()))
                .map(Some);
        }
        Ok(setting.kind.default().map(|value| (value, Origin::Default)))
    }

    fn command(&self) -> Command {
        let file = Arg::new(FILE)
            .long(FILE)
            .value_name("FILE")
            .help("TOML file with settings [env: TRACKSCAN_CONFIG]");
        let print = Arg::new(PRINT).long(PRINT).action(ArgAction::SetTrue);
        let print = print.help("Print each setting with where it comes from, and end");
        Command::new(self.name)
            .about(self.about)
            .version(self.version)
            .args(self.settings.iter().map(Setting::arg))
            .args([file, print])
    }
}

impl Setting {
    fn arg(&self) -> Arg {
        let variable = variable_name(self.key);
        let arg = Arg::new(self.key).long(self.key);
        match self.kind {
            Kind::Text(default) => {
                let default = default
                    .map(|text| format!(" [default: {text}]"))
                    .unwrap_or_default();
                arg.value_name("VALUE")
                    .help(format!("{}{default} [env: {variable}]", self.help))
            }
            Kind::Number(default) => arg
                .value_name("N")
                .value_parser(clap::value_parser!(i64))
                .help(format!(
                    "{} [default: {default}] [env: {variable}]",
                    self.help
                )),
            Kind::Switch => arg
                .action(ArgAction::SetTrue)
                .help(format!("{} [env: {variable}]", self.help)),
            Kind::List => {
                let help = format!(
                    "{}; repeatable [env: {variable}, split at commas]",
                    self.help
                );
                arg.value_name("VALUE").action(ArgAction::Append).help(help)
            }
        }
    }

    fn typed(&self, value: Option<Value>, origin: Origin) -> Result<(Value, Origin), ConfigError> {
        match value {
            Some(value) => Ok((value, origin)),
            None => Err(ConfigError::Kind {
                key: self.key,
                origin,
                expected: self.kind.expected(),
            }),
        }
    }
}

impl Kind {
    fn default(self) -> Option<Value> {
        match self {
            Self::Text(default) => default.map(|text| Value::String(text.to_owned())),
            Self::Number(default) => Some(Value::Integer(default)),
            Self::Switch => Some(Value::Boolean(false)),
            Self::List => Some(Value::Array(Vec::new())),
        }
    }

    /// The value of a flag that was given.
    fn flag(self, key: &str, flags: &ArgMatches) -> Value {
        match self {
            Self::Text(_) => {
                Value::String(flags.get_one::<String>(key).cloned().unwrap_or_default())
            }
            Self::Number(_) => {
                Value::Integer(flags.get_one::<i64>(key).copied().unwrap_or_default())
            }
            Self::Switch => Value::Boolean(flags.get_flag(key)),
            Self::List => texts(flags.get_many::<String>(key).unwrap_or_default().cloned()),
        }
    }

    /// The value that a variable's text means.
    fn parse(self, text: &str) -> Option<Value> {
        match self {
            Self::Text(_) => Some(Value::String(text.to_owned())),
            Self::Number(_) => text.parse().ok().map(Value::Integer),
            Self::Switch => text.parse().ok().map(Value::Boolean),
            Self::List => Some(texts(
                text.split(',')
                    .filter(|one| !one.is_empty())
                    .map(str::to_owned),
            )),
        }
    }

    /// The value as the file has it, where it is of this kind.
    fn accept(self, value: &Value) -> Option<Value> {
        let fits = match self {
            Self::Text(_) => value.is_str(),
            Self::Number(_) => value.is_integer(),
            Self::Switch => value.is_bool(),
            Self::List => value
                .as_array()
                .is_some_and(|array| array.iter().all(Value::is_str)),
        };
        fits.then(|| value.clone())
    }

    const fn expected(self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Number(_) => "a whole number",
            Self::Switch => "true or false",
            Self::List => "a list of texts",
        }
    }
}

fn texts(list: impl Iterator<Item = String>) -> Value {
    Value::Array(list.map(Value::String).collect())
}

/// `some-key` is read from `TRACKSCAN_SOME_KEY`.
fn variable_name(key: &str) -> String {
    format!("TRACKSCAN_{}", key.to_uppercase().replace('-', "_"))
}

/// The program's table of the file; a file for one machine may hold one table for each program.
fn read_file(program: &Program, path: &Path) -> Result<(PathBuf, Table), ConfigError> {
    let path_buf = path.to_path_buf();
    let read = |source| ConfigError::Read {
        path: path_buf.clone(),
        source,
    };
    if std::fs::metadata(path).map_err(read)?.len() > FILE_BYTES_MAX {
        return Err(ConfigError::TooLarge { path: path_buf });
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    let parse = |source| ConfigError::Parse {
        path: path_buf.clone(),
        source: Box::new(source),
    };
    let file: Table = text.parse().map_err(parse)?;
    let unknown = |key: &String| ConfigError::UnknownKey {
        path: path_buf.clone(),
        key: key.clone(),
    };
    if let Some(key) = file.keys().find(|key| !PROGRAMS.contains(&key.as_str())) {
        return Err(unknown(key));
    }
    let Some(Value::Table(own)) = file.get(program.name).cloned() else {
        return file.get(program.name).map_or_else(
            || Ok((path_buf.clone(), Table::new())),
            |_| Err(unknown(&program.name.to_owned())),
        );
    };
    let known = |key: &str| program.settings.iter().any(|setting| setting.key == key);
    match own.keys().find(|key| !known(key)) {
        Some(key) => Err(unknown(&format!("{}.{key}", program.name))),
        None => Ok((path_buf, own)),
    }
}

impl<T> Loaded<T> {
    /// Each setting with its value and origin, one a line, in TOML.
    #[must_use]
    pub fn print(&self) -> String {
        let line = |(key, (value, origin)): (&&str, &(Value, Origin))| {
            format!("{key} = {value}  # {origin}\n")
        };
        self.values.iter().map(line).collect()
    }

    /// Where a setting's value came from; `None` where it has no value.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.values.get(key).map(|(_, origin)| origin)
    }
}

#[cfg(test)]
mod tests;
