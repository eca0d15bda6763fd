//! The storage root through faults that are made on purpose, on a real S3 server: nothing is lost, nothing is doubled, and what does
//! not pass by itself has its name.

use std::time::Duration;

use types::Code;

use super::*;
use crate::faults::Faults;

fn with(store: &Store, faults: &str) -> Storage {
    let mut settings = store.settings.clone();
    settings.faults = Some(Faults::parse(faults).unwrap());
    Storage::connect(&settings).unwrap()
}

/// Puts and reads objects through faults; then looks from outside what stands there.
async fn check_through(faults: &str) {
    const OBJECTS: u32 = 40;
    let store = Store::start(Kind::S3sFs);
    let (through, plain) = (with(&store, faults), store.open());
    for number in 0..OBJECTS {
        let name = path(&format!("t/{number}"));
        let bytes = Bytes::from(format!("object {number}").repeat(100));
        let sha256 = Digest::of(&bytes);
        through
            .put(&name, bytes.clone())
            .await
            .unwrap_or_else(|error| panic!("{faults}: put {number}: {error:?}"));
        let read = through.get_checked(&name, sha256).await;
        assert_eq!(
            read.unwrap_or_else(|error| panic!("{faults}: get {number}: {error:?}")),
            bytes
        );
        assert_eq!(plain.get(&name).await.unwrap(), bytes, "{faults}: {number}");
        assert_eq!(
            through.put(&name, bytes).await.unwrap(),
            Put::AlreadyThere,
            "{faults}: {number}"
        );
    }
    let listed: Vec<_> = plain.object_store().list(None).try_collect().await.unwrap();
    assert_eq!(listed.len(), OBJECTS as usize, "{faults}: no object twice");
}

#[tokio::test]
async fn refusals_for_now_lose_nothing() {
    check_through("seed:1,unavailable:0.2").await;
}

#[tokio::test]
async fn an_answer_that_is_lost_before_or_after_the_write_is_settled_by_what_stands_there() {
    check_through("seed:2,lost-before:0.15,lost-after:0.15").await;
}

#[tokio::test]
async fn a_conflict_without_an_object_is_tried_again_and_one_with_ours_is_a_success() {
    check_through("seed:3,conflict:0.2").await;
}

#[tokio::test]
async fn bytes_that_are_cut_or_changed_on_their_way_are_read_again() {
    check_through("seed:4,truncated:0.03,flipped:0.03").await;
}

#[tokio::test]
async fn everything_at_once_loses_nothing() {
    check_through("seed:5,unavailable:0.1,lost-before:0.05,lost-after:0.05,conflict:0.1,truncated:0.02,flipped:0.02,slow:0.01").await;
}

#[tokio::test]
async fn access_that_is_denied_and_a_store_that_is_full_are_said_at_once_by_name_and_pass() {
    let store = Store::start(Kind::S3sFs);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("faults");
    let storage = with(&store, &format!("file:{}", file.display()));
    for (number, fault, code) in [
        (1, "denied:1", Code::StorageDenied),
        (2, "full:1", Code::StorageFull),
    ] {
        let name = path(&format!("t/{number}"));
        std::fs::write(&file, fault).unwrap();
        let error = storage
            .put(&name, Bytes::from_static(b"x"))
            .await
            .unwrap_err();
        assert_eq!(
            (error.code(), error.is_transient()),
            (code, true),
            "{error:?}"
        );
        std::fs::remove_file(&file).unwrap();
        assert_eq!(
            storage.put(&name, Bytes::from_static(b"x")).await.unwrap(),
            Put::Written
        );
    }
}

#[tokio::test]
async fn a_store_that_falls_silent_is_given_up_within_a_bound() {
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let store = Store::start(Kind::S3sFs);
    let mut settings = store.settings.clone();
    settings.endpoint = Some(format!("http://{}", deaf.local_addr().unwrap()));
    settings.silence = Duration::from_millis(50);
    let storage = Storage::connect(&settings).unwrap();
    let get = tokio::time::timeout(Duration::from_secs(120), storage.get(&path("t/x"))).await;
    let error = get.expect("it ends by itself").unwrap_err();
    assert_eq!(error.code(), Code::StorageUnavailable, "{error:?}");
}

async fn check_bucket_that_goes(kind: Kind) {
    let store = Store::start(kind);
    let storage = store.open();
    let put = |name: &str| {
        let name = path(name);
        let storage = storage.clone();
        async move { storage.put(&name, Bytes::from_static(b"x")).await }
    };
    put("t/a").await.unwrap();
    store.remove_bucket();
    // s3s-fs makes a bucket that a put names.
    if kind == Kind::Moto {
        let error = put("t/b").await.unwrap_err();
        let found = (error.code(), error.is_transient());
        assert_eq!(found, (Code::StorageMissing, true), "{error:?}");
    }
    let listed = storage.marks().await.unwrap_err();
    assert_eq!(listed.code(), Code::StorageMissing, "{kind:?}: {listed:?}");
    store.make_bucket();
    assert_eq!(
        put("t/b").await.unwrap(),
        Put::Written,
        "{kind:?}: it is back"
    );
}

#[tokio::test]
async fn a_bucket_that_vanishes_is_named_and_work_goes_on_once_it_is_back() {
    check_bucket_that_goes(Kind::S3sFs).await;
    check_bucket_that_goes(Kind::Moto).await;
}

#[tokio::test]
async fn wrong_keys_are_denied_and_no_secret_is_ever_shown() {
    let store = Store::start(Kind::S3sFs);
    let keys = store.scratch().join("wrong");
    std::fs::write(
        &keys,
        "aws_access_key_id=test-key\naws_secret_access_key=hunter2-wrong\n",
    )
    .unwrap();
    let mut settings = store.settings.clone();
    settings.credentials = crate::Credentials::File(keys);
    let storage = Storage::connect(&settings).unwrap();
    let error = storage
        .put(&path("t/a"), Bytes::from_static(b"x"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::StorageDenied, "{error:?}");
    let shown = format!(
        "{error:?} {} {storage:?} {settings:?} {:?}",
        types::chain(&error),
        store.open()
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}
