//! Leadership: a key made under a lease by one guarded transaction. The revision that made it is the epoch.
//!
//! Each renewal is a call of its own, with a stream that ends with it: there is nothing that could hang unseen. The lease lets a dead leader
//! go; what keeps a late one from writing is the epoch alone, which every transaction compares.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use etcd_client::{Compare, CompareOp, DeleteOptions, Txn, TxnOp, TxnOpResponse, TxnResponse};
use etcd_client::{PutOptions, ResponseHeader};
use types::Epoch;

use super::failure::{Class, Failure};
use super::keys::{Keys, revision_in, revision_out};
use super::members::{Begun, Members};
use super::read;
use super::settings::WRITE_DEADLINE;
use crate::{LeadError, Leader, Revision};

/// The leadership of one store, as one process takes part in it.
#[derive(Debug)]
pub(super) struct Leadership {
    key: String,
    /// The reign that this process holds, if any.
    reign: Mutex<Option<Reign>>,
}

/// A reign of this process.
#[derive(Clone, Copy, Debug)]
struct Reign {
    epoch: Epoch,
    /// When the last renewal that was answered was sent.
    renewed: Instant,
    /// How long the server lets it live from there.
    lives: Duration,
    /// How far the store had come when it was last asked. One that is behind that was put back from a copy, and its leader's key with it:
    /// what this process knows of it is of another history.
    seen: Revision,
}

/// Who leads, and the revision at which that was read.
pub(super) struct Led {
    pub(super) leader: Option<Leader>,
    pub(super) lease: i64,
    pub(super) revision: Revision,
}

impl Leadership {
    pub(super) fn new(keys: &Keys, record: u64) -> Self {
        Self {
            key: keys.leader(record),
            reign: Mutex::new(None),
        }
    }

    /// Where the leadership stands.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Reads who leads.
    pub(super) async fn led(&self, members: &Members) -> Result<Led, Failure> {
        let found = read::one(members, &self.key).await?;
        let leader = found.kv.as_ref().map(|kv| Leader {
            epoch: Epoch(revision_in(kv.create_revision()).0),
            name: String::from_utf8_lossy(kv.value()).into_owned(),
        });
        Ok(Led {
            leader,
            lease: found.kv.map_or(0, |kv| kv.lease()),
            revision: found.revision,
        })
    }

    /// Tries to lead.
    pub(super) async fn lead(
        &self,
        members: &Members,
        candidate: &str,
    ) -> Result<Epoch, LeadError> {
        if let Some(leader) = self.led(members).await?.leader {
            return Err(LeadError::Held { by: leader.name });
        }
        let begun = Instant::now();
        let (lease, lives) = grant(members).await?;
        let answer = self.take(members, candidate, lease).await;
        let ended = answer.map_err(LeadError::from).and_then(taken);
        match ended {
            Ok(epoch) => self.set(Some(Reign {
                epoch,
                renewed: begun,
                lives,
                seen: Revision(epoch.0),
            })),
            // It runs out by itself where this is not answered.
            Err(_) => drop(revoke(members, lease).await),
        }
        ended
    }

    async fn take(
        &self,
        members: &Members,
        candidate: &str,
        lease: i64,
    ) -> Result<TxnResponse, Failure> {
        let key = self.key.as_str();
        let absent = Compare::create_revision(key, CompareOp::Equal, 0);
        let put = TxnOp::put(key, candidate, Some(PutOptions::new().with_lease(lease)));
        let txn = Txn::new()
            .when([absent])
            .and_then([put])
            .or_else([TxnOp::get(key, None)]);
        let ask = |mut client: etcd_client::Client| async move { client.txn(txn).await };
        members.call(WRITE_DEADLINE, ask).await
    }

    /// Renews the leadership within a deadline.
    pub(super) async fn keep(&self, members: &Members, epoch: Epoch) -> Result<(), LeadError> {
        let begun = Instant::now();
        let deadline = members.settings().keep_deadline();
        let member = members.current();
        let kept = tokio::time::timeout(deadline, self.renew(members, epoch)).await;
        let kept = kept.unwrap_or_else(|_| {
            members.leave(member);
            Err(LeadError::Unavailable {
                cause: format!("no renewal within {deadline:?}"),
            })
        });
        match kept {
            Ok((lives, seen)) => {
                self.set(Some(Reign {
                    epoch,
                    renewed: begun,
                    lives,
                    seen,
                }));
                Ok(())
            }
            Err(error @ (LeadError::Unavailable { .. } | LeadError::Full { .. }))
                if !self.has_run_out(epoch) =>
            {
                Err(error)
            }
            Err(_) => {
                self.forget(epoch);
                Err(LeadError::Lost)
            }
        }
    }

