//! Puts whose answers lie, are lost or say that the disk is full; and what a local folder keeps.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutResult,
};

use super::*;

type Answer<T> = object_store::Result<T>;

/// What happens to one put.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The object is written and the answer lost.
    AnswerLost,
    /// Nothing is written and there is no answer.
    RequestLost,
    /// Nothing is written and the answer is "exists", as a conflict between writers is reported.
    SaysExists,
    /// The medium is full.
    NoRoom,
}

/// A store whose next puts go wrong as told; then it works.
#[derive(Debug)]
struct Faulty {
    inner: InMemory,
    faults: Mutex<VecDeque<Fault>>,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

fn lost() -> object_store::Error {
    object_store::Error::Generic {
        store: "Faulty",
        source: "no answer in time".into(),
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &object_store::path::Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Answer<PutResult> {
        let fault = self.faults.lock().unwrap().pop_front();
        match fault {
            None => self.inner.put_opts(location, payload, options).await,
            Some(Fault::AnswerLost) => {
                self.inner.put_opts(location, payload, options).await?;
                Err(lost())
            }
            Some(Fault::RequestLost) => Err(lost()),
            Some(Fault::SaysExists) => {
                let path = location.to_string();
                Err(object_store::Error::AlreadyExists {
                    path,
                    source: "conflict".into(),
                })
            }
            Some(Fault::NoRoom) => {
                let full = io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
                Err(object_store::Error::Generic {
                    store: "Faulty",
                    source: Box::new(full),
                })
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &object_store::path::Path,
        options: PutMultipartOptions,
    ) -> Answer<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(
        &self,
        location: &object_store::path::Path,
        options: GetOptions,
    ) -> Answer<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Answer<object_store::path::Path>>,
    ) -> BoxStream<'static, Answer<object_store::path::Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(
        &self,
        prefix: Option<&object_store::path::Path>,
    ) -> BoxStream<'static, Answer<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(
        &self,
        prefix: Option<&object_store::path::Path>,
    ) -> Answer<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &object_store::path::Path,
        to: &object_store::path::Path,
        options: CopyOptions,
    ) -> Answer<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn path() -> ObjectPath {
    "t/1/job/part".parse().unwrap()
}

/// Puts through these faults, in paused time; gives how it ended and what stands there then.
async fn put_through(faults: &[Fault]) -> (Result<Put, StorageError>, Option<Bytes>) {
    let faults = Mutex::new(faults.iter().copied().collect());
    let storage = Storage::on(Arc::new(Faulty {
        inner: InMemory::new(),
        faults,
    }));
    let put = storage.put(&path(), Bytes::from_static(b"ours")).await;
    (put, storage.get(&path()).await.ok())
}

#[tokio::test(start_paused = true)]
async fn an_answer_lost_after_the_write_is_settled_by_what_stands_there() {
    let (put, there) = put_through(&[Fault::AnswerLost]).await;
    assert_eq!(put.unwrap(), Put::AlreadyThere);
    assert_eq!(there.as_deref(), Some(b"ours".as_slice()));
}

#[tokio::test(start_paused = true)]
async fn an_exists_without_an_object_is_a_conflict_and_is_tried_again() {
    for faults in [
        &[Fault::SaysExists][..],
        &[Fault::RequestLost, Fault::SaysExists, Fault::AnswerLost],
    ] {
        let (put, there) = put_through(faults).await;
        assert!(put.is_ok(), "{faults:?}");
        assert_eq!(there.as_deref(), Some(b"ours".as_slice()), "{faults:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_is_given_up_after_a_bounded_number_of_attempts() {
    let (put, there) = put_through(&[Fault::RequestLost; PUT_ATTEMPTS_MAX as usize]).await;
    assert!(matches!(put, Err(StorageError::Unavailable { .. })));
    assert_eq!(there, None);
    let (put, _) = put_through(&[Fault::RequestLost; PUT_ATTEMPTS_MAX as usize - 1]).await;
    assert_eq!(put.unwrap(), Put::Written);
}

#[tokio::test(start_paused = true)]
async fn a_full_store_is_named_as_such() {
    let (put, _) = put_through(&[Fault::NoRoom; PUT_ATTEMPTS_MAX as usize]).await;
    assert!(matches!(put, Err(StorageError::Full { .. })));
}

#[tokio::test]
async fn other_bytes_under_our_name_are_damage_and_stay() {
    let storage = Storage::on(Arc::new(InMemory::new()));
    assert_eq!(
        storage
            .put(&path(), Bytes::from_static(b"theirs"))
            .await
            .unwrap(),
        Put::Written
    );
    let error = storage
        .put(&path(), Bytes::from_static(b"ours"))
        .await
        .unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }));
    assert_eq!(&storage.get(&path()).await.unwrap()[..], b"theirs");
}

