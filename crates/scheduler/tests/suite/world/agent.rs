//! A node's agent as the core meets it: it joins, pulls, beats and commits, and can be killed.

use super::{World, agent_info, node};
use scheduler::record::{Care, Made, PartKind, VerdictCounts};
use scheduler::{
    Answer, Beat, BeatAnswer, Canary, CanaryVerdict, Commit, CommitAnswer, Granted, Held,
    PartClaim, Pull, PullAnswer, Request, Revoke,
};
use types::{
    Digest, Ledger, Millis, Ordinal, Problem, PullNo, RevocationId, Session, ShardId, Stage,
    StageUse, TrackSet, UnixMillis,
};

pub(crate) const SCREEN: &[Stage] = &[Stage::Decode, Stage::Screen];
pub(crate) const BOTH: &[Stage] = &[Stage::Decode, Stage::Screen, Stage::Residual];

#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) nonce: u64,
    pub(crate) session: Session,
    pub(crate) pull: u64,
    pub(crate) beat: u64,
    pub(crate) grants: Vec<Granted>,
    pub(crate) stages: &'static [Stage],
    pub(crate) parts: u64,
}

impl Agent {
    pub(crate) fn new(name: &str, stages: &'static [Stage]) -> Self {
        Self {
            name: name.into(),
            nonce: 1,
            session: Session(0),
            pull: 0,
            beat: 0,
            grants: Vec::new(),
            stages,
            parts: 0,
        }
    }

    pub(crate) fn joined(world: &mut World, name: &str) -> Self {
        let mut agent = Self::new(name, BOTH);
        agent.join(world).expect("a new node may join");
        agent
    }

    pub(crate) fn join_request(&self) -> Request {
        Request::Join(agent_info(&self.name, self.nonce, self.stages))
    }

    pub(crate) fn join(&mut self, world: &mut World) -> Result<Session, Problem> {
        let answer = world.ask(self.join_request())?;
        self.take_join(&answer);
        Ok(self.session)
    }

    pub(crate) fn take_join(&mut self, answer: &Answer) {
        let Answer::Joined(joined) = answer else {
            panic!("a join is answered by {answer:?}");
        };
        if joined.session != self.session {
            self.session = joined.session;
            self.pull = 0;
            self.beat = 0;
        }
    }

    /// A new life of the process: nothing in memory is left.
    pub(crate) fn kill(&mut self) {
        self.nonce += 1;
        self.session = Session(0);
        self.grants.clear();
    }

    pub(crate) fn pull_request(&self, want: u32) -> Request {
        Request::Pull(Pull {
            node: node(&self.name),
            session: self.session,
            number: PullNo(self.pull),
            tracks_per_1000_s: Some(10_000_000),
            want_tracks: want,
            bundles: Vec::new(),
        })
    }

    pub(crate) fn pull(&mut self, world: &mut World, want: u32) -> PullAnswer {
        self.pull += 1;
        let answer = world
            .ask(self.pull_request(want))
            .expect("a sound pull is answered");
        self.take_pull(&answer)
    }

    pub(crate) fn take_pull(&mut self, answer: &Answer) -> PullAnswer {
        let Answer::Pulled(pulled) = answer else {
            panic!("a pull is answered by {answer:?}");
        };
        for granted in &pulled.grants {
            let known = |held: &Granted| same(held, granted);
            if !self.grants.iter().any(known) {
                self.grants.push(granted.clone());
            }
        }
        pulled.clone()
    }

    pub(crate) fn beat_request(&self, in_hand: impl Fn(&Granted) -> TrackSet) -> Request {
        let held = |granted: &Granted| Held {
            job: granted.job.job.clone(),
            shard: granted.shard,
            attempt: granted.attempt,
            in_hand: in_hand(granted),
            yielded_at: None,
            deaths: Vec::new(),
            unflushed: 0,
        };
        Request::Beat(Beat {
            node: node(&self.name),
            session: self.session,
            number: self.beat,
            held: self.grants.iter().map(held).collect(),
            released: Vec::new(),
            devices_out: Vec::new(),
            storage_trouble: None,
            draining: false,
        })
    }

    /// A beat with everything granted in hand.
    pub(crate) fn beat(&mut self, world: &mut World) -> Result<BeatAnswer, Problem> {
        self.beat_with(world, |granted| granted.tracks.clone())
    }

    pub(crate) fn beat_with(
        &mut self,
        world: &mut World,
        in_hand: impl Fn(&Granted) -> TrackSet,
    ) -> Result<BeatAnswer, Problem> {
        self.beat += 1;
        let request = self.beat_request(in_hand);
        self.send_beat(world, request)
    }

    /// Beats every second or so for that long, while others are silent.
    pub(crate) fn beats_for(&mut self, world: &mut World, span: Millis) {
        let until = world.now + span;
        while world.now < until {
            world.pass(Millis(until.since(world.now).0.min(1_000)));
            self.beat(world).expect("a living session is heard");
        }
    }

