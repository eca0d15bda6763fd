//! The swarm: what cluster a seed has, which faults strike it and how often. Each kind of fault is off in some seeds, so that
//! none hides behind another, and heavy in a few.

use scheduler::record::Form;
use scheduler::{Config, Quota};
use types::Millis;

use crate::dice::Dice;

/// Chances are in ten thousand.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    pub(crate) coordinators: usize,
    pub(crate) agents: usize,
    pub(crate) jobs: usize,
    /// How long faults strike.
    pub(crate) safety: Millis,
    pub(crate) flush_every: Millis,
    /// Most entries that the store gives in one page.
    pub(crate) page: usize,
    /// Clocks start apart and run at rates from a half to twice the true one.
    pub(crate) skewed: bool,
    pub(crate) links: LinkOdds,
    pub(crate) store: StoreOdds,
    pub(crate) storage: StorageOdds,
    pub(crate) tracks: TrackOdds,
    /// Mean time between two faults of a process, link or device; none where 0.
    pub(crate) fault_every: Millis,
    /// Which of [`crate::faults::KINDS`] may strike.
    pub(crate) faults: Vec<bool>,
    /// Mean time between two acts of the operators; none where 0.
    pub(crate) operate_every: Millis,
    /// Deposed leaders go on until the store tells them.
    pub(crate) stubborn: bool,
    /// Somebody cancels a job as its last rows come in.
    pub(crate) late_cancel: u32,
    /// A node that does not come back when faults stop.
    pub(crate) away: u32,
    /// A second machine goes by the first one's name.
    pub(crate) copied: bool,
    /// Tenants whose jobs come.
    pub(crate) tenants: usize,
    /// Nodes that are a tenant's own, where there are two.
    pub(crate) owned: u32,
    /// Live grants that one tenant may have; no bound where 0.
    pub(crate) grants_max: u32,
    /// Tracks without a row that one tenant may have in live grants; no bound where 0.
    pub(crate) tracks_max: u64,
    /// Jobs of one tenant that are given work at once; no bound where 0.
    pub(crate) jobs_max: u32,
    /// Jobs that are kept, closed ones included; as many as ever where 0.
    pub(crate) jobs_kept: usize,
    /// Work that one answer to a pull aims at.
    pub(crate) grant_work: Millis,
    /// Mean time between two looks of a coordinator for orphans; none where 0.
    pub(crate) sweep_every: Millis,
    /// How long an orphan is marked before it goes.
    pub(crate) orphan_age: Millis,
    /// Failed rows of a published job are submitted again.
    pub(crate) retried: u32,
    /// Agents of the version before.
    pub(crate) older: u32,
    /// A node makes again what counts already, under another name, and commits it.
    pub(crate) misuse: u32,
    /// Jobs ask for devices of a kind, with so much memory, or with their bundle loaded.
    pub(crate) demanding: u32,
    /// A coordinator that starts is of the version before, whichever it was until then.
    pub(crate) rolled_back: u32,
    /// Somebody revokes what made an escalation shard as a part of it counts.
    pub(crate) regret: u32,
    /// Nothing happens but work, and shares must be even.
    pub(crate) quiet: bool,
    /// Escalations are made and regretted: the first node alone runs the residual, and slowly.
    pub(crate) regretful: bool,
    /// Jobs are as large as the bounds of a shard and of a transaction.
    pub(crate) large: Option<Large>,
}

/// What is large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Large {
    /// One job has more shards than a transaction has room for, another has shards of very many parts.
    Many,
    /// A shard's tracks lie scattered, and the node that is given them is lost before it names any.
    Scattered,
}

/// What links do to messages.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkOdds {
    pub(crate) lose: u32,
    pub(crate) double: u32,
    pub(crate) delay: u32,
    pub(crate) latency_max: u64,
    pub(crate) delay_max: u64,
}

/// What the store does to requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreOdds {
    /// Applied, and the answer lost.
    pub(crate) unheard: u32,
    /// Not applied, and the answer lost.
    pub(crate) lost: u32,
    /// Applied later, after reads.
    pub(crate) late: u32,
    pub(crate) refused: u32,
    pub(crate) unread: u32,
    /// Keys of one reading read at two times.
    pub(crate) torn: u32,
    /// A reading of a job's record is held up, and the job is changed meanwhile.
    pub(crate) overtaken: u32,
}

/// What storage does to objects.
#[derive(Clone, Debug, Default)]
pub(crate) struct StorageOdds {
    /// 503 or 409: not applied.
    pub(crate) refused: u32,
    /// Applied, and said to have failed.
    pub(crate) unheard: u32,
    /// Said to have failed, and applied later.
    pub(crate) late: u32,
    /// A bit is changed on the way.
    pub(crate) flipped: u32,
    /// The condition is ignored: what stands there is written over.
    pub(crate) careless: bool,
}

/// What tracks are, and what happens to them.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrackOdds {
    pub(crate) unscannable: u32,
    pub(crate) unsure: u32,
    /// Tracks of a job that kill workers, decoders or machines, at most.
    pub(crate) poison_max: u64,
    pub(crate) unreachable: u32,
    pub(crate) millis_max: u64,
}

