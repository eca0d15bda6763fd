//! Wall time, for records and lines that are shown. Decisions use the driver's own monotonic time.

use std::time::{SystemTime, UNIX_EPOCH};

use types::UnixMillis;

/// Wall time now; 0 where the machine's clock stands before 1970.
#[must_use]
pub(crate) fn wall() -> UnixMillis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
