//! What a device that runs out of memory asks of a batch, of windows and of segments alike: the same items in two halves, and a
//! smaller batch from then on, which grows back slowly.

use std::ops::Range;

use crate::seam::EngineError;

/// Full batches without trouble after which a batch that was once split is tried one item larger: slow, since each
/// wrong try costs a whole batch.
const REGROW_AFTER: u32 = 64;

/// What each item of a batch came to: its score, or the device's words for why this item alone did not fit.
pub(crate) type Outcomes<S> = Vec<Result<S, String>>;

/// A batch that ran: each place with what its item came to, and how often the batch was split.
pub(crate) type Ran<P, S> = (Vec<(P, Result<S, String>)>, u64);

/// Runs items; on out of memory the same items in two halves, down to one. Also returns how often it split.
///
/// # Errors
/// One that says nothing of single items, or ends the worker; out of memory is neither.
pub(crate) fn halved<S, R>(
    items: Range<usize>,
    run: &mut R,
) -> Result<(Outcomes<S>, u64), EngineError>
where
    R: FnMut(Range<usize>) -> Result<Vec<S>, EngineError>,
{
    let count = items.len();
    match run(items.clone()) {
        Ok(scores) if scores.len() == count => Ok((scores.into_iter().map(Ok).collect(), 0)),
        Ok(scores) => Err(EngineError::Device {
            detail: format!("{} scores for {count} items", scores.len()),
        }),
        Err(EngineError::OutOfMemory { detail, .. }) if count <= 1 => Ok((vec![Err(detail)], 0)),
        Err(EngineError::OutOfMemory { .. }) => {
            let middle = items.start + count / 2;
            let (mut outcomes, left) = halved(items.start..middle, run)?;
            let (rest, right) = halved(middle..items.end, run)?;
            outcomes.extend(rest);
            Ok((outcomes, 1 + left + right))
        }
        Err(
            error @ (EngineError::NoRoom { .. }
            | EngineError::Device { .. }
            | EngineError::Bundle { .. }),
        ) => Err(error),
    }
}

/// How many items a batch may have.
#[derive(Debug)]
pub(crate) struct Cap {
    now: usize,
    max: usize,
    good: u32,
}

impl Cap {
    /// At first as many as ever: `max`, at least one.
    pub(crate) fn new(max: usize) -> Self {
        let max = max.max(1);
        Self {
            now: max,
            max,
            good: 0,
        }
    }

    /// How many it may have now.
    pub(crate) fn now(&self) -> usize {
        self.now
    }

    /// Learns that a batch of so many items ran and was split so often.
    pub(crate) fn learn(&mut self, items: usize, splits: u64) {
        if splits > 0 {
            self.now = (items / 2).max(1);
            self.good = 0;
        } else if items >= self.now && self.now < self.max {
            self.good += 1;
            if self.good >= REGROW_AFTER {
                self.now += 1;
                self.good = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_was_split_is_halved_and_grows_back_by_one_after_many_good_ones() {
        let mut cap = Cap::new(9);
        cap.learn(9, 1);
        assert_eq!(cap.now(), 4);
        for _ in 0..REGROW_AFTER - 1 {
            cap.learn(4, 0);
        }
        cap.learn(3, 0);
        assert_eq!(cap.now(), 4, "a batch that was not full proves nothing");
        cap.learn(4, 0);
        assert_eq!(cap.now(), 5);
        cap.learn(1, 3);
        assert_eq!(cap.now(), 1);
    }
}
