//! `coordinator restore FILE` and `coordinator rebuild`: the records of a store made anew from what storage holds, in a new generation.
//! An operator's act, by a process of its own that takes the leadership and serves nobody. Called by `main`.
//!
//! What counts is read from storage alone, by the scheduler's rules. Of a backup, or of the older store that stands there, only what storage
//! does not hold is kept: how jobs are ranked, what operators said of nodes, names of catalogs and bundles.
//!
//! It is killed anywhere and run again: a record says that it has begun, each of its writes compares that record, and until it is gone
//! no coordinator leads. Nothing of the generation that is read is changed or removed in storage.

mod desk;
mod jobs;
mod kept;
mod known;
mod marker;
mod parts;
mod shelf;
mod steps;
mod words;

use std::sync::Arc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use store::{LeadError, Store};
use types::{Epoch, Problem, Rebuilt};

use crate::clock;
use crate::house::open_storage;
use crate::led::lead_problem;
use crate::opening::open_any_store;
use crate::settings::Settings;

pub(crate) use marker::check_finished;
pub use words::{Asked, words};

/// Time between two renewals of the leadership: the leadership time is 5 s, so two may fail.
const KEEP_EVERY: Duration = Duration::from_millis(1_500);

/// Tries for the leadership, one each second: a restore that was killed holds it for the leadership time, a coordinator that runs for good.
const LEAD_TRIES: u32 = 10;
const LEAD_WAIT: Duration = Duration::from_secs(1);

/// Makes the records anew, and says what came of it.
///
/// # Errors
/// `BACKUP_DAMAGED` before anything is opened; `DATA_LOCKED` or `NOT_LEADER` where a coordinator runs; `STORE_NOT_EMPTY` without
/// `--replace`; `STORAGE_OTHER` where storage knows nothing of the store that is replaced, without `--ignore-missing-marks`;
/// `RESTORE_UNFINISHED` where another restore has begun; else what keeps store or storage from being read or written.
pub fn run(settings: Settings, asked: Asked) -> LocalBoxFuture<'static, Result<Rebuilt, Problem>> {
    Box::pin(rebuilt(settings, asked))
}

async fn rebuilt(settings: Settings, asked: Asked) -> Result<Rebuilt, Problem> {
    let backup = match &asked.file {
        Some(file) => Some(kept::read_backup(file).await?),
        None => None,
    };
    let store = open_any_store(&settings).await?;
    let storage = Arc::new(open_storage(&settings).await?);
    let epoch = lead(store.as_ref()).await?;
    let keeping = tokio::spawn(keep(store.clone(), epoch));
    let place = steps::Place {
        store: store.clone(),
        storage,
        epoch,
        settings,
    };
    let outcome = steps::run(&place, backup, &asked).await;
    keeping.abort();
    if let Err(error) = store.resign(epoch).await {
        tracing::debug!(%error, "the leadership runs out by itself");
    }
    outcome
}

async fn lead(store: &dyn Store) -> Result<Epoch, Problem> {
    let name = format!("restore {} at {}", std::process::id(), clock::wall().0);
    let mut tries = 1;
    loop {
        let error = match store.lead(&name).await {
            Ok(epoch) => return Ok(epoch),
            Err(error) => error,
        };
        if tries >= LEAD_TRIES {
            let said = format!("lead the store to restore it: {error}; no coordinator may run");
            return Err(Problem::new(lead_problem(&error).code, said));
        }
        tries += 1;
        tokio::time::sleep(LEAD_WAIT).await;
    }
}

/// Renews the leadership. Where it is lost, the next write is refused and says so.
async fn keep(store: Arc<dyn Store>, epoch: Epoch) {
    loop {
        tokio::time::sleep(KEEP_EVERY).await;
        if let Err(LeadError::Lost | LeadError::Held { .. }) = store.keep(epoch).await {
            return;
        }
    }
}
