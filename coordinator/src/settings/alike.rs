//! What coordinators of one store are to be told alike, and which of it they are not: what one is told holds while it leads, so that a change of
//! leaders would change it. Pure. Storage is not among it: another one is refused.

use std::collections::BTreeMap;

use storage::StorageSettings;
use types::{Digest, SourceName};

use super::Raw;

/// Settings by name, each with a digest of what it says: a value may say where credentials are kept, which is nobody else's.
pub type Alike = BTreeMap<String, String>;

/// What one is told, in whichever order.
pub(super) fn of(raw: &Raw, sources: &BTreeMap<SourceName, StorageSettings>) -> Alike {
    let places = sources.iter().map(|(name, at)| format!("{name}={at}"));
    // A key is the same in capitals and in small letters.
    let keys = raw.trusted_key.iter();
    let keys = keys.map(|key| key.trim().to_ascii_lowercase());
    let numbers = [
        ("share-window-secs", raw.share_window_secs),
        ("grant-millis", raw.grant_millis),
        ("jobs-kept", raw.jobs_kept),
        ("collect-secs", raw.collect_secs),
    ];
    let lists = [
        ("source", places.collect()),
        ("folder-sources", vec![raw.folder_sources.to_string()]),
        ("trusted-key", keys.collect()),
        ("min-bundle", raw.min_bundle.clone()),
        ("quota", raw.quota.clone()),
    ];
    let numbers = numbers.map(|(name, value)| (name, vec![value.to_string()]));
    let all = lists.into_iter().chain(numbers);
    all.map(|(name, said)| (name.to_owned(), digest(said)))
        .collect()
}

fn digest(mut said: Vec<String>) -> String {
    said.sort_unstable();
    Digest::of(said.join("\n").as_bytes()).to_string()
}

/// Settings that two were told otherwise. One that only one of them knows is of another version, and passed over.
pub(crate) fn differing(ours: &Alike, theirs: &Alike) -> Vec<String> {
    let other = |(name, said): &(&String, &String)| {
        let theirs = theirs.get(*name);
        theirs.is_some_and(|theirs| theirs != *said)
    };
    ours.iter()
        .filter(other)
        .map(|(name, _)| name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    fn told(flags: &[&str]) -> Alike {
        check(&[&["--data", "/d"], flags].concat()).unwrap().alike
    }

    #[test]
    fn what_differs_is_named_and_neither_order_nor_what_is_a_machine_s_own_does() {
        let ours = told(&[
            "--source", "a=/a", "--source", "b=/b", "--quota", "t:jobs=1",
        ]);
        let same = [
            "--source",
            "b=/b",
            "--source",
            "a=/a",
            "--quota",
            "t:jobs=1",
            "--listen",
            "127.0.0.1:1",
        ];
        assert_eq!(differing(&ours, &told(&same)), [""; 0]);
        let other = [
            "--source",
            "a=/a",
            "--source",
            "b=/elsewhere",
            "--grant-millis",
            "7",
        ];
        assert_eq!(
            differing(&ours, &told(&other)),
            ["grant-millis", "quota", "source"]
        );
        assert_eq!(
            differing(&ours, &Alike::new()),
            [""; 0],
            "of another version"
        );
    }

    #[test]
    fn a_trusted_key_in_capitals_is_the_same_key() {
        let key = bundle::sample::key().public().to_string();
        let told = |key: &str| told(&["--trusted-key", key]);
        let capitals = told(&key.to_ascii_uppercase());
        assert_eq!(differing(&told(&key), &capitals), [""; 0]);
    }

    #[test]
    fn a_source_s_credentials_are_a_machine_s_own() {
        let at = |keys| format!("far=s3://b/p?credentials={keys}");
        let (one, other) = (at("env:ONE"), at("file:/other"));
        let (one, other) = (told(&["--source", &one]), told(&["--source", &other]));
        assert_eq!(differing(&one, &other), [""; 0]);
    }
}
