//! Storage of the cluster: objects by path, and what can go wrong on the way to them. Whoever puts an object reads it back,
//! as the shells do; what is damaged or missing then is said to have failed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::rc::Rc;

use scheduler::record::{Made, ManifestName, Part, PartKind, RevocationRecord};
use scheduler::{JobKey, ManifestPlan, RevocationKey};
use types::{Attempt, Code, Digest, Generation, Millis, NodeId, Ordinal, ShardId, TrackSet};

use crate::agenda::{Happening, Who};
use crate::mutants::{self, ShellMutant};
use crate::struck;
use crate::truth::{GENERATION, Row};
use crate::world::World;

/// A part's object, as whoever made it meant it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) generation: Generation,
    pub(crate) job: JobKey,
    pub(crate) shard: ShardId,
    pub(crate) attempt: Attempt,
    pub(crate) kind: PartKind,
    pub(crate) tracks: TrackSet,
    pub(crate) rows: Vec<(Ordinal, Row)>,
    pub(crate) sha256: Digest,
    /// The escalation part that its shard is made of, where it is one.
    pub(crate) escalation: Option<Digest>,
    /// The node that made it, and its devices.
    pub(crate) node: NodeId,
    pub(crate) made: Vec<Made>,
}

/// Where a part stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartPath {
    pub(crate) generation: Generation,
    pub(crate) job: JobKey,
    pub(crate) shard: ShardId,
    pub(crate) attempt: Attempt,
    pub(crate) first: Ordinal,
    pub(crate) sha256: Digest,
}

/// The generation that paths name.
pub(crate) fn path_generation(generation: Generation) -> Generation {
    match mutants::on(ShellMutant::PathsKept) {
        true => GENERATION,
        false => generation,
    }
}

impl PartPath {
    /// Where the object of a part stands.
    pub(crate) fn of(generation: Generation, job: &JobKey, shard: ShardId, part: &Part) -> Self {
        Self {
            generation: path_generation(generation),
            job: job.clone(),
            shard,
            attempt: part.attempt,
            first: part.tracks.first().unwrap_or(0),
            sha256: part.sha256,
        }
    }
}

impl Object {
    /// How many bytes it has, and their digest.
    pub(crate) fn size_and_digest(&self) -> (u64, Digest) {
        (100 + self.rows.len() as u64, self.sha256)
    }

    pub(crate) fn path(&self) -> PartPath {
        PartPath {
            generation: path_generation(self.generation),
            job: self.job.clone(),
            shard: self.shard,
            attempt: self.attempt,
            first: self.tracks.first().unwrap_or(0),
            sha256: self.sha256,
        }
    }
}

/// What is asked of storage.
#[derive(Clone, Debug)]
pub(crate) enum DepotAsk {
    PutPart(Vec<Rc<Object>>),
    Mark(JobKey),
    MarkRevoked(RevocationKey, Box<RevocationRecord>),
    PutManifest(Rc<ManifestPlan>),
    /// A page of part paths after one.
    List(Option<PartPath>),
    Delete(Vec<PartPath>),
}

/// What comes back.
#[derive(Clone, Debug)]
pub(crate) enum DepotBack {
    Part(bool),
    Marked(JobKey, Result<(), Code>),
    Revoked(RevocationKey, Result<(), Code>),
    Manifest(JobKey, Result<ManifestName, Code>),
    Listed(Vec<PartPath>),
}

/// A manifest as it was written, with the name that it was written under.
type Manifest = (ManifestName, Rc<ManifestPlan>);

/// Storage.
#[derive(Debug, Default)]
pub(crate) struct Depot {
    /// With whether the bytes are those that were meant.
    parts: BTreeMap<PartPath, (Rc<Object>, bool)>,
    /// Parts that were read back whole.
    shown: BTreeSet<PartPath>,
    /// By where they stand, with the name that their bytes deserve.
    manifests: BTreeMap<(JobKey, ManifestName), Stored<Manifest>>,
    /// Jobs that are marked as cancelled.
    marked: BTreeMap<JobKey, Stored<()>>,
    revoked: BTreeMap<RevocationKey, Stored<RevocationRecord>>,
    pub(crate) down_until: Millis,
    pub(crate) full_until: Millis,
}

