//! Pulling: a node asks, the core picks ranges of the jobs in line, persists the grants, and answers from the
//! records. Pulls are numbered; a repeated number gets the same answer, also from a new leader, since each grant
//! names its pull.

use crate::blocked::Blocked;
use crate::desk::{Asked, Unit};
use crate::event::Pull;
use crate::grant::{self, Choice, Ground, Taker, Trial};
use crate::limits::{
    BUNDLES_PER_NODE_MAX, COUNT_NODES_EVERY, GRANTS_PER_NODE_MAX, GRANTS_PER_PULL_MAX,
    GRANTS_PER_SHARD_MAX, PULL_AGAIN, SHARDS_SEEN_IN_ALL_MAX, SHARDS_SEEN_PER_PULL_MAX,
    TRACKS_PER_PULL_MAX, TRACKS_UNMEASURED,
};
use crate::mutants::{self, Mutant};
use crate::quota::{Room, Stock};
use crate::record::{Duty, Grant, ShardRecord};
use crate::reign::{Reign, Step};
use crate::state::{Held, Job, JobNo, Node, NodeNo, Served, Slot};
use crate::{Answer, PullAnswer};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use types::{Attempt, Code, Millis, PullNo, ShardId, Stage, TenantId, TrackSet};

/// Calls that may repeat one pull while it is being written.
const SAME_PULLS_MAX: usize = 8;
/// How soon to ask again where records that may hold work were busy: a synced write or two.
const BUSY_AGAIN: Millis = Millis(100);

/// Shards of a job that are looked up together: few pulls need more, and those come back for the next ones.
const SHARDS_AT_ONCE: usize = 16;

/// What one pull is being given.
struct Plan<'a> {
    pull: &'a Pull,
    now: Millis,
    no: NodeNo,
    left: u32,
    /// Of them, how many may be of escalation shards.
    residual: u32,
    /// Tracks that it is given: more than it wants where a shard is not divided.
    given: u32,
    grants: usize,
    /// Shards looked at, of the job in hand and of all.
    seen: usize,
    seen_in_all: usize,
    apart: bool,
    busy: bool,
    /// Nodes that live and take work.
    serving: u64,
    units: Vec<Unit>,
    /// What the tenant of the job in hand may still be given, and what the others may.
    room: Room,
    stock: Stock,
    rooms: BTreeMap<TenantId, Room>,
}

impl Reign {
    pub(crate) fn pull(&mut self, now: Millis, asked: &Asked, pull: &Pull) -> Step {
        let no = match self.seated(asked, &pull.node, pull.session) {
            Ok(no) => no,
            Err(step) => return step,
        };
        if let Some(step) = self.pulled_before(no, asked, pull) {
            return step;
        }
        self.listen(now);
        self.note_means(no, pull);
        let buried = self.bury_the_silent(now, no);
        if let Some(reason) = self.takes_nothing(no) {
            self.note_pull(no, pull.number, true);
            return Step::Answer(Ok(self.nothing(pull.number, reason, PULL_AGAIN)));
        }
        let plan = self.plan_pull(now, no, pull);
        self.note_pull(no, pull.number, plan.left > 0);
        if plan.units.is_empty() {
            let waits = plan.left > 0 && (buried || self.reclaim(now, no) || plan.busy);
            let reason = self.idle_reason(now, no);
            let again = if waits { BUSY_AGAIN } else { PULL_AGAIN };
            return Step::Answer(Ok(self.nothing(pull.number, reason, again)));
        }
        if let Some(node) = self.nodes.get_mut(&no) {
            node.pulling = Some((pull.number, Vec::new()));
        }
        Step::Write(plan.units)
    }

    /// What a repeated, late or overtaking pull gets; `None` for a new one.
    fn pulled_before(&mut self, no: NodeNo, asked: &Asked, pull: &Pull) -> Option<Step> {
        let node = self.nodes.get_mut(&no)?;
        if let Some((number, calls)) = &mut node.pulling {
            if *number != pull.number || calls.len() >= SAME_PULLS_MAX {
                return Some(Step::Answer(Err(crate::reign::overloaded())));
            }
            calls.push(asked.call);
            return Some(Step::Held);
        }
        if pull.number > node.pulled {
            return None;
        }
        if pull.number < node.pulled || pull.number == PullNo(0) {
            let what = format!("answer pull {} after pull {}", pull.number, node.pulled);
            return Some(Step::refuse(Code::InvalidRequest, what));
        }
        Some(Step::Answer(Ok(self.pull_answer(no, pull.number))))
    }

