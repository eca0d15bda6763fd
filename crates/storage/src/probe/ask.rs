//! How each question is put to a store. Called by [`Storage::probe`] alone.

use std::ops::Range;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    Error, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, UpdateVersion, WriteMultipart,
};

use types::Code;

use super::{Answer, Finding, Question, leftovers};
use crate::error::said;
use crate::{Storage, StorageError};

/// Writers that create one name at once, and how often: a store that checks before it writes lets two of them win now and then.
const WRITERS: usize = 16;
const ROUNDS: usize = 8;
/// Objects of the listing of many pages: more than one page of every store.
const LISTED: usize = 1_005;
/// Puts of these at once.
const PUTS_AT_ONCE: usize = 16;
/// Bytes of the large object, which goes in pieces of five megabytes and a rest.
const LARGE_BYTES: usize = 11 * 1024 * 1024;
const PIECE_BYTES: usize = 5 * 1024 * 1024;
/// Difference between clocks from which requests may be refused: providers allow fifteen minutes.
const SKEW: Duration = Duration::from_secs(300);
/// Small objects that are put and read one after another to learn how long that takes: enough for a median that one slow request does not move.
const TIMED: usize = 20;
/// Half of such puts, and half of such reads, are quicker than this where a store is prompt: a commit makes two requests in a row.
const PROMPT: Duration = Duration::from_millis(125);
/// Longest time for one question.
const DEADLINE: Duration = Duration::from_secs(300);

type Seen = Result<(Answer, String), Error>;

/// One probe with a folder of its own.
pub(super) struct Asker<'a> {
    storage: &'a Storage,
    folder: String,
}

impl<'a> Asker<'a> {
    pub(super) fn new(storage: &'a Storage) -> Self {
        let folder = leftovers::folder();
        Self { storage, folder }
    }

    pub(super) async fn ask(&self, question: Question) -> Finding {
        let seen = tokio::time::timeout(DEADLINE, self.see(question)).await;
        let (answer, seen, trouble) = match seen {
            Ok(Ok((answer, seen))) => (answer, seen, None),
            Ok(Err(Error::NotImplemented { .. })) => (
                Answer::No,
                "It says that it cannot do this.".to_owned(),
                None,
            ),
            Ok(Err(error)) => {
                let seen = format!("It failed: {}.", said(&error));
                let code = StorageError::from_store("probe", self.storage.place(), error).code();
                (Answer::Unknown, seen, Some(code))
            }
            Err(_) => {
                let seen = "It did not answer in time.".to_owned();
                (Answer::Unknown, seen, Some(Code::StorageUnavailable))
            }
        };
        Finding {
            question,
            answer,
            seen,
            trouble,
        }
    }

    async fn see(&self, question: Question) -> Seen {
        match question {
            Question::PutGetRemove => self.put_get_remove().await,
            Question::CreateOnce => self.create_once().await,
            Question::OneWinner => self.one_winner().await,
            Question::ReplaceVersion => self.replace_version().await,
            Question::ListAtOnce => self.list_at_once().await,
            Question::ListPages => self.list_pages().await,
            Question::Ranges => self.ranges().await,
            Question::ReadVersion => self.read_version().await,
            Question::LargeObject => self.large_object().await,
            Question::Clock => self.clock().await,
            Question::Synced => Ok(self.synced()),
            Question::Prompt => self.prompt().await,
        }
    }

    fn store(&self) -> &dyn ObjectStore {
        self.storage.object_store()
    }

    fn path(&self, name: &str) -> Path {
        Path::from(format!("{}/{name}", self.folder))
    }

    async fn put(
        &self,
        name: &str,
        text: &str,
        mode: PutMode,
    ) -> Result<object_store::PutResult, Error> {
        let options = PutOptions {
            mode,
            ..PutOptions::default()
        };
        let payload = PutPayload::from(text.to_owned().into_bytes());
        self.store()
            .put_opts(&self.path(name), payload, options)
            .await
    }