#[tokio::test]
async fn a_local_folder_keeps_each_object_as_one_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_folder(&folder.path().join("deep/root")).unwrap();
    for put in [Put::Written, Put::AlreadyThere] {
        assert_eq!(
            storage
                .put(&path(), Bytes::from_static(b"ours"))
                .await
                .unwrap(),
            put
        );
    }
    let parts = folder.path().join("deep/root/t/1/job");
    let names: Vec<_> = std::fs::read_dir(parts)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["part"]);
    assert_eq!(storage.len(&path()).await.unwrap(), 4);
    assert_eq!(&storage.get_range(&path(), 1..3).await.unwrap()[..], b"ur");
    let other = "t/none".parse().unwrap();
    assert!(matches!(
        storage.get(&other).await,
        Err(StorageError::NotFound { .. })
    ));
}

#[tokio::test]
async fn lengths_come_in_the_order_of_their_names_and_a_folder_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let on_disk = Storage::open_folder(folder.path()).unwrap();
    for storage in [on_disk, Storage::on(Arc::new(InMemory::new()))] {
        storage
            .put(&path(), Bytes::from_static(b"ours"))
            .await
            .unwrap();
        let names = ["t/1/none", "t/1/job/part", "t/1/job", "t/1/job/part"];
        let names = names.map(|name| name.parse().unwrap()).to_vec();
        let found = storage.lengths(names).await;
        let found: Vec<_> = found.into_iter().map(Result::unwrap).collect();
        assert_eq!(found, [None, Some(4), None, Some(4)]);
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_looked_up_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_folder(folder.path()).unwrap();
    storage
        .put(&path(), Bytes::from_static(b"ours"))
        .await
        .unwrap();
    std::os::unix::fs::symlink("loop", folder.path().join("loop")).unwrap();
    let names = ["loop", "t/1/job/part"].map(|name| name.parse().unwrap());
    let found = storage.lengths(names.to_vec()).await;
    assert!(matches!(found[0], Err(StorageError::Unavailable { .. })));
    assert!(matches!(found[1], Ok(Some(4))));
}

#[tokio::test]
async fn a_file_larger_than_a_chunk_is_put_whole() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_folder(folder.path()).unwrap();
    let bytes: Vec<u8> = (0..FILE_CHUNK_BYTES + 12_345)
        .map(|n| (n % 251) as u8)
        .collect();
    for put in [Put::Written, Put::AlreadyThere] {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &bytes).unwrap();
        assert_eq!(storage.put_file(&path(), file).await.unwrap(), put);
    }
    assert!(storage.get(&path()).await.unwrap() == bytes);
    assert!(
        storage
            .get_checked(&path(), Digest::of(&bytes))
            .await
            .is_ok()
    );
    let wrong = storage.get_checked(&path(), Digest::of(b"other")).await;
    assert!(matches!(wrong, Err(StorageError::Corrupt { .. })));
}

#[test]
fn storage_is_a_folder_named_by_an_absolute_file_url() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("with space");
    let url = format!("file://{}", root.display()).replace(' ', "%20");
    assert!(Storage::open(&url).is_ok() && root.is_dir());
    for bad in [
        "",
        "file://relative",
        "/tmp/x",
        "http://host/x",
        "memory:///",
    ] {
        assert!(
            matches!(Storage::open(bad), Err(StorageError::Invalid(_))),
            "{bad}"
        );
    }
}

#[test]
fn what_a_local_folder_is_given_is_synced() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_folder(folder.path()).unwrap();
    // No kill of a process shows a lost sync, so the setting is asked for by the one name that it has.
    let shown = format!("{storage:?}");
    assert!(shown.contains("fsync: true"), "{shown}");
}
