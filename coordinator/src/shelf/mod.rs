//! What people have put here and may name again: catalogs with their snapshots, registered folders, bundles, and the
//! generation of the store. Records of their own beside the core's, in the same store, under the same leadership.
//!
//! Handlers call it; the core does not know it. A record here is plain: whoever writes says what it must have been
//! before, and an unknown outcome is settled by reading the value back, since values here are never written twice
//! with different meaning.

mod catalogs;
mod registry;

use std::sync::Arc;

use scheduler::record::{decode, encode};
use store::{Entry, KeyRange, NotAppliedCause, Outcome, ReadError, Refusal, Revision, Store, Txn};
use types::{Code, Epoch, Generation, Problem};

use crate::settings::Alike;

pub(crate) use catalogs::{CatalogRecord, RejectedCount, SnapshotRecord, check_digest_prefix};
pub(crate) use registry::{BundleRecord, FolderRecord, Gates};

/// Where the generation stands.
pub(crate) const GENERATION: &str = "/shelf/generation";

/// Times that one change is tried again because its record moved in between: people, not machines, change these.
const TRIES_MAX: usize = 8;

/// The records of one leadership.
#[derive(Clone)]
pub(crate) struct Shelf {
    store: Arc<dyn Store>,
    epoch: Epoch,
    generation: Generation,
}

/// A record with the revision it stands at.
struct Stored<T> {
    record: T,
    revision: Revision,
}

/// What a change wants to see in place of a record.
enum Change<T, A> {
    /// This, and then the answer.
    Put(T, A),
    /// Nothing else than what is there.
    Keep(A),
}

impl Shelf {
    /// The shelf of this leadership. The first leader of a store gives it its first generation.
    ///
    /// # Errors
    /// When the store cannot be read or written, or holds a generation that this version cannot read.
    pub(crate) async fn open(store: Arc<dyn Store>, epoch: Epoch) -> Result<Self, Problem> {
        let mut shelf = Self {
            store,
            epoch,
            generation: Generation(0),
        };
        let first = |found: Option<Generation>| {
            Ok(match found {
                Some(generation) => Change::Keep(generation),
                None => Change::Put(Generation(1), Generation(1)),
            })
        };
        shelf.generation = shelf.change(GENERATION.to_owned(), first).await?;
        Ok(shelf)
    }

    /// The shelf as a coordinator reads it that does not lead; none before the first leader gave the store its generation. No write of it
    /// takes: no reign has its epoch.
    ///
    /// # Errors
    /// When the store cannot be read, or holds a generation that this version cannot read.
    pub(crate) async fn of_follower(store: Arc<dyn Store>) -> Result<Option<Self>, Problem> {
        let shelf = Self {
            store,
            epoch: Epoch(0),
            generation: Generation(0),
        };
        let found = shelf.get::<Generation>(GENERATION).await?;
        Ok(found.map(|found| Self {
            generation: found.record,
            ..shelf
        }))
    }

    /// Notes that this store's storage has been marked, and under which number of the store.
    ///
    /// # Errors
    /// When the record cannot be read or written.
    pub(crate) async fn note_marked(&self, number: u64) -> Result<(), Problem> {
        let first = |found: Option<bool>| {
            Ok(match found {
                Some(_) => Change::Keep(()),
                None => Change::Put(true, ()),
            })
        };
        self.change(marked(self.generation), first).await?;
        let ours = |found: Option<u64>| {
            Ok(match found {
                Some(found) if found == number => Change::Keep(()),
                Some(_) | None => Change::Put(number, ()),
            })
        };
        self.change(marked_as(self.generation), ours).await
    }

    /// Notes how the leader is configured, as far as its fellows are to be alike.
    ///
    /// # Errors
    /// When the record cannot be read or written.
    pub(crate) async fn note_alike(&self, ours: &Alike) -> Result<(), Problem> {
        let ours = |found: Option<Alike>| {
            Ok(match found {
                Some(found) if found == *ours => Change::Keep(()),
                Some(_) | None => Change::Put(ours.clone(), ()),
            })
        };
        self.change(alike(self.generation), ours).await
    }

