//! What an operator may set, and the checked form in which the agent reads it. Nothing else reads flags, variables or files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bundle::Trust;
use proto::leader::Coordinators;
use runtime::config::{Kind, Loaded, Program, Setting};
use runtime::sources::{SourceAt, sources};
use runtime::telemetry::{LogFormat, MetricsAddress};
use serde::Deserialize;
use storage::{Place, StorageSettings};
use types::{Code, Dtype, Millis, NodeId, Problem, SourceName, Stage};

mod devices;

pub use devices::Choice;

/// The agent's settings, from which its flags, variables, file keys and help follow.
pub const PROGRAM: Program = Program {
    name: "node-agent",
    about: "Pulls shards from the coordinator and has them decoded and screened on this machine's devices",
    version: env!("CARGO_PKG_VERSION"),
    settings: &[
        Setting {
            key: "coordinator",
            kind: Kind::Text(Some("http://127.0.0.1:7700")),
            help: "Addresses of coordinators, parted by commas; from any of them the one that leads is found",
        },
        Setting {
            key: "data",
            kind: Kind::Text(None),
            help: "Folder for unfinished parts and bundles",
        },
        Setting {
            key: "storage",
            kind: Kind::Text(None),
            help: "Object storage as a URL, such as file:///srv/trackscan or s3://bucket/prefix?credentials=file:/PATH",
        },
        Setting {
            key: "node",
            kind: Kind::Text(Some("local")),
            help: "Name of this node, its own in the cluster",
        },
        Setting {
            key: "device",
            kind: Kind::Text(Some("auto")),
            help: "auto (GPUs where there are any), cpu or cuda",
        },
        Setting {
            key: "dtype",
            kind: Kind::Text(Some("f32")),
            help: "Number format of the devices: f32, tf32, bf16 or f16; a processor has f32 alone",
        },
        Setting {
            key: "stages",
            kind: Kind::Text(Some("both")),
            help: "Whose tracks this node takes: those of the screen, of the residual, or of both",
        },
        Setting {
            key: "decoders",
            kind: Kind::Number(0),
            help: "Decoders at once; 0: one less than there are cores",
        },
        Setting {
            key: "tracks-per-decoder",
            kind: Kind::Number(200),
            help: "Tracks after which a decoder is replaced",
        },
        Setting {
            key: "source",
            kind: Kind::List,
            help: "A source as NAME=DIR, or as NAME=URL where it lies in an object store",
        },
        Setting {
            key: "accept-sources",
            kind: Kind::Switch,
            help: "Take definitions of sources from the coordinator",
        },
        Setting {
            key: "worker",
            kind: Kind::Text(None),
            help: "The worker's binary; trackscan-worker beside this one",
        },
        Setting {
            key: "decoder",
            kind: Kind::Text(None),
            help: "The decoder's binary; trackscan-decoder beside this one",
        },
        Setting {
            key: "trusted-key",
            kind: Kind::List,
            help: "Public key, hex, whose signatures on bundles are trusted",
        },
        Setting {
            key: "min-bundle",
            kind: Kind::List,
            help: "Lowest accepted version of a bundle as NAME=VERSION",
        },
        Setting {
            key: "flush-secs",
            kind: Kind::Number(60),
            help: "Least time between two parts of a grant",
        },
        Setting {
            key: "silence-secs",
            kind: Kind::Number(120),
            help: "A worker silent for so long is replaced",
        },
        Setting {
            key: "decoder-silence-secs",
            kind: Kind::Number(600),
            help: "A decoder with a track that is silent, or leaves its device without sound, for so long is replaced",
        },
        Setting {
            key: "source-silence-secs",
            kind: Kind::Number(60),
            help: "A track whose source gives no bytes for so long is tried again later",
        },
        Setting {
            key: "drain-secs",
            kind: Kind::Number(60),
            help: "How long what is in hand may take once the end was asked for",
        },
        Setting {
            key: "metrics",
            kind: Kind::Text(Some("127.0.0.1:7702")),
            help: "Address of the metrics, or `off`",
        },
        Setting {
            key: "log",
            kind: Kind::Text(Some("info")),
            help: "Which events are logged, such as info,agent=debug",
        },
        Setting {
            key: "log-format",
            kind: Kind::Text(Some("text")),
            help: "text or json",
        },
    ],
};

/// Settings as they were read.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Raw {
    coordinator: String,
    data: Option<PathBuf>,
    storage: Option<String>,
    node: String,
    device: Choice,
    dtype: Dtype,
    stages: Serves,
    decoders: u32,
    tracks_per_decoder: u32,
    source: Vec<String>,
    accept_sources: bool,
    worker: Option<PathBuf>,
    decoder: Option<PathBuf>,
    trusted_key: Vec<String>,
    min_bundle: Vec<String>,
    flush_secs: u32,
    silence_secs: u32,
    decoder_silence_secs: u32,
    source_silence_secs: u32,
    drain_secs: u32,
    metrics: MetricsAddress,
    log: String,
    log_format: LogFormat,
}

