//! Removes part objects that nothing names: what killed agents wrote and never committed, what was superseded, revoked or
//! cancelled. Lists job by job, asks the core about each object, and removes what the core's `Collector` gives back:
//! orphans that were orphans a while ago too. Started with the coordinator, and ended with it.
//!
//! Nothing else in the product removes objects. A listing that fails costs this look only.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use runtime::shutdown::Shutdown;
use scheduler::{Collector, JobKey, Listed, PartName};
use storage::{ObjectPath, PartObject, StorageError};
use types::{Generation, Millis, Problem};

use crate::app::{App, manifest_path};

/// Objects that the core is asked about at once: a few milliseconds of its time.
const PAGE: usize = 512;

/// What one look did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Swept {
    /// Objects removed.
    removed: u64,
    /// Orphans seen that wait to be seen again.
    waiting: usize,
}

/// What a look through one job came to.
#[derive(Debug, Default, Clone, Copy)]
struct Looked {
    removed: u64,
    /// It had nothing but what its manifest names.
    is_clean: bool,
}

/// The collector's state between two looks.
struct Sweeper {
    app: Arc<App>,
    collector: Collector,
    age: Millis,
    /// Closed jobs in whose paths nothing but the result is left: nothing is ever written there again that counts, and what an agent cut
    /// off writes later is found by the next leader.
    clean: BTreeSet<JobKey>,
}

/// A job to look through.
struct Place {
    job: JobKey,
    generation: Generation,
    /// Of a published one.
    manifest: Option<ObjectPath>,
    closed: bool,
}

/// Looks every so often, until the end is asked for or the core no longer leads.
pub(crate) async fn run(app: Arc<App>, every: Duration, closing: Shutdown) {
    let age = Millis(u64::try_from(every.as_millis()).unwrap_or(u64::MAX));
    let mut sweeper = Sweeper {
        app,
        collector: Collector::new(age),
        age,
        clean: BTreeSet::new(),
    };
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = closing.asked() => return,
        }
        let swept = tokio::select! {
            swept = sweeper.sweep() => swept,
            () = closing.asked() => return,
        };
        match swept {
            Ok(Swept {
                removed: 0,
                waiting,
            }) => tracing::debug!(waiting, "nothing to collect"),
            Ok(Swept { removed, waiting }) => {
                tracing::info!(removed, waiting, "objects collected");
            }
            Err(error) => {
                tracing::debug!(%error, "the coordinator no longer leads; collecting ends");
                return;
            }
        }
    }
}

impl Sweeper {
    /// One look over all jobs. What storage cannot do is logged and passed over; an error means that the core has gone.
    async fn sweep(&mut self) -> Result<Swept, Problem> {
        let mut swept = Swept::default();
        let places = self.places().await?;
        self.clean
            .retain(|job| places.iter().any(|place| place.job == *job));
        for place in places {
            if self.clean.contains(&place.job) {
                continue;
            }
            let looked = self.sweep_job(&place).await?;
            swept.removed += looked.removed;
            if place.closed && looked.is_clean {
                self.clean.insert(place.job);
            }
        }
        swept.waiting = self.collector.marked();
        metrics::gauge!("scan_orphans_waiting").set(swept.waiting as f64);
        Ok(swept)
    }

    async fn places(&self) -> Result<Vec<Place>, Problem> {
        let look = self.app.driver.look(|core, _| {
            let place = |view: scheduler::JobView<'_>| Place {
                job: view.key.clone(),
                generation: view.record.spec.generation,
                manifest: manifest_path(view.record),
                closed: view.record.state.is_closed(),
            };
            core.all_jobs().map(place).collect()
        });
        look.await
    }

    /// Looks through one job's objects, as far as storage lets it.
    async fn sweep_job(&mut self, place: &Place) -> Result<Looked, Problem> {
        let named = match self.named(place).await {
            Ok(named) => named,
            Err(error) => return Ok(failed(place, &error, Looked::default())),
        };
        let storage = self.app.storage.clone();
        let JobKey { tenant, job } = &place.job;
        let objects = storage.part_objects(tenant, place.generation, job);
        let mut pages = objects.try_chunks(PAGE);
        let mut looked = Looked {
            removed: 0,
            is_clean: true,
        };
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) => return Ok(failed(place, &error.1, looked)),
            };
            let is_named = |object: &PartObject| {
                let named = named.as_ref();
                named.is_some_and(|named| named.contains(object.path.as_str()))
            };
            looked.is_clean &= page.iter().all(is_named);
            for doomed in self.judge(place, page, named.as_ref()).await? {
                if let Err(error) = storage.remove_part(&doomed).await {
                    return Ok(failed(place, &error, looked));
                }
                audit(&place.job, &doomed);
                looked.removed += 1;
            }
        }
        Ok(looked)
    }

    /// The objects that a published job's manifest names; nothing for a job that has none.
    async fn named(&self, place: &Place) -> Result<Option<BTreeSet<String>>, StorageError> {
        let Some(path) = &place.manifest else {
            return Ok(None);
        };
        let manifest = self.app.storage.get_manifest(path).await?;
        let keys = manifest.parts.into_iter().map(|part| part.key.to_string());
        Ok(Some(keys.collect()))
    }

    /// What of a page is to go.
    async fn judge(
        &mut self,
        place: &Place,
        page: Vec<PartObject>,
        named: Option<&BTreeSet<String>>,
    ) -> Result<Vec<PartObject>, Problem> {
        let listed: Vec<(Listed, PartObject)> = page
            .into_iter()
            .map(|object| {
                let in_manifest = named.is_none_or(|named| named.contains(object.path.as_str()));
                let part = part_name(place, &object);
                (Listed { part, in_manifest }, object)
            })
            .collect();
        let words: Vec<Listed> = listed.iter().map(|(listed, _)| listed.clone()).collect();
        let mut collector = std::mem::replace(&mut self.collector, Collector::new(self.age));
        let look = self.app.driver.look(move |core, now| {
            let doomed = collector.see(now, core, &words);
            (collector, doomed)
        });
        let (collector, doomed) = look.await?;
        self.collector = collector;
        let doomed: BTreeSet<PartName> = doomed.into_iter().collect();
        let goes = listed
            .into_iter()
            .filter(|(listed, _)| doomed.contains(&listed.part));
        Ok(goes.map(|(_, object)| object).collect())
    }
}

fn part_name(place: &Place, object: &PartObject) -> PartName {
    PartName {
        job: place.job.clone(),
        generation: place.generation,
        shard: object.shard,
        attempt: object.attempt,
        sha256: object.sha256,
    }
}

fn failed(place: &Place, error: &StorageError, looked: Looked) -> Looked {
    tracing::warn!(job = %place.job, %error, "objects could not be collected; tried again later");
    Looked {
        is_clean: false,
        ..looked
    }
}

/// Removing is a change, and the coordinator's own.
fn audit(job: &JobKey, object: &PartObject) {
    metrics::counter!("scan_orphans_removed_total").increment(1);
    tracing::info!(
        target: "audit",
        tenant = %job.tenant,
        actor = "coordinator",
        action = "Collect",
        what = %object.path,
        outcome = "OK",
        detail = "",
    );
}
