//! The versions of every key, and the order in which they came. Used by the model alone.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use crate::model::{Change, Compacted, Entry, Revision};

/// One version of a key.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) revision: Revision,
    pub(crate) made: Revision,
    /// `None` where the key was removed.
    value: Option<Vec<u8>>,
}

/// All versions that are kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keep {
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
    keys: BTreeMap<String, Vec<Version>>,
    log: VecDeque<(Revision, String)>,
}

impl Keep {
    /// Takes the next revision.
    pub(crate) fn begin(&mut self) {
        self.revision.0 += 1;
    }

    /// Whether a revision can be read.
    pub(crate) fn check(&self, at: Revision) -> Result<(), Compacted> {
        if at < self.compacted || at > self.revision {
            return Err(Compacted(at));
        }
        Ok(())
    }

    /// Whether everything that happened after a revision is kept. What happened at the revision to which all was compacted is.
    pub(crate) fn check_after(&self, after: Revision) -> Result<(), Compacted> {
        if after.0.saturating_add(1) < self.compacted.0 || after > self.revision {
            return Err(Compacted(after));
        }
        Ok(())
    }

    /// The version of a key that stands now.
    pub(crate) fn stands(&self, key: &str) -> Option<&Version> {
        let last = self.keys.get(key)?.last()?;
        last.value.is_some().then_some(last)
    }

    pub(crate) fn put(&mut self, key: &str, value: Vec<u8>) {
        let made = self.stands(key).map_or(self.revision, |old| old.made);
        self.push(key, made, Some(value));
    }

    pub(crate) fn delete(&mut self, key: &str) {
        if let Some(made) = self.stands(key).map(|old| old.made) {
            self.push(key, made, None);
        }
    }

    fn push(&mut self, key: &str, made: Revision, value: Option<Vec<u8>>) {
        let revision = self.revision;
        let version = Version {
            revision,
            made,
            value,
        };
        self.keys.entry(key.to_owned()).or_default().push(version);
        self.log.push_back((revision, key.to_owned()));
    }

    /// A key as it stood at a revision.
    pub(crate) fn entry(&self, key: &str, at: Revision) -> Option<Entry> {
        entry(key, self.keys.get(key)?, at)
    }

    /// Keys that stood at a revision, ascending.
    pub(crate) fn entries(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Revision,
    ) -> impl Iterator<Item = Entry> {
        let from = match after.filter(|after| *after >= prefix) {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(prefix),
        };
        let found = self.keys.range::<str, _>((from, Bound::Unbounded));
        let within = found.take_while(move |(key, _)| key.starts_with(prefix));
        within.filter_map(move |(key, versions)| entry(key, versions, at))
    }

    /// What happened after a revision, in order.
    pub(crate) fn changes(&self, after: Revision) -> impl Iterator<Item = Change> {
        let first = self.log.partition_point(|(revision, _)| *revision <= after);
        self.log.iter().skip(first).filter_map(|(revision, key)| {
            let versions = self.keys.get(key)?;
            let version = versions.iter().find(|v| v.revision == *revision)?;
            Some(Change {
                key: key.clone(),
                value: version.value.clone(),
                revision: *revision,
            })
        })
    }

    /// Drops every version that no readable revision shows. A removal at the revision itself stays, for those who watch from there.
    pub(crate) fn compact(&mut self, to: Revision) {
        self.compacted = self.compacted.max(to);
        let to = self.compacted;
        for versions in self.keys.values_mut() {
            let shown = versions.partition_point(|v| v.revision <= to);
            versions.drain(..shown.saturating_sub(1));
            if versions
                .first()
                .is_some_and(|v| v.revision < to && v.value.is_none())
            {
                versions.remove(0);
            }
        }
        self.keys.retain(|_, versions| !versions.is_empty());
        let gone = self.log.partition_point(|(revision, _)| *revision < to);
        self.log.drain(..gone);
    }
}

fn entry(key: &str, versions: &[Version], at: Revision) -> Option<Entry> {
    let shown = versions.partition_point(|version| version.revision <= at);
    let version = versions.get(shown.checked_sub(1)?)?;
    Some(Entry {
        key: key.to_owned(),
        value: version.value.clone()?,
        revision: version.revision,
        made: version.made,
    })
}
