//! Sources that are places in an object store, on `s3s-fs` and `moto`: what a listing says, how tracks are read, and what a changed
//! track, a vanished bucket or a store in trouble looks like.

use std::sync::Arc;

use types::Code;

use super::*;
use crate::{Source, SourceError};

/// A source with some tracks, put there by a hand that is not the product's.
struct World {
    store: Store,
    source: Arc<Source>,
    sources: Sources,
}

impl World {
    async fn start(kind: Kind) -> Self {
        let store = Store::start(kind);
        let name = SourceName::new("music").unwrap();
        let mut sources = Sources::default();
        sources.connect(name.clone(), &store.settings).unwrap();
        let source = sources.get(&name).unwrap();
        Self {
            store,
            source,
            sources,
        }
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) {
        use object_store::ObjectStoreExt;
        let storage = self.store.open();
        let path = object_store::path::Path::parse(key).unwrap();
        storage
            .object_store()
            .put(&path, bytes.into())
            .await
            .unwrap();
    }

    fn requests(&self) -> u64 {
        self.source.requests()
    }

    /// Does what blocks on a thread for it.
    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(Arc<Source>) -> T + Send + 'static,
    ) -> T {
        let source = self.source.clone();
        tokio::task::spawn_blocking(move || work(source))
            .await
            .unwrap()
    }
}

fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n * 7 % 251) as u8).collect()
}

async fn check_reads(kind: Kind) {
    let world = World::start(kind).await;
    world.put("a/small one.mp3", noise(40_000)).await;
    world.put("a/middle.flac", noise(4 << 20)).await;
    world.put("a/empty", Vec::new()).await;
    for (key, bytes, most) in [
        ("a/small one.mp3", 40_000, 1),
        ("a/middle.flac", 4 << 20, 2),
        ("a/empty", 0, 2),
    ] {
        let before = world.requests();
        let read = world.on_thread(move |source| {
            let file = source.open(key).unwrap();
            assert_eq!(file.len(), bytes as u64);
            in_blocks(&file, 65_536)
        });
        assert!(read.await == noise(bytes), "{kind:?} {key}");
        let requests = world.requests() - before;
        assert!(requests <= most, "{kind:?}: {requests} requests for {key}");
    }
    let ends = world.on_thread(|source| {
        let file = source.open("a/middle.flac").unwrap();
        let mut buffer = [0; 8];
        let at_end = file.read_at((4 << 20) - 3, &mut buffer).unwrap();
        (
            at_end,
            file.read_at(4 << 20, &mut buffer).unwrap(),
            file.read_at(u64::MAX, &mut buffer).unwrap(),
        )
    });
    assert_eq!(ends.await, (3, 0, 0));
    for (key, code) in [
        ("a/none", Code::SourceMissing),
        ("../a", Code::KeyInvalid),
        ("/etc/passwd", Code::KeyInvalid),
    ] {
        let found = world.on_thread(move |source| source.open(key).map(drop).unwrap_err().code());
        assert_eq!(found.await, code, "{kind:?} {key}");
    }
}

fn in_blocks(file: &crate::SourceFile, block: usize) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; block]);
    loop {
        match file.read_at(all.len() as u64, &mut buffer).unwrap() {
            0 => return all,
            read => all.extend_from_slice(&buffer[..read]),
        }
    }
}

#[tokio::test]
async fn a_small_track_costs_one_request_and_one_of_minutes_two() {
    check_reads(Kind::S3sFs).await;
    check_reads(Kind::Moto).await;
}

async fn check_changes(kind: Kind) {
    let world = World::start(kind).await;
    world.put("a.mp3", noise(3 << 20)).await;
    world.put("b.mp3", noise(10)).await;
    let tenant = TenantId::default();
    let from = ImportFrom::Folder {
        source: SourceName::new("music").unwrap(),
        prefix: String::new(),
    };
    let storage = world.store.open();
    let progress = Arc::new(ImportProgress::default());
    let imported = storage
        .import(
            &tenant,
            from,
            &world.sources,
            world.store.scratch(),
            progress,
        )
        .await
        .unwrap();
    let snapshot = storage.snapshot(&tenant, imported.list).await.unwrap();
    let rows = snapshot.read(Range { first: 0, end: 2 }).await.unwrap();
    assert_eq!(
        (rows[0].key.as_str(), rows[0].bytes),
        ("a.mp3", Some(3 << 20))
    );
    let version = rows[0].content_id.clone();
    assert!(
        version.as_ref().is_some_and(|id| id.starts_with("etag:")),
        "{version:?}"
    );
    let open = |version: Option<String>| {
        world.on_thread(move |source| source.open_version("a.mp3", version.as_deref()))
    };
    let file = open(version.clone()).await.unwrap();
    let mut other = noise(3 << 20);
    other[7] ^= 1;
    world.put("a.mp3", other).await;
    let late = tokio::task::spawn_blocking(move || file.read_at(2 << 20, &mut [0; 8]))
        .await
        .unwrap();
    assert_eq!(
        late.unwrap_err().code(),
        Code::SourceChanged,
        "{kind:?}: while it was read"
    );
    let error = open(version).await.unwrap_err();
    assert_eq!(
        error.code(),
        Code::SourceChanged,
        "{kind:?}: since the import"
    );
    let bears_out = world.on_thread(move |source| source.bears_out(&error, "a.mp3"));
    assert!(bears_out.await, "it says something of the track");
    assert!(open(None).await.is_ok());
}

