//! The agents' service: each message is checked, handed to the core, and the core's answer sent back. Nothing about
//! grants or commits is decided here.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an answer of any other kind than was asked for is one and the same fault"
)]

use std::sync::Arc;

use proto::Caller;
use proto::v1;
use proto::v1::agents_server::Agents;
use scheduler::{Answer, Request};
use tonic::{Request as Call, Response, Status};
use types::{Code, Problem, Session, VERSION, VERSION_BEFORE};

use super::offered;
use crate::app::{App, core_caller, unexpected};
use crate::wire::agents as wire;
use crate::{audit, rpc};

/// Characters of a version that an answer repeats: ours have five, and what a stranger sends is not sent back whole.
const VERSION_SHOWN_MAX: usize = 32;

/// The service.
#[derive(Clone)]
pub(crate) struct AgentsService(pub(crate) Arc<App>);

#[tonic::async_trait]
impl Agents for AgentsService {
    async fn join(
        &self,
        call: Call<v1::JoinRequest>,
    ) -> Result<Response<v1::JoinResponse>, Status> {
        let service = self.clone();
        let work = async move { service.joins(call.into_inner()).await };
        rpc::changing("Join", work).await
    }

    async fn pull(
        &self,
        call: Call<v1::PullRequest>,
    ) -> Result<Response<v1::PullResponse>, Status> {
        let service = self.clone();
        let work = async move { service.pulls(call.into_inner()).await };
        rpc::changing("Pull", work).await
    }

    async fn beat(
        &self,
        call: Call<v1::BeatRequest>,
    ) -> Result<Response<v1::BeatResponse>, Status> {
        rpc::unary("Beat", self.beats(call.into_inner())).await
    }

    async fn commit(
        &self,
        call: Call<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        let service = self.clone();
        let work = async move { service.commits(call.into_inner()).await };
        rpc::changing("Commit", work).await
    }

    async fn leave(
        &self,
        call: Call<v1::LeaveRequest>,
    ) -> Result<Response<v1::LeaveResponse>, Status> {
        let service = self.clone();
        let work = async move { service.leaves(call.into_inner()).await };
        rpc::changing("Leave", work).await
    }
}

impl AgentsService {
    async fn joins(&self, mut wire: v1::JoinRequest) -> Result<v1::JoinResponse, Problem> {
        let caller = proto::caller(wire.caller.take())?;
        check_version(&wire.version)?;
        let info = wire::join(wire)?;
        let what = info.node.to_string();
        let answer = self.ask(&caller, Request::Join(info)).await;
        audit::refusal(&caller, "Join", &what, &answer);
        match answer? {
            Answer::Joined(joined) => Ok(wire::joined(joined)),
            other => Err(unexpected("Join", &other)),
        }
    }

    async fn pulls(&self, mut wire: v1::PullRequest) -> Result<v1::PullResponse, Problem> {
        let caller = proto::caller(wire.caller.take())?;
        let pull = wire::pull(wire)?;
        let what = pull.node.to_string();
        let answer = self.ask(&caller, Request::Pull(pull)).await;
        audit::refusal(&caller, "Pull", &what, &answer);
        match answer? {
            Answer::Pulled(pulled) => Ok(self.pulled(pulled)),
            other => Err(unexpected("Pull", &other)),
        }
    }

    fn pulled(&self, pulled: scheduler::PullAnswer) -> v1::PullResponse {
        let brief = |spec: types::JobSpec| v1::JobBrief {
            list_object: self.0.list_object(&spec.tenant, spec.list),
            spec: Some(spec.into()),
        };
        // Definitions are of use with work only.
        let sources = if pulled.grants.is_empty() {
            Vec::new()
        } else {
            self.0.sources.definitions()
        };
        v1::PullResponse {
            pull: pulled.number.0,
            grants: pulled.grants.into_iter().map(wire::grant).collect(),
            jobs: pulled.jobs.into_iter().map(brief).collect(),
            again_after_ms: wire::millis(pulled.again_after),
            sources,
        }
    }

    async fn beats(&self, mut wire: v1::BeatRequest) -> Result<v1::BeatResponse, Problem> {
        let caller = proto::caller(wire.caller.take())?;
        let beat = wire::beat(wire)?;
        match self.ask(&caller, Request::Beat(beat)).await? {
            Answer::Beaten(beaten) => Ok(wire::beaten(beaten)),
            other => Err(unexpected("Beat", &other)),
        }
    }

    async fn commits(&self, mut wire: v1::CommitRequest) -> Result<v1::CommitResponse, Problem> {
        let caller = proto::caller(wire.caller.take())?;
        let commit = wire::commit(wire)?;
        let what = format!(
            "{}: {} shard {} attempt {}",
            commit.node, commit.job, commit.shard, commit.attempt
        );
        let offered = offered::check(&self.0, &core_caller(&caller), commit).await;
        let answer = match offered {
            Ok(commit) => self.ask(&caller, Request::Commit(commit)).await,
            Err(problem) => Err(problem),
        };
        audit::refusal(&caller, "Commit", &what, &answer);
        match answer? {
            Answer::Committed(committed) => Ok(wire::committed(committed)),
            other => Err(unexpected("Commit", &other)),
        }
    }

    async fn leaves(&self, mut wire: v1::LeaveRequest) -> Result<v1::LeaveResponse, Problem> {
        let caller = proto::caller(wire.caller.take())?;
        let node = proto::field::parsed::<types::NodeId>("node", &wire.node)?;
        let what = node.to_string();
        let answer = self
            .ask(
                &caller,
                Request::Leave {
                    node,
                    session: Session(wire.session),
                },
            )
            .await;
        audit::refusal(&caller, "Leave", &what, &answer);
        match answer? {
            Answer::Done => Ok(v1::LeaveResponse {}),
            other => Err(unexpected("Leave", &other)),
        }
    }

    async fn ask(&self, caller: &Caller, request: Request) -> Result<Answer, Problem> {
        self.0.driver.call(core_caller(caller), request).await
    }
}

/// Turns away an agent of a version that does not work with this one, and says which do.
fn check_version(theirs: &str) -> Result<(), Problem> {
    if types::works_with(theirs) {
        return Ok(());
    }
    let shown: String = theirs.chars().take(VERSION_SHOWN_MAX).collect();
    let cause = format!(
        "join with version `{shown}` a coordinator of version {VERSION}: it takes agents of its own version and of the one before, \
         {VERSION_BEFORE}; put one of these on the node, or a later coordinator in the place of this one where the agent is newer"
    );
    Err(Problem::new(Code::VersionMismatch, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_of_another_version_is_told_which_to_install() {
        assert!(check_version(VERSION).is_ok());
        assert!(check_version(VERSION_BEFORE).is_ok());
        let refused = check_version("0.0.9").unwrap_err();
        assert_eq!(refused.code, Code::VersionMismatch);
        for part in [
            "`0.0.9`",
            VERSION,
            VERSION_BEFORE,
            "put one of these on the node",
        ] {
            assert!(refused.message.contains(part), "{refused}");
        }
    }

    #[test]
    fn of_a_long_version_only_the_beginning_is_shown() {
        let refused = check_version(&"9".repeat(10_000)).unwrap_err();
        assert!(refused.message.len() < 400, "{refused}");
    }
}
