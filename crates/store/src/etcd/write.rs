//! One guarded transaction: what is sent, what the answer means, and what is known when the cluster is full.
//!
//! Sent once, never again. Where a compare does not hold the server answers with the keys compared, read in the same step, and these say
//! which one it was.

use etcd_client::{
    Compare as EtcdCompare, CompareOp, GetOptions, KeyValue, Txn as EtcdTxn, TxnOp, TxnOpResponse,
    TxnResponse,
};
use types::Epoch;

use super::failure::{Class, Failure};
use super::keys::{Keys, revision_in, revision_out};
use super::members::Members;
use super::settings::WRITE_DEADLINE;
use crate::{Compare, NotAppliedCause, Op, Outcome, Refusal, Revision, Txn, TxnError};

/// What a transaction is sent with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer<'a> {
    pub(super) members: &'a Members,
    pub(super) keys: &'a Keys,
    pub(super) record: u64,
}

impl Writer<'_> {
    /// Sends a valid transaction once.
    pub(super) async fn write(&self, txn: &Txn) -> Outcome {
        match self.send(txn).await {
            Ok(answer) => self.outcome(txn, &answer),
            Err(failure) if failure.class == Class::NoSpace => self.full(txn, failure).await,
            Err(failure) => failed(txn, failure),
        }
    }

    async fn send(&self, txn: &Txn) -> Result<TxnResponse, Failure> {
        let request = self.request(txn);
        self.members
            .call(WRITE_DEADLINE, |mut client| async move {
                client.txn(request).await
            })
            .await
    }

    fn request(&self, txn: &Txn) -> EtcdTxn {
        let compares: Vec<EtcdCompare> = txn.compares.iter().map(|c| self.compare(c)).collect();
        let ops: Vec<TxnOp> = txn.ops.iter().map(|op| self.op(op)).collect();
        let looks: Vec<TxnOp> = txn.compares.iter().map(|c| self.look(c)).collect();
        EtcdTxn::new().when(compares).and_then(ops).or_else(looks)
    }

    /// Where what is compared stands.
    fn compared(&self, compare: &Compare) -> String {
        match compare {
            Compare::At { key, .. } | Compare::Absent { key } => self.keys.data(key),
            Compare::Leads(_) => self.keys.leader(self.record),
        }
    }

    fn compare(&self, compare: &Compare) -> EtcdCompare {
        let path = self.compared(compare);
        match compare {
            Compare::At { revision, .. } => match revision_out(*revision) {
                Some(revision) => EtcdCompare::mod_revision(path, CompareOp::Equal, revision),
                None => never(path),
            },
            Compare::Leads(Epoch(epoch)) => match revision_out(Revision(*epoch)) {
                Some(epoch) => EtcdCompare::create_revision(path, CompareOp::Equal, epoch),
                None => never(path),
            },
            Compare::Absent { .. } => EtcdCompare::create_revision(path, CompareOp::Equal, 0),
        }
    }

    fn look(&self, compare: &Compare) -> TxnOp {
        let options = GetOptions::new().with_keys_only();
        TxnOp::get(self.compared(compare), Some(options))
    }

    fn op(&self, op: &Op) -> TxnOp {
        match op {
            Op::Put { key, value } => TxnOp::put(self.keys.data(key), value.clone(), None),
            Op::Delete { key } => TxnOp::delete(self.keys.data(key), None),
        }
    }

    fn outcome(&self, txn: &Txn, answer: &TxnResponse) -> Outcome {
        if answer.succeeded() {
            let revision = answer.header().map_or(0, |header| header.revision());
            return Outcome::Applied {
                revision: revision_in(revision),
            };
        }
        match refusal(&txn.compares, answer) {
            Some(refusal) => Outcome::Refused(refusal),
            None => Outcome::NotApplied(NotAppliedCause::Unavailable {
                cause: "etcd refused a transaction whose compares all hold".to_owned(),
            }),
        }
    }

    /// A server out of room says so of a transaction that it does not take, and also of the last one that it did. Its answer means that the
    /// transaction is behind it, so that asking whether the compares still hold tells the two apart where they guard a key that would
    /// have changed.
    async fn full(&self, txn: &Txn, failure: Failure) -> Outcome {
        let compares = Txn {
            compares: txn.compares.clone(),
            ops: Vec::new(),
        };
        let hold = match self.send(&compares).await {
            Ok(answer) => answer.succeeded(),
            Err(_) => false,
        };
        match hold && guards_a_change(txn) {
            true => Outcome::NotApplied(NotAppliedCause::Full {
                cause: failure.cause,
            }),
            false => Outcome::Unknown {
                cause: failure.cause,
            },
        }
    }
}