#[tokio::test]
async fn a_track_of_another_version_than_was_imported_is_changed() {
    check_changes(Kind::S3sFs).await;
    check_changes(Kind::Moto).await;
}

async fn check_missing(kind: Kind) {
    let world = World::start(kind).await;
    world.put("album/a.mp3", noise(10)).await;
    world.put("album/b.mp3", noise(10)).await;
    let judge = |key: &'static str| {
        world.on_thread(move |source| {
            let error = source.open(key).unwrap_err();
            let bears_out = source.bears_out(&error, key);
            (error, bears_out)
        })
    };
    let (error, bears_out) = judge("album/gone.mp3").await;
    assert!(
        matches!(error, SourceError::Missing { .. }) && bears_out,
        "{kind:?}: its neighbours are there"
    );
    world.store.remove_bucket();
    let (error, bears_out) = judge("album/a.mp3").await;
    assert!(
        !bears_out,
        "{kind:?}: the bucket is gone, and says nothing of the track: {error:?}"
    );
    let listing =
        world.on_thread(|source| source.list("").and_then(|mut list| list.next().transpose()));
    let listing = listing.await;
    assert!(
        listing.is_err(),
        "{kind:?}: a bucket that is gone is not empty: {listing:?}"
    );
    world.store.make_bucket();
    world.put("album/a.mp3", noise(10)).await;
    assert!(
        world
            .on_thread(|source| source.open("album/a.mp3").is_ok())
            .await,
        "{kind:?}: it is back"
    );
}

#[tokio::test]
async fn a_track_is_missing_only_where_its_source_answers() {
    check_missing(Kind::S3sFs).await;
    check_missing(Kind::Moto).await;
}

async fn check_listing(kind: Kind) {
    let world = World::start(kind).await;
    for key in [
        "b/2",
        "b/10",
        "b.txt",
        "a",
        "c/d/e",
        "with space/ü 音.mp3",
        "c/100%.mp3",
    ] {
        world.put(key, noise(5)).await;
    }
    let list = |prefix: &'static str| {
        world.on_thread(move |source| -> Result<Vec<String>, SourceError> {
            let entries = source.list(prefix)?.collect::<Result<Vec<_>, _>>()?;
            Ok(entries
                .into_iter()
                .map(|entry| entry.key.unwrap())
                .collect())
        })
    };
    let all = list("").await.unwrap();
    assert_eq!(
        all,
        [
            "a",
            "b.txt",
            "b/10",
            "b/2",
            "c/100%.mp3",
            "c/d/e",
            "with space/ü 音.mp3"
        ],
        "{kind:?}"
    );
    assert_eq!(list("b").await.unwrap(), ["b/10", "b/2"]);
    for (prefix, code) in [
        ("a", Code::SourceRefused),
        ("no", Code::SourceMissing),
        ("..", Code::KeyInvalid),
    ] {
        assert_eq!(
            list(prefix).await.unwrap_err().code(),
            code,
            "{kind:?} {prefix}"
        );
    }
    for key in all {
        let shown = key.clone();
        let read = world.on_thread(move |source| {
            source
                .open(&key)
                .and_then(|file| file.read_whole(100, Some(5)))
        });
        assert_eq!(read.await.unwrap(), noise(5), "{kind:?} {shown}");
    }
}

#[tokio::test]
async fn a_listing_has_every_object_in_the_order_of_its_key_and_each_can_be_read() {
    check_listing(Kind::S3sFs).await;
    check_listing(Kind::Moto).await;
}

#[tokio::test]
async fn a_csv_in_an_object_store_is_imported_from_there() {
    let world = World::start(Kind::S3sFs).await;
    world
        .put("lists/all.csv", b"key,title\nx.mp3,X\ny.mp3,Y\n".to_vec())
        .await;
    let (source, storage) = (world.source.clone(), world.store.open());
    let from = tokio::task::spawn_blocking(move || ImportFrom::detect(&source, "lists/all.csv"))
        .await
        .unwrap();
    let progress = Arc::new(ImportProgress::default());
    let tenant = TenantId::default();
    let imported = storage.import(
        &tenant,
        from.unwrap(),
        &world.sources,
        world.store.scratch(),
        progress,
    );
    assert_eq!(imported.await.unwrap().rows, 2);
}

#[tokio::test]
async fn a_read_through_a_storm_ends_with_the_right_bytes() {
    let world = World::start(Kind::S3sFs).await;
    world.put("a.mp3", noise(3 << 20)).await;
    let mut settings = world.store.settings.clone();
    settings.faults =
        Some(crate::faults::Faults::parse("seed:3,unavailable:0.2,lost-after:0.1").unwrap());
    let source = Source::connected(SourceName::new("storm").unwrap(), &settings).unwrap();
    let read = tokio::task::spawn_blocking(move || {
        source.open("a.mp3").unwrap().read_whole(1 << 30, None)
    });
    assert!(read.await.unwrap().unwrap() == noise(3 << 20));
}
