//! Reading one key and one page of a range, as of now or of a revision.
//!
//! Every reading is linearizable: the member asks the cluster first. A page is asked for in entries and comes in bytes, so that one whose
//! entries are large is asked for again with fewer.

use etcd_client::{GetOptions, GetResponse, KeyValue};

use super::failure::{Class, Failure};
use super::keys::{Keys, after, end_of, revision_in, revision_out};
use super::members::Members;
use crate::page::shortened;
use crate::{Entry, KeyRange, PAGE_ENTRIES_MAX, Page, ReadError, Revision};

/// What was read of one key, and when.
pub(super) struct Found {
    pub(super) kv: Option<KeyValue>,
    pub(super) revision: Revision,
}

/// Reads one key, of where it stands.
pub(super) async fn one(members: &Members, path: &str) -> Result<Found, Failure> {
    let answer = members
        .read(|mut client| {
            let path = path.to_owned();
            async move { client.get(path, None).await }
        })
        .await?;
    Ok(Found {
        kv: answer.kvs().first().cloned(),
        revision: revision_of(&answer),
    })
}

/// Reads one page.
pub(super) async fn page(
    members: &Members,
    keys: &Keys,
    range: &KeyRange,
) -> Result<Page, ReadError> {
    let at = match range.at {
        None => 0,
        Some(revision) => revision_out(revision).ok_or(ReadError::Compacted { revision })?,
    };
    let mut limit = range.limit.clamp(1, PAGE_ENTRIES_MAX);
    loop {
        match ask(members, keys, range, at, limit).await {
            Ok(answer) => return made(keys, range, answer),
            // At most ten times: the limit is 1,000 at first.
            Err(failure) if failure.class == Class::AnswerTooLarge && limit > 1 => limit /= 2,
            Err(failure) => return Err(read_error(failure, range.at)),
        }
    }
}

async fn ask(
    members: &Members,
    keys: &Keys,
    range: &KeyRange,
    at: i64,
    limit: usize,
) -> Result<GetResponse, Failure> {
    let prefix = keys.data(&range.prefix);
    let start = match &range.after {
        Some(last) if last.as_str() >= range.prefix.as_str() => after(&keys.data(last)),
        Some(_) | None => prefix.clone().into_bytes(),
    };
    let end = end_of(&prefix);
    if start >= end {
        // Nothing of the prefix follows; the key itself, which is none of them, still says the revision.
        return one_key(members, start, at).await;
    }
    let options = GetOptions::new()
        .with_range(end)
        .with_limit(i64::try_from(limit).unwrap_or(1))
        .with_revision(at);
    let ask = |mut client: etcd_client::Client| {
        let (start, options) = (start.clone(), options.clone());
        async move { client.get(start, Some(options)).await }
    };
    members.read(ask).await
}

async fn one_key(members: &Members, key: Vec<u8>, at: i64) -> Result<GetResponse, Failure> {
    let options = GetOptions::new().with_revision(at).with_count_only();
    let ask = |mut client: etcd_client::Client| {
        let (key, options) = (key.clone(), options.clone());
        async move { client.get(key, Some(options)).await }
    };
    members.read(ask).await
}

fn made(keys: &Keys, range: &KeyRange, mut answer: GetResponse) -> Result<Page, ReadError> {
    let revision = range.at.unwrap_or_else(|| revision_of(&answer));
    let more = answer.more();
    let entries = answer.take_kvs().into_iter().map(|kv| entry(keys, kv));
    let entries: Vec<Entry> = entries.collect::<Result<_, _>>()?;
    let last = entries.last().filter(|_| more);
    let next = last.map(|last| last.key.clone());
    Ok(shortened(revision, entries, next))
}

/// An entry as it was read.
pub(super) fn entry(keys: &Keys, kv: KeyValue) -> Result<Entry, ReadError> {
    let revision = revision_in(kv.mod_revision());
    let (path, value) = kv.into_key_value();
    Ok(Entry {
        key: keys.key_of(&path)?,
        value,
        revision,
    })
}

/// The revision at which an answer was given.
pub(super) fn revision_of(answer: &GetResponse) -> Revision {
    revision_in(answer.header().map_or(0, |header| header.revision()))
}

/// What a failed reading is to its caller.
pub(super) fn read_error(failure: Failure, at: Option<Revision>) -> ReadError {
    match (failure.class, at) {
        (Class::Compacted, Some(revision)) => ReadError::Compacted { revision },
        (
            Class::Compacted
            | Class::NotExecuted
            | Class::NoSpace
            | Class::TooLarge
            | Class::TooMany
            | Class::AnswerTooLarge
            | Class::NoLease
            | Class::Certificate
            | Class::Elsewhere
            | Class::Unknown,
            _,
        ) => ReadError::Unavailable {
            cause: failure.cause,
        },
    }
}
