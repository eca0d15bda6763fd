//! A child with its history: reads what it reports, starts it again with back-off when it dies, and ends it. A child that
//! was never ready and says why is not started again: its cause becomes the cause of `up`.

use super::child::{self, Deaths, Next, Plan, Reports};
use super::stop::Stop;
use crate::failure::{Failure, problem};
use crate::output::say;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::Child;
use tokio::time::{Instant, timeout};
use types::{Code, Problem, Report};

/// Time that each child has to drain before it is killed: a flush of the tracks in hand fits into it.
const DRAIN: Duration = Duration::from_secs(30);
/// Time that the agent gives itself of that: it must have ended by itself, its worker with it, before it is killed.
pub(super) const AGENT_DRAIN_SECS: u32 = 25;
/// Exit code by which a child says that its configuration is wrong: starting it again would change nothing.
const EXIT_CONFIG: i32 = 2;
/// How long the last report of a dead child is waited for: it is in the pipe already.
const LAST_REPORT_WAIT: Duration = Duration::from_secs(1);

/// What happens to a child.
#[derive(Debug)]
pub(super) enum Event {
    /// It does its work, and listens there if it serves anything.
    Ready(Option<SocketAddr>),
    /// It ended.
    Died(Death),
}

/// How a child ended.
#[derive(Debug)]
pub(super) struct Death {
    name: &'static str,
    how: String,
    code: Option<i32>,
    reason: Option<Problem>,
    drained: bool,
}

impl Death {
    /// The failure of `up` that a final death is.
    fn failure(self) -> Failure {
        let Self { name, how, .. } = self;
        match self.reason {
            Some(reason) => reason.into(),
            None => problem(
                Code::ConfigInvalid,
                format!("`{name}` refused its configuration: {how}"),
            ),
        }
    }

    /// Whether it ended because an operator drained it, as it said itself: any other end is a death, a good one too.
    pub(super) fn was_drained(&self) -> bool {
        self.drained && self.code == Some(0)
    }

    /// Whether starting the child again would change nothing: it never was ready and says why. What was ready once may be again.
    fn is_final(&self, was_ready: bool) -> bool {
        !was_ready && (self.code == Some(EXIT_CONFIG) || self.reason.is_some())
    }
}

impl std::fmt::Display for Death {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "{} ({reason})", self.how),
            None => f.write_str(&self.how),
        }
    }
}

/// A child and all that is known of it.
pub(super) struct Keeper {
    plan: Plan,
    child: Child,
    reports: Reports,
    reporting: bool,
    was_ready: bool,
    reason: Option<Problem>,
    drained: bool,
    deaths: Deaths,
}

impl Keeper {
    /// Starts a child.
    pub(super) fn start(plan: Plan) -> Result<Self, Failure> {
        let (child, reports) = child::start(&plan)?;
        Ok(Self {
            plan,
            child,
            reports,
            reporting: true,
            was_ready: false,
            reason: None,
            drained: false,
            deaths: Deaths::default(),
        })
    }

    /// Starts it from now on by another plan.
    pub(super) fn restart_by(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// Waits for what happens next to the child.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            tokio::select! {
                line = self.reports.next_line(), if self.reporting => match line {
                    Ok(Some(line)) => if let Some(Report::Ready { listening }) = self.take(&line) {
                        return Event::Ready(listening);
                    },
                    Ok(None) | Err(_) => self.reporting = false,
                },
                status = self.child.wait() => return Event::Died(self.death(status).await),
            }
        }
    }

    /// Takes up a report; what is none says nothing.
    fn take(&mut self, line: &str) -> Option<Report> {
        let report = serde_json::from_str(line).ok()?;
        match &report {
            Report::Ready { .. } => self.was_ready = true,
            Report::Failed(reason) => self.reason = Some(reason.clone()),
            Report::Drained => self.drained = true,
            // No child of `up` is asked to.
            Report::Rebuilt(_) | Report::Probed(_) => {}
        }
        Some(report)
    }

    async fn death(&mut self, status: std::io::Result<ExitStatus>) -> Death {
        while let Ok(Ok(Some(line))) = timeout(LAST_REPORT_WAIT, self.reports.next_line()).await {
            self.take(&line);
        }
        Death {
            name: self.plan.name,
            how: status
                .as_ref()
                .map_or_else(ToString::to_string, ToString::to_string),
            code: status.ok().and_then(|status| status.code()),
            reason: self.reason.take(),
            drained: std::mem::take(&mut self.drained),
        }
    }

    /// Starts the child again after its back-off, or says why not.
    pub(super) async fn revive(&mut self, death: Death) -> Result<(), Failure> {
        if death.is_final(self.was_ready) {
            return Err(death.failure());
        }
        let name = self.plan.name;
        match self.deaths.count(Instant::now()) {
            Next::GiveUp => Err(problem(
                Code::ChildDied,
                format!("`{name}` died five times within a minute, last with {death}"),
            )),
            Next::Restart(after) => {
                say(format_args!(
                    "`{name}` ended with {death}; starting it again in {after:?}"
                ));
                tokio::time::sleep(after).await;
                (self.child, self.reports) = child::start(&self.plan)?;
                self.reporting = true;
                Ok(())
            }
        }
    }

    /// Lets the child drain, unless nothing is to be waited for, then makes sure that it is gone.
    pub(super) async fn end(&mut self, stop: &mut Stop) {
        child::terminate(&self.child);
        let drained = if stop.at_once {
            false
        } else {
            tokio::select! {
                ended = timeout(DRAIN, self.child.wait()) => ended.is_ok(),
                () = stop.asked() => {
                    stop.at_once = true;
                    false
                }
            }
        };
        if !drained {
            say(format_args!(
                "`{}` did not drain; ending it",
                self.plan.name
            ));
            // Killing can only fail where the child is gone already.
            let _ = self.child.kill().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    fn death(code: i32, reason: Option<Code>) -> Death {
        Death {
            name: "coordinator",
            how: format!("exit status: {code}"),
            code: Some(code),
            reason: reason.map(|code| Problem::new(code, "it is so")),
            drained: false,
        }
    }

    #[track_caller]
    fn check(death: Death, was_ready: bool, expected: Option<(&str, Exit)>) {
        let is_final = death.is_final(was_ready);
        assert_eq!(is_final, expected.is_some());
        let Some((code, exit)) = expected else { return };
        let Failure::Problem {
            code: found,
            exit: as_exit,
            ..
        } = death.failure()
        else {
            panic!("a death is a problem");
        };
        assert_eq!((found.as_str(), as_exit), (code, exit));
    }

    #[test]
    fn only_a_child_that_says_so_was_drained() {
        let mut ended = death(0, None);
        assert!(!ended.was_drained(), "a signal ends it as well");
        ended.drained = true;
        assert!(ended.was_drained());
        ended.code = Some(1);
        assert!(!ended.was_drained());
    }

    #[test]
    fn a_child_that_was_never_ready_and_says_why_ends_up_by_that_cause() {
        let locked = Some(("DATA_LOCKED", Exit::Conflict));
        let taken = Some(("ADDRESS_IN_USE", Exit::Conflict));
        let config = Some(("CONFIG_INVALID", Exit::Usage));
        check(death(1, Some(Code::DataLocked)), false, locked);
        check(death(1, Some(Code::AddressInUse)), false, taken);
        check(death(2, Some(Code::ConfigInvalid)), false, config);
        check(death(2, None), false, config);
        check(death(2, Some(Code::ConfigInvalid)), true, None);
        check(death(1, Some(Code::StoreUnavailable)), true, None);
        check(death(1, None), false, None);
    }
}