/// Which stages' tracks a node takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Serves {
    /// Those of the screen alone: a node whose devices are too small for a separator.
    Screen,
    /// Those of the residual alone.
    Residual,
    /// Both.
    Both,
}

impl Serves {
    /// The stages that run here; decoding goes with either.
    #[must_use]
    pub fn stages(self) -> Vec<Stage> {
        match self {
            Self::Screen => vec![Stage::Decode, Stage::Screen],
            Self::Residual => vec![Stage::Decode, Stage::Residual],
            Self::Both => vec![Stage::Decode, Stage::Screen, Stage::Residual],
        }
    }
}

/// Settings as they hold together.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Addresses of coordinators.
    pub coordinator: Coordinators,
    /// Object storage.
    pub storage: StorageSettings,
    /// Where metrics are served.
    pub metrics: MetricsAddress,
    /// Which events are logged.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which devices to use.
    pub device: Choice,
    /// All that the node itself needs.
    pub node: NodeSettings,
}

/// What a node needs, wherever its work comes from.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    /// Its name.
    pub name: NodeId,
    /// Folder for unfinished parts and bundles.
    pub data: PathBuf,
    /// Number format that its devices compute in. A bundle without an epsilon for it is not run.
    pub dtype: Dtype,
    /// Whose tracks it takes.
    pub stages: Serves,
    /// Decoders at once, at least 1.
    pub decoders: u32,
    /// Tracks after which a decoder is replaced, at least 1.
    pub tracks_per_decoder: u32,
    /// Configured sources by name.
    pub sources: BTreeMap<SourceName, StorageSettings>,
    /// Whether definitions of sources are taken from the coordinator.
    pub accept_sources: bool,
    /// The worker's binary.
    pub worker: PathBuf,
    /// The decoder's binary.
    pub decoder: PathBuf,
    /// Whose bundles are loaded, and from which version on.
    pub trust: Trust,
    /// Least time between two parts of a grant.
    pub flush_every: Millis,
    /// A worker silent for so long is replaced.
    pub silence: Duration,
    /// A decoder that has a track and says nothing for so long while its ring has room and nothing comes into it, or takes nothing
    /// that it asked for, is replaced. So is one that in all leaves its device without sound for so long, what its source takes
    /// and a fifth of what it decodes not counted.
    pub decoder_silence: Duration,
    /// A track whose source gives no bytes for so long is tried again later.
    pub source_silence: Duration,
    /// How long a drain may take.
    pub drain: Duration,
}

/// Most decoders: each is a process with a ring of four megabytes, and no machine has more cores to feed.
const DECODERS_MAX: u32 = 256;

impl Settings {
    /// Checks what was read.
    ///
    /// # Errors
    /// `CONFIG_INVALID` names the setting and what is wrong with it.
    pub fn check(loaded: &Loaded<Raw>) -> Result<Self, Problem> {
        let raw = &loaded.config;
        Ok(Self {
            coordinator: coordinators(&raw.coordinator)?,
            storage: store(
                raw.storage
                    .as_deref()
                    .ok_or_else(|| invalid("setting `storage` has no value"))?,
            )?,
            metrics: raw.metrics,
            log: raw.log.clone(),
            log_format: raw.log_format,
            device: raw.device,
            node: node(raw)?,
        })
    }
}

fn node(raw: &Raw) -> Result<NodeSettings, Problem> {
    let data = raw
        .data
        .as_ref()
        .ok_or_else(|| invalid("setting `data` has no value"))?;
    let data = std::path::absolute(data)
        .map_err(|error| invalid(format!("folder `{}`: {error}", data.display())))?;
    let name = NodeId::new(raw.node.clone())
        .map_err(|error| invalid(format!("setting `node`: {error}")))?;
    Ok(NodeSettings {
        name,
        data,
        dtype: raw.dtype,
        stages: raw.stages,
        decoders: decoders(raw.decoders),
        tracks_per_decoder: raw.tracks_per_decoder.max(1),
        sources: stores(&raw.source)?,
        accept_sources: raw.accept_sources,
        worker: binary(raw.worker.as_ref(), "trackscan-worker")?,
        decoder: binary(raw.decoder.as_ref(), "trackscan-decoder")?,
        trust: Trust::configured(&raw.trusted_key, &raw.min_bundle)
            .map_err(|error| Problem::of(Code::ConfigInvalid, &error))?,
        flush_every: Millis::from_secs(raw.flush_secs.into()),
        silence: seconds(raw.silence_secs),
        decoder_silence: seconds(raw.decoder_silence_secs),
        source_silence: seconds(raw.source_silence_secs),
        drain: Duration::from_secs(raw.drain_secs.into()),
    })
}

fn store(url: &str) -> Result<StorageSettings, Problem> {
    StorageSettings::parse(url).map_err(|error| Problem::of(Code::ConfigInvalid, &error))
}

