//! The coordinator of the small world: it keeps the rules of sessions, grants and commits, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use agent_core::{
    BeatCall, Beaten, CallError, Care, CommitOutcome, Committed, Flush, GrantKey, GrantOrder,
    Granted, Held, Joined, Order, PullCall, Pulled, Rank,
};
use types::{
    Attempt, Code, Digest, JobId, Millis, Ordinal, PullNo, Range, Session, ShardId, TrackSet,
};

/// Tracks of a shard.
pub(crate) const SHARD: u32 = 16;
const GRANT_LIVES: Millis = Millis(20_000);
/// What a track does to whoever works on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    Sound,
    Unscannable,
    KillsWorker,
    KillsDecoder,
}

/// A row as committed: the code, or none for a score.
pub(crate) type Row = Option<Code>;

struct Grant {
    range: Range,
    tracks: TrackSet,
    yield_at: Option<Ordinal>,
    missed: u32,
}

#[derive(Default)]
pub(crate) struct Coordinator {
    pub(crate) natures: Vec<Nature>,
    pub(crate) rows: BTreeMap<Ordinal, Row>,
    grants: BTreeMap<GrantKey, Grant>,
    attempts: BTreeMap<u32, u32>,
    session: u64,
    counted: BTreeMap<Digest, GrantKey>,
    answered: Option<(Session, PullNo, Pulled)>,
}

pub(crate) struct Part {
    pub(crate) grant: GrantKey,
    pub(crate) rows: BTreeMap<Ordinal, Row>,
    pub(crate) saved: bool,
}

impl Part {
    pub(crate) fn tracks(&self) -> TrackSet {
        let mut set = TrackSet::new();
        self.rows.keys().for_each(|&first| {
            set.insert(Range {
                first,
                end: first + 1,
            })
        });
        set
    }
}