    pub(crate) fn send_beat(
        &mut self,
        world: &mut World,
        request: Request,
    ) -> Result<BeatAnswer, Problem> {
        let answer = world.ask(request)?;
        let Answer::Beaten(beaten) = answer else {
            panic!("a beat is answered by {answer:?}");
        };
        Ok(beaten)
    }

    /// A commit of these tracks of one grant.
    pub(crate) fn commit_request(
        &mut self,
        granted: &Granted,
        tracks: &TrackSet,
        kind: PartKind,
    ) -> Request {
        self.parts += 1;
        let digest = format!(
            "{}/{}/{}/{}",
            self.name, self.nonce, self.session, self.parts
        );
        let digest = Digest::of(digest.as_bytes());
        let stage = stage_of(granted.shard);
        Request::Commit(Commit {
            node: node(&self.name),
            session: self.session,
            job: granted.job.job.clone(),
            generation: granted.generation,
            shard: granted.shard,
            attempt: granted.attempt,
            parts: vec![PartClaim {
                made: vec![Made {
                    stage,
                    ..made_at(self.parts)
                }],
                canaries: vec![canary(stage)],
                ..claim(tracks, kind, granted.care, digest)
            }],
        })
    }

    /// A commit of a whole grant: a terminal part, and an escalation part of those that go on.
    pub(crate) fn commit_whole(&mut self, granted: &Granted, onward: &TrackSet) -> Commit {
        let terminal = granted.tracks.difference(onward);
        let mut whole: Option<Commit> = None;
        for (tracks, kind) in [
            (&terminal, PartKind::Terminal),
            (onward, PartKind::Escalation),
        ] {
            if tracks.is_empty() {
                continue;
            }
            let Request::Commit(commit) = self.commit_request(granted, tracks, kind) else {
                panic!("a commit is one");
            };
            match &mut whole {
                Some(whole) => whole.parts.extend(commit.parts),
                None => whole = Some(commit),
            }
        }
        whole.expect("a grant has tracks")
    }

    pub(crate) fn commit(
        &mut self,
        world: &mut World,
        granted: &Granted,
        tracks: &TrackSet,
    ) -> Result<CommitAnswer, Problem> {
        let request = self.commit_request(granted, tracks, PartKind::Terminal);
        let answer = world.ask(request)?;
        let Answer::Committed(committed) = answer else {
            panic!("a commit is answered by {answer:?}");
        };
        Ok(committed)
    }

    /// Commits everything of every grant, one part each, and forgets them.
    pub(crate) fn finish(&mut self, world: &mut World) {
        for granted in std::mem::take(&mut self.grants) {
            self.commit(world, &granted, &granted.tracks)
                .expect("a sound commit is answered");
        }
    }
}

pub(crate) fn same(a: &Granted, b: &Granted) -> bool {
    a.job == b.job && a.shard == b.shard && a.attempt == b.attempt
}

pub(crate) fn claim(tracks: &TrackSet, kind: PartKind, care: Care, sha256: Digest) -> PartClaim {
    let rows = tracks.len();
    let rejected = care == Care::Reject;
    let verdicts = match kind {
        PartKind::Escalation => VerdictCounts::default(),
        PartKind::Terminal if rejected => VerdictCounts {
            unscannable: rows,
            ..VerdictCounts::default()
        },
        PartKind::Terminal => VerdictCounts {
            no_evidence: rows,
            ..VerdictCounts::default()
        },
    };
    let screen = StageUse {
        tracks: rows,
        device_us: 1_000,
        ..StageUse::default()
    };
    PartClaim {
        kind,
        tracks: tracks.clone(),
        sha256,
        rows: u32::try_from(rows).unwrap(),
        bytes: 100,
        verdicts,
        ledger: Ledger {
            screen,
            ..Ledger::default()
        },
        made: vec![made_at(1)],
        canaries: vec![canary(Stage::Screen)],
    }
}

fn canary(stage: Stage) -> Canary {
    Canary {
        device: "cpu:0".into(),
        stage,
        verdict: CanaryVerdict::Good,
    }
}

/// The stage that a shard's tracks go through.
pub(crate) const fn stage_of(shard: ShardId) -> Stage {
    match shard {
        ShardId::Root(_) => Stage::Screen,
        ShardId::Escalation { .. } => Stage::Residual,
    }
}

/// The node's part of that number, by a clock that counts its parts.
pub(crate) fn made_at(part: u64) -> Made {
    let at = UnixMillis(i64::try_from(part).unwrap());
    Made {
        stage: Stage::Screen,
        device: "cpu:0".into(),
        from: at,
        to: at,
    }
}

/// A revocation of the parts of those numbers.
pub(crate) fn revoke(name: &str, node_name: &str, from: u64, to: u64) -> Request {
    let at = |part: u64| UnixMillis(i64::try_from(part).unwrap());
    Request::Revoke(Revoke {
        revocation: RevocationId::new(name).unwrap(),
        node: node(node_name),
        device: None,
        from: at(from),
        to: at(to),
        reason: "wrong numbers".into(),
    })
}

pub(crate) fn tracks(first: Ordinal, end: Ordinal) -> TrackSet {
    (first..end).collect()
}

/// Longer than a grant lives.
pub(crate) const SILENCE: Millis = Millis(21_000);