    async fn text(&self, name: &str) -> Result<String, Error> {
        let bytes = self.store().get(&self.path(name)).await?.bytes().await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn put_get_remove(&self) -> Seen {
        self.put("one", "text", PutMode::Overwrite).await?;
        let there = self.text("one").await? == "text";
        self.store().delete(&self.path("one")).await?;
        let gone = match self.text("one").await {
            Ok(_) => false,
            Err(Error::NotFound { .. }) => true,
            // No answer says nothing of what is there.
            Err(error) => return Err(error),
        };
        Ok(match (there, gone) {
            (true, true) => yes("What was put came back, and was gone once it was removed."),
            (false, _) => no("What came back is not what was put."),
            (true, false) => no("What was removed is still there."),
        })
    }

    async fn create_once(&self) -> Seen {
        self.put("once", "first", PutMode::Create).await?;
        let second = self.put("once", "second", PutMode::Create).await;
        let stands = self.text("once").await?;
        Ok(match (second, stands.as_str()) {
            (Err(Error::AlreadyExists { .. }), "first") => yes("A second create was refused."),
            (Err(error), "first") => (
                Answer::Unknown,
                format!("A second create failed otherwise: {}.", said(&error)),
            ),
            (Ok(_), "first") => {
                no("A second create was said to have succeeded, and changed nothing.")
            }
            (Ok(_) | Err(_), _) => {
                no("The condition was ignored: a second create replaced the first.")
            }
        })
    }

    async fn one_winner(&self) -> Seen {
        for round in 0..ROUNDS {
            let name = format!("race-{round}");
            let writer = |number: usize| {
                let (name, text) = (name.clone(), number.to_string());
                async move {
                    (
                        number,
                        self.put(&name, &text, PutMode::Create).await.is_ok(),
                    )
                }
            };
            let outcomes: Vec<(usize, bool)> = stream::iter(0..WRITERS)
                .map(writer)
                .buffer_unordered(WRITERS)
                .collect()
                .await;
            let winners: Vec<usize> = outcomes
                .iter()
                .filter(|(_, won)| *won)
                .map(|(number, _)| *number)
                .collect();
            let stands = self.text(&name).await?;
            match winners.as_slice() {
                [winner] if stands == winner.to_string() => {}
                [_] => {
                    return Ok(no(
                        "One writer was told that it won, and another one's bytes stand there.",
                    ));
                }
                [] => {
                    return Ok((
                        Answer::Unknown,
                        "No writer was told that it won.".to_owned(),
                    ));
                }
                several => {
                    let said = format!(
                        "{} of {WRITERS} writers were told that they won, in round {} of {ROUNDS}.",
                        several.len(),
                        round + 1
                    );
                    return Ok((Answer::No, said));
                }
            }
        }
        Ok((
            Answer::Yes,
            format!(
                "In {ROUNDS} rounds one of {WRITERS} writers won each time. No proof: a rarer race may be there."
            ),
        ))
    }

    async fn replace_version(&self) -> Seen {
        let first = self.put("version", "first", PutMode::Overwrite).await?;
        self.put("version", "second", PutMode::Overwrite).await?;
        let version = UpdateVersion {
            e_tag: first.e_tag,
            version: first.version,
        };
        let outcome = self.put("version", "third", PutMode::Update(version)).await;
        let stands = self.text("version").await?;
        Ok(match (outcome, stands.as_str()) {
            (Err(Error::NotImplemented { .. }), _) => {
                no("Versions cannot be replaced by condition here.")
            }
            (Err(Error::Precondition { .. } | Error::AlreadyExists { .. }), "second") => {
                yes("A put for a version that is no more was refused.")
            }
            (Err(error), "second") => (
                Answer::Unknown,
                format!(
                    "A put for a version that is no more failed otherwise: {}.",
                    said(&error)
                ),
            ),
            (Ok(_) | Err(_), _) => no(
                "The condition was ignored: a put for a version that is no more replaced another.",
            ),
        })
    }

    async fn read_version(&self) -> Seen {
        let first = self.put("read", "first", PutMode::Overwrite).await?;
        let Some(tag) = first.e_tag else {
            return Ok(no("It gives objects no version."));
        };
        self.put("read", "other", PutMode::Overwrite).await?;
        let options = GetOptions {
            if_match: Some(tag.clone()),
            ..GetOptions::default()
        };
        Ok(
            match self.store().get_opts(&self.path("read"), options).await {
                Err(Error::Precondition { .. }) => {
                    yes("A read of a version that is no more was refused.")
                }
                Ok(answer) if answer.meta.e_tag != Some(tag) => no(
                    "The condition was ignored, but the answer states the other version, which is checked.",
                ),
                Ok(_) => no("The condition was ignored, and both versions have the same tag."),
                Err(error) => (
                    Answer::Unknown,
                    format!("It failed otherwise: {}.", said(&error)),
                ),
            },
        )
    }

    async fn count(&self, folder: &str) -> Result<usize, Error> {
        let listed = self.store().list(Some(&self.path(folder)));
        Ok(listed.try_collect::<Vec<_>>().await?.len())
    }

    async fn list_at_once(&self) -> Seen {
        for number in 1..=WRITERS {
            self.put(&format!("listed/{number}"), "x", PutMode::Overwrite)
                .await?;
            if self.count("listed").await? != number {
                return Ok(no("An object that was put was not listed at once."));
            }
        }
        self.store().delete(&self.path("listed/1")).await?;
        Ok(match self.count("listed").await? == WRITERS - 1 {
            true => {
                yes("Each object was listed as soon as it was put, and none once it was removed.")
            }
            false => no("An object that was removed was still listed."),
        })
    }

    async fn list_pages(&self) -> Seen {
        let put = |number: usize| async move {
            self.put(&format!("pages/{number:05}"), "", PutMode::Overwrite)
                .await
        };
        let puts = stream::iter(0..LISTED)
            .map(put)
            .buffer_unordered(PUTS_AT_ONCE);
        puts.try_for_each(|_| std::future::ready(Ok(()))).await?;
        let folder = self.path("pages");
        let listed: Vec<_> = self.store().list(Some(&folder)).try_collect().await?;
        let names: std::collections::BTreeSet<_> =
            listed.iter().map(|found| found.location.as_ref()).collect();
        Ok(match (listed.len(), names.len()) {
            (LISTED, LISTED) => (
                Answer::Yes,
                format!("A listing of {LISTED} objects had each once."),
            ),
            (all, names) => (
                Answer::No,
                format!("A listing of {LISTED} objects had {all} entries and {names} names."),
            ),
        })
    }

    async fn ranges(&self) -> Seen {
        self.put("ranges", "0123456789", PutMode::Overwrite).await?;
        for (range, expected) in [(0..1, "0"), (3..7, "3456"), (9..10, "9")] {
            match self.range(range).await? {
                Ok(bytes) if bytes == expected => {}
                Ok(_) => return Ok(no("A range came back as other bytes.")),
                Err(error) => {
                    return Ok((
                        Answer::No,
                        format!("A range was refused: {}.", said(&error)),
                    ));
                }
            }
        }
        Ok(yes("Ranges came back as asked for."))
    }

    /// A range, read once more where it failed and the whole object comes meanwhile: no answer is no refusal of ranges.
    async fn range(&self, range: Range<u64>) -> Result<Result<Bytes, Error>, Error> {
        let path = self.path("ranges");
        let read = self.store().get_range(&path, range.clone()).await;
        if read.is_ok() {
            return Ok(read);
        }
        self.text("ranges").await?;
        Ok(self.store().get_range(&path, range).await)
    }

    async fn large_object(&self) -> Seen {
        let bytes: Vec<u8> = (0..LARGE_BYTES).map(|n| (n % 251) as u8).collect();
        let path = self.path("large");
        let upload = self
            .store()
            .put_multipart_opts(&path, PutMultipartOptions::default())
            .await?;
        let mut writing = WriteMultipart::new_with_chunk_size(upload, PIECE_BYTES);
        writing.put(Bytes::from(bytes.clone()));
        writing.finish().await?;
        let back = self.store().get(&path).await?.bytes().await?;
        Ok(match back == bytes {
            true => (
                Answer::Yes,
                format!("An object of {LARGE_BYTES} bytes in pieces came back whole."),
            ),
            false => no("An object in pieces came back as other bytes."),
        })
    }

    async fn clock(&self) -> Seen {
        let here = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs() as i64
        };
        let before = here();
        self.put("clock", "", PutMode::Overwrite).await?;
        let after = here();
        let there = self
            .store()
            .head(&self.path("clock"))
            .await?
            .last_modified
            .timestamp();
        let skew = (before - there).max(there - after).max(0);
        let answer = if skew <= SKEW.as_secs() as i64 {
            Answer::Yes
        } else {
            Answer::No
        };
        Ok((
            answer,
            format!("Its clock and this machine's differ by {skew} seconds at most."),
        ))
    }

