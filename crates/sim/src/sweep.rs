//! A coordinator's look for orphans: storage is listed page by page and shown to the real collector, and what that gives back
//! is removed. Beside it the judge of removals: nothing goes that counts, or will.

use std::rc::Rc;

use scheduler::record::{JobState, Part};
use scheduler::{Listed, ManifestPlan, PartName, invariants};
use types::{Generation, Millis};

use crate::agenda::{Timer, Who};
use crate::depot::{DepotAsk, PartPath, path_generation};
use crate::mutants::{self, ShellMutant};
use crate::world::World;

impl World {
    pub(crate) fn plan_sweep(&mut self, who: usize) {
        let mean = self.mix.sweep_every.0;
        if mean > 0 {
            let at = self.now + Millis(self.dice.between(1, 2 * mean));
            self.coordinator_timer(who, at, Timer::Sweep);
        }
    }

    /// Lists from the beginning, whether it leads or believes so or neither.
    pub(crate) fn sweep(&mut self, who: usize) {
        self.ask_list(who, None);
        self.plan_sweep(who);
    }

    /// A page came: judged, swept, and followed by the next.
    pub(crate) fn swept(&mut self, who: usize, page: Vec<PartPath>) {
        let listed: Vec<Listed> = page.iter().map(|path| self.listed_as(who, path)).collect();
        let generation = self.coordinators[who].generation;
        let one = &mut self.coordinators[who];
        let shown = one.clock.show(self.now);
        let doomed = one.collector.see(shown, &one.core, &listed);
        let doomed = page
            .iter()
            .filter(|path| doomed.contains(&name(path, generation)));
        let doomed: Vec<PartPath> = doomed.cloned().collect();
        if !doomed.is_empty() {
            self.log
                .line(self.now, format_args!("c{who} sweeps {}", doomed.len()));
            let life = self.coordinators[who].life;
            let who = Who::Coordinator(who);
            self.ask_depot(who, life, 0, DepotAsk::Delete(doomed));
        }
        if let Some(last) = page.last() {
            self.ask_list(who, Some(last.clone()));
        }
    }

    /// What a coordinator knows of an object: its path, and whether the manifest that its job states names it.
    fn listed_as(&self, who: usize, path: &PartPath) -> Listed {
        let view = self.coordinators[who].core.job(&path.job);
        let manifest = view.and_then(|view| match view.record.state {
            JobState::Published(name) => self.depot.manifest(&path.job, name),
            JobState::Running
            | JobState::Paused
            | JobState::Publishing
            | JobState::Cancelled(_) => None,
        });
        let names = |part: &scheduler::ManifestPart| part.sha256 == path.sha256;
        Listed {
            part: name(path, self.coordinators[who].generation),
            in_manifest: manifest.is_none_or(|plan| plan.parts.iter().any(names)),
        }
    }

    /// An object is about to go: it does not count, and from now on must not.
    pub(crate) fn judge_removal(&mut self, path: &PartPath) {
        if self.depot.part(path).is_none() {
            return;
        }
        self.tally.collected += 1;
        self.oracle.collected.insert(path.clone());
        let orphan = invariants::orphan_is_unnamed(path.sha256, self.counting(path).iter());
        self.hold_to(orphan, format_args!("{path:?}"));
        let in_result = self.is_in_result(path);
        self.hold(!in_result, "I6", || {
            format!("{path:?} is removed and is in a result")
        });
    }

    /// The parts that count of an object's shard, where its job may yet have a result.
    fn counting(&self, path: &PartPath) -> &[Part] {
        // Records of a new generation name copies at paths of its own.
        let old = path.generation != path_generation(self.generation);
        let job = self.record_of(&path.job).filter(|_| !old);
        match job.map(|record| &record.state) {
            Some(JobState::Running | JobState::Paused | JobState::Publishing) => {
                let shard = (path.job.clone(), path.shard);
                let record = self.oracle.shards.get(&shard);
                record.map_or(&[], |record| &record.parts)
            }
            Some(JobState::Published(_) | JobState::Cancelled(_)) | None => &[],
        }
    }

    fn is_in_result(&self, path: &PartPath) -> bool {
        let state = self.record_of(&path.job).map(|record| &record.state);
        let Some(JobState::Published(name)) = state else {
            return false;
        };
        let plan = self.depot.manifest(&path.job, *name);
        // A result rests on the paths of the generation that made it.
        let own = |plan: &&Rc<ManifestPlan>| path_generation(plan.generation) == path.generation;
        let plan = plan.filter(own);
        plan.is_some_and(|plan| plan.parts.iter().any(|part| part.sha256 == path.sha256))
    }
}

/// Where paths do not name their generation, everyone takes them for their own.
fn name(path: &PartPath, own: Generation) -> PartName {
    let generation = match mutants::on(ShellMutant::PathsKept) {
        true => own,
        false => path.generation,
    };
    PartName {
        job: path.job.clone(),
        generation,
        shard: path.shard,
        attempt: path.attempt,
        sha256: path.sha256,
    }
}
