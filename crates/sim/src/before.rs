//! The version before, in the oldest form that is let in: words of calls and answers that a process of it neither says nor hears. A message
//! between two processes carries what both know, so links ask here ([`crate::links`]). It decides nothing.

use scheduler::{Answer, BeatAnswer, Order, PullAnswer, Request};

use crate::agenda::{Message, Who};
use crate::world::World;

/// What an agent says its version is.
pub(crate) const fn version(older: bool) -> &'static str {
    if older { "0.1.0" } else { "0.1.1" }
}

impl World {
    /// Whether a process is of the version before.
    pub(crate) fn is_older(&self, who: Who) -> bool {
        match who {
            Who::Coordinator(no) => self.coordinators[no].older,
            Who::Agent(no) => self.agents[no].older,
            Who::Client | Who::Store | Who::Storage => false,
        }
    }
}

/// What is left of a message where one of the two is of the version before.
pub(crate) fn known(message: &mut Message) {
    match message {
        Message::Call { request, .. } => asked(request),
        Message::Reply { answer, .. } => {
            if let Ok(answer) = answer.as_mut() {
                answered(answer);
            }
        }
    }
}

/// Neither how fast a node is, nor what it has loaded, nor that it yields.
fn asked(request: &mut Request) {
    match request {
        Request::Pull(pull) => {
            pull.tracks_per_1000_s = None;
            pull.bundles.clear();
        }
        Request::Beat(beat) => {
            for held in &mut beat.held {
                held.yielded_at = None;
            }
        }
        Request::Submit(_)
        | Request::Cancel { .. }
        | Request::Pause { .. }
        | Request::Resume { .. }
        | Request::SetRank { .. }
        | Request::Revoke(_)
        | Request::Join(_)
        | Request::SetDuty { .. }
        | Request::Commit(_)
        | Request::Leave { .. } => {}
    }
}

/// Neither what is wanted back, nor that work has come, nor why there is none.
fn answered(answer: &mut Answer) {
    match answer {
        Answer::Pulled(PullAnswer { reason, .. }) => *reason = None,
        Answer::Beaten(BeatAnswer {
            orders, pull_now, ..
        }) => {
            *pull_now = false;
            for order in orders {
                order.order = without_yield(order.order);
            }
        }
        Answer::Committed(committed) => committed.order = without_yield(committed.order),
        Answer::Submitted { .. }
        | Answer::Changed { .. }
        | Answer::Revoked { .. }
        | Answer::Joined(_)
        | Answer::Done => {}
    }
}

const fn without_yield(order: Order) -> Order {
    match order {
        Order::YieldAt { .. } => Order::Continue,
        Order::Continue | Order::Stop => order,
    }
}
