//! A node as a cost model: it holds grants, works them off one after the other at its rate, and says so as a real agent
//! does. Grants are its grain: between their begin and end nothing happens but beats.

use scheduler::record::{Made, PartKind, VerdictCounts};
use scheduler::{
    AgentInfo, Beat, BeatAnswer, Canary, CanaryVerdict, Commit, CommitAnswer, Granted, Held, Order,
    PartClaim, Pull, PullAnswer, Request,
};
use types::{
    Attempt, Device, DeviceKind, Digest, JobId, Ledger, Millis, NodeId, Ordinal, PullNo, Range,
    Session, ShardId, Stage, StageUse, TrackSet, UnixMillis,
};

use crate::shell::GENERATION;

/// Work that a node wants to have before it: what the product asks for.
const WORK: Millis = Millis(120_000);
/// It asks for more when less than this is before it.
const WORK_LOW: Millis = Millis(60_000);
/// Tracks that a device has in hand at once.
const IN_HAND: u32 = 8;

/// A grant that a node holds.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    job: JobId,
    shard: ShardId,
    attempt: Attempt,
    /// What is left to be done of it, in order.
    tracks: TrackSet,
    /// When its first track was begun.
    begun: Option<Millis>,
    /// From there on nothing will be done: it was wanted back.
    yielded: Option<Ordinal>,
    /// Tracks of the part that is on its way.
    committing: Option<TrackSet>,
}

/// What a flush does with the tracks it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// All of them end here.
    All,
    /// About one in so many goes on to the residual, in an escalation part: which ones looks like chance, as it does in a catalogue.
    AllButOneIn(u32),
}

/// A commit, and the grant that it is about.
pub(crate) type Offer = ((ShardId, Attempt), Request);

/// One machine with one device.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    name: NodeId,
    /// Tracks in 1,000 seconds.
    rate: u32,
    session: Session,
    pulls: u64,
    beats: u64,
    pulling: bool,
    /// Not to ask before.
    again_at: Millis,
    parts: u64,
    work: Vec<Work>,
    /// Rises whenever the end of the grant at work may have moved: an older end is void.
    pub(crate) plan: u64,
}

impl Node {
    /// The node of that number, at a rate in tracks per 1,000 seconds.
    ///
    /// # Panics
    /// Never: the name is made of digits.
    #[must_use]
    pub(crate) fn new(number: usize, rate: u32) -> Self {
        Self {
            name: NodeId::new(format!("node-{number:04}")).expect("digits make a name"),
            rate,
            session: Session(0),
            pulls: 0,
            beats: 0,
            pulling: false,
            again_at: Millis(0),
            parts: 0,
            work: Vec::new(),
            plan: 0,
        }
    }

    /// Its first word.
    #[must_use]
    pub(crate) fn join(&self) -> Request {
        Request::Join(AgentInfo {
            node: self.name.clone(),
            nonce: 1,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            devices: vec![Device {
                kind: DeviceKind::Cuda,
                index: 0,
                name: "modelled".to_owned(),
                memory_bytes: 24 << 30,
            }],
            stages: vec![Stage::Decode, Stage::Screen, Stage::Residual],
            sources: Vec::new(),
            accepts_sources: true,
            decoders: 8,
        })
    }

    /// It has joined.
    pub(crate) const fn joined(&mut self, session: Session) {
        self.session = session;
    }

    /// Asks for as much work as it is short of; `None` where it is not, or is to wait.
    pub(crate) fn pull(&mut self, now: Millis) -> Option<Request> {
        let low = self.tracks_in(WORK_LOW);
        if self.pulling || now < self.again_at || self.open_tracks() >= low {
            return None;
        }
        let want = self.tracks_in(WORK).saturating_sub(self.open_tracks());
        Some(self.pull_for(u32::try_from(want).unwrap_or(u32::MAX)))
    }

    /// Asks for that many tracks.
    pub(crate) fn pull_for(&mut self, tracks: u32) -> Request {
        self.pulling = true;
        self.pulls += 1;
        Request::Pull(Pull {
            node: self.name.clone(),
            session: self.session,
            number: PullNo(self.pulls),
            tracks_per_1000_s: Some(self.rate),
            want_tracks: tracks,
            bundles: Vec::new(),
        })
    }

    /// Takes what it was given; whether that was anything.
    pub(crate) fn pulled(&mut self, now: Millis, answer: PullAnswer) -> bool {
        self.pulling = false;
        self.again_at = now + answer.again_after;
        let any = !answer.grants.is_empty();
        self.work.extend(answer.grants.into_iter().map(Work::new));
        any
    }

    /// Begins the next grant where none is at work; when that will be done.
    pub(crate) fn begin(&mut self, now: Millis) -> Option<Millis> {
        let open = self.work.iter_mut().find(|work| work.is_open())?;
        let begun = *open.begun.get_or_insert(now);
        let takes = open.tracks.len() * 1_000_000 / u64::from(self.rate.max(1));
        Some(begun + Millis(takes))
    }