impl Mix {
    /// A cluster to which nothing happens.
    pub(crate) fn calm() -> Self {
        Self {
            coordinators: 1,
            agents: 2,
            jobs: 2,
            safety: Millis(30_000),
            flush_every: Millis(5_000),
            page: 1_000,
            skewed: false,
            links: LinkOdds {
                latency_max: 5,
                ..LinkOdds::default()
            },
            store: StoreOdds::default(),
            storage: StorageOdds::default(),
            tracks: TrackOdds {
                millis_max: 500,
                ..TrackOdds::default()
            },
            fault_every: Millis(0),
            faults: Vec::new(),
            operate_every: Millis(0),
            stubborn: false,
            late_cancel: 0,
            away: 0,
            copied: false,
            tenants: 1,
            owned: 0,
            grants_max: 0,
            tracks_max: 0,
            jobs_max: 0,
            jobs_kept: 0,
            grant_work: Config::default().grant_work,
            sweep_every: Millis(10_000),
            orphan_age: Millis(20_000),
            retried: 0,
            older: 0,
            misuse: 0,
            demanding: 0,
            rolled_back: 0,
            regret: 0,
            quiet: false,
            regretful: false,
            large: None,
        }
    }

    /// A cluster without faults in which tenants want more than there is.
    fn quiet(dice: &mut Dice) -> Self {
        let tenants = 2 + dice.index(2);
        Self {
            agents: 1 + dice.index(3),
            jobs: tenants,
            tenants,
            grant_work: Millis(dice.between(500, 4_000)),
            flush_every: Millis(dice.between(1_000, 5_000)),
            quiet: true,
            ..Self::calm()
        }
    }

    /// A cluster in which escalations are revoked and made again: nodes that only screen take most tracks, and the one that
    /// runs the residual comes after.
    fn regretful(dice: &mut Dice) -> Self {
        Self {
            coordinators: 1 + dice.index(2),
            agents: 3 + dice.index(2),
            jobs: 1 + dice.index(2),
            safety: Millis(dice.between(60_000, 180_000)),
            flush_every: Millis(dice.between(1_000, 3_000)),
            links: LinkOdds {
                double: odds(dice, 300),
                ..Self::calm().links
            },
            store: StoreOdds {
                unheard: odds(dice, 200),
                late: odds(dice, 200),
                ..StoreOdds::default()
            },
            storage: StorageOdds {
                unheard: odds(dice, 500),
                late: odds(dice, 500),
                ..StorageOdds::default()
            },
            tracks: TrackOdds {
                unsure: u32::try_from(dice.between(3_000, 6_000)).unwrap_or(0),
                millis_max: dice.between(100, 1_000),
                ..TrackOdds::default()
            },
            grant_work: Millis(dice.between(2_000, 30_000)),
            sweep_every: Millis(0),
            regret: u32::try_from(dice.between(3_000, 9_000)).unwrap_or(0),
            regretful: true,
            ..Self::calm()
        }
    }

    /// A cluster with jobs as large as the bounds are: what small ones never fill is filled here. Rare, since it is slow.
    fn large(dice: &mut Dice) -> Self {
        let scattered = dice.happens(4_000);
        let tracks = TrackOdds {
            unscannable: odds(dice, 500),
            unsure: 5_000,
            poison_max: maybe(dice, 3_000, 1),
            unreachable: 0,
            millis_max: dice.between(100, 400),
        };
        let calm = Self {
            coordinators: 1 + dice.index(2),
            page: 100,
            links: LinkOdds {
                lose: odds(dice, 200),
                double: odds(dice, 200),
                ..Self::calm().links
            },
            store: StoreOdds {
                unheard: odds(dice, 200),
                late: odds(dice, 200),
                ..StoreOdds::default()
            },
            tracks,
            fault_every: Millis(dice.between(10_000, 40_000)),
            faults: kinds(dice),
            sweep_every: Millis(0),
            ..Self::calm()
        };
        if scattered {
            // The first node, which alone runs the residual, comes late; the other one has all tracks, and writes them once.
            return Self {
                agents: 2,
                jobs: 1,
                safety: Millis(300_000),
                flush_every: Millis(600_000),
                grant_work: Millis(70_000),
                fault_every: Millis(0),
                large: Some(Large::Scattered),
                ..calm
            };
        }
        Self {
            agents: 2 + dice.index(3),
            jobs: 2,
            safety: Millis(dice.between(60_000, 120_000)),
            flush_every: Millis(dice.between(300, 1_000)),
            large: Some(Large::Many),
            ..calm
        }
    }

    /// The policy of the coordinators.
    pub(crate) fn policy(&self) -> Config {
        let ever = Config::default().jobs_kept;
        Config {
            grant_work: self.grant_work,
            jobs_kept: if self.jobs_kept > 0 {
                self.jobs_kept
            } else {
                ever
            },
            quota: Quota {
                grants_max: (self.grants_max > 0).then_some(self.grants_max),
                tracks_max: (self.tracks_max > 0).then_some(self.tracks_max),
                jobs_max: (self.jobs_max > 0).then_some(self.jobs_max),
            },
            shard_form: self.shard_form(),
            ..Config::default()
        }
    }

