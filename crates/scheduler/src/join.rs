//! Sessions: joining, leaving and an operator's word on what a node may do. A session is one life of a node's
//! agent. A node name serves one agent at a time: a join is refused while the last session beats.

use crate::desk::Asked;
use crate::event::AgentInfo;
use crate::limits::{
    BEAT_EVERY, DEAF_AFTER, DEVICES_PER_NODE_MAX, GRANT_LIVES, IDENTITY_HELD, NODES_MAX,
    SESSIONS_PER_GENERATION,
};
use crate::record::{Death, Duty, NodeRecord};
use crate::reign::{Reign, Step};
use crate::state::{Node, NodeNo, Slot};
use crate::{Answer, JoinAnswer, NodeKey};
use alloc::format;
use alloc::vec;
use types::{Code, Generation, Millis, NodeId, PullNo, Session};

/// Longest text or list in what an agent says of itself, beyond its devices: sources and a version.
const SAID_MAX: usize = 256;

impl Reign {
    pub(crate) fn join(&mut self, now: Millis, asked: &Asked, info: &AgentInfo) -> Step {
        let key = node_key(asked, &info.node);
        let said_much = info.devices.len() > DEVICES_PER_NODE_MAX
            || info.sources.len() > SAID_MAX
            || info
                .devices
                .iter()
                .any(|device| device.name.len() > SAID_MAX)
            || info.version.len() > SAID_MAX
            || info.stages.len() > SAID_MAX;
        if said_much {
            return Step::refuse(
                Code::InvalidRequest,
                format!("join node `{key}`: too many devices, stages or sources"),
            );
        }
        let known = self.node_names.get(&key).copied();
        if known.is_none() && self.nodes.len() >= NODES_MAX {
            return Step::refuse(
                Code::Overloaded,
                format!("join node `{key}`: {NODES_MAX} nodes are kept"),
            );
        }
        let no = self.node_entry(&key);
        if known.is_none() {
            self.trim_nodes(now);
        }
        if self.desk.is_dirty(Slot::Node(no)) {
            return Step::Wait(Slot::Node(no));
        }
        let Some(node) = self.nodes.get(&no) else {
            return Step::refuse(Code::NodeUnknown, format!("join node `{key}`"));
        };
        let before = node.record();
        if let Some(record) = before.filter(|record| record.nonce == info.nonce && !record.left) {
            return Step::Answer(Ok(self.joined(record.session)));
        }
        if before.is_some_and(|record| !record.left) && beaten_lately(node, now) {
            return Step::refuse(Code::IdentityInUse, format!("join node `{key}`"));
        }
        let first = first_session(self.generation);
        let record = new_session(first, before, asked, info);
        Step::Write(self.node_unit(no, record).into_iter().collect())
    }

    /// A session as an answer.
    pub(crate) const fn joined(&self, session: Session) -> Answer {
        Answer::Joined(JoinAnswer {
            session,
            epoch: self.epoch,
            generation: self.generation,
            beat_every: BEAT_EVERY,
            grant_lives: GRANT_LIVES,
        })
    }

    /// A join is stored: everything that only the old session knew is forgotten, what it had in hand excepted.
    pub(crate) fn began(&mut self, now: Millis, key: &NodeKey) {
        // Where nobody was heard the silence says nothing about this node.
        let deaf = now.since(self.heard) > DEAF_AFTER;
        let Some(node) = self
            .node_names
            .get(key)
            .and_then(|no| self.nodes.get_mut(no))
        else {
            return;
        };
        let silent = !deaf
            && node
                .last_beat
                .is_some_and(|at| now.since(at) >= GRANT_LIVES);
        node.last_beat = Some(now);
        node.beat = 0;
        node.pulled = PullNo(0);
        node.hungry_since = None;
        node.draining = false;
        node.devices_out.clear();
        node.storage_trouble = None;
        node.refused_bundles.clear();
        node.shunned.clear();
        node.deaths_seen = 0;
        for holding in node.holdings.values_mut() {
            holding.named = 0;
            holding.beats = 0;
            holding.missed = 0;
            holding.yield_at = None;
            holding.yield_told = 0;
            holding.death = if silent {
                Death::Silent
            } else {
                Death::Replaced
            };
        }
    }