    /// The grant at work is done: its part is offered.
    pub(crate) fn finish(&mut self, now: Millis) -> Option<Offer> {
        let at_work = |work: &Work| work.is_open() && work.begun.is_some();
        let at = self.work.iter().position(at_work)?;
        let tracks = self.work[at].tracks.clone();
        Some(self.offer(now, at, tracks, Ends::All))
    }

    /// Offers a part of each grant that has tracks to be done: of its first `tracks` at the most.
    pub(crate) fn flush(&mut self, now: Millis, tracks: u32, ends: Ends) -> Vec<Offer> {
        let mut offers = Vec::new();
        for at in 0..self.work.len() {
            let work = &self.work[at];
            if let Some(first) = work.tracks.first().filter(|_| work.is_open()) {
                let end = first.saturating_add(tracks);
                let some = work
                    .tracks
                    .intersection(&TrackSet::from(Range { first, end }));
                offers.push(self.offer(now, at, some, ends));
            }
        }
        offers
    }

    fn offer(&mut self, now: Millis, at: usize, tracks: TrackSet, ends: Ends) -> Offer {
        self.parts += 2;
        let (sha256, onward) = (
            digest(&self.name, self.parts),
            digest(&self.name, self.parts + 1),
        );
        let work = &mut self.work[at];
        let (ending, going) = ends.split(&tracks);
        let at_work = span(work.begun.unwrap_or(now), now, self.parts);
        let mut parts = Vec::with_capacity(2);
        if !ending.is_empty() {
            parts.push(claim(work, at_work, &ending, sha256));
        }
        if !going.is_empty() {
            parts.push(PartClaim {
                kind: PartKind::Escalation,
                verdicts: VerdictCounts::default(),
                ..claim(work, at_work, &going, onward)
            });
        }
        work.tracks = work.tracks.difference(&tracks);
        let commit = Commit {
            node: self.name.clone(),
            session: self.session,
            job: work.job.clone(),
            generation: GENERATION,
            shard: work.shard,
            attempt: work.attempt,
            parts,
        };
        work.committing = Some(tracks);
        ((work.shard, work.attempt), Request::Commit(commit))
    }

    /// Its part counts, or is to be forgotten.
    pub(crate) fn committed(&mut self, about: (ShardId, Attempt), answer: &CommitAnswer) {
        let Some(at) = self.work.iter().position(|work| work.is(about)) else {
            return;
        };
        self.work[at].committing = None;
        if answer.order == Order::Stop {
            self.work.remove(at);
        }
        self.plan += 1;
    }

    /// Says what it holds.
    pub(crate) fn beat(&mut self, now: Millis) -> Request {
        self.beats += 1;
        let rate = self.rate;
        Request::Beat(Beat {
            node: self.name.clone(),
            session: self.session,
            number: self.beats,
            held: self.work.iter().map(|work| work.held(now, rate)).collect(),
            released: Vec::new(),
            devices_out: Vec::new(),
            storage_trouble: None,
            draining: false,
        })
    }

    /// Does as it was told; whether it is to ask for work at once.
    pub(crate) fn beaten(&mut self, now: Millis, answer: &BeatAnswer) -> bool {
        for order in &answer.orders {
            let about = (order.shard, order.attempt);
            let Some(at) = self.work.iter().position(|work| work.is(about)) else {
                continue;
            };
            match order.order {
                Order::Continue => {}
                Order::YieldAt { at: from } => {
                    self.work[at].give_back(now, self.rate, from);
                    self.plan += 1;
                }
                // A part on its way is answered by itself.
                Order::Stop if self.work[at].committing.is_some() => {}
                Order::Stop => {
                    self.work.remove(at);
                    self.plan += 1;
                }
            }
        }
        if answer.pull_now {
            self.again_at = now;
        }
        answer.pull_now
    }

    fn tracks_in(&self, span: Millis) -> u64 {
        (u64::from(self.rate) * span.0 / 1_000_000).max(1)
    }

    fn open_tracks(&self) -> u64 {
        let open = self.work.iter().filter(|work| work.is_open());
        open.map(|work| work.tracks.len()).sum()
    }
}

impl Ends {
    /// What ends here of some tracks, and what goes on.
    fn split(self, tracks: &TrackSet) -> (TrackSet, TrackSet) {
        match self {
            Self::All => (tracks.clone(), TrackSet::new()),
            Self::AllButOneIn(many) => {
                let all = tracks
                    .ranges()
                    .iter()
                    .flat_map(|range| range.first..range.end);
                let going: TrackSet = all.filter(|track| goes_on(*track, many)).collect();
                (tracks.difference(&going), going)
            }
        }
    }
}

impl Work {
    fn new(granted: Granted) -> Self {
        Self {
            job: granted.job.job,
            shard: granted.shard,
            attempt: granted.attempt,
            tracks: granted.tracks,
            begun: None,
            yielded: None,
            committing: None,
        }
    }

    fn is(&self, about: (ShardId, Attempt)) -> bool {
        (self.shard, self.attempt) == about
    }

    fn is_open(&self) -> bool {
        self.committing.is_none() && !self.tracks.is_empty()
    }

