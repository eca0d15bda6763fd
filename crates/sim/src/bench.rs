//! Devices of a node: workers that load, run tracks, sing and die, by the nature of the tracks and of the device.

use std::collections::BTreeSet;

use agent_core::{
    Death, DeviceNo, Escalation, Event, GrantKey, SlotNo, Token, TrackOutcome, Unready,
};
use types::{Code, Digest, Millis, Ordinal, Stage};

use crate::agenda::Timer;
use crate::truth::{Nature, Row};
use crate::world::World;

/// One device.
#[derive(Clone, Debug)]
pub(crate) struct Bench {
    /// How much slower than the fastest, in tenths.
    pub(crate) slowness: u64,
    pub(crate) slots: u32,
    /// Its numbers are wrong from then on.
    pub(crate) sick_from: Option<Millis>,
    /// It is not there any more: whatever is started on it dies.
    pub(crate) gone: bool,
    /// The agent took it out of service, until it starts again.
    pub(crate) out: bool,
    /// Stages of which it ever passed a canary.
    pub(crate) sung: BTreeSet<Stage>,
    /// Counts the lives of its workers.
    worker: u64,
}

/// A track under way.
#[derive(Clone, Debug)]
pub(crate) struct Try {
    device: DeviceNo,
    slot: SlotNo,
    pub(crate) grant: GrantKey,
    pub(crate) ordinal: Ordinal,
}

/// Time that a decoder needs between two tracks.
const BETWEEN_TRACKS: Millis = Millis(5);

impl Bench {
    pub(crate) fn new(slowness: u64, slots: u32) -> Self {
        Self {
            slowness,
            slots,
            sick_from: None,
            gone: false,
            out: false,
            sung: BTreeSet::new(),
            worker: 0,
        }
    }

    /// Its worker is gone.
    pub(crate) fn stop(&mut self) {
        self.worker += 1;
    }

    pub(crate) fn is_sick(&self, now: Millis) -> bool {
        self.sick_from.is_some_and(|from| from <= now)
    }
}

impl World {
    pub(crate) fn devices(&self, who: usize) -> impl Iterator<Item = DeviceNo> + use<> {
        (0..u32::try_from(self.agents[who].bench.len()).unwrap_or(0)).map(DeviceNo)
    }

    fn bench(&mut self, who: usize, device: DeviceNo) -> &mut Bench {
        let at = device.0 as usize;
        &mut self.agents[who].bench[at]
    }

    pub(crate) fn load(&mut self, who: usize, device: DeviceNo, bundle: Digest) {
        self.empty(who, device);
        let bench = self.bench(who, device);
        bench.stop();
        let worker = bench.worker;
        let at = self.now + Millis(self.dice.between(50, 1_500));
        self.agent_timer(who, at, Timer::Loaded(device, worker, bundle));
    }

    /// No try runs on the device any more.
    fn empty(&mut self, who: usize, device: DeviceNo) {
        let tries = &mut self.agents[who].tries;
        tries.retain(|_, one| one.device != device);
    }

    pub(crate) fn take_out(&mut self, who: usize, device: DeviceNo) {
        self.empty(who, device);
        let bench = self.bench(who, device);
        bench.stop();
        bench.out = true;
    }

    pub(crate) fn loaded(&mut self, who: usize, device: DeviceNo, worker: u64, bundle: Digest) {
        let reachable = self.depot.is_open(self.now);
        let bench = self.bench(who, device);
        if bench.worker != worker {
            return;
        }
        if bench.gone {
            return self.worker_dies(who, device, Death::Own);
        }
        if !reachable {
            let why = Unready::Later;
            let event = Event::BundleUnready {
                device,
                bundle,
                why,
            };
            return self.tell_agent(who, event);
        }
        let slots = bench.slots;
        self.tell_agent(who, Event::DeviceReady { device, bundle });
        for slot in (0..slots).map(SlotNo) {
            let at = self.now + BETWEEN_TRACKS;
            self.agent_timer(who, at, Timer::SlotReady(device, worker, slot));
        }
    }

