//! The bundles that jobs may name: a mirror in memory of what the shelf holds, and how a bundle enters it. A bundle is
//! checked whole before it is put into storage, and again by every agent before a worker loads it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use bundle::Trust;
use types::{Code, Digest, Problem};

use crate::shelf::{BundleRecord, check_digest_prefix};

/// What a bundle says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Texts {
    /// The model card.
    pub(crate) card: String,
    /// The manifest.
    pub(crate) manifest: String,
}

/// Registered bundles by digest.
#[derive(Debug, Default)]
pub(crate) struct Bundles {
    known: RwLock<BTreeMap<Digest, BundleRecord>>,
    /// The texts of those that were asked for: a bundle's digest says what they are, and every look at a job asks for its manifest.
    texts: RwLock<BTreeMap<Digest, Arc<Texts>>>,
    /// The one that the configuration names as the default.
    configured: OnceLock<Digest>,
}

impl Bundles {
    pub(crate) fn new(records: Vec<BundleRecord>) -> Self {
        let bundles = Self::default();
        bundles.replace(records);
        bundles
    }

    /// Takes what the shelf holds for all that there is.
    pub(crate) fn replace(&self, records: Vec<BundleRecord>) {
        let by_digest = records.into_iter().map(|record| (record.digest, record));
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        *known = by_digest.collect();
    }

    /// Notes a bundle that the shelf holds.
    pub(crate) fn add(&self, record: BundleRecord) {
        self.known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(record.digest)
            .or_insert(record);
    }

    /// All of them by name and version.
    pub(crate) fn all(&self) -> Vec<BundleRecord> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = known.values().cloned().collect();
        all.sort_by(|one, other| {
            (&one.name, one.version, one.digest).cmp(&(&other.name, other.version, other.digest))
        });
        all
    }

    /// Whether none is registered.
    pub(crate) fn is_empty(&self) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.is_empty()
    }

    /// Whether the bundle that ships is to be registered: where no other is, and no version of its own as high, so that what
    /// an operator registered stays the default, and a newer version of Trackscan brings its newer bundle.
    pub(crate) fn wants_shipped(&self, shipped: &BundleRecord) -> bool {
        let older =
            |known: &BundleRecord| known.name == shipped.name && known.version < shipped.version;
        self.all().iter().all(older)
    }

    /// The bundle of that digest.
    pub(crate) fn get(&self, digest: Digest) -> Option<BundleRecord> {
        self.known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&digest)
            .cloned()
    }

    /// The texts of a bundle, where they were read before.
    pub(crate) fn texts(&self, digest: Digest) -> Option<Arc<Texts>> {
        let texts = self.texts.read().unwrap_or_else(PoisonError::into_inner);
        texts.get(&digest).cloned()
    }

    /// Keeps the texts of a registered bundle, of which an installation has a few.
    pub(crate) fn keep_texts(&self, digest: Digest, texts: Texts) -> Arc<Texts> {
        let texts = Arc::new(texts);
        self.texts
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(digest, Arc::clone(&texts));
        texts
    }

    /// Notes which bundle the configuration names as the default; the first word holds.
    pub(crate) fn set_default(&self, digest: Digest) {
        self.configured.get_or_init(|| digest);
    }

    /// The bundle that is used where none is named: the configured one, else the one registered last.
    pub(crate) fn default_one(&self) -> Option<BundleRecord> {
        let configured = self.configured.get().and_then(|digest| self.get(*digest));
        configured.or_else(|| self.last())
    }

    fn last(&self) -> Option<BundleRecord> {
        self.all()
            .into_iter()
            .max_by_key(|record| (record.registered_at, record.digest))
    }

    /// The bundle that a text names: its name (the highest version of it), its digest or the beginning of that; the
    /// default one where the text is empty.
    pub(crate) fn find(&self, named: &str) -> Result<BundleRecord, Problem> {
        if named.is_empty() {
            let default = self.default_one();
            return default.ok_or_else(|| unknown("no bundle is registered"));
        }
        let all = self.all();
        if let Some(highest) = all.iter().rev().find(|record| record.name == named) {
            return Ok(highest.clone());
        }
        let shown: String = named.chars().take(80).collect();
        check_digest_prefix("bundle", named)
            .map_err(|_| unknown(format!("no bundle is named `{shown}`")))?;
        let begins = |record: &&BundleRecord| record.digest.to_string().starts_with(named);
        match all.iter().filter(begins).collect::<Vec<_>>().as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(unknown(format!("no bundle is named `{shown}`"))),
            [_, _, ..] => Err(Problem::new(
                Code::InvalidRequest,
                format!("look up bundle `{shown}`: several begin so"),
            )),
        }
    }
}