    fn takes_nothing(&self, no: NodeNo) -> Option<Blocked> {
        let node = self.nodes.get(&no)?;
        let record = node.record()?;
        match record.duty {
            Duty::Cordoned => {
                return Some(Blocked::NodeCordoned {
                    node: node.key.node.clone(),
                });
            }
            Duty::Draining => {
                return Some(Blocked::NodeDraining {
                    node: node.key.node.clone(),
                });
            }
            Duty::Serving => {}
        }
        if self.is_revoked(node) {
            return Some(Blocked::NodeRevoked {
                node: node.key.node.clone(),
            });
        }
        if node.draining {
            return Some(Blocked::NodeDraining {
                node: node.key.node.clone(),
            });
        }
        let full = node.holdings.len() >= GRANTS_PER_NODE_MAX;
        full.then(|| Blocked::NodeFull {
            node: node.key.node.clone(),
        })
    }

    /// What the node says of itself as it asks.
    fn note_means(&mut self, no: NodeNo, pull: &Pull) {
        if let Some(node) = self.nodes.get_mut(&no) {
            node.bundles.clone_from(&pull.bundles);
            node.bundles.truncate(BUNDLES_PER_NODE_MAX);
            node.rate = pull.tracks_per_1000_s;
        }
    }

    /// A number is given once: what it is answered with, it is answered with for good. A pull whose grants are not
    /// stored takes its note back.
    fn note_pull(&mut self, no: NodeNo, number: PullNo, hungry: bool) {
        let work = self.work;
        if let Some(node) = self.nodes.get_mut(&no) {
            node.pulled = number;
            node.hungry_since = hungry.then_some(work);
        }
    }

    fn nothing(&self, number: PullNo, reason: Blocked, again_after: Millis) -> Answer {
        Answer::Pulled(PullAnswer {
            number,
            grants: Vec::new(),
            jobs: Vec::new(),
            again_after,
            reason: Some(reason),
        })
    }