    async fn prompt(&self) -> Seen {
        let (mut puts, mut reads) = (Vec::new(), Vec::new());
        for number in 0..TIMED {
            let name = format!("timed/{number}");
            let begun = Instant::now();
            self.put(&name, "x", PutMode::Overwrite).await?;
            let put = begun.elapsed();
            self.text(&name).await?;
            reads.push(begun.elapsed().saturating_sub(put));
            puts.push(put);
        }
        let ((put, slowest_put), (read, slowest_read)) = (middle(puts), middle(reads));
        let answer = if put.max(read) <= PROMPT {
            Answer::Yes
        } else {
            Answer::No
        };
        let millis = |time: Duration| time.as_millis();
        Ok((
            answer,
            format!(
                "Of {TIMED} small objects half were put within {} ms and read within {} ms, all within {} and {} ms.",
                millis(put),
                millis(read),
                millis(slowest_put),
                millis(slowest_read)
            ),
        ))
    }

    /// No request shows it, so that what is known is said.
    fn synced(&self) -> (Answer, String) {
        match self.storage.folder() {
            Some(folder) => sync(folder),
            None => (
                Answer::Unknown,
                "It is the provider's promise; nothing here can test it.".to_owned(),
            ),
        }
    }

    /// Removes what was put. What cannot be removed stays under `_probe/`, which nothing reads, until a later probe comes by.
    pub(super) async fn clear_up(&self) {
        let folder = Path::from(self.folder.as_str());
        let listed = self.store().list(Some(&folder));
        let remove = |found: Result<object_store::ObjectMeta, Error>| async move {
            if let Ok(found) = found {
                let _stays = self.store().delete(&found.location).await;
            }
        };
        let removing = listed.for_each_concurrent(PUTS_AT_ONCE, remove);
        if tokio::time::timeout(DEADLINE, removing).await.is_err() {
            tracing::warn!(folder = self.folder, "what a probe put was left behind");
        }
        if let Some(root) = self.storage.folder() {
            let folder = root.join(&self.folder);
            let _gone_or_in_use = std::fs::remove_dir_all(&folder);
            // The folder of all probes goes with the last one.
            let _another_runs = folder.parent().map(std::fs::remove_dir);
        }
    }
}

/// The median and the longest of some times.
fn middle(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    let at = |n: usize| times.get(n).copied().unwrap_or_default();
    (at(times.len() / 2), at(times.len().saturating_sub(1)))
}

fn sync(folder: &std::path::Path) -> (Answer, String) {
    let synced = tempfile::tempfile_in(folder).and_then(|file| file.sync_all());
    match synced {
        Ok(()) => yes(
            "The file system accepts fsync, and each write ends with one; whether the disk keeps its word is not known.",
        ),
        Err(error) => (
            Answer::No,
            format!("The file system refuses fsync: {error}."),
        ),
    }
}

fn yes(seen: &str) -> (Answer, String) {
    (Answer::Yes, seen.to_owned())
}

fn no(seen: &str) -> (Answer, String) {
    (Answer::No, seen.to_owned())
}