/// Refuses a bundle that no agent of this configuration would load: a job with it would wait for ever.
///
/// # Errors
/// `BUNDLE_UNTRUSTED` or `BUNDLE_ROLLBACK`.
pub(crate) fn check_trusted(trust: &Trust, record: &BundleRecord) -> Result<(), Problem> {
    let what = format!("use bundle `{}` version {}", record.name, record.version);
    if !trust.trusts(&record.signed_by) {
        let message = format!("{what}, signed by `{}`", record.signed_by);
        return Err(Problem::new(Code::BundleUntrusted, message));
    }
    let lowest = trust.lowest(&record.name);
    if record.version < lowest {
        let message = format!("{what}; the lowest accepted is {lowest}");
        return Err(Problem::new(Code::BundleRollback, message));
    }
    Ok(())
}

fn unknown(cause: impl std::fmt::Display) -> Problem {
    Problem::new(Code::BundleUnknown, format!("look up a bundle: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{Purpose, UnixMillis};

    fn record(name: &str, version: u64, at: i64) -> BundleRecord {
        BundleRecord {
            digest: Digest::of(format!("{name} {version}").as_bytes()),
            name: name.to_owned(),
            version,
            purpose: Purpose::Production,
            signed_by: String::new(),
            files: Vec::new(),
            bytes: 0,
            registered_at: UnixMillis(at),
            residual: false,
            gates: None,
        }
    }

    #[test]
    fn a_name_means_its_highest_version_and_no_name_the_bundle_registered_last() {
        let bundles = Bundles::new(vec![
            record("a", 9, 1),
            record("a", 10, 2),
            record("b", 1, 3),
        ]);
        assert_eq!(bundles.find("a").unwrap().version, 10);
        assert_eq!(bundles.find("").unwrap().name, "b");
    }

    #[test]
    fn the_configured_bundle_is_the_default_even_when_another_came_later() {
        let (old, new) = (record("a", 1, 1), record("a", 2, 2));
        let bundles = Bundles::new(vec![old.clone(), new]);
        bundles.set_default(old.digest);
        assert_eq!(bundles.find("").unwrap(), old);
    }

    #[test]
    fn what_ships_is_wanted_where_nothing_else_is_registered_but_older_versions_of_it() {
        let shipped = record("demo", 2, 9);
        for (known, wanted) in [
            (vec![], true),
            (vec![record("demo", 1, 1)], true),
            (vec![shipped.clone()], false),
            (vec![record("demo", 3, 1)], false),
            (vec![record("mine", 1, 1)], false),
            (vec![record("demo", 1, 1), record("mine", 1, 2)], false),
        ] {
            let said = format!("{known:?}");
            assert_eq!(
                Bundles::new(known).wants_shipped(&shipped),
                wanted,
                "{said}"
            );
        }
    }

    #[test]
    fn texts_that_were_read_are_those_of_their_bundle_alone() {
        let bundles = Bundles::default();
        let [one, other] = ["one", "other"].map(|name| Digest::of(name.as_bytes()));
        let texts = Texts {
            card: "# One".to_owned(),
            manifest: "{}".to_owned(),
        };
        let kept = bundles.keep_texts(one, texts);
        assert_eq!(bundles.texts(one), Some(kept));
        assert_eq!(bundles.texts(other), None);
    }

    #[test]
    fn a_bundle_that_no_agent_would_load_is_refused() {
        let key = bundle::sample::key().public();
        let mut record = record("a", 1, 1);
        let trust = Trust::new([key]);
        let code = |trust: &Trust, record: &BundleRecord| {
            check_trusted(trust, record).map_err(|problem| problem.code)
        };
        assert_eq!(code(&trust, &record), Err(Code::BundleUntrusted));
        record.signed_by = key.to_string();
        assert_eq!(code(&trust, &record), Ok(()));
        let strict = trust.with_lowest("a", 2);
        assert_eq!(code(&strict, &record), Err(Code::BundleRollback));
    }

    #[test]
    fn a_digest_or_its_beginning_means_one_bundle() {
        let wanted = record("a", 9, 1);
        let bundles = Bundles::new(vec![wanted.clone(), record("a", 10, 2)]);
        let digest = wanted.digest.to_string();
        for named in [digest.as_str(), &digest[..12]] {
            assert_eq!(bundles.find(named).unwrap(), wanted);
        }
    }

    #[test]
    fn what_no_bundle_is_called_is_unknown() {
        for named in ["", "zzz", "abcdef", "ABCDEF", "ü"] {
            assert_eq!(
                Bundles::default().find(named).unwrap_err().code,
                Code::BundleUnknown,
                "{named}"
            );
        }
    }
}