/// A compare that holds for no key: every key's version is 0 or more.
fn never(path: String) -> EtcdCompare {
    EtcdCompare::version(path, CompareOp::Less, 0)
}

/// Whether the transaction changes a key in a way that one of its compares would notice afterwards. A key compared at a revision never has
/// that revision again. A key compared as absent is absent again only where somebody removed it since; whoever writes under an epoch is
/// alone, and has one write of a key under way.
fn guards_a_change(txn: &Txn) -> bool {
    let leads = txn
        .compares
        .iter()
        .any(|compare| matches!(compare, Compare::Leads(_)));
    let changes = |wanted: &str| txn.ops.iter().any(|op| op.key() == wanted);
    let puts = |wanted: &str| {
        let put = |op: &Op| matches!(op, Op::Put { key, .. } if key == wanted);
        txn.ops.iter().any(put)
    };
    txn.compares.iter().any(|compare| match compare {
        Compare::At { key, .. } => changes(key),
        Compare::Absent { key } => leads && puts(key),
        Compare::Leads(_) => false,
    })
}

/// The compare that did not hold: the epoch's before any key's, then the first.
fn refusal(compares: &[Compare], answer: &TxnResponse) -> Option<Refusal> {
    let looks = answer.op_responses();
    let failed = compares
        .iter()
        .zip(&looks)
        .filter(|(compare, look)| !holds(compare, found(look)));
    let mut first = None;
    for (compare, _) in failed {
        match compare {
            Compare::Leads(_) => return Some(Refusal::Epoch),
            Compare::At { key, .. } | Compare::Absent { key } => {
                first.get_or_insert_with(|| Refusal::Key(key.clone()));
            }
        }
    }
    first
}

fn found(look: &TxnOpResponse) -> Option<&KeyValue> {
    match look {
        TxnOpResponse::Get(got) => got.kvs().first(),
        TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
    }
}

fn holds(compare: &Compare, found: Option<&KeyValue>) -> bool {
    match compare {
        Compare::Absent { .. } => found.is_none(),
        Compare::At { revision, .. } => {
            found.is_some_and(|kv| revision_in(kv.mod_revision()) == *revision)
        }
        Compare::Leads(epoch) => {
            found.is_some_and(|kv| revision_in(kv.create_revision()).0 == epoch.0)
        }
    }
}

fn failed(txn: &Txn, failure: Failure) -> Outcome {
    let cause = failure.cause;
    match failure.class {
        Class::TooLarge => invalid(TxnError::TooLarge {
            bytes: txn.recorded_size(),
        }),
        Class::TooMany => invalid(TxnError::TooManyOperations {
            count: txn.compares.len().max(txn.ops.len()),
        }),
        Class::NotExecuted | Class::Certificate | Class::Elsewhere => {
            Outcome::NotApplied(NotAppliedCause::Unavailable { cause })
        }
        Class::NoSpace
        | Class::Compacted
        | Class::AnswerTooLarge
        | Class::NoLease
        | Class::Unknown => Outcome::Unknown { cause },
    }
}

const fn invalid(error: TxnError) -> Outcome {
    Outcome::NotApplied(NotAppliedCause::Invalid(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_compare_that_its_own_change_would_break_proves_that_nothing_happened() {
        let epoch = Epoch(7);
        let at = |txn: Txn| txn.at("k", Revision(1));
        assert!(guards_a_change(&at(Txn::default()).put("k", "v")));
        assert!(guards_a_change(&at(Txn::default()).delete("k")));
        assert!(!guards_a_change(&at(Txn::default()).put("other", "v")));
        assert!(!guards_a_change(&Txn::under(epoch).put("k", "v")));
        assert!(guards_a_change(
            &Txn::under(epoch).absent("k").put("k", "v")
        ));
        assert!(!guards_a_change(&Txn::default().absent("k").put("k", "v")));
        assert!(!guards_a_change(&Txn::under(epoch).absent("k").delete("k")));
    }

    #[test]
    fn what_was_answered_by_another_cluster_did_not_happen_here() {
        let failure = Failure::new(Class::Elsewhere, "elsewhere");
        let outcome = failed(&Txn::default(), failure);
        assert!(matches!(outcome, Outcome::NotApplied(_)), "{outcome:?}");
        let unknown = failed(&Txn::default(), Failure::new(Class::Unknown, "silence"));
        assert!(matches!(unknown, Outcome::Unknown { .. }), "{unknown:?}");
    }
}
