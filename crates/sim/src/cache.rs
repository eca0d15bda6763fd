//! The judge of what a leader holds in memory: it is what the store holds, wherever nothing is on its way (I12). And the fault
//! that would make the two differ: a reading of a job's record that the job's next changes overtake.

use scheduler::record::JobState;
use scheduler::{JobKey, Reading, RecordKey, Request, StoredEntry, WriteId};
use types::Millis;

use crate::shelf::StoreAsk;
use crate::struck;
use crate::world::World;

/// After one in so many answers to writes a leader is held against the store. After answers to reads, which alone can bring back
/// what was, it always is.
const LOOKED_AT: u64 = 8;
/// How much later an overtaken reading is answered: time for a change to be made and heard of, and less than coordinators wait,
/// whatever their clocks.
const OVERTAKEN_FOR: (u64, u64) = (200, 1_400);

impl World {
    /// An answer to a write came, and was heeded.
    pub(crate) fn judge_cache_sometimes(&mut self, who: usize, id: WriteId) {
        if id.0.is_multiple_of(LOOKED_AT) {
            self.judge_cache(who);
        }
    }

    /// An answer of the store came, and was heeded: whoever leads by the store knows what it holds.
    pub(crate) fn judge_cache(&mut self, who: usize) {
        let one = &self.coordinators[who];
        let leads = one.core.leads().is_some_and(|epoch| {
            // One of an older generation, or deposed, believes what was.
            !self.is_of_the_past(who) && self.shelf.epoch() == Some(epoch)
        });
        if !leads {
            return;
        }
        let entries: Vec<StoredEntry> = self.shelf.all(self.generation);
        let agrees = self.coordinators[who].core.agrees_with(&entries);
        self.hold_to(agrees, format_args!("c{who}"));
    }

    /// How much later than others this request is answered: a reading that names an open job may be overtaken by whoever
    /// changes that job at that coordinator now.
    pub(crate) fn maybe_overtaken(&mut self, who: usize, ask: &StoreAsk) -> Millis {
        let odds = self.mix.store.overtaken;
        let job = self.open_job_read(ask);
        let Some(job) = job.filter(|_| self.strikes(odds, struck::READ_OVERTAKEN)) else {
            return Millis(0);
        };
        self.change(who, &job);
        let (least, most) = OVERTAKEN_FOR;
        Millis(self.dice.between(least, most))
    }

    fn open_job_read(&self, ask: &StoreAsk) -> Option<JobKey> {
        let StoreAsk::Read(_, Reading::Keys(keys), _) = ask else {
            return None;
        };
        let parsed = keys
            .iter()
            .map(|key| RecordKey::parse(self.generation, key));
        let mut jobs = parsed.filter_map(|key| match key {
            Ok(RecordKey::Job(job)) => Some(job),
            Ok(RecordKey::Shard(..) | RecordKey::Node(_) | RecordKey::Revocation(_)) | Err(_) => {
                None
            }
        });
        let open = |job: &JobKey| {
            let record = self.oracle.jobs.get(job);
            record.is_some_and(|record| record.state.is_open())
        };
        jobs.find(open)
    }

    /// Somebody pauses a job, or lets it go on, or ranks it anew.
    fn change(&mut self, who: usize, key: &JobKey) {
        let paused =
            self.oracle.jobs.get(key).map(|record| &record.state) == Some(&JobState::Paused);
        let job = key.job.clone();
        if self.dice.happens(3_000) {
            return self.rank(who, &key.tenant.clone(), job);
        }
        let request = if paused {
            Request::Resume { job }
        } else {
            Request::Pause { job }
        };
        self.request_at(who, &key.tenant.clone(), request, false);
    }
}