fn stores(list: &[String]) -> Result<BTreeMap<SourceName, StorageSettings>, Problem> {
    let at = |at: SourceAt| match at {
        SourceAt::Folder(folder) => Ok(StorageSettings::new(Place::Folder(folder))),
        SourceAt::Store(url) => store(&url),
    };
    let named = sources(list)?.into_iter();
    named.map(|(name, found)| Ok((name, at(found)?))).collect()
}

/// A span that is not nothing.
fn seconds(wanted: u32) -> Duration {
    Duration::from_secs(wanted.max(1).into())
}

/// One core is left to the worker and the agent itself.
fn decoders(wanted: u32) -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let own = u32::try_from(cores)
        .unwrap_or(DECODERS_MAX)
        .saturating_sub(1);
    let chosen = if wanted == 0 { own } else { wanted };
    chosen.clamp(1, DECODERS_MAX)
}

fn coordinators(text: &str) -> Result<Coordinators, Problem> {
    let read = Coordinators::parse("coordinator", text);
    read.map_err(|error| invalid(format!("setting {error}")))
}

fn binary(given: Option<&PathBuf>, name: &str) -> Result<PathBuf, Problem> {
    let beside = || -> Result<PathBuf, Problem> {
        let own =
            std::env::current_exe().map_err(|error| missing(format!("find `{name}`: {error}")))?;
        Ok(own.with_file_name(name))
    };
    let path = given.cloned().map_or_else(beside, Ok)?;
    if path.is_file() {
        Ok(path)
    } else {
        Err(missing(format!("find `{}`", path.display())))
    }
}

fn missing(message: String) -> Problem {
    Problem::new(Code::BinaryMissing, message)
}

fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(Code::ConfigInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(args: &[&str]) -> Result<Settings, Problem> {
        let own = std::env::current_exe().unwrap().display().to_string();
        // What a test gives itself is not given twice.
        let binaries = ["--worker", "--decoder"]
            .iter()
            .filter(|flag| !args.contains(flag));
        let binaries = binaries.flat_map(|flag| [(*flag).to_owned(), own.clone()]);
        let given = args.iter().map(ToString::to_string);
        let args = ["node-agent".to_owned()]
            .into_iter()
            .chain(binaries)
            .chain(given);
        let loaded = PROGRAM
            .load_from::<Raw>(args.collect::<Vec<_>>(), |_| None)
            .unwrap();
        Settings::check(&loaded)
    }

    #[track_caller]
    fn check_refused(args: &[&str], expected: &str) {
        let problem = check(args).unwrap_err();
        assert!(problem.message.contains(expected), "{problem}");
    }

    #[test]
    fn data_and_storage_are_all_that_must_be_given() {
        let settings = check(&["--data", "/d", "--storage", "file:///s"]).unwrap();
        assert_eq!(settings.coordinator.current(), "http://127.0.0.1:7700");
        assert_eq!(settings.node.name.as_str(), "local");
        assert_eq!(settings.node.flush_every, Millis(60_000));
        assert!(settings.node.decoders >= 1);
        check_refused(&["--storage", "file:///s"], "setting `data` has no value");
        check_refused(&["--data", "/d"], "setting `storage` has no value");
    }

    #[test]
    fn a_node_takes_tracks_of_both_stages_unless_it_is_told_otherwise() {
        let (decode, screen, residual) = (Stage::Decode, Stage::Screen, Stage::Residual);
        for (asked, expected) in [
            (None, vec![decode, screen, residual]),
            (Some("both"), vec![decode, screen, residual]),
            (Some("screen"), vec![decode, screen]),
            (Some("residual"), vec![decode, residual]),
        ] {
            let flags = asked.map_or(Vec::new(), |asked| vec!["--stages", asked]);
            let all = [&["--data", "/d", "--storage", "file:///s"], &flags[..]].concat();
            let settings = check(&all).unwrap();
            assert_eq!(settings.node.stages.stages(), expected, "{asked:?}");
        }
    }

    #[test]
    fn devices_compute_in_single_precision_unless_they_are_told_otherwise() {
        let needed = ["--data", "/d", "--storage", "file:///s"];
        assert_eq!(check(&needed).unwrap().node.dtype, Dtype::F32);
        for dtype in Dtype::ALL {
            let flags = [&needed[..], &["--dtype", dtype.as_str()]].concat();
            assert_eq!(check(&flags).unwrap().node.dtype, *dtype);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let with =
            |more: &[&'static str]| [&["--data", "/d", "--storage", "file:///s"], more].concat();
        check_refused(&with(&["--source", "music"]), "is not NAME=DIR");
        check_refused(&with(&["--trusted-key", "00"]), "setting `trusted-key`");
        check_refused(&with(&["--min-bundle", "x"]), "setting `min-bundle`");
        check_refused(&with(&["--node", "a/b"]), "setting `node`");
        check_refused(&with(&["--coordinator", "a:1,ftp://b:1"]), "`ftp://b:1`");
        check_refused(
            &with(&["--worker", "/nowhere/at/all"]),
            "find `/nowhere/at/all`",
        );
    }
}