    fn plan_pull<'a>(&mut self, now: Millis, no: NodeNo, pull: &'a Pull) -> Plan<'a> {
        let work = self.config.grant_work;
        let room = |node: &Node| node.residual_room(work);
        let mut plan = Plan {
            pull,
            now,
            no,
            left: wanted(pull, work),
            residual: self.nodes.get(&no).map_or(0, room),
            given: 0,
            grants: 0,
            seen: 0,
            seen_in_all: 0,
            apart: self.tries_suspects(no),
            busy: false,
            serving: self.serving(now),
            units: Vec::new(),
            room: Room {
                grants: 0,
                tracks: 0,
                untouched: false,
            },
            stock: self.stock(),
            rooms: BTreeMap::new(),
        };
        self.note_backlog();
        for job in self.in_order(now, self.nodes.get(&no), &pull.bundles, &plan.stock) {
            if plan.is_full() {
                break;
            }
            let before = plan.given;
            self.plan_job(&mut plan, job);
            if plan.given > before {
                self.note_served(job, plan.given - before);
            }
        }
        plan
    }

    /// Whether the node has suspects to try: nothing else comes to it meanwhile, or nobody could be told apart.
    fn tries_suspects(&self, no: NodeNo) -> bool {
        let node = self.nodes.get(&no);
        let mut held = node.iter().flat_map(|node| node.holdings.values());
        !mutants::on(Mutant::SuspectsMixed) && held.any(|holding| holding.terms.tries)
    }

    fn plan_job(&mut self, plan: &mut Plan<'_>, no: JobNo) {
        if self.desk.is_dirty(Slot::Job(no)) {
            plan.busy = true;
            return;
        }
        let (Some(job), Some(node)) = (self.jobs.get(&no), self.nodes.get(&plan.no)) else {
            return;
        };
        let beyond = |no| plan.stock.is_beyond(&self.config, &job.key.tenant, no);
        if !node.may_take_now(plan.now, job) || job.is_closing() || beyond(no) {
            return;
        }
        let tenant = job.key.tenant.clone();
        let room = plan.rooms.get(&tenant).copied();
        plan.room = room.unwrap_or_else(|| plan.stock.room(&self.config, &tenant));
        let mut left_here = plan.share(job);
        plan.seen = 0;
        while plan.seen < SHARDS_SEEN_PER_PULL_MAX {
            let shards = self.shards_for(plan.no, no, plan.seen);
            if shards.is_empty() {
                break;
            }
            for shard in shards {
                if plan.is_full() || left_here == 0 || plan.room.is_empty() {
                    plan.rooms.insert(tenant, plan.room);
                    return;
                }
                let before = plan.left;
                self.plan_shard(plan, no, shard, left_here);
                left_here = left_here.saturating_sub(before - plan.left);
            }
        }
        plan.rooms.insert(tenant, plan.room);
    }

    /// The next shards of a job that may have tracks for a node, after those that were looked at.
    fn shards_for(&self, node: NodeNo, job: JobNo, seen: usize) -> Vec<ShardId> {
        let (Some(node), Some(job)) = (self.nodes.get(&node), self.jobs.get(&job)) else {
            return Vec::new();
        };
        let residual = self.has_room_at(node, job, Stage::Residual);
        let runs = |shard: &ShardId| match stage_of(*shard) {
            Stage::Residual => residual,
            stage @ (Stage::Decode | Stage::Screen) => node.runs_of(job, stage),
        };
        let ready = job.ready.iter().copied();
        let fresh = job.fresh.iter().map(ShardId::Root);
        let shards = ready.filter(runs).chain(fresh.filter(runs));
        shards.skip(seen).take(SHARDS_AT_ONCE).collect()
    }

    /// Nodes that live and take work, counted anew now and then: only shares of work rest on it.
    fn serving(&mut self, now: Millis) -> u64 {
        let fresh = |served: &Served| now.since(served.at) < COUNT_NODES_EVERY;
        if let Some(served) = self.served.filter(fresh) {
            return served.nodes;
        }
        let serves = |node: &&Node| node.serves(now);
        let devices = self
            .nodes
            .values()
            .filter(serves)
            .map(Node::devices_serving);
        let (nodes, devices) = devices.fold((0, 0), |(nodes, sum), more| (nodes + 1, sum + more));
        self.served = Some(Served {
            at: now,
            nodes,
            devices,
        });
        nodes
    }

    fn plan_shard(&mut self, plan: &mut Plan<'_>, no: JobNo, shard: ShardId, want: u32) {
        plan.seen += 1;
        plan.seen_in_all += 1;
        if self.desk.is_dirty(Slot::Shard(no, shard)) {
            plan.busy = true;
            return;
        }
        let residual = stage_of(shard) == Stage::Residual;
        let want = if residual {
            want.min(plan.residual)
        } else {
            want
        };
        if want == 0 {
            return;
        }
        let before = (plan.grants, plan.given);
        let Some(record) = self.granted_record(plan, no, shard, want) else {
            return;
        };
        let given = plan.given - before.1;
        if residual {
            plan.residual = plan.residual.saturating_sub(given);
        }
        // A violation here is counted, and the shard is left alone.
        if let Ok(unit) = self.shard_unit(no, shard, record) {
            plan.units.push(unit);
            let takes = Room {
                grants: (plan.grants - before.0) as u64,
                tracks: u64::from(given),
                untouched: false,
            };
            self.note_planned(no, Slot::Shard(no, shard), takes);
        }
    }

    /// The shard's record with grants for this pull; `None` where it gives none.
    fn granted_record(
        &self,
        plan: &mut Plan<'_>,
        no: JobNo,
        shard: ShardId,
        want: u32,
    ) -> Option<ShardRecord> {
        let job = self.jobs.get(&no)?;
        let node = self.nodes.get(&plan.no)?;
        let extent = job.extent(shard)?;
        let known = job.shards.get(&shard);
        let nothing = TrackSet::new();
        let covered = known.map_or(&nothing, |shard| &shard.covered);
        let waits = known
            .map(|shard| shard.hold)
            .filter(|hold| hold.until > plan.now);
        if waits.is_some_and(|hold| hold.what == Held::All) {
            return None;
        }
        let able = self.able(plan.now, no, shard);
        let others = self.waited_for(plan.now, no, shard, &able);
        let mut record = self.shard_record(no, shard);
        let (mut left, before) = (want, plan.grants);
        while !plan.is_full() && left > 0 && record.grants.len() < GRANTS_PER_SHARD_MAX {
            if plan.room.is_empty() {
                break;
            }
            let held = waits.is_some() || plan.grants > 0;
            let taker = Taker {
                node: &node.key.node,
                able: &able,
                others,
                suspects: if held { Trial::Held } else { Trial::Open },
            };
            let ground = Ground {
                extent: &extent,
                covered,
                record: &record,
            };
            let choice = match job.is_whole(shard) {
                true => grant::choose_whole(&ground, &taker),
                false => grant::choose(&ground, &taker, left),
            };
            let Some(choice) = choice else {
                break;
            };
            if job.is_whole(shard) && !plan.room.fits(choice.tracks.len()) {
                plan.keep_room();
                break;
            }
            let took = u32::try_from(choice.tracks.len()).unwrap_or(u32::MAX);
            left = left.saturating_sub(took);
            let given = add_grant(&mut record, node, plan.pull, choice);
            plan.took(took, given);
        }
        (plan.grants > before).then_some(record)
    }
}