/// An object, and whether its bytes are those that were meant.
#[derive(Clone, Debug)]
struct Stored<T> {
    what: T,
    whole: bool,
}

/// What becomes of a put.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    Flipped,
    Unheard,
    Late,
    Refused,
}

/// Puts an object where none stands that is whole; whether a whole one stands there now.
fn put_where_none<K: Ord, T>(objects: &mut BTreeMap<K, Stored<T>>, key: K, what: T, whole: bool) {
    let stands = objects.get(&key).is_some_and(|stored| stored.whole);
    if !stands {
        objects.insert(key, Stored { what, whole });
    }
}

/// Where a manifest stands.
fn manifest_path(name: ManifestName) -> ManifestName {
    match mutants::on(ShellMutant::ManifestPathKept) {
        true => ManifestName {
            generation: GENERATION,
            sha256: Digest::of(b""),
            ..name
        },
        false => name,
    }
}

/// Paths in one page of a listing: a few, so that a sweep sees more than one moment.
const LISTED_MAX: usize = 8;
/// How much later a put or a removal may still land.
const LATE_MAX: u64 = 30_000;

impl Depot {
    /// The object at a path, where its bytes are whole.
    pub(crate) fn part(&self, path: &PartPath) -> Option<&Rc<Object>> {
        let found = self.parts.get(path);
        found.filter(|(_, whole)| *whole).map(|(object, _)| object)
    }

    pub(crate) fn is_open(&self, now: Millis) -> bool {
        self.down_until <= now
    }

    /// Puts an object where none stands; whether one that stood there was written over all the same.
    fn put(&mut self, object: &Rc<Object>, whole: bool, careless: bool) -> bool {
        let path = object.path();
        let stands = self.part(&path).is_some();
        // The condition protects what stands there. Where it is ignored, what comes takes its place; what was read back
        // whole stays whole, since nobody will look again.
        let takes = careless && (whole || !self.shown.contains(&path));
        if !stands || takes {
            self.parts.insert(path, (object.clone(), whole));
        }
        stands && takes
    }

    /// Puts a part that stands there whole, and is seen to.
    pub(crate) fn put_aside(&mut self, object: &Rc<Object>) {
        self.put(object, true, false);
        self.read_back(object);
    }

    /// The manifest of that name.
    pub(crate) fn manifest(&self, job: &JobKey, name: ManifestName) -> Option<&Rc<ManifestPlan>> {
        let found = self.manifests.get(&(job.clone(), manifest_path(name)));
        let found = found.filter(|stored| stored.whole && stored.what.0.sha256 == name.sha256);
        found.map(|stored| &stored.what.1)
    }

    /// Whether a job is marked as cancelled.
    pub(crate) fn is_marked(&self, job: &JobKey) -> bool {
        self.marked.get(job).is_some_and(|stored| stored.whole)
    }

    /// What is said to be revoked.
    pub(crate) fn revocations(&self) -> impl Iterator<Item = &RevocationRecord> {
        let whole = self.revoked.values().filter(|stored| stored.whole);
        whole.map(|stored| &stored.what)
    }

    /// Whether an object says what a revocation revokes.
    pub(crate) fn is_revoked(&self, revocation: &RevocationKey) -> bool {
        let found = self.revoked.get(revocation);
        found.is_some_and(|stored| stored.whole)
    }

    /// The manifest of a job in the paths of a generation.
    pub(crate) fn manifest_of(
        &self,
        job: &JobKey,
        generation: Generation,
    ) -> Option<(ManifestName, &Rc<ManifestPlan>)> {
        let kept = mutants::on(ShellMutant::ManifestPathKept);
        let mut found = self.manifests.iter().filter(|((of, name), stored)| {
            of == job && stored.whole && (kept || name.generation == generation)
        });
        let (_, stored) = found.next()?;
        let (name, plan) = &stored.what;
        Some((*name, plan))
    }