    async fn renew(
        &self,
        members: &Members,
        epoch: Epoch,
    ) -> Result<(Duration, Revision), LeadError> {
        let seen = self.seen(epoch);
        let led = self.led(members).await?;
        let leads = led.leader.map(|leader| leader.epoch) == Some(epoch);
        if !leads || led.revision < seen {
            return Err(LeadError::Lost);
        }
        match renew(members, led.lease).await {
            Ok(lives) => Ok((lives, led.revision)),
            Err(failure) if failure.class == Class::NoLease => Err(LeadError::Lost),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Gives the leadership up.
    pub(super) async fn resign(&self, members: &Members, epoch: Epoch) -> Result<(), LeadError> {
        let Some(revision) = revision_out(Revision(epoch.0)) else {
            return Err(LeadError::Lost);
        };
        let key = self.key.as_str();
        let leads = Compare::create_revision(key, CompareOp::Equal, revision);
        let delete = TxnOp::delete(key, Some(DeleteOptions::new().with_prev_key()));
        let txn = Txn::new().when([leads]).and_then([delete]);
        let ask = |mut client: etcd_client::Client| async move { client.txn(txn).await };
        let answer = members.call(WRITE_DEADLINE, ask).await?;
        self.forget(epoch);
        if !answer.succeeded() {
            return Err(LeadError::Lost);
        }
        if let Some(lease) = lease_of_removed(&answer) {
            drop(revoke(members, lease).await);
        }
        Ok(())
    }

    fn reign(&self) -> std::sync::MutexGuard<'_, Option<Reign>> {
        self.reign.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, reign: Option<Reign>) {
        *self.reign() = reign;
    }

    fn forget(&self, epoch: Epoch) {
        self.reign().take_if(|reign| reign.epoch == epoch);
    }

    /// How far the store had come when a reign of this process was last renewed.
    fn seen(&self, epoch: Epoch) -> Revision {
        let ours = self.reign().filter(|reign| reign.epoch == epoch);
        ours.map_or(Revision(0), |reign| reign.seen)
    }

    /// Whether a reign of this process has had no answered renewal for as long as it lives. It is never renewed again then: whoever is
    /// told that it is lost stops.
    fn has_run_out(&self, epoch: Epoch) -> bool {
        let reign = *self.reign();
        let ours = reign.filter(|reign| reign.epoch == epoch);
        ours.is_some_and(|reign| reign.renewed.elapsed() >= reign.lives)
    }
}

impl From<Failure> for LeadError {
    fn from(failure: Failure) -> Self {
        let cause = failure.cause;
        match failure.class {
            Class::NoSpace => Self::Full { cause },
            Class::NotExecuted
            | Class::TooLarge
            | Class::TooMany
            | Class::Compacted
            | Class::AnswerTooLarge
            | Class::NoLease
            | Class::Certificate
            | Class::Elsewhere
            | Class::Unknown => Self::Unavailable { cause },
        }
    }
}

/// A new lease, and how long the server lets it live: it raises what is too short for it.
async fn grant(members: &Members) -> Result<(i64, Duration), Failure> {
    let seconds = i64::try_from(members.settings().leadership_seconds()).unwrap_or(i64::MAX);
    let ask =
        |mut client: etcd_client::Client| async move { client.lease_grant(seconds, None).await };
    let granted = members.call(WRITE_DEADLINE, ask).await?;
    Ok((granted.id(), seconds_in(granted.ttl())))
}

async fn revoke(members: &Members, lease: i64) -> Result<(), Failure> {
    let ask = |mut client: etcd_client::Client| async move { client.lease_revoke(lease).await };
    members.call(WRITE_DEADLINE, ask).await.map(|_| ())
}

/// Renews a lease once and gives how long it lives. The client waits for the first answer and refuses a lease that is gone.
async fn renew(members: &Members, lease: i64) -> Result<Duration, Failure> {
    let deadline = members.settings().keep_deadline();
    let ask = |mut client: etcd_client::Client| async move {
        client.lease_keep_alive(lease).await.map(Begun)
    };
    members.call(deadline, ask).await?;
    Ok(Duration::from_secs(members.settings().leadership_seconds()))
}

fn seconds_in(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn taken(answer: TxnResponse) -> Result<Epoch, LeadError> {
    if answer.succeeded() {
        let revision = answer.header().map_or(0, ResponseHeader::revision);
        return Ok(Epoch(revision_in(revision).0));
    }
    let looks = answer.op_responses();
    let holder = looks.first().and_then(|look| match look {
        TxnOpResponse::Get(got) => got.kvs().first().map(|kv| kv.value().to_vec()),
        TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
    });
    let by = String::from_utf8_lossy(&holder.unwrap_or_default()).into_owned();
    Err(LeadError::Held { by })
}

fn lease_of_removed(answer: &TxnResponse) -> Option<i64> {
    match answer.op_responses().first()? {
        TxnOpResponse::Delete(removed) => removed.prev_kvs().first().map(|kv| kv.lease()),
        TxnOpResponse::Get(_) | TxnOpResponse::Put(_) | TxnOpResponse::Txn(_) => None,
    }
}
