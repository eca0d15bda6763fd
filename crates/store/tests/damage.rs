//! The embedded store over files whose bytes were changed: either every acknowledged value is there, or the store is refused
//! with the file, the table, the key and the remedy, and left as it was found.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use store::{Embedded, OpenError, Outcome, Store, Txn, read_all};
use tempfile::TempDir;

/// Keys of the store that is damaged.
const KEYS: usize = 400;

/// Bits changed, one at a time: a stretch of some ten KiB each.
const SAMPLES: usize = 150;

/// How the store was left before its file was damaged.
#[derive(Clone, Copy, Debug)]
enum Left {
    Closed,
    /// As a power cut leaves it: the next opening has to recover.
    Cut,
}

fn key(n: usize) -> String {
    format!("key{n:04}")
}

fn value(n: usize) -> Vec<u8> {
    format!("value {n} {}", "x".repeat(100 + n % 90)).into_bytes()
}

/// A folder with a store, and the bytes of its file.
struct Grown {
    folder: TempDir,
    image: Vec<u8>,
}

impl Grown {
    async fn new(left: Left) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path()).unwrap();
        for n in 0..KEYS {
            // Twice each, so that pages are freed and used again as in a long life.
            for text in [b"before".to_vec(), value(n)] {
                let outcome = store.write(Txn::default().put(key(n), text)).await;
                assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
            }
        }
        let file = file(folder.path());
        // What stands in the file while the store is open is what a power cut would leave.
        let cut = std::fs::read(&file).unwrap();
        drop(store);
        let image = match left {
            Left::Closed => std::fs::read(&file).unwrap(),
            Left::Cut => cut,
        };
        Self { folder, image }
    }

    /// Opens the store over a changed image.
    fn open(&self, image: &[u8]) -> Result<Embedded, OpenError> {
        std::fs::write(file(self.folder.path()), image).unwrap();
        Embedded::open(self.folder.path())
    }

    /// Opens it, and gives the refusal where there is one. Nothing else is sound but every value.
    async fn check(&self, image: &[u8], what: &str) -> Option<OpenError> {
        match self.open(image) {
            Ok(store) => {
                let (_, entries) = read_all(&store, "").await.unwrap();
                assert_eq!(entries.len(), KEYS, "{what}");
                for (n, entry) in entries.iter().enumerate() {
                    assert_eq!((&entry.key, &entry.value), (&key(n), &value(n)), "{what}");
                }
                None
            }
            Err(refused) => {
                let now = std::fs::read(file(self.folder.path())).unwrap();
                assert!(now == image, "{what}: the refused file was changed");
                Some(refused)
            }
        }
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("state.redb")
}

/// What a refusal over damage says, whatever it is about.
fn check_message(refused: &OpenError, folder: &Path, what: &str) {
    let OpenError::Damaged { damage, .. } = refused else {
        panic!("{what}: {refused:?}");
    };
    let message = refused.to_string();
    let file = file(folder).display().to_string();
    assert!(message.contains(&file), "{what}: {message}");
    assert!(
        message.contains("restore the folder from a copy"),
        "{what}: {message}"
    );
    assert!(!damage.cause.is_empty(), "{what}");
    assert!(damage.key.is_none() || damage.table.is_some(), "{what}");
}

#[tokio::test]
async fn a_changed_bit_anywhere_is_refused_with_its_place_or_does_not_matter() {
    for left in [Left::Closed, Left::Cut] {
        let grown = Grown::new(left).await;
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut refused = 0;
        for sample in 0..SAMPLES {
            // Every stretch of the file is hit, and where in it is drawn.
            let stretch = grown.image.len() / SAMPLES;
            let at = sample * stretch + rng.random_range(0..stretch);
            let mut image = grown.image.clone();
            image[at] ^= 1 << rng.random_range(0..8);
            let what = format!("{left:?}, byte {at}");
            if let Some(error) = grown.check(&image, &what).await {
                check_message(&error, grown.folder.path(), &what);
                refused += 1;
            }
        }
        assert!(
            refused > 0,
            "{left:?}: no changed bit hit anything that is in use"
        );
    }
}

#[tokio::test]
async fn a_damaged_value_is_refused_by_table_key_and_place() {
    for left in [Left::Closed, Left::Cut] {
        let grown = Grown::new(left).await;
        for n in [0, 7, KEYS / 2, KEYS - 1] {
            let needle = value(n);
            let places = places(&grown.image, &needle);
            assert!(!places.is_empty());
            let mut image = grown.image.clone();
            for at in &places {
                image[at + 6] ^= 1;
            }
            let what = format!("{left:?}, {}", key(n));
            let refused = grown.check(&image, &what).await.unwrap();
            check_message(&refused, grown.folder.path(), &what);
            let OpenError::Damaged { damage, .. } = &refused else {
                panic!("{what}: {refused:?}");
            };
            assert_eq!(damage.table, Some("records"), "{what}: {refused}");
            assert_eq!(damage.key, Some(key(n)), "{what}: {refused}");
            // The value proper stands twelve bytes behind the record's begin.
            let offset = usize::try_from(damage.offset.unwrap()).unwrap();
            assert!(places.contains(&(offset + 12)), "{what}: {refused}");
        }
    }
}

#[tokio::test]
async fn a_torn_tail_and_a_short_file_are_refused_or_hold_everything() {
    let grown = Grown::new(Left::Cut).await;
    let len = grown.image.len();
    for keep in (0..len).step_by(len / 16) {
        let mut zeroed = grown.image.clone();
        zeroed[keep..].fill(0);
        for (what, image) in [("cut", &grown.image[..keep]), ("zeroed", &zeroed[..])] {
            let what = format!("{what} from {keep}");
            if let Some(error) = grown.check(image, &what).await {
                check_message(&error, grown.folder.path(), &what);
            }
        }
    }
}

fn places(bytes: &[u8], needle: &[u8]) -> Vec<usize> {
    (0..bytes.len())
        .filter(|at| bytes[*at..].starts_with(needle))
        .collect()
}
