//! A store that fails now and then is not said to lie: what got no answer is unknown, and nothing is held against it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use super::ask::Asker;
use super::*;

type Told<T> = object_store::Result<T>;

/// A store in memory that answers not every request.
#[derive(Debug)]
struct Failing {
    inner: InMemory,
    /// Reads that were asked for so far.
    reads: AtomicUsize,
    /// Whether a read fails, by its number from one on and what it asks for.
    read_fails: fn(usize, &GetOptions) -> bool,
    /// Whether a put that must replace a version fails.
    replace_fails: bool,
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failing")
    }
}

fn silent() -> Error {
    Error::Generic {
        store: "Failing",
        source: "no answer in time".into(),
    }
}

#[async_trait]
impl ObjectStore for Failing {
    async fn put_opts(&self, at: &Path, load: PutPayload, options: PutOptions) -> Told<PutResult> {
        if self.replace_fails && matches!(options.mode, PutMode::Update(_)) {
            return Err(silent());
        }
        self.inner.put_opts(at, load, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Told<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Told<GetResult> {
        let number = self.reads.fetch_add(1, Ordering::Relaxed) + 1;
        match (self.read_fails)(number, &options) {
            true => Err(silent()),
            false => self.inner.get_opts(at, options).await,
        }
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Told<Path>>,
    ) -> BoxStream<'static, Told<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Told<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Told<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Told<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

async fn found(
    question: Question,
    read_fails: fn(usize, &GetOptions) -> bool,
    replace_fails: bool,
) -> Finding {
    let storage = Storage::on(Arc::new(Failing {
        inner: InMemory::new(),
        reads: AtomicUsize::new(0),
        read_fails,
        replace_fails,
    }));
    Asker::new(&storage).ask(question).await
}

#[tokio::test]
async fn a_read_that_gets_no_answer_after_a_removal_is_no_object_that_stays() {
    let found = found(Question::PutGetRemove, |number, _| number == 2, false).await;
    assert_eq!(found.answer, Answer::Unknown, "{found:?}");
    assert_eq!(found.trouble, Some(Code::StorageUnavailable));
}

#[tokio::test]
async fn ranges_are_missing_only_where_the_whole_object_comes_and_a_range_does_not() {
    let all = |_: usize, _: &GetOptions| true;
    let first = |number: usize, _: &GetOptions| number == 1;
    let ranges = |_: usize, options: &GetOptions| options.range.is_some();
    let silent = found(Question::Ranges, all, false).await;
    assert_eq!(silent.trouble, Some(Code::StorageUnavailable));
    assert_eq!(silent.answer, Answer::Unknown);
    let once = found(Question::Ranges, first, false).await;
    assert_eq!(once.answer, Answer::Yes, "{once:?}");
    let never = found(Question::Ranges, ranges, false).await;
    assert_eq!((never.answer, never.trouble), (Answer::No, None));
}

#[tokio::test]
async fn a_put_that_gets_no_answer_is_no_version_that_was_protected() {
    let none = |_: usize, _: &GetOptions| false;
    let kept = found(Question::ReplaceVersion, none, false).await;
    assert_eq!(kept.answer, Answer::Yes, "{kept:?}");
    let failed = found(Question::ReplaceVersion, none, true).await;
    assert_eq!(failed.answer, Answer::Unknown, "{failed:?}");
}
