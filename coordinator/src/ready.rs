//! Why this process is not ready for all that may be asked of it, where something keeps it from that which passes: said in the log when it begins
//! and when it ends, by a metric, and in the answer to who leads. Told by `start`, `opening`, `terms`, `reign` and `mirror`; it decides nothing.

use tokio::sync::watch;
use types::Problem;

/// The last word on what is missing. Copies are one and the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ready {
    lacks: watch::Sender<Option<Problem>>,
}

impl Ready {
    /// Something is missing. It is logged once for as long as it is the same.
    pub(crate) fn lacks(&self, problem: &Problem) {
        metrics::gauge!("scan_ready").set(0.0);
        let before = self.lacks.send_replace(Some(problem.clone()));
        if before.is_none_or(|before| before.code != problem.code) {
            tracing::error!(%problem, "this coordinator is not ready");
        }
    }

    /// Nothing is missing.
    pub(crate) fn is_well(&self) {
        metrics::gauge!("scan_ready").set(1.0);
        if self.lacks.send_replace(None).is_some() {
            tracing::info!("this coordinator is ready");
        }
    }

    /// What is missing.
    #[must_use]
    pub(crate) fn why(&self) -> Option<Problem> {
        self.lacks.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::Code;

    #[test]
    fn what_is_missing_is_said_until_nothing_is() {
        let ready = Ready::default();
        assert_eq!(ready.why(), None);
        let gone = Problem::new(Code::StorageUnavailable, "it does not answer");
        ready.clone().lacks(&gone);
        assert_eq!(ready.why(), Some(gone));
        ready.is_well();
        assert_eq!(ready.why(), None);
    }
}
