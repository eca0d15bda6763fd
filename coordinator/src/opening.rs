//! How the store that the settings name is opened, and how a coordinator of a cluster waits for one that does not answer at its start: it is
//! asked again, after longer each time up to a bound, while callers hear of it. Called by `start` and `restore`; it decides nothing about a
//! store that is open.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runtime::process::once_freed;
use runtime::shutdown::Shutdown;
use store::{Embedded, Etcd, EtcdError, EtcdSettings, OpenError, Store};
use types::{Code, Problem};

use crate::app::blocking;
use crate::house::{Ground, House};
use crate::led::candidate;
use crate::settings::{Settings, Where};
use crate::terms::Tries;

/// A store of a cluster that is to be opened, and a house on it.
pub(crate) struct Opening {
    ground: Ground,
    etcd: EtcdSettings,
    tries: Tries,
}

/// What came of asking once.
pub(crate) enum Opened {
    /// The store is open.
    House(Box<House>),
    /// It does not answer.
    Later(Box<Opening>),
}

impl Opening {
    /// Nothing asked yet.
    pub(crate) fn new(ground: Ground, etcd: EtcdSettings) -> Self {
        let tries = Tries::new(candidate(&ground.address()));
        Self {
            ground,
            etcd,
            tries,
        }
    }

    /// What is there already.
    pub(crate) const fn ground(&self) -> &Ground {
        &self.ground
    }

    /// Asks once.
    ///
    /// # Errors
    /// What no waiting mends: settings, certificates, another cluster's members, a damaged record, or what the house says of storage.
    pub(crate) async fn once(self) -> Result<Opened, Problem> {
        let problem = match Etcd::open(self.etcd.clone()).await {
            Ok(store) => {
                let house = House::shared(self.ground, Arc::new(store)).await?;
                return Ok(Opened::House(Box::new(house)));
            }
            Err(error) => etcd_problem(&error),
        };
        if problem.code != Code::StoreUnavailable {
            return Err(problem);
        }
        self.ground.ready.lacks(&problem);
        self.ground.led.nobody(&problem);
        Ok(Opened::Later(Box::new(self)))
    }

    /// Asks until the store is open; none where the end was asked for before.
    ///
    /// # Errors
    /// As [`Opening::once`].
    pub(crate) async fn opened(self, closing: &Shutdown) -> Result<Option<House>, Problem> {
        tokio::select! {
            () = closing.asked() => Ok(None),
            opened = self.at_last() => opened.map(Some),
        }
    }

    async fn at_last(mut self) -> Result<House, Problem> {
        loop {
            let again_in = self.tries.went_wrong();
            tracing::warn!(
                ?again_in,
                "the store does not answer; this coordinator waits for it"
            );
            tokio::time::sleep(again_in).await;
            match self.once().await? {
                Opened::House(house) => return Ok(*house),
                Opened::Later(later) => self = *later,
            }
        }
    }
}

/// The store that the settings name, for a process that serves nobody.
pub(crate) async fn open_any_store(settings: &Settings) -> Result<Arc<dyn Store>, Problem> {
    match settings.store.clone() {
        Where::Embedded(folder) => {
            let store = once_freed(async || open_embedded(folder.clone()).await).await?;
            Ok(Arc::new(store))
        }
        Where::Etcd(etcd) => {
            let store = Etcd::open(etcd).await;
            Ok(Arc::new(store.map_err(|error| etcd_problem(&error))?))
        }
    }
}

/// The store of one machine, in a folder that is made where it is missing.
pub(crate) async fn open_embedded(folder: PathBuf) -> Result<Embedded, Problem> {
    blocking("open the store", move || {
        make_lasting(&folder)?;
        Embedded::open(&folder).map_err(|error| {
            let code = match error {
                OpenError::Locked { .. } => Code::DataLocked,
                OpenError::Io { .. } => Code::StoreUnavailable,
                OpenError::Damaged { .. } => Code::StoreCorrupt,
            };
            Problem::of(code, &error)
        })
    })
    .await
}

fn etcd_problem(error: &EtcdError) -> Problem {
    let code = match error {
        EtcdError::Settings { .. } | EtcdError::File { .. } | EtcdError::Elsewhere { .. } => {
            Code::ConfigInvalid
        }
        EtcdError::Certificate { .. } | EtcdError::TurnedAway { .. } => Code::StoreCertificate,
        EtcdError::Unreachable { .. } => Code::StoreUnavailable,
        EtcdError::IdentityGone { .. } | EtcdError::IdentityDamaged { .. } => Code::StoreCorrupt,
    };
    Problem::of(code, error)
}

/// Makes a folder with those above it that are missing, and syncs each into the one above: a folder that a power cut takes
/// back would take all that was synced inside it along.
fn make_lasting(folder: &Path) -> Result<(), Problem> {
    let failed = |error: std::io::Error| {
        Problem::new(
            Code::StoreUnavailable,
            format!("make folder `{}`: {error}", folder.display()),
        )
    };
    let missing: Vec<&Path> = folder
        .ancestors()
        .take_while(|above| !above.exists())
        .collect();
    for new in missing.into_iter().rev() {
        std::fs::create_dir(new)
            .or_else(there_already)
            .map_err(failed)?;
        let above = new.parent().filter(|above| !above.as_os_str().is_empty());
        let above = above.unwrap_or(Path::new("."));
        let synced = File::open(above).and_then(|opened| opened.sync_all());
        synced.map_err(failed)?;
    }
    Ok(())
}

fn there_already(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::AlreadyExists {
        return Ok(());
    }
    Err(error)
}