    /// How the leader is configured; nothing where none has said so.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub(crate) async fn alike(&self) -> Result<Alike, Problem> {
        let found = self.get::<Alike>(&alike(self.generation)).await?;
        Ok(found.map(|found| found.record).unwrap_or_default())
    }

    /// The generation that the store is in.
    #[must_use]
    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    fn key(&self, rest: std::fmt::Arguments<'_>) -> String {
        format!("{}{rest}", prefix(self.generation))
    }

    /// The store itself, for what copies it whole or asks how far it has come.
    #[must_use]
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    async fn get<T>(&self, key: &str) -> Result<Option<Stored<T>>, Problem>
    where
        T: for<'b> minicbor::Decode<'b, ()>,
    {
        let entry = self
            .store
            .get(key)
            .await
            .map_err(|error| read_problem(key, &error))?;
        entry.map(|entry| stored(&entry)).transpose()
    }

    /// A page of the records under a prefix, after a key, with the key to go on from where more follow.
    async fn page<T>(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<(String, T)>, Option<String>), Problem>
    where
        T: for<'b> minicbor::Decode<'b, ()>,
    {
        let range = KeyRange {
            prefix,
            after,
            limit,
            at: None,
        };
        let page = self
            .store
            .range(&range)
            .await
            .map_err(|error| read_problem(&range.prefix, &error))?;
        let one = |entry: &Entry| Ok((entry.key.clone(), stored(entry)?.record));
        let records = page
            .entries
            .iter()
            .map(one)
            .collect::<Result<_, Problem>>()?;
        Ok((records, page.next))
    }

    /// Every record under a prefix whose count is bounded by what people do by hand.
    async fn all<T>(&self, prefix: String) -> Result<Vec<T>, Problem>
    where
        T: for<'b> minicbor::Decode<'b, ()>,
    {
        let read = store::read_all(self.store.as_ref(), &prefix).await;
        let (_, entries) = read.map_err(|error| read_problem(&prefix, &error))?;
        entries
            .iter()
            .map(|entry| stored(entry).map(|stored| stored.record))
            .collect()
    }

    /// Reads one record and puts what `decide` makes of it, as long as nobody else changed it in between.
    async fn change<T, A>(
        &self,
        key: String,
        decide: impl Fn(Option<T>) -> Result<Change<T, A>, Problem>,
    ) -> Result<A, Problem>
    where
        T: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()>,
    {
        for _ in 0..TRIES_MAX {
            let found = self.get::<T>(&key).await?;
            let guard = found.as_ref().map(|stored| stored.revision);
            match decide(found.map(|stored| stored.record))? {
                Change::Keep(answer) => return Ok(answer),
                Change::Put(record, answer) => {
                    let txn = self.guarded(&key, guard).put(&key, encode(&record));
                    if self.write(txn).await? {
                        return Ok(answer);
                    }
                }
            }
        }
        Err(Problem::new(
            Code::Overloaded,
            format!("change `{key}` while others change it"),
        ))
    }

    fn guarded(&self, key: &str, guard: Option<Revision>) -> Txn {
        match guard {
            Some(revision) => Txn::under(self.epoch).at(key, revision),
            None => Txn::under(self.epoch).absent(key),
        }
    }

    /// Executes a transaction: whether it happened, where `false` means that a record had moved.
    async fn write(&self, txn: Txn) -> Result<bool, Problem> {
        let puts = txn.ops.clone();
        match self.store.write(txn).await {
            Outcome::Applied { .. } => Ok(true),
            Outcome::Refused(Refusal::Key(_)) => Ok(false),
            Outcome::Refused(Refusal::Epoch) => Err(Problem::new(
                Code::NotLeader,
                "write a record after the epoch ended",
            )),
            Outcome::NotApplied(cause) => Err(not_applied(&cause)),
            Outcome::Unknown { cause } => match self.holds(&puts).await? {
                true => Ok(true),
                false => Err(Problem::new(
                    Code::StoreUnavailable,
                    format!("write a record: {cause}"),
                )),
            },
        }
    }

    /// Whether every put of a transaction is found in the store.
    async fn holds(&self, ops: &[store::Op]) -> Result<bool, Problem> {
        for op in ops {
            let store::Op::Put { key, value } = op else {
                return Ok(false);
            };
            let found = self
                .store
                .get(key)
                .await
                .map_err(|error| read_problem(key, &error))?;
            if found.is_none_or(|entry| entry.value != *value) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Where it stands how the leader is configured.
fn alike(generation: Generation) -> String {
    format!("{}alike", prefix(generation))
}

/// Where it stands that a leader of this generation has marked the storage.
pub(crate) fn marked(generation: Generation) -> String {
    format!("{}marked", prefix(generation))
}

/// Where the number stands that this store had when its storage was marked: a snapshot of etcd comes back under another one.
pub(crate) fn marked_as(generation: Generation) -> String {
    format!("{}marked-as", prefix(generation))
}

/// What every key of a generation's shelf begins with.
pub(crate) fn prefix(generation: Generation) -> String {
    format!("/shelf/{:010}/", generation.0)
}

fn stored<T>(entry: &Entry) -> Result<Stored<T>, Problem>
where
    T: for<'b> minicbor::Decode<'b, ()>,
{
    let record = decode(&entry.value).map_err(|error| {
        Problem::new(
            Code::StoreCorrupt,
            format!("read record `{}`: {error}", entry.key),
        )
    })?;
    Ok(Stored {
        record,
        revision: entry.revision,
    })
}

pub(crate) fn read_problem(key: &str, error: &ReadError) -> Problem {
    let code = match error {
        ReadError::Damaged { .. } => Code::StoreCorrupt,
        ReadError::Invalid(_) => Code::InvalidRequest,
        ReadError::Compacted { .. } | ReadError::Unavailable { .. } => Code::StoreUnavailable,
    };
    Problem::new(code, format!("read `{key}`: {error}"))
}

fn not_applied(cause: &NotAppliedCause) -> Problem {
    let code = match cause {
        NotAppliedCause::Full { .. } => Code::StoreFull,
        NotAppliedCause::Unavailable { .. } => Code::StoreUnavailable,
        NotAppliedCause::Invalid(_) => Code::Internal,
    };
    Problem::new(code, format!("write a record: {cause}"))
}