    /// Copies a manifest to the paths of another generation, byte for byte.
    pub(crate) fn copy_manifest(&mut self, job: &JobKey, name: ManifestName, to: Generation) {
        let generation = to;
        let copied = ManifestName { generation, ..name };
        if let Some(plan) = self.manifest(job, name).cloned() {
            let at = (job.clone(), manifest_path(copied));
            put_where_none(&mut self.manifests, at, (copied, plan), true);
        }
    }

    /// Whole parts in the paths of a generation.
    pub(crate) fn parts_of(&self, generation: Generation) -> Vec<Rc<Object>> {
        let at = path_generation(generation);
        let whole = self
            .parts
            .iter()
            .filter(|(path, (_, whole))| path.generation == at && *whole);
        whole.map(|(_, (object, _))| object.clone()).collect()
    }

    /// Copies a part to a path of another generation, unless it stands there.
    pub(crate) fn copy(&mut self, object: &Rc<Object>, generation: Generation) {
        let copy = Object {
            generation,
            ..Object::clone(object)
        };
        self.parts
            .entry(copy.path())
            .or_insert((Rc::new(copy), true));
    }

    /// Whether an object stands there as it was meant, by reading it back.
    fn read_back(&mut self, object: &Object) -> bool {
        let path = object.path();
        let stands = self.part(&path).is_some_and(|o| **o == *object);
        if stands {
            self.shown.insert(path);
        }
        stands
    }
}

impl World {
    /// A process asks storage.
    pub(crate) fn ask_depot(&mut self, who: Who, life: u64, no: u64, ask: DepotAsk) {
        if !self.links.passes(who, Who::Storage, self.now) {
            return;
        }
        let at = self.now + self.latency();
        self.agenda
            .plan(at, Happening::Depot { who, life, no, ask });
    }

    pub(crate) fn depot_reached(&mut self, who: Who, life: u64, no: u64, ask: DepotAsk) {
        let back = match ask {
            DepotAsk::PutPart(objects) => {
                let mut stored = true;
                for object in &objects {
                    stored &= self.put_object(object);
                }
                DepotBack::Part(stored)
            }
            DepotAsk::Mark(job) => {
                let done = self.put_marker(&job);
                DepotBack::Marked(job, done)
            }
            DepotAsk::MarkRevoked(revocation, record) => {
                let done = self.put_revocation(&revocation, &record);
                DepotBack::Revoked(revocation, done)
            }
            DepotAsk::PutManifest(plan) => self.put_manifest(&plan),
            DepotAsk::List(after) => DepotBack::Listed(self.listed(after)),
            DepotAsk::Delete(paths) => return self.delete(&paths),
        };
        // Late puts come without a number: nobody waits for them.
        if no == 0 || !self.links.passes(Who::Storage, who, self.now) {
            return;
        }
        let at = self.now + self.latency();
        let back = Happening::DepotBack {
            who,
            life,
            no,
            back,
        };
        self.agenda.plan(at, back);
    }

    fn put_object(&mut self, object: &Rc<Object>) -> bool {
        let (fate, _) = self.put_fate();
        match fate {
            Fate::Done => {
                self.put_whole(object, true);
                self.maybe_lost(object);
            }
            Fate::Flipped => self.put_whole(object, false),
            Fate::Unheard => {
                self.put_whole(object, true);
                return false;
            }
            Fate::Late => {
                self.later(DepotAsk::PutPart(vec![object.clone()]));
                return false;
            }
            Fate::Refused => return mutants::on(ShellMutant::RefusedIsStored),
        }
        self.depot.read_back(object) || mutants::on(ShellMutant::PartUnread)
    }

    fn put_whole(&mut self, object: &Rc<Object>, whole: bool) {
        if self.depot.put(object, whole, self.mix.storage.careless) {
            self.struck(struck::PUT_OVER);
        }
    }

    /// Something that was said to have failed lands later, and nobody waits for it.
    fn later(&mut self, ask: DepotAsk) {
        let at = self.now + Millis(self.dice.between(10, LATE_MAX));
        let (who, life, no) = (Who::Client, 0, 0);
        self.agenda
            .plan(at, Happening::Depot { who, life, no, ask });
    }

