//! Removes part objects that nothing names: what killed agents wrote and never committed, what was superseded, revoked or
//! cancelled. Lists job by job, asks the core about each object, and removes what the core's `Collector` gives back:
//! orphans that were orphans a while ago too. Started with the coordinator, and ended with it; an operator may ask for a look at once, by
//! the same rules and the same memory.
//!
//! Nothing else in the product removes objects, but for what a probe of storage left. A listing that fails costs this look only. One look lists so
//! much and no more, and the next one goes on where it stood: a look over a catalogue of hours would keep storage busy all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use runtime::shutdown::Shutdown;
use scheduler::record::JobState;
use scheduler::{Collector, Core, Fate, JobKey, Listed, PartName};
use storage::{ObjectPath, PartObject, StorageError};
use types::{Generation, Millis, Problem, chain};

use crate::app::{App, manifest_path};

/// Objects that the core is asked about at once: a few milliseconds of its time.
const PAGE: usize = 512;

/// Objects that one look lists before it leaves the rest to the next one: a hundred requests to an object store, a few seconds. A folder has no
/// order, so that a job begun there is looked through to its end.
const LISTED_MAX: usize = 100_000;

/// Jobs in trouble that one look names: where storage is away all of them are, and for one reason.
const TROUBLE_MAX: usize = 20;

/// What one look did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Orphans that were seen, by why nothing names them.
    pub(crate) orphans: BTreeMap<&'static str, Counted>,
    /// Of them, objects removed.
    pub(crate) removed: Counted,
    /// Orphans marked, which wait to be seen again.
    pub(crate) waiting: usize,
    /// Jobs that could not be looked through, and why.
    pub(crate) trouble: Vec<String>,
}

/// Objects and their bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

impl Counted {
    const fn add(&mut self, object: &PartObject) {
        self.objects += 1;
        self.bytes += object.bytes;
    }
}

/// What is remembered between two looks, whoever asked for them.
pub(crate) struct Marks {
    collector: Collector,
    age: Millis,
    /// Closed jobs in whose paths nothing but the result is left: nothing is ever written there again that counts, and what an agent cut
    /// off writes later is found by the next leader.
    clean: BTreeSet<JobKey>,
    /// Where the last look stopped that did not come to an end.
    stands: Option<Stands>,
}

/// A place in the listing of all jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stands {
    job: JobKey,
    /// The last object that was seen of this job; none where none was.
    after: Option<ObjectPath>,
    /// Whether all before it was named.
    is_clean: bool,
}

/// How far the look through one job came.
enum Looked {
    Through { is_clean: bool },
    UpTo(Stands),
}

impl Marks {
    /// Marks of orphans that may go when they are seen again after this time.
    pub(crate) fn new(every: Duration) -> Self {
        let age = Millis(u64::try_from(every.as_millis()).unwrap_or(u64::MAX));
        Self {
            collector: Collector::new(age),
            age,
            clean: BTreeSet::new(),
            stands: None,
        }
    }

    /// How long an orphan stands after it was marked.
    pub(crate) const fn age(&self) -> Millis {
        self.age
    }
}

/// What a look is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To remove what may go and mark the rest.
    Sweep,
    /// To say what there is. Nothing is marked.
    Count,
}

/// How much one look may list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// All there is, as an operator asks for it.
    Whole,
    /// As much as one look may, from where the last one stood.
    Next,
}

/// One look under way.
struct Sweeper<'a> {
    app: &'a App,
    marks: &'a mut Marks,
    purpose: Purpose,
    reach: Reach,
    /// Objects that may yet be listed.
    left: usize,
    swept: Swept,
}

/// A job to look through.
struct Place {
    job: JobKey,
    generation: Generation,
    /// Of a published one.
    manifest: Option<ObjectPath>,
    closed: bool,
    /// Why nothing names what is an orphan here.
    cause: &'static str,
}