impl Coordinator {
    /// A coordinator of one job over such tracks.
    pub(crate) fn of(natures: Vec<Nature>) -> Self {
        Self {
            natures,
            ..Self::default()
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.rows.len() == self.natures.len()
    }

    pub(crate) fn join(&mut self) -> Joined {
        self.session += 1;
        Joined {
            session: Session(self.session),
            beat_every: Millis(2_000),
            grant_lives: GRANT_LIVES,
        }
    }

    fn check(&self, session: Session) -> Result<(), CallError> {
        if session == Session(self.session) {
            Ok(())
        } else {
            Err(CallError::Refused(Code::SessionOld))
        }
    }

    pub(crate) fn pull(&mut self, call: &PullCall) -> Result<Pulled, CallError> {
        self.check(call.session)?;
        if let Some((session, number, answer)) = &self.answered
            && (*session, *number) == (call.session, call.number)
        {
            let mut again = answer.clone();
            again
                .grants
                .retain(|granted| self.grants.contains_key(&granted.key));
            return Ok(again);
        }
        let shards = u32::try_from(self.natures.len()).unwrap().div_ceil(SHARD);
        let wanted = (0..shards)
            .filter_map(|shard| self.grant(shard))
            .take(call.want_tracks.div_ceil(SHARD) as usize);
        let found: Vec<Granted> = wanted.collect();
        for granted in &found {
            let shard = granted.key.shard.root();
            *self.attempts.entry(shard).or_default() += 1;
            let (range, tracks) = (granted.range, granted.tracks.clone());
            self.grants.insert(
                granted.key.clone(),
                Grant {
                    range,
                    tracks,
                    yield_at: None,
                    missed: 0,
                },
            );
        }
        let pulled = Pulled {
            grants: found,
            again_after: Millis(2_000),
        };
        self.answered = Some((call.session, call.number, pulled.clone()));
        Ok(pulled)
    }

    /// What is free of a shard, if anything is.
    fn grant(&self, shard: u32) -> Option<Granted> {
        let end = ((shard + 1) * SHARD).min(u32::try_from(self.natures.len()).unwrap());
        let range = Range {
            first: shard * SHARD,
            end,
        };
        let mut tracks = TrackSet::new();
        tracks.insert(range);
        for &done in self.rows.keys() {
            tracks.remove(Range {
                first: done,
                end: done + 1,
            });
        }
        for (key, grant) in &self.grants {
            if key.shard == ShardId::Root(shard) {
                tracks.remove(grant.range);
            }
        }
        let attempt = Attempt(self.attempts.get(&shard).copied().unwrap_or(0) + 1);
        let first = tracks.first()?;
        let key = GrantKey {
            job: JobId::new("job").unwrap(),
            shard: ShardId::Root(shard),
            attempt,
        };
        let range = Range {
            first,
            end: tracks.ranges()[0].end,
        };
        let tracks = TrackSet::from_ranges(vec![range]).unwrap();
        let (bundle, care, flush) = (Digest::of(b"bundle"), Care::Normal, Flush::AsConfigured);
        Some(Granted {
            key,
            range,
            tracks,
            bundle,
            shard_tracks: SHARD,
            care,
            apart: TrackSet::new(),
            flush,
            escalations_max: None,
            rank: Rank::default(),
        })
    }

    pub(crate) fn beat(&mut self, call: &BeatCall) -> Result<Beaten, CallError> {
        self.check(call.session)?;
        for released in &call.released {
            self.grants.remove(&released.key);
        }
        let named: BTreeSet<&GrantKey> = call.held.iter().map(|held| &held.key).collect();
        self.grants.retain(|key, grant| {
            grant.missed = if named.contains(key) {
                0
            } else {
                grant.missed + 1
            };
            grant.missed < 3
        });
        let orders = call.held.iter().map(|held| self.order(held)).collect();
        Ok(Beaten {
            orders,
            pull_now: false,
            drain: false,
        })
    }

    fn order(&mut self, held: &Held) -> GrantOrder {
        let order = match self.grants.get_mut(&held.key) {
            None => Order::Stop,
            Some(grant) => {
                if let (Some(at), Some(wanted)) = (held.yielded_at, grant.yield_at)
                    && at >= wanted
                {
                    grant.range.end = grant.range.end.min(at);
                    grant.tracks.remove(Range {
                        first: at,
                        end: u32::MAX,
                    });
                    grant.yield_at = None;
                }
                grant.yield_at.map_or(Order::Continue, Order::YieldAt)
            }
        };
        GrantOrder {
            key: held.key.clone(),
            order,
            flush: Flush::AsConfigured,
        }
    }

    pub(crate) fn commit(&mut self, session: Session, part: &Part) -> Result<Committed, CallError> {
        self.check(session)?;
        let digest = Digest::of(format!("{:?}{:?}", part.grant, part.rows).as_bytes());
        if self.counted.contains_key(&digest) {
            return Ok(Committed {
                outcome: CommitOutcome::DoneAlready,
                order: Order::Continue,
            });
        }
        let Some(grant) = self.grants.get(&part.grant) else {
            return Ok(Committed {
                outcome: CommitOutcome::Superseded,
                order: Order::Stop,
            });
        };
        for (&ordinal, &row) in &part.rows {
            assert!(
                grant.tracks.contains(ordinal),
                "a part holds only tracks of its grant"
            );
            assert!(
                self.rows.insert(ordinal, row).is_none(),
                "track {ordinal} is committed once"
            );
        }
        self.counted.insert(digest, part.grant.clone());
        Ok(Committed {
            outcome: CommitOutcome::Counted,
            order: Order::Continue,
        })
    }

    pub(crate) fn withdraw_first(&mut self) {
        self.grants.pop_first();
    }

    pub(crate) fn ask_to_yield(&mut self, offset: u32) {
        if let Some((_, grant)) = self.grants.iter_mut().next() {
            let at = grant.range.first + offset;
            grant.yield_at = (at < grant.range.end).then_some(at);
        }
    }
}
