//! How long tracks wait after a failure that costs: longer with each. Asked as a shard's record is installed; what waits is
//! in memory only, so that a new leader tries at once.

use crate::limits::{BACK_OFF_FIRST, BACK_OFF_MAX, BACK_OFF_SPENT, FAILURES_PER_CAUSE};
use crate::record::{Failure, FailureCause, ShardRecord};
use crate::settle::doubled;
use crate::state::{Held, Hold, Shard};
use types::Millis;

/// What waits after a change: longer with each failure that costs.
pub(crate) fn hold(now: Millis, old: Option<&Shard>, new: &ShardRecord) -> Hold {
    let before = old.map_or(
        Hold {
            what: Held::Suspects,
            until: now,
        },
        |old| old.hold,
    );
    let was = old.map_or(&[][..], |old| &old.stored.record.failures);
    let (had, has) = (failures(was), failures(&new.failures));
    if old.is_none() || has <= had {
        return before;
    }
    let unreachable = |failures: &[Failure]| {
        let storage = |failure: &&Failure| failure.cause == FailureCause::Storage;
        failures
            .iter()
            .find(storage)
            .map_or(0, |failure| failure.count)
    };
    let spent = new
        .failures
        .iter()
        .any(|failure| failure.count >= FAILURES_PER_CAUSE);
    // The node that could not reach the source is passed over for a while; the others wait only once many could not.
    let all = spent && unreachable(&new.failures) > unreachable(was);
    let span = if spent {
        BACK_OFF_SPENT
    } else {
        doubled(BACK_OFF_FIRST, BACK_OFF_MAX, has)
    };
    Hold {
        what: if all { Held::All } else { Held::Suspects },
        until: now + span,
    }
}

fn failures(failures: &[Failure]) -> u32 {
    failures
        .iter()
        .map(|failure| u32::from(failure.count))
        .sum()
}