    /// Half of all seeds write shard records in the brief form. It follows from what is drawn already, so that no other draw moves
    /// and a run that is repeated from its notes has the same form.
    const fn shard_form(&self) -> Form {
        match self.flush_every.0 % 2 {
            0 => Form::Long,
            _ => Form::Brief,
        }
    }

    /// The mix of a seed.
    pub(crate) fn drawn(dice: &mut Dice) -> Self {
        if dice.happens(300) {
            return Self::quiet(dice);
        }
        if dice.happens(700) {
            return Self::regretful(dice);
        }
        if dice.happens(50) {
            return Self::large(dice);
        }
        Self {
            coordinators: usize::from(dice.happens(7_000)) + 1,
            agents: 1 + dice.index(4),
            jobs: 1 + dice.index(3),
            safety: Millis(dice.between(20_000, 120_000)),
            flush_every: Millis(dice.between(1_000, 30_000)),
            page: 1 + dice.index(12),
            skewed: dice.happens(5_000),
            links: LinkOdds::drawn(dice),
            store: StoreOdds::drawn(dice),
            storage: StorageOdds::drawn(dice),
            tracks: TrackOdds::drawn(dice),
            fault_every: Millis(maybe(dice, 8_000, 20_000).max(500) * 2),
            faults: kinds(dice),
            operate_every: Millis(maybe(dice, 8_000, 20_000)),
            stubborn: dice.happens(5_000),
            late_cancel: odds(dice, 4_000),
            away: odds(dice, 4_000),
            copied: dice.happens(1_000),
            tenants: 1 + usize::from(dice.happens(4_000)),
            owned: odds(dice, 6_000),
            grants_max: u32::try_from(maybe(dice, 2_000, 6)).unwrap_or(0),
            tracks_max: maybe(dice, 2_000, 20),
            jobs_max: u32::try_from(maybe(dice, 2_000, 2)).unwrap_or(0),
            jobs_kept: usize::try_from(maybe(dice, 4_000, 3)).unwrap_or(0),
            grant_work: Millis(dice.between(1_000, 120_000)),
            sweep_every: Millis(maybe(dice, 6_000, 20) * 500),
            orphan_age: Millis(dice.between(1_000, 20_000)),
            retried: odds(dice, 8_000),
            older: odds(dice, 4_000),
            misuse: odds(dice, 2_000),
            demanding: odds(dice, 8_000),
            rolled_back: odds(dice, 6_000),
            regret: odds(dice, 4_000),
            quiet: false,
            regretful: false,
            large: None,
        }
    }
}

impl LinkOdds {
    fn drawn(dice: &mut Dice) -> Self {
        Self {
            lose: odds(dice, 1_000),
            double: odds(dice, 1_000),
            delay: odds(dice, 1_000),
            latency_max: dice.between(2, 60),
            delay_max: dice.between(500, 30_000),
        }
    }
}

impl StoreOdds {
    fn drawn(dice: &mut Dice) -> Self {
        Self {
            unheard: odds(dice, 800),
            lost: odds(dice, 800),
            late: odds(dice, 800),
            refused: odds(dice, 800),
            unread: odds(dice, 800),
            torn: odds(dice, 5_000),
            overtaken: odds(dice, 8_000),
        }
    }
}

impl StorageOdds {
    fn drawn(dice: &mut Dice) -> Self {
        Self {
            refused: odds(dice, 2_000),
            unheard: odds(dice, 2_000),
            late: odds(dice, 2_000),
            flipped: odds(dice, 1_000),
            careless: dice.happens(3_000),
        }
    }
}

impl TrackOdds {
    fn drawn(dice: &mut Dice) -> Self {
        Self {
            unscannable: odds(dice, 1_500),
            unsure: odds(dice, 3_000),
            poison_max: maybe(dice, 4_000, 2),
            unreachable: odds(dice, 300),
            millis_max: dice.between(100, 3_000),
        }
    }
}

/// Which kinds of faults strike: half of them, or now and then a few that come so much the more often.
fn kinds(dice: &mut Dice) -> Vec<bool> {
    let chance = if dice.happens(3_000) { 1_500 } else { 5_000 };
    let kinds = crate::faults::KINDS.iter();
    kinds.map(|_| dice.happens(chance)).collect()
}

/// A chance up to `most`, or none.
fn odds(dice: &mut Dice, most: u64) -> u32 {
    u32::try_from(maybe(dice, 5_000, most)).unwrap_or(0)
}

/// A number from 1 to `most` with that chance, else 0.
fn maybe(dice: &mut Dice, chance: u32, most: u64) -> u64 {
    if dice.happens(chance) {
        dice.between(1, most)
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_write_shard_records_in_either_form() {
        let form = |seed| Mix::drawn(&mut Dice::seeded(seed)).policy().shard_form;
        let brief = (0..100).filter(|seed| form(*seed) == Form::Brief).count();
        assert!((20..80).contains(&brief), "{brief} of 100");
    }
}