impl Plan<'_> {
    /// How much of a job one node takes at once: all it wants while it is alone, else at most half of an even share
    /// of what is left, so that the end of a job is spread over its nodes.
    fn share(&self, job: &Job) -> u32 {
        let most = u32::try_from(self.room.tracks).unwrap_or(u32::MAX);
        let most = self.left.min(most);
        let nodes = self.serving;
        if nodes <= 1 {
            return most;
        }
        let totals = &job.tally.totals;
        let open = totals.tracks.saturating_sub(totals.done + totals.granted);
        let share = open
            .div_ceil(2 * nodes)
            .max(u64::from(TRACKS_UNMEASURED.div_ceil(4)));
        most.min(u32::try_from(share).unwrap_or(u32::MAX))
    }

    const fn is_full(&self) -> bool {
        let enough = self.left == 0 || self.grants >= GRANTS_PER_PULL_MAX;
        enough || self.apart || self.seen_in_all >= SHARDS_SEEN_IN_ALL_MAX
    }

    /// What comes first of its tenant cannot be divided and does not fit: what comes after it would take the room that it
    /// waits for.
    const fn keep_room(&mut self) {
        self.room.tracks = 0;
    }

    fn took(&mut self, tracks: u32, grant: &Grant) {
        self.grants += 1;
        self.given = self.given.saturating_add(tracks);
        self.left = self.left.saturating_sub(tracks);
        self.room.grants = self.room.grants.saturating_sub(1);
        self.room.tracks = self.room.tracks.saturating_sub(u64::from(tracks));
        self.room.untouched = false;
        // Suspects are in hand with nothing else: their grant is the whole answer.
        self.apart = grant.tries();
    }
}

/// Tracks that a pull is to be given: so much of the node's work, within what it wants.
fn wanted(pull: &Pull, work: Millis) -> u32 {
    let measured = pull.tracks_per_1000_s.map_or(TRACKS_UNMEASURED, |rate| {
        let tracks = u64::from(rate).saturating_mul(work.0) / 1_000_000;
        u32::try_from(tracks.max(1)).unwrap_or(u32::MAX)
    });
    pull.want_tracks.min(measured).min(TRACKS_PER_PULL_MAX)
}

fn add_grant<'a>(
    record: &'a mut ShardRecord,
    node: &Node,
    pull: &Pull,
    choice: Choice,
) -> &'a Grant {
    if record.last_attempt == Attempt(0) || !mutants::on(Mutant::AttemptReused) {
        record.last_attempt = record.last_attempt.next();
    }
    record.grants.push(Grant {
        attempt: record.last_attempt,
        tenant: node.key.tenant.clone(),
        node: node.key.node.clone(),
        session: pull.session,
        pull: pull.number,
        range: choice.range,
        care: choice.care,
        apart: choice.apart,
    });
    record.grants.last().expect("one was just put there")
}

/// The stage that a shard's tracks need.
pub(crate) const fn stage_of(shard: ShardId) -> Stage {
    match shard {
        ShardId::Root(_) => Stage::Screen,
        ShardId::Escalation { .. } => Stage::Residual,
    }
}
