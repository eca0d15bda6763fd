//! From the scheduler's words to the agent's: what the wire does between two processes.

use agent_core::{
    Beaten, Care, CommitOutcome, Committed, Flush, GrantKey, GrantOrder, Granted, Joined, Order,
    Pulled, Rank,
};
use scheduler::Answer;
use scheduler::record;
use types::{Digest, Millis, Session};

/// An answer of another kind than the call's is none that the shells could make.
const MISMATCH: &str = "an answer is of its call's kind";

pub(crate) fn joined(answer: &Answer) -> Joined {
    let Answer::Joined(joined) = answer else {
        panic!("{MISMATCH}: {answer:?}");
    };
    Joined {
        session: Session(joined.session.0),
        beat_every: joined.beat_every,
        grant_lives: joined.grant_lives,
    }
}

pub(crate) fn pulled(answer: &Answer) -> Pulled {
    let Answer::Pulled(pulled) = answer else {
        panic!("{MISMATCH}: {answer:?}");
    };
    let granted = |granted: &scheduler::Granted| {
        let spec = pulled.jobs.iter().find(|spec| spec.job == granted.job.job);
        Granted {
            key: key(granted),
            range: granted.range,
            tracks: granted.tracks.clone(),
            bundle: spec.map_or(Digest::of(b"none"), |spec| spec.bundle),
            shard_tracks: spec.map_or(1, |spec| spec.plan.shard_tracks),
            care: care(granted.care),
            apart: granted.apart.clone(),
            escalations_max: granted.escalations_max,
            flush: flush(granted.flush),
            rank: Rank {
                lane: granted.lane as u8,
                priority: core::cmp::Reverse(granted.priority),
            },
        }
    };
    Pulled {
        grants: pulled.grants.iter().map(granted).collect(),
        again_after: pulled.again_after.max(Millis(1)),
    }
}

pub(crate) fn beaten(answer: &Answer) -> Beaten {
    let Answer::Beaten(beaten) = answer else {
        panic!("{MISMATCH}: {answer:?}");
    };
    Beaten {
        orders: beaten.orders.iter().map(grant_order).collect(),
        pull_now: beaten.pull_now,
        drain: beaten.drain,
    }
}

pub(crate) fn committed(answer: &Answer) -> Committed {
    let Answer::Committed(committed) = answer else {
        panic!("{MISMATCH}: {answer:?}");
    };
    Committed {
        outcome: match committed.outcome {
            scheduler::CommitOutcome::Counted => CommitOutcome::Counted,
            scheduler::CommitOutcome::DoneAlready => CommitOutcome::DoneAlready,
            scheduler::CommitOutcome::Superseded => CommitOutcome::Superseded,
        },
        order: order(committed.order),
    }
}

/// The grants that the answer to a beat renews.
pub(crate) fn renewed(answer: &Answer) -> Vec<GrantKey> {
    let Answer::Beaten(beaten) = answer else {
        return Vec::new();
    };
    let lives = beaten
        .orders
        .iter()
        .filter(|order| order.order != scheduler::Order::Stop);
    lives.map(|order| grant_order(order).key).collect()
}

fn grant_order(given: &scheduler::GrantOrder) -> GrantOrder {
    GrantOrder {
        key: GrantKey {
            job: given.job.clone(),
            shard: given.shard,
            attempt: given.attempt,
        },
        order: order(given.order),
        flush: flush(given.flush),
    }
}

pub(crate) fn key(granted: &scheduler::Granted) -> GrantKey {
    GrantKey {
        job: granted.job.job.clone(),
        shard: granted.shard,
        attempt: granted.attempt,
    }
}

pub(crate) fn care(care: record::Care) -> Care {
    match care {
        record::Care::Normal => Care::Normal,
        record::Care::Apart => Care::Apart,
        record::Care::Reject => Care::Reject,
    }
}

fn flush(flush: scheduler::Flush) -> Flush {
    match flush {
        scheduler::Flush::AsConfigured => Flush::AsConfigured,
        scheduler::Flush::AtEnd => Flush::AtEnd,
    }
}

fn order(order: scheduler::Order) -> Order {
    match order {
        scheduler::Order::Continue => Order::Continue,
        scheduler::Order::YieldAt { at } => Order::YieldAt(at),
        scheduler::Order::Stop => Order::Stop,
    }
}