/// Looks every so often, until the end is asked for or the core no longer leads.
pub(crate) async fn run(app: Arc<App>, every: Duration, closing: Shutdown) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = closing.asked() => return,
        }
        let swept = tokio::select! {
            swept = look(&app, Purpose::Sweep, Reach::Next) => swept,
            () = closing.asked() => return,
        };
        match swept {
            Ok(swept) if swept.removed.objects == 0 => {
                tracing::debug!(waiting = swept.waiting, "nothing to collect");
            }
            Ok(swept) => {
                let (removed, waiting) = (swept.removed.objects, swept.waiting);
                tracing::info!(removed, waiting, "objects collected");
            }
            Err(error) => {
                tracing::debug!(%error, "the coordinator no longer leads; collecting ends");
                return;
            }
        }
    }
}

/// One look over all jobs, or as many as it may, once another one is over. What storage cannot do is logged and passed over.
///
/// # Errors
/// `NOT_LEADER` where the core has gone.
pub(crate) async fn look(app: &App, purpose: Purpose, reach: Reach) -> Result<Swept, Problem> {
    let mut marks = app.marks.lock().await;
    let sweeper = Sweeper {
        app,
        marks: &mut marks,
        purpose,
        reach,
        left: match reach {
            Reach::Whole => usize::MAX,
            Reach::Next => LISTED_MAX,
        },
        swept: Swept::default(),
    };
    sweeper.sweep().await
}

impl Sweeper<'_> {
    async fn sweep(mut self) -> Result<Swept, Problem> {
        let places = self.places().await?;
        self.marks
            .clean
            .retain(|job| places.iter().any(|place| place.job == *job));
        let from = match self.reach {
            Reach::Whole => None,
            Reach::Next => self.marks.stands.take(),
        };
        for place in in_turn(places, from.as_ref()) {
            if self.marks.clean.contains(&place.job) {
                continue;
            }
            let from = from.as_ref().filter(|from| from.job == place.job);
            match self.sweep_job(&place, from).await? {
                Looked::Through { is_clean: true } if place.closed => {
                    self.marks.clean.insert(place.job);
                }
                Looked::Through { .. } => {}
                Looked::UpTo(stands) => {
                    self.marks.stands = Some(stands);
                    break;
                }
            }
        }
        self.swept.waiting = self.marks.collector.marked();
        metrics::gauge!("scan_orphans_waiting").set(self.swept.waiting as f64);
        Ok(self.swept)
    }

    async fn places(&self) -> Result<Vec<Place>, Problem> {
        let look = self.app.driver.look(|core, _| {
            let place = |view: scheduler::JobView<'_>| Place {
                job: view.key.clone(),
                generation: view.record.spec.generation,
                manifest: manifest_path(view.record),
                closed: view.record.state.is_closed(),
                cause: cause(&view.record.state),
            };
            core.all_jobs().map(place).collect()
        });
        look.await
    }

    /// Looks through one job's objects, as far as storage and the look's bound let it; whether it had nothing but what its manifest names.
    async fn sweep_job(&mut self, place: &Place, from: Option<&Stands>) -> Result<Looked, Problem> {
        let after = from.and_then(|from| from.after.clone());
        let mut is_clean = from.is_none_or(|from| from.is_clean);
        if self.left == 0 {
            return Ok(up_to(place, after, is_clean));
        }
        let named = match self.named(place).await {
            Ok(named) => named,
            Err(error) => return Ok(self.failed(place, &error)),
        };
        let storage = self.app.storage.clone();
        let JobKey { tenant, job } = &place.job;
        let objects = storage.part_objects_after((tenant, job), place.generation, after.as_ref());
        let mut pages = objects.try_chunks(PAGE);
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) => return Ok(self.failed(place, &error.1)),
            };
            let is_named = |object: &PartObject| {
                let named = named.as_ref();
                named.is_some_and(|named| named.contains(object.path.as_str()))
            };
            is_clean &= page.iter().all(is_named);
            let last = page.last().map(|object| object.path.clone());
            self.left = self.left.saturating_sub(page.len());
            for doomed in self.judge(place, page, named.as_ref()).await? {
                if let Err(error) = storage.remove_part(&doomed).await {
                    return Ok(self.failed(place, &error));
                }
                audit(&place.job, &doomed);
                self.swept.removed.add(&doomed);
            }
            if self.left == 0 && !storage.is_folder() {
                return Ok(up_to(place, last, is_clean));
            }
        }
        Ok(Looked::Through { is_clean })
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

    /// What of a page is to go. Orphans are counted, and marked where they are to go later.
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
        let (age, purpose) = (self.marks.age, self.purpose);
        let mut collector = std::mem::replace(&mut self.marks.collector, Collector::new(age));
        let look = self.app.driver.look(move |core, now| {
            let orphans = words.iter().filter(|listed| is_orphan(core, listed));
            let orphans: BTreeSet<PartName> = orphans.map(|listed| listed.part.clone()).collect();
            let doomed = match purpose {
                Purpose::Sweep => collector.see(now, core, &words),
                Purpose::Count => Vec::new(),
            };
            (collector, orphans, doomed)
        });
        let (collector, orphans, doomed) = look.await?;
        self.marks.collector = collector;
        let doomed: BTreeSet<PartName> = doomed.into_iter().collect();
        let mut goes = Vec::new();
        for (listed, object) in listed {
            if orphans.contains(&listed.part) {
                self.swept
                    .orphans
                    .entry(place.cause)
                    .or_default()
                    .add(&object);
            }
            if doomed.contains(&listed.part) {
                goes.push(object);
            }
        }
        Ok(goes)
    }

    /// A job that could not be looked through to its end is not clean.
    fn failed(&mut self, place: &Place, error: &StorageError) -> Looked {
        tracing::warn!(job = %place.job, %error, "objects could not be collected; tried again later");
        if self.swept.trouble.len() < TROUBLE_MAX {
            let said = format!("job {}: {}", place.job, chain(error));
            self.swept.trouble.push(said);
        }
        Looked::Through { is_clean: false }
    }
}

