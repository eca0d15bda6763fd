//! Waiting for what happens elsewhere: looked for again and again, until it is there or has taken too long. Suites call it; nothing sleeps for luck.

use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Looks until something is found.
///
/// # Errors
/// Where nothing is found for so long; `what` says for what was waited.
pub fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut found: impl FnMut() -> Option<T>,
) -> Result<T> {
    let until = Instant::now() + patience;
    loop {
        if let Some(found) = found() {
            return Ok(found);
        }
        ensure!(Instant::now() < until, "waited {patience:?} for {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}
