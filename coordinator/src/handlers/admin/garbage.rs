//! Collecting when an operator asks for it: by the collector's own rules and memory. Unless told to, it only counts.

use std::sync::Arc;

use proto::v1;
use types::Problem;

use crate::app::App;
use crate::audit;
use crate::collector::{self, Counted, Purpose, Reach, Swept};
use crate::rpc::Sender;

/// Looks through all jobs, and removes what may go where the request says so.
pub(super) async fn collect(
    app: Arc<App>,
    wire: v1::CollectGarbageRequest,
    answers: Sender<v1::CollectGarbageResponse>,
) -> Result<(), Problem> {
    let caller = proto::caller(wire.caller)?;
    let (purpose, what) = match wire.apply {
        true => (Purpose::Sweep, "orphans, to remove them"),
        false => (Purpose::Count, "orphans, to count them"),
    };
    let outcome = collector::look(&app, purpose, Reach::Whole).await;
    audit::line(&caller, "CollectGarbage", what, &outcome);
    let age = app.marks.lock().await.age();
    // What was removed stays removed, be somebody there to hear of it or not.
    let _ = answers.send(answer(outcome?, age.0)).await;
    Ok(())
}

fn answer(swept: Swept, age_ms: u64) -> v1::CollectGarbageResponse {
    let orphan = |(cause, counted): (&str, Counted)| v1::OrphanCount {
        cause: cause.to_owned(),
        objects: counted.objects,
        bytes: counted.bytes,
    };
    v1::CollectGarbageResponse {
        orphans: swept.orphans.into_iter().map(orphan).collect(),
        removed: swept.removed.objects,
        removed_bytes: swept.removed.bytes,
        waiting: swept.waiting as u64,
        age_ms,
        trouble: swept.trouble,
    }
}