    pub(crate) fn leave(&mut self, asked: &Asked, node: &NodeId, session: Session) -> Step {
        let no = match self.seated(asked, node, session) {
            Ok(no) => no,
            Err(step) => return step,
        };
        let Some(record) = self.nodes.get(&no).and_then(Node::record) else {
            return Step::Wait(Slot::Node(no));
        };
        let record = NodeRecord {
            left: true,
            ..record.clone()
        };
        self.node_unit(no, record).map_or_else(
            || Step::Wait(Slot::Node(no)),
            |unit| Step::Write(vec![unit]),
        )
    }

    pub(crate) fn set_duty(&mut self, asked: &Asked, node: &NodeId, duty: Duty) -> Step {
        let key = node_key(asked, node);
        let Some(no) = self.node_names.get(&key).copied() else {
            return Step::refuse(Code::NotFound, format!("find node `{key}`"));
        };
        if self.desk.is_dirty(Slot::Node(no)) {
            return Step::Wait(Slot::Node(no));
        }
        let Some(record) = self.nodes.get(&no).and_then(Node::record) else {
            return Step::refuse(Code::NotFound, format!("find node `{key}`"));
        };
        if record.duty == duty {
            return Step::Answer(Ok(Answer::Done));
        }
        let record = NodeRecord {
            duty,
            ..record.clone()
        };
        self.node_unit(no, record).map_or_else(
            || Step::Wait(Slot::Node(no)),
            |unit| Step::Write(vec![unit]),
        )
    }

    /// The node's number, where that session is its living one; else what to do with the call.
    pub(crate) fn seated(
        &self,
        asked: &Asked,
        node: &NodeId,
        session: Session,
    ) -> Result<NodeNo, Step> {
        let key = node_key(asked, node);
        let unknown = || {
            Step::refuse(
                Code::NodeUnknown,
                format!("find session {session} of node `{key}`"),
            )
        };
        let no = self.node_names.get(&key).copied().ok_or_else(unknown)?;
        if self.desk.is_dirty(Slot::Node(no)) {
            return Err(Step::Wait(Slot::Node(no)));
        }
        let record = self
            .nodes
            .get(&no)
            .and_then(Node::record)
            .ok_or_else(unknown)?;
        if session < record.session {
            return Err(Step::refuse(
                Code::SessionOld,
                format!("speak for node `{key}` in session {session}"),
            ));
        }
        if session > record.session || record.left {
            return Err(unknown());
        }
        Ok(no)
    }
}

fn node_key(asked: &Asked, node: &NodeId) -> NodeKey {
    NodeKey {
        tenant: asked.caller.tenant.clone(),
        node: node.clone(),
    }
}

/// Whether this reign has heard of the last session within the time that holds its name. A new leader has heard of
/// nobody yet, so that an agent that restarts with its coordinator need not wait.
fn beaten_lately(node: &Node, now: Millis) -> bool {
    node.last_beat
        .is_some_and(|at| now.since(at) < IDENTITY_HELD)
}

/// A node's first session in a generation: above all of the generations before it, so that a message of an agent that a
/// restore left behind is never taken for one of the session that has its number now.
const fn first_session(generation: Generation) -> Session {
    let before = generation.0.saturating_sub(1) as u64;
    Session(before * SESSIONS_PER_GENERATION + 1)
}

fn new_session(
    first: Session,
    before: Option<&NodeRecord>,
    asked: &Asked,
    info: &AgentInfo,
) -> NodeRecord {
    NodeRecord {
        session: before.map_or(first, |record| record.session.next()),
        nonce: info.nonce,
        duty: before.map_or(Duty::Serving, |record| record.duty),
        left: false,
        version: info.version.clone(),
        devices: info.devices.clone(),
        stages: info.stages.clone(),
        sources: info.sources.clone(),
        accepts_sources: info.accepts_sources,
        decoders: info.decoders,
        joined_at: asked.at,
    }
}