    pub(crate) fn slot_ready(&mut self, who: usize, device: DeviceNo, worker: u64, slot: SlotNo) {
        if self.bench(who, device).worker == worker {
            self.tell_agent(who, Event::SlotReady { device, slot });
        }
    }

    pub(crate) fn begin(
        &mut self,
        who: usize,
        token: Token,
        (device, slot): (DeviceNo, SlotNo),
        grant: GrantKey,
        ordinal: Ordinal,
    ) {
        let busy = |one: &Try| one.device == device && one.slot == slot;
        if self.agents[who].tries.values().any(busy) {
            self.violated("H6", format!("slot {slot:?} of a{who} is given two tracks"));
        }
        let held = self.agents[who].held.get(&grant);
        let screened = held.is_some_and(|held| held.made_of.is_none() || held.fetched);
        self.hold(screened, "B", || {
            format!("a{who} starts {ordinal} of {grant:?} without its screen row")
        });
        let millis_max = self.mix.tracks.millis_max;
        let nature = self.nature(&grant, ordinal);
        let slowness = self.bench(who, device).slowness;
        let takes = self.dice.between(20, millis_max) * slowness / 10;
        let at = self.now + Millis(takes.max(1));
        let one = Try {
            device,
            slot,
            grant,
            ordinal,
        };
        self.agents[who].tries.insert(token, one);
        let timer = match nature {
            Nature::KillsNode => Timer::Killed(token),
            Nature::Sound
            | Nature::Unsure
            | Nature::Unscannable
            | Nature::KillsWorker
            | Nature::KillsDecoder => Timer::TrackEnded(token),
        };
        self.agent_timer(who, at, timer);
    }

    fn nature(&self, grant: &GrantKey, ordinal: Ordinal) -> Nature {
        let job = self.truths.iter().find(|truth| truth.key.job == grant.job);
        job.map_or(Nature::Sound, |truth| truth.nature(ordinal))
    }

    pub(crate) fn abort(&mut self, who: usize, token: Token) {
        if let Some(one) = self.agents[who].tries.remove(&token) {
            self.free_slot(who, one.device, one.slot);
        }
    }

    fn free_slot(&mut self, who: usize, device: DeviceNo, slot: SlotNo) {
        let worker = self.bench(who, device).worker;
        let at = self.now + BETWEEN_TRACKS;
        self.agent_timer(who, at, Timer::SlotReady(device, worker, slot));
    }

    pub(crate) fn track_ended(&mut self, who: usize, token: Token) {
        let Some(one) = self.agents[who].tries.get(&token).cloned() else {
            return;
        };
        let nature = self.nature(&one.grant, one.ordinal);
        let gone = self.bench(who, one.device).gone;
        if gone || nature == Nature::KillsWorker {
            let hung = self.dice.happens(3_000);
            let death = if hung { Death::Hung } else { Death::Own };
            return self.worker_dies(who, one.device, death);
        }
        self.agents[who].tries.remove(&token);
        let unreachable = self.mix.tracks.unreachable;
        let out_of_reach = !self.depot.is_open(self.now) || self.dice.happens(unreachable);
        let outcome = if out_of_reach {
            TrackOutcome::Unreachable
        } else {
            self.outcome(who, &one, nature)
        };
        self.tell_agent(who, Event::TrackEnded { token, outcome });
        self.free_slot(who, one.device, one.slot);
    }