    /// Tracks that are through.
    fn done(&self, now: Millis, rate: u32) -> u64 {
        let worked = self.begun.map_or(0, |begun| now.since(begun).0);
        (worked * u64::from(rate) / 1_000_000).min(self.tracks.len())
    }

    fn held(&self, now: Millis, rate: u32) -> Held {
        let done = self.done(now, rate);
        let in_hand = match (&self.committing, self.begun) {
            (Some(offered), _) => offered.clone(),
            (None, Some(_)) => self.after(done),
            (None, None) => TrackSet::new(),
        };
        Held {
            job: self.job.clone(),
            shard: self.shard,
            attempt: self.attempt,
            in_hand,
            yielded_at: self.yielded,
            deaths: Vec::new(),
            unflushed: u32::try_from(done).unwrap_or(u32::MAX),
        }
    }

    /// The tracks that are in hand once `done` are through.
    fn after(&self, done: u64) -> TrackSet {
        let Some(first) = self.nth(done) else {
            return TrackSet::new();
        };
        let end = first.saturating_add(IN_HAND);
        self.tracks
            .intersection(&TrackSet::from(Range { first, end }))
    }

    fn nth(&self, mut n: u64) -> Option<Ordinal> {
        for range in self.tracks.ranges() {
            if n < u64::from(range.len()) {
                return Some(range.first + u32::try_from(n).unwrap_or(0));
            }
            n -= u64::from(range.len());
        }
        None
    }

    /// Gives back what lies at or after `from` and is not in hand.
    fn give_back(&mut self, now: Millis, rate: u32, from: Ordinal) {
        if self.committing.is_some() || self.yielded.is_some() {
            return;
        }
        let in_hand = self.begun.map_or(0, |_| {
            let next = self.after(self.done(now, rate));
            next.ranges().last().map_or(0, |last| last.end)
        });
        let from = from.max(in_hand);
        self.tracks.remove(Range {
            first: from,
            end: Ordinal::MAX,
        });
        self.yielded = Some(from);
    }
}

/// Whether a track is the one in so many that goes on.
fn goes_on(track: Ordinal, many: u32) -> bool {
    let [a, b, c, d, ..] = Digest::of(&track.to_le_bytes()).0;
    u32::from_le_bytes([a, b, c, d]).is_multiple_of(many)
}

/// A digest of its own for each part, at no cost: nobody here reads parts.
fn digest(node: &NodeId, part: u64) -> Digest {
    let mut bytes = [0; 32];
    let name = node.as_str().as_bytes();
    bytes[..name.len().min(24)].copy_from_slice(&name[..name.len().min(24)]);
    bytes[24..].copy_from_slice(&part.to_le_bytes());
    Digest(bytes)
}

/// How long a device waits for the first sound that is decoded, in milliseconds.
const DECODED_BEFORE: i64 = 1_843;
/// Time between two parts of a node where none passes here, in milliseconds: about a minute.
const PARTS_APART: i64 = 61_007;

/// When a node's part of that number was made. Where no time passes the parts are made one after another all the same.
fn span(from: Millis, to: Millis, number: u64) -> (UnixMillis, UnixMillis) {
    let millis = |number: u64| i64::try_from(number).unwrap_or_default();
    let begun = 1_700_000_000_000 + millis(from.0) + millis(number) * PARTS_APART;
    let lasted = PARTS_APART.max(millis(to.since(from).0));
    (UnixMillis(begun), UnixMillis(begun + lasted))
}

/// A part as a real flush offers it: decode and screen of one device, and its canary.
fn claim(
    work: &Work,
    (from, to): (UnixMillis, UnixMillis),
    tracks: &TrackSet,
    sha256: Digest,
) -> PartClaim {
    let rows = tracks.len();
    let used = StageUse {
        device_us: 27_000 * rows,
        energy_mj: 900 * rows,
        tracks: rows,
        audio_ms: 200_000 * rows,
        bytes: 8_000_000 * rows,
        cpu_us: 30_000 * rows,
        wait_us: 1_000 * rows,
    };
    let none = StageUse::default();
    let (stage, screen, residual) = match work.shard {
        ShardId::Root(_) => (Stage::Screen, used, none),
        ShardId::Escalation { .. } => (Stage::Residual, none, used),
    };
    let ledger = Ledger {
        decode: used,
        screen,
        residual,
    };
    let made = |stage, device: &str, after| Made {
        stage,
        device: device.to_owned(),
        from: UnixMillis(from.0 + after),
        to: UnixMillis(to.0 + after),
    };
    PartClaim {
        kind: PartKind::Terminal,
        tracks: tracks.clone(),
        sha256,
        rows: u32::try_from(rows).unwrap_or(u32::MAX),
        bytes: 300 * rows,
        verdicts: VerdictCounts {
            no_evidence: rows,
            ..VerdictCounts::default()
        },
        ledger,
        made: vec![
            made(Stage::Decode, "cpu:0", 0),
            made(stage, "cuda:0", DECODED_BEFORE),
        ],
        canaries: vec![Canary {
            device: "cuda:0".to_owned(),
            stage,
            verdict: CanaryVerdict::Good,
        }],
    }
}
