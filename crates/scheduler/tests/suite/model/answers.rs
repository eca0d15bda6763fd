//! How answers reach those who asked: late, in any order, or never.

use super::{Asked, History, pending};
use crate::world::agent::same;
use scheduler::{Answer, CallId, CommitOutcome, Order};

impl History {
    /// One answer arrives, or is lost.
    pub(super) fn receive(&mut self, a: usize, b: usize) {
        let calls: Vec<CallId> = self.world.answers.keys().copied().collect();
        if calls.is_empty() {
            return;
        }
        let call = calls[a % calls.len()];
        let answer = self.world.answers.remove(&call).expect("it is there");
        let asked = self.calls.remove(&call);
        if b.is_multiple_of(12) {
            return;
        }
        if let (Some(asked), Ok(answer)) = (asked, answer) {
            self.heard(asked, &answer);
        }
    }

    fn heard(&mut self, asked: Asked, answer: &Answer) {
        match asked {
            Asked::Join(at, nonce) if self.agents[at].nonce == nonce => {
                self.agents[at].take_join(answer);
            }
            Asked::Pull(at, nonce) if self.agents[at].nonce == nonce => {
                self.heard_pull(at, answer);
            }
            Asked::Beat(at, nonce) if self.agents[at].nonce == nonce => self.heard_beat(at, answer),
            Asked::Commit(at, commit) => self.heard_commit(at, &commit, answer),
            Asked::Cancel(job) => {
                self.cancelled.insert(job);
            }
            Asked::Join(..) | Asked::Pull(..) | Asked::Beat(..) | Asked::Other => {}
        }
    }

    fn heard_pull(&mut self, at: usize, answer: &Answer) {
        let Answer::Pulled(pulled) = answer else {
            return;
        };
        // A repeated answer must not bring back tracks that stand in a part already.
        for granted in &pulled.grants {
            let busy = pending(&self.unanswered, at, granted);
            let agent = &mut self.agents[at];
            if !agent.grants.iter().any(|held| same(held, granted)) {
                let mut granted = granted.clone();
                granted.tracks = granted.tracks.difference(&busy);
                agent.grants.push(granted);
            }
        }
    }

    fn heard_beat(&mut self, at: usize, answer: &Answer) {
        let Answer::Beaten(beaten) = answer else {
            return;
        };
        for order in beaten
            .orders
            .iter()
            .filter(|order| order.order == Order::Stop)
        {
            self.agents[at].grants.retain(|held| {
                held.job.job != order.job
                    || held.shard != order.shard
                    || held.attempt != order.attempt
            });
        }
    }

    pub(super) fn heard_commit(&mut self, at: usize, commit: &scheduler::Commit, answer: &Answer) {
        let Answer::Committed(committed) = answer else {
            return;
        };
        self.unanswered
            .retain(|(of, sent)| *of != at || sent.parts[0].sha256 != commit.parts[0].sha256);
        if committed.outcome == CommitOutcome::Superseded {
            return;
        }
        let job = self.key_of(&commit.job);
        for part in &commit.parts {
            self.acknowledged
                .insert((job.clone(), commit.shard, commit.attempt, part.sha256));
        }
    }
}