    /// How a track ends by its nature; its row is made where it gets one.
    fn outcome(&mut self, who: usize, one: &Try, nature: Nature) -> TrackOutcome {
        let now = self.now;
        let wrong = self.bench(who, one.device).is_sick(now);
        let (row, outcome) = match nature {
            Nature::Unsure if one.grant.stage() == Stage::Screen => {
                let onward = self.escalation(&one.grant, one.ordinal);
                (Row::Escalated { wrong }, TrackOutcome::Escalated(onward))
            }
            Nature::Sound | Nature::Unsure | Nature::KillsNode => {
                (Row::Scored { wrong }, TrackOutcome::Scored)
            }
            Nature::Unscannable => (Row::Unscannable(Code::Damaged), TrackOutcome::Unscannable),
            Nature::KillsDecoder | Nature::KillsWorker => {
                self.accuse(&one.grant.clone(), one.ordinal);
                let (death, code) = (Death::Own, Code::DecodeCrash);
                return TrackOutcome::DecoderDied { death, code };
            }
        };
        let agent = &mut self.agents[who];
        let made = (row, agent.wall(now));
        agent.rows.insert((one.grant.clone(), one.ordinal), made);
        outcome
    }

    fn escalation(&self, grant: &GrantKey, ordinal: Ordinal) -> Escalation {
        let job = self.truths.iter().find(|truth| truth.key.job == grant.job);
        let job = job.expect("a track that the gate sends on is of a job");
        job.escalation(ordinal)
    }

    /// A worker dies with all that it has in hand.
    pub(crate) fn worker_dies(&mut self, who: usize, device: DeviceNo, death: Death) {
        let tries = self.agents[who].tries.values();
        let lost: Vec<Try> = tries.filter(|one| one.device == device).cloned().collect();
        for one in &lost {
            self.accuse(&one.grant.clone(), one.ordinal);
        }
        self.empty(who, device);
        self.bench(who, device).stop();
        // One that was killed is counted by whoever killed it.
        self.tally.faults += u64::from(death != Death::Killed);
        self.tell_agent(who, Event::WorkerDied { device, death });
    }

    /// A track takes its machine down.
    pub(crate) fn node_killed(&mut self, who: usize, token: Token) {
        if !self.agents[who].tries.contains_key(&token) {
            return;
        }
        let long = self.dice.happens(5_000);
        let back_in = self.dice.between(200, if long { 60_000 } else { 5_000 });
        self.crash_agent(who, Millis(back_in));
    }

    /// Notes a death that a track was in hand at.
    pub(crate) fn accuse(&mut self, grant: &GrantKey, ordinal: Ordinal) {
        let job = self
            .truths
            .iter_mut()
            .find(|truth| truth.key.job == grant.job);
        if let Some(job) = job {
            *job.deaths.entry(ordinal).or_default() += 1;
        }
    }

    /// Notes that a node fell silent, for what ran on it and what its last beats named: no other track may answer for it.
    pub(crate) fn accuse_held(&mut self, who: usize) {
        let one = &self.agents[who];
        let running = one.tries.values();
        let running = running.map(|one| (one.grant.clone(), one.ordinal));
        let suspects: BTreeSet<_> = running.chain(one.named.iter().flatten().cloned()).collect();
        for (grant, ordinal) in suspects {
            self.accuse(&grant, ordinal);
        }
    }

    pub(crate) fn sing(&mut self, who: usize, device: DeviceNo, stage: Stage, nonce: u64) {
        let worker = self.bench(who, device).worker;
        let at = self.now + Millis(self.dice.between(5, 200));
        self.agent_timer(who, at, Timer::Sung(device, worker, stage, nonce));
    }

    pub(crate) fn sung(
        &mut self,
        who: usize,
        device: DeviceNo,
        worker: u64,
        (stage, nonce): (Stage, u64),
    ) {
        let now = self.now;
        let bench = self.bench(who, device);
        if bench.worker != worker {
            return;
        }
        if bench.gone {
            return self.worker_dies(who, device, Death::Own);
        }
        let good = !bench.is_sick(now);
        if good {
            bench.sung.insert(stage);
        }
        let event = Event::CanarySung {
            device,
            nonce,
            good,
        };
        self.tell_agent(who, event);
    }
}