/// The jobs in the order of their names, from the one on at which the last look stood, and then those before it.
fn in_turn(mut places: Vec<Place>, from: Option<&Stands>) -> Vec<Place> {
    places.sort_by(|one, other| one.job.cmp(&other.job));
    if let Some(from) = from {
        let at = places.partition_point(|place| place.job < from.job);
        places.rotate_left(at);
    }
    places
}

fn up_to(place: &Place, after: Option<ObjectPath>, is_clean: bool) -> Looked {
    Looked::UpTo(Stands {
        job: place.job.clone(),
        after,
        is_clean,
    })
}

/// Whether nothing names the object and nothing ever will, as of now.
fn is_orphan(core: &Core, listed: &Listed) -> bool {
    match core.fate(&listed.part) {
        Fate::Keep => false,
        Fate::ByManifest => !listed.in_manifest,
        Fate::Orphan => true,
    }
}

/// Why nothing names what is an orphan among a job's objects.
const fn cause(state: &JobState) -> &'static str {
    match state {
        JobState::Running | JobState::Paused | JobState::Publishing => "superseded",
        JobState::Published(_) => "not-in-manifest",
        JobState::Cancelled(_) => "cancelled",
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

#[cfg(test)]
mod tests {
    use super::*;
    use types::{JobId, TenantId};

    fn place(job: &str) -> Place {
        Place {
            job: JobKey {
                tenant: TenantId::default(),
                job: JobId::new(job).unwrap(),
            },
            generation: Generation(1),
            manifest: None,
            closed: false,
            cause: "superseded",
        }
    }

    #[track_caller]
    fn check(stood_at: Option<&str>, expected: [&str; 3]) {
        let from = stood_at.map(|job| Stands {
            job: place(job).job,
            after: None,
            is_clean: true,
        });
        let places = in_turn(vec![place("c"), place("a"), place("b")], from.as_ref());
        let jobs: Vec<_> = places.iter().map(|place| place.job.job.as_str()).collect();
        assert_eq!(jobs, expected, "{stood_at:?}");
    }

    #[test]
    fn a_look_goes_on_at_the_job_at_which_the_last_one_stood_and_passes_none_over() {
        check(None, ["a", "b", "c"]);
        check(Some("b"), ["b", "c", "a"]);
        // It was closed and forgotten since.
        check(Some("bb"), ["c", "a", "b"]);
        check(Some("d"), ["a", "b", "c"]);
    }
}
