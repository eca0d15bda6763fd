//! Faults by their kind: how often each struck, so that a kind that never does is seen. Whoever lets one happen notes it here, where
//! it hit.

use crate::faults::KINDS;
use crate::world::World;

/// A message is lost.
pub(crate) const MESSAGE_LOST: &str = "message lost";
/// A message comes twice.
pub(crate) const MESSAGE_DOUBLED: &str = "message doubled";
/// Something needs longer on its way.
pub(crate) const MESSAGE_DELAYED: &str = "message delayed";
/// A write is applied, and its answer lost.
pub(crate) const WRITE_UNHEARD: &str = "write unheard";
/// A write is not applied, and its answer lost.
pub(crate) const WRITE_LOST: &str = "write lost";
/// A write is applied later.
pub(crate) const WRITE_LATE: &str = "write late";
/// A write is refused.
pub(crate) const WRITE_REFUSED: &str = "write refused";
/// A reading is not answered.
pub(crate) const READ_UNANSWERED: &str = "read unanswered";
/// Keys of one reading are read at two times.
pub(crate) const READ_TORN: &str = "read torn";
/// A reading is overtaken by a change.
pub(crate) const READ_OVERTAKEN: &str = "read overtaken";
/// Storage refuses.
pub(crate) const PUT_REFUSED: &str = "put refused";
/// Storage does it, and says that it failed.
pub(crate) const PUT_UNHEARD: &str = "put unheard";
/// Storage says that it failed, and does it later.
pub(crate) const PUT_LATE: &str = "put late";
/// Storage changes a bit.
pub(crate) const PUT_FLIPPED: &str = "put flipped";
/// Storage writes over what stands there.
pub(crate) const PUT_OVER: &str = "put over what stands";
/// A store that is lost makes a leader as its last act.
pub(crate) const LED_LAST: &str = "led by a lost store";
/// A node makes again what counts.
pub(crate) const MADE_AGAIN: &str = "made again";

/// What happens to single messages and requests.
const SINGLE: &[&str] = &[
    MESSAGE_LOST,
    MESSAGE_DOUBLED,
    MESSAGE_DELAYED,
    WRITE_UNHEARD,
    WRITE_LOST,
    WRITE_LATE,
    WRITE_REFUSED,
    READ_UNANSWERED,
    READ_TORN,
    READ_OVERTAKEN,
    PUT_REFUSED,
    PUT_UNHEARD,
    PUT_LATE,
    PUT_FLIPPED,
    PUT_OVER,
    LED_LAST,
    MADE_AGAIN,
];

/// The name of every kind of fault: of processes, links, devices and services first, then of single messages and requests.
#[must_use]
pub fn fault_kinds() -> Vec<&'static str> {
    let kinds = KINDS.iter().map(|kind| kind.name());
    kinds.chain(SINGLE.iter().copied()).collect()
}

impl World {
    /// Whether a fault of that chance in ten thousand happens to a message or request.
    pub(crate) fn strikes(&mut self, per_myriad: u32, kind: &'static str) -> bool {
        let happens = self.dice.happens(per_myriad);
        if happens {
            self.struck(kind);
        }
        happens
    }

    /// A fault of that kind hit something.
    pub(crate) fn struck(&mut self, kind: &'static str) {
        debug_assert!(
            fault_kinds().contains(&kind),
            "`{kind}` is no kind of fault"
        );
        self.tally.faults += 1;
        *self.tally.struck.entry(kind).or_default() += 1;
    }
}
