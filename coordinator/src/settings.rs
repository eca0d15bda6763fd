//! What an operator may set, and the checked form in which the coordinator reads it. Nothing else reads flags,
//! variables or files.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bundle::Trust;
use runtime::config::{Kind, Loaded, Program, Setting};
use runtime::sources::{SourceAt, sources};
use runtime::telemetry::{LogFormat, MetricsAddress};
use scheduler::{Config, limits};
use serde::Deserialize;
use storage::{Place, StorageSettings};
use types::{Code, Millis, Problem, SourceName, file_url};

use crate::quotas::quotas;

mod alike;
mod shared;

pub use alike::Alike;
pub(crate) use alike::differing;
use shared::StoreKind;
pub use shared::Where;

/// The coordinator's settings, from which its flags, variables, file keys and help follow.
pub const PROGRAM: Program = Program {
    name: "coordinator",
    about: "Cuts catalogs into shards, hands them to node agents and counts each track once. `coordinator restore FILE` and `coordinator rebuild`, with the same settings, make the store's records anew; `coordinator probe` asks what storage can promise",
    version: env!("CARGO_PKG_VERSION"),
    settings: &[
        Setting {
            key: "data",
            kind: Kind::Text(None),
            help: "Folder for the store, and for storage unless that is set",
        },
        Setting {
            key: "store",
            kind: Kind::Text(Some("embedded")),
            help: "Where records live: embedded, a folder of this coordinator's own, or etcd, which several coordinators share",
        },
        Setting {
            key: "etcd-endpoint",
            kind: Kind::List,
            help: "A member of the etcd cluster, as http://HOST:PORT or https://HOST:PORT",
        },
        Setting {
            key: "etcd-prefix",
            kind: Kind::Text(Some("trackscan")),
            help: "What all keys in etcd stand under; another one for each cluster that shares an etcd",
        },
        Setting {
            key: "etcd-ca",
            kind: Kind::Text(None),
            help: "The authority that signed the certificates of the etcd members, PEM",
        },
        Setting {
            key: "etcd-cert",
            kind: Kind::Text(None),
            help: "The certificate by which the etcd members know this coordinator, PEM",
        },
        Setting {
            key: "etcd-key",
            kind: Kind::Text(None),
            help: "The private key of etcd-cert, PEM",
        },
        Setting {
            key: "listen",
            kind: Kind::Text(Some("127.0.0.1:7700")),
            help: "Address of the gRPC server, on loopback unless links-unencrypted is on",
        },
        Setting {
            key: "advertise",
            kind: Kind::Text(None),
            help: "Where clients reach this coordinator, as http://HOST:PORT; the address it listens on unless given",
        },
        Setting {
            key: "links-unencrypted",
            kind: Kind::Switch,
            help: "Listen beyond loopback although links are not encrypted: on a network that nobody else is on",
        },
        Setting {
            key: "metrics",
            kind: Kind::Text(Some("127.0.0.1:7701")),
            help: "Address of the metrics, or `off`",
        },
        Setting {
            key: "storage",
            kind: Kind::Text(None),
            help: "Object storage as a URL, such as file:///srv/trackscan or s3://bucket/prefix?credentials=file:/PATH; DATA/storage where none is given",
        },
        Setting {
            key: "source",
            kind: Kind::List,
            help: "A source as NAME=DIR, or as NAME=URL where it lies in an object store",
        },
        Setting {
            key: "folder-sources",
            kind: Kind::Switch,
            help: "Let an import register its folder as a read-only source; on loopback only",
        },
        Setting {
            key: "default-bundle",
            kind: Kind::Text(None),
            help: "Folder of a bundle to register, and to use where a scan names none",
        },
        Setting {
            key: "shipped-bundle",
            kind: Kind::Text(None),
            help: "Folder of the bundle that is registered where no other is; not looked at where default-bundle is given",
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
            key: "journal",
            kind: Kind::Text(None),
            help: "Folder in which each event of the core is written, for `trackscan-sim replay --journal`; none is unless given",
        },
        Setting {
            key: "quota",
            kind: Kind::List,
            help: "What a tenant may have at once, as TENANT:grants=N, TENANT:tracks=N or TENANT:jobs=N; * is every tenant that is not named",
        },
        Setting {
            key: "share-window-secs",
            kind: Kind::Number(600),
            help: "What a tenant missed longer ago than this is not made up for",
        },
        Setting {
            key: "grant-millis",
            kind: Kind::Number(120_000),
            help: "Work that one answer to a pull aims at, by the node's measured rate",
        },
        Setting {
            key: "jobs-kept",
            kind: Kind::Number(5_000),
            help: "Records of jobs; beyond so many the longest closed go, and their results stay in storage",
        },
        Setting {
            key: "collect-secs",
            kind: Kind::Number(600),
            help: "Time between two looks for objects that nothing names; they go when seen twice",
        },
        Setting {
            key: "drain-secs",
            kind: Kind::Number(10),
            help: "How long calls under way may take once the end was asked for",
        },
        Setting {
            key: "log",
            kind: Kind::Text(Some("info")),
            help: "Which events are logged, such as info,scheduler=debug",
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
    data: Option<PathBuf>,
    store: StoreKind,
    etcd_endpoint: Vec<String>,
    etcd_prefix: String,
    etcd_ca: Option<PathBuf>,
    etcd_cert: Option<PathBuf>,
    etcd_key: Option<PathBuf>,
    listen: SocketAddr,
    advertise: Option<String>,
    links_unencrypted: bool,
    metrics: MetricsAddress,
    storage: Option<String>,
    source: Vec<String>,
    folder_sources: bool,
    default_bundle: Option<PathBuf>,
    shipped_bundle: Option<PathBuf>,
    trusted_key: Vec<String>,
    min_bundle: Vec<String>,
    journal: Option<PathBuf>,
    quota: Vec<String>,
    share_window_secs: u32,
    grant_millis: u32,
    jobs_kept: u32,
    collect_secs: u32,
    drain_secs: u32,
    log: String,
    log_format: LogFormat,
}

/// Settings as they hold together.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where records live.
    pub store: Where,
    /// Where clients reach this coordinator, as a URL; where it listens unless given.
    pub advertise: Option<String>,
    /// Folder for scratch files; emptied at start.
    pub scratch: PathBuf,
    /// Object storage.
    pub storage: StorageSettings,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where metrics are served.
    pub metrics: MetricsAddress,
    /// Configured sources by name.
    pub sources: BTreeMap<SourceName, StorageSettings>,
    /// Whether an import may register its folder.
    pub folder_sources: bool,
    /// The bundle to register and to use where a scan names none.
    pub default_bundle: Option<PathBuf>,
    /// The bundle to register where no other is, unless there is a default one.
    pub shipped_bundle: Option<PathBuf>,
    /// Whose bundles are accepted, and from which version on.
    pub trust: Trust,
    /// Where the core's journal is written, if it is.
    pub journal: Option<PathBuf>,
    /// The core's policy.
    pub policy: Config,
    /// Time between two looks for objects that nothing names.
    pub collect: Duration,
    /// How long a drain may take.
    pub drain: Duration,
    /// What all coordinators of a store are to be told alike.
    pub alike: Alike,
    /// Which events are logged.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
}

impl Settings {
    /// Checks what was read.
    ///
    /// # Errors
    /// `CONFIG_INVALID` names the setting and what is wrong with it.
    pub fn check(loaded: &Loaded<Raw>) -> Result<Self, Problem> {
        let raw = &loaded.config;
        let data = raw
            .data
            .as_ref()
            .ok_or_else(|| invalid("setting `data` has no value"))?;
        let data = absolute(data)?;
        shared::check_loopback(raw)?;
        let sources = stores(&raw.source)?;
        Ok(Self {
            alike: alike::of(raw, &sources),
            store: shared::store(raw, &data)?,
            advertise: shared::advertise(raw)?,
            scratch: data.join("scratch"),
            storage: storage(raw.storage.as_deref(), &data)?,
            listen: raw.listen,
            metrics: raw.metrics,
            sources,
            folder_sources: raw.folder_sources,
            default_bundle: raw.default_bundle.clone(),
            shipped_bundle: raw.shipped_bundle.clone(),
            trust: Trust::configured(&raw.trusted_key, &raw.min_bundle)
                .map_err(|error| Problem::of(Code::ConfigInvalid, &error))?,
            journal: raw.journal.clone(),
            policy: policy(raw)?,
            collect: Duration::from_secs(positive("collect-secs", raw.collect_secs)?.into()),
            drain: Duration::from_secs(raw.drain_secs.into()),
            log: raw.log.clone(),
            log_format: raw.log_format,
        })
    }

    /// Where clients reach a coordinator that listens there.
    pub(crate) fn advertised(&self, bound: SocketAddr) -> String {
        let given = self.advertise.clone();
        given.unwrap_or_else(|| format!("http://{bound}"))
    }
}

/// The storage root alone, for a process that needs nothing else: a data folder is asked for only where no storage is named.
///
/// # Errors
/// `CONFIG_INVALID` where neither is named, or what is named makes no sense.
pub(crate) fn storage_alone(loaded: &Loaded<Raw>) -> Result<StorageSettings, Problem> {
    let raw = &loaded.config;
    match (raw.storage.as_deref(), &raw.data) {
        (None, None) => Err(invalid(
            "neither setting `storage` nor setting `data` has a value",
        )),
        (named, Some(data)) => storage(named, &absolute(data)?),
        (named, None) => storage(named, Path::new("")),
    }
}

/// How log lines look, and which there are.
pub(crate) fn logs(loaded: &Loaded<Raw>) -> (LogFormat, &str) {
    (loaded.config.log_format, &loaded.config.log)
}

fn absolute(folder: &Path) -> Result<PathBuf, Problem> {
    std::path::absolute(folder)
        .map_err(|error| invalid(format!("folder `{}`: {error}", folder.display())))
}

/// The storage root that is named, or a folder within the data's.
fn storage(named: Option<&str>, data: &Path) -> Result<StorageSettings, Problem> {
    let url = named.map_or_else(|| file_url(&data.join("storage")), str::to_owned);
    StorageSettings::parse(&url).map_err(|error| Problem::of(Code::ConfigInvalid, &error))
}

fn stores(list: &[String]) -> Result<BTreeMap<SourceName, StorageSettings>, Problem> {
    let store = |at: SourceAt| match at {
        SourceAt::Folder(folder) => Ok(StorageSettings::new(Place::Folder(folder))),
        SourceAt::Store(url) => {
            StorageSettings::parse(&url).map_err(|error| Problem::of(Code::ConfigInvalid, &error))
        }
    };
    let named = sources(list)?.into_iter();
    named.map(|(name, at)| Ok((name, store(at)?))).collect()
}

/// What the core is told of the operator's wishes; the rest is its default.
fn policy(raw: &Raw) -> Result<Config, Problem> {
    let quotas = quotas(&raw.quota)?;
    let window = positive("share-window-secs", raw.share_window_secs)?;
    Ok(Config {
        share_window: Millis(u64::from(window) * 1_000),
        grant_work: Millis(positive("grant-millis", raw.grant_millis)?.into()),
        jobs_kept: jobs_kept(raw.jobs_kept)?,
        quota: quotas.others,
        quotas: quotas.named,
        shard_form: shared::shard_form(raw.store),
        ..Config::default()
    })
}

/// Fewer than may be known at all, so that closed jobs make room for new ones.
fn jobs_kept(value: u32) -> Result<usize, Problem> {
    let kept = positive("jobs-kept", value)?.try_into();
    let kept = kept.unwrap_or(usize::MAX);
    match kept < limits::JOBS_MAX {
        true => Ok(kept),
        false => Err(invalid(format!(
            "setting `jobs-kept`: {value} is not below {}",
            limits::JOBS_MAX
        ))),
    }
}

fn positive(key: &str, value: u32) -> Result<u32, Problem> {
    match value {
        0 => Err(invalid(format!("setting `{key}` is 0"))),
        _ => Ok(value),
    }
}

/// A problem with the configuration.
pub(crate) fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(Code::ConfigInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn check(args: &[&str]) -> Result<Settings, Problem> {
        let args = ["coordinator"].iter().chain(args);
        let loaded = PROGRAM.load_from::<Raw>(args, |_| None).unwrap();
        Settings::check(&loaded)
    }

    #[track_caller]
    pub(super) fn check_refused(args: &[&str], expected: &str) {
        let problem = check(args).unwrap_err();
        assert_eq!(problem.code, Code::ConfigInvalid);
        assert!(problem.message.contains(expected), "{problem}");
    }

    #[test]
    fn a_data_folder_is_all_that_must_be_given() {
        let settings = check(&["--data", "/d"]).unwrap();
        assert_eq!(settings.store, Where::Embedded("/d/store".into()));
        let folder = |at: &str| StorageSettings::new(Place::Folder(at.into()));
        assert_eq!(settings.storage, folder("/d/storage"));
        assert_eq!(settings.listen, "127.0.0.1:7700".parse().unwrap());
        let odd = check(&["--data", "/100%/d"]).unwrap();
        assert_eq!(odd.storage, folder("/100%/d/storage"));
        check_refused(&[], "setting `data` has no value");
    }

    #[test]
    fn storage_and_sources_are_named_alike_and_a_secret_among_them_is_refused_unseen() {
        let s3 = "s3://b/p?region=r&credentials=env:KEYS";
        let args = [
            "--data",
            "/d",
            "--storage",
            s3,
            "--source",
            &format!("far={s3}"),
        ];
        let settings = check(&args).unwrap();
        let named = StorageSettings::parse(s3).unwrap();
        assert_eq!(settings.storage, named);
        assert_eq!(settings.sources.values().collect::<Vec<_>>(), [&named]);
        for args in [
            ["--storage", "s3://b?secret=hunter2"],
            ["--source", "m=s3://b?secret=hunter2"],
        ] {
            let args: Vec<&str> = ["--data", "/d"].into_iter().chain(args).collect();
            let problem = check(&args).unwrap_err();
            assert!(
                problem.code == Code::ConfigInvalid && !problem.message.contains("hunter2"),
                "{problem}"
            );
        }
    }

    #[test]
    fn the_core_s_policy_is_the_operator_s() {
        let args = [
            "--data",
            "/d",
            "--share-window-secs",
            "10",
            "--grant-millis",
            "200",
            "--quota",
            "a:jobs=1",
            "--jobs-kept",
            "3",
        ];
        let policy = check(&args).unwrap().policy;
        assert_eq!(policy.jobs_kept, 3);
        assert_eq!(policy.share_window, Millis(10_000));
        assert_eq!(policy.grant_work, Millis(200));
        assert_eq!(policy.quotas.len(), 1);
        let default = check(&["--data", "/d"]).unwrap().policy;
        assert_eq!(default, Config::default());
        check_refused(
            &["--data", "/d", "--grant-millis", "0"],
            "`grant-millis` is 0",
        );
        check_refused(
            &["--data", "/d", "--jobs-kept", "10000"],
            "is not below 10000",
        );
        check_refused(&["--data", "/d", "--quota", "a"], "setting `quota`: `a`");
    }

    #[test]
    fn a_trusted_key_is_a_public_key() {
        let key = bundle::sample::key().public().to_string();
        assert!(check(&["--data", "/d", "--trusted-key", &key]).is_ok());
        check_refused(
            &["--data", "/d", "--trusted-key", "abc"],
            "setting `trusted-key`: `abc`",
        );
    }

    #[test]
    fn a_lowest_version_is_a_name_and_a_number() {
        let settings = check(&["--data", "/d", "--min-bundle", "demo=3"]).unwrap();
        assert_eq!(settings.trust.lowest("demo"), 3);
        check_refused(
            &["--data", "/d", "--min-bundle", "demo"],
            "is not NAME=VERSION",
        );
        check_refused(
            &["--data", "/d", "--min-bundle", "demo=new"],
            "is not NAME=VERSION",
        );
    }
}
