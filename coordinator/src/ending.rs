//! How a coordinator that is told to end spends its time: calls under way are answered, what was decided is settled and the leadership given up,
//! all within one drain. Called by `start` alone; what is left when the time is over is the next leader's, or the next start's.

use std::time::Duration;

use runtime::shutdown::{Drained, Shutdown, drain};
use tokio::time::{Instant, timeout_at};

/// How long calls under way may keep a leader that others share a store with from handing over: most are answered within milliseconds, and
/// one that is not is answered by the next leader or rests on what does not change. As long again a reign has to settle where calls took the
/// whole drain.
pub(crate) const HAND_OVER: Duration = Duration::from_millis(250);

/// Lets calls end by themselves for `alone`, then asks for the end of the reign, and lets both end until `deadline` is over since the beginning:
/// in all no longer than that and [`HAND_OVER`].
pub(crate) async fn wind_up<C, R>(
    (deadline, alone): (Duration, Duration),
    mut calls: impl Future<Output = C> + Unpin,
    closing: &Shutdown,
    reign: impl Future<Output = R>,
) -> (Drained<C>, Drained<R>) {
    let until = Instant::now() + deadline;
    let drained = drain(alone.min(deadline), &mut calls).await;
    closing.ask();
    let settled = drain_until(until.max(Instant::now() + HAND_OVER), reign);
    match drained {
        Drained::Done(_) => (drained, settled.await),
        Drained::TimedOut => tokio::join!(drain_until(until, calls), settled),
    }
}

async fn drain_until<T>(until: Instant, work: impl Future<Output = T>) -> Drained<T> {
    timeout_at(until, work)
        .await
        .map_or(Drained::TimedOut, Drained::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    const DEADLINE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn neither_calls_nor_a_reign_that_never_end_take_longer_than_one_drain_and_the_hand_over()
    {
        for alone in [HAND_OVER, DEADLINE] {
            let (begun, closing) = (Instant::now(), Shutdown::new());
            let (calls, reign) = (pending::<()>(), pending::<()>());
            let left = wind_up((DEADLINE, alone), calls, &closing, reign).await;
            assert_eq!(left, (Drained::TimedOut, Drained::TimedOut));
            assert!(begun.elapsed() <= DEADLINE + HAND_OVER + Duration::from_millis(10));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reign_is_told_to_end_after_the_calls_or_once_they_took_their_time_alone() {
        let (begun, closing) = (Instant::now(), Shutdown::new());
        let told = closing.clone();
        let reign = Box::pin(async move {
            told.asked().await;
            begun.elapsed()
        });
        let ended = wind_up((DEADLINE, HAND_OVER), pending::<()>(), &closing, reign).await;
        let Drained::Done(after) = ended.1 else {
            panic!("the reign ends");
        };
        assert!(after >= HAND_OVER && after < DEADLINE, "{after:?}");
        let closing = Shutdown::new();
        let begun = Instant::now();
        let ended = wind_up((DEADLINE, DEADLINE), ready(1), &closing, ready(2)).await;
        assert_eq!(ended, (Drained::Done(1), Drained::Done(2)));
        assert!(begun.elapsed() < HAND_OVER);
    }
}
