//! The store of a cluster: etcd, through a client that is given deadlines, streams that are made anew, and errors that are classed.
//!
//! Opened by the coordinator. [`Etcd`] does what the trait says on an etcd of one member or several: every call ends within its deadline,
//! a transaction is sent once, and what is not known to have failed is said to be unknown. What is relied on of etcd, and how each of its
//! answers is read, stands in `docs/reference/etcd.md`.
//!
//! - [`settings`] how it is reached, and every deadline; [`members`] the connections; [`failure`] what an error says;
//! - [`identity`] which store this is; [`versions`] which servers are safe; [`keys`] where everything stands;
//! - [`mod@write`], [`read`], [`watching`] with [`assembly`], [`leading`]: the trait's methods.

mod assembly;
mod failure;
mod identity;
mod keys;
mod leading;
mod members;
mod read;
mod settings;
#[cfg(test)]
mod tests;
mod versions;
mod watching;
mod write;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use types::Epoch;

use self::failure::{Class, Failure};
pub use self::identity::Identity;
use self::keys::Keys;
use self::leading::Leadership;
use self::members::Members;
use self::read::read_error;
pub use self::settings::{ClientCertificate, EtcdSettings, EtcdTls, LEADERSHIP_DEFAULT};
use self::watching::{Range, Watched};
use self::write::Writer;
use crate::txn::check_key;
use crate::{
    Entry, KeyRange, LeadError, Leader, NotAppliedCause, Outcome, Page, ReadError, Revision,
    Status, Store, Txn, Watch,
};

/// Why a store in etcd was not opened. Nothing was changed.
#[derive(Debug, Error)]
pub enum EtcdError {
    /// The settings cannot work.
    #[error("settings of the etcd store: {cause}")]
    Settings {
        /// What is wrong with them.
        cause: String,
    },
    /// A file that the settings name could not be read.
    #[error("read `{path}` for the connection to etcd")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// One side does not believe the other's certificate.
    #[error(
        "{cause}; compare the authority, the certificate's names and its dates on both sides of the connection to etcd"
    )]
    Certificate {
        /// What the TLS library or the server said.
        cause: String,
    },
    /// A member took the connection and closed it without an answer, as it does with whom it does not believe: a client hears of a refused
    /// certificate only by that.
    #[error(
        "{cause}; look whether the etcd members ask for a certificate, and whether ours is of their authority and in date"
    )]
    TurnedAway {
        /// How the connection ended.
        cause: String,
    },
    /// No member answered.
    #[error("{cause}; look whether the etcd members run and the endpoints name them")]
    Unreachable {
        /// What the last one asked said, or did not say.
        cause: String,
    },
    /// The endpoints lead to more than one cluster.
    #[error("{cause}; let all endpoints name members of one etcd cluster")]
    Elsewhere {
        /// Which clusters.
        cause: String,
    },
    /// Keys stand under the prefix, and no record says whose they are.
    #[error(
        "the record `{key}` is gone while other keys stand under its prefix; restore etcd from a snapshot, or name another prefix"
    )]
    IdentityGone {
        /// Where the record stood.
        key: String,
    },
    /// What stands where the record stands is no such record.
    #[error(
        "`{key}` holds `{value}`, which names no store of ours; name another prefix, or restore etcd from a snapshot"
    )]
    IdentityDamaged {
        /// Where.
        key: String,
        /// What stands there, cut short.
        value: String,
    },
}

impl From<Failure> for EtcdError {
    fn from(failure: Failure) -> Self {
        let cause = failure.cause;
        match failure.class {
            Class::Certificate => Self::Certificate { cause },
            Class::Elsewhere => Self::Elsewhere { cause },
            Class::Unknown if failure::closed_unanswered(&cause) => Self::TurnedAway { cause },
            Class::NotExecuted
            | Class::NoSpace
            | Class::TooLarge
            | Class::TooMany
            | Class::Compacted
            | Class::AnswerTooLarge
            | Class::NoLease
            | Class::Unknown => Self::Unreachable { cause },
        }
    }
}

/// The backend of a cluster.
#[derive(Debug)]
pub struct Etcd {
    members: Arc<Members>,
    keys: Keys,
    identity: Identity,
    leadership: Leadership,
}