    fn put_marker(&mut self, job: &JobKey) -> Result<(), Code> {
        let (fate, code) = self.put_fate();
        let marked = &mut self.depot.marked;
        match fate {
            Fate::Done | Fate::Unheard => put_where_none(marked, job.clone(), (), true),
            Fate::Flipped => put_where_none(marked, job.clone(), (), false),
            Fate::Late => self.later(DepotAsk::Mark(job.clone())),
            Fate::Refused => {}
        }
        let done = fate == Fate::Done || mutants::on(ShellMutant::MarkerSkipped);
        done.then_some(()).ok_or(code)
    }

    fn put_revocation(
        &mut self,
        revocation: &RevocationKey,
        record: &RevocationRecord,
    ) -> Result<(), Code> {
        let (fate, code) = self.put_fate();
        match fate {
            Fate::Done | Fate::Flipped | Fate::Unheard => {
                let whole = fate != Fate::Flipped;
                let revoked = &mut self.depot.revoked;
                put_where_none(revoked, revocation.clone(), record.clone(), whole);
            }
            Fate::Late => {
                let (revocation, record) = (revocation.clone(), Box::new(record.clone()));
                self.later(DepotAsk::MarkRevoked(revocation, record));
            }
            Fate::Refused => {}
        }
        let done = fate == Fate::Done || mutants::on(ShellMutant::RevocationUnmarked);
        done.then_some(()).ok_or(code)
    }

    fn put_manifest(&mut self, plan: &Rc<ManifestPlan>) -> DepotBack {
        let (fate, code) = self.put_fate();
        let sha256 = Digest::of(format!("{plan:?}").as_bytes());
        let job = plan.job.clone();
        let name = ManifestName {
            version: plan.version,
            generation: plan.generation,
            sha256,
        };
        let whole = fate != Fate::Flipped;
        match fate {
            Fate::Done | Fate::Unheard | Fate::Flipped => {
                self.judge_manifest(plan);
                let at = (job.clone(), manifest_path(name));
                let manifests = &mut self.depot.manifests;
                // At a path that other bytes may have, what comes last stands.
                if mutants::on(ShellMutant::ManifestPathKept) {
                    manifests.remove(&at);
                }
                put_where_none(manifests, at, (name, plan.clone()), whole);
                self.judge_result_stands(&job);
            }
            Fate::Late => self.later(DepotAsk::PutManifest(plan.clone())),
            Fate::Refused => {}
        }
        let done = fate == Fate::Done || mutants::on(ShellMutant::ManifestSkipped);
        DepotBack::Manifest(job, done.then_some(name).ok_or(code))
    }

    /// A page of paths; none where storage does not answer.
    fn listed(&mut self, after: Option<PartPath>) -> Vec<PartPath> {
        if !self.depot.is_open(self.now) {
            return Vec::new();
        }
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let paths = self.depot.parts.range((from, Bound::Unbounded));
        paths
            .take(LISTED_MAX)
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// Removes objects: now, later, or not at all. Nobody waits for the answer.
    fn delete(&mut self, paths: &[PartPath]) {
        match self.put_fate().0 {
            Fate::Refused => {}
            Fate::Late => self.later(DepotAsk::Delete(paths.to_vec())),
            Fate::Done | Fate::Flipped | Fate::Unheard => {
                for path in paths {
                    self.judge_removal(path);
                    self.depot.parts.remove(path);
                }
            }
        }
    }

    fn put_fate(&mut self) -> (Fate, Code) {
        let odds = self.mix.storage.clone();
        let full = self.depot.full_until > self.now;
        let code = if full {
            Code::StorageFull
        } else {
            Code::StorageUnavailable
        };
        let closed = full || !self.depot.is_open(self.now);
        self.tally.faults += u64::from(closed);
        let fate = if closed || self.strikes(odds.refused, struck::PUT_REFUSED) {
            Fate::Refused
        } else if self.strikes(odds.unheard, struck::PUT_UNHEARD) {
            Fate::Unheard
        } else if self.strikes(odds.late, struck::PUT_LATE) {
            Fate::Late
        } else if self.strikes(odds.flipped, struck::PUT_FLIPPED) {
            Fate::Flipped
        } else {
            Fate::Done
        };
        (fate, code)
    }
}