impl Etcd {
    /// Opens the store under the settings' prefix, and makes it where nothing stands there. Logs the version of each member, as a warning where it is
    /// not safe.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn open(settings: EtcdSettings) -> Result<Self, EtcdError> {
        let keys = Keys::new(&settings.prefix);
        let members = Members::new(settings)?;
        let identity = identity::read_or_make(&members, &keys).await?;
        versions::check(&members).await?;
        Ok(Self {
            leadership: Leadership::new(&keys, identity.record),
            members: Arc::new(members),
            keys,
            identity,
        })
    }

    /// What names this store: its number is that of [`Status::cluster`], to be compared with the number that storage remembers. Another
    /// one is that of a store that was lost or swapped, or of a prefix that was mistaken.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    fn writer(&self) -> Writer<'_> {
        Writer {
            members: &self.members,
            keys: &self.keys,
            record: self.identity.record,
        }
    }

    fn watch_range(&self, range: Range, after: Revision) -> Watch {
        let watched = Watched {
            members: self.members.clone(),
            keys: self.keys.clone(),
            range,
        };
        watching::begin(watched, after)
    }
}

#[async_trait]
impl Store for Etcd {
    async fn status(&self) -> Result<Status, ReadError> {
        let key = self.keys.identity();
        let found = read::one(&self.members, &key).await;
        let found = found.map_err(|failure| read_error(failure, None))?;
        if !found
            .kv
            .is_some_and(|kv| self.identity.is_said_by(kv.value()))
        {
            return Err(ReadError::Damaged {
                key,
                cause: "it no longer names the store that was opened".to_owned(),
            });
        }
        Ok(Status {
            cluster: self.identity.cluster(),
            revision: found.revision,
        })
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, ReadError> {
        check_key(key)?;
        let found = read::one(&self.members, &self.keys.data(key)).await;
        let found = found.map_err(|failure| read_error(failure, None))?;
        let entry = found.kv.map(|kv| read::entry(&self.keys, kv));
        entry.transpose()
    }

    async fn range(&self, range: &KeyRange) -> Result<Page, ReadError> {
        read::page(&self.members, &self.keys, range).await
    }

    async fn write(&self, txn: Txn) -> Outcome {
        if let Err(error) = txn.validate() {
            return Outcome::NotApplied(NotAppliedCause::Invalid(error));
        }
        self.writer().write(&txn).await
    }

    async fn lead(&self, candidate: &str) -> Result<Epoch, LeadError> {
        self.leadership.lead(&self.members, candidate).await
    }

    async fn keep(&self, epoch: Epoch) -> Result<(), LeadError> {
        self.leadership.keep(&self.members, epoch).await
    }

    async fn resign(&self, epoch: Epoch) -> Result<(), LeadError> {
        self.leadership.resign(&self.members, epoch).await
    }

    async fn led_by(&self) -> Result<Option<Leader>, ReadError> {
        let led = self.leadership.led(&self.members).await;
        let led = led.map_err(|failure| read_error(failure, None))?;
        Ok(led.leader)
    }

    async fn leader_other_than(&self, known: Option<Epoch>) -> Result<Option<Leader>, ReadError> {
        loop {
            let led = self.leadership.led(&self.members).await;
            let led = led.map_err(|failure| read_error(failure, None))?;
            if led.leader.as_ref().map(|leader| leader.epoch) != known {
                return Ok(led.leader);
            }
            let key = Range::Key(self.leadership.key().to_owned());
            self.changed(key, led.revision).await?;
        }
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, ReadError> {
        // A server waits for a revision that is not reached yet; a store that has gone back never reaches it.
        if self.status().await?.revision < after {
            return Err(ReadError::Compacted { revision: after });
        }
        Ok(self.watch_range(Range::Data(prefix.to_owned()), after))
    }
}

impl Etcd {
    /// Waits for a change of a range after a revision, or for one that can no longer be seen.
    async fn changed(&self, range: Range, after: Revision) -> Result<(), ReadError> {
        let mut watch = self.watch_range(range, after);
        loop {
            match watch.next().await {
                Ok(crate::Seen::Progress { .. }) => {}
                Ok(crate::Seen::Changed { .. }) | Err(ReadError::Compacted { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}
