//! A copy of the store for an operator: every record at one revision, page by page, in the form of `proto::backup`. Changes nothing. What
//! storage holds is not in it.

use std::sync::Arc;

use proto::backup::Writer;
use proto::v1;
use store::{KeyRange, Page, ReadError};
use types::{Code, Problem};

use crate::app::App;
use crate::rpc::{Gone, Sender};
use crate::shelf::read_problem;
use crate::{audit, clock};

/// Bytes in one chunk: a quarter of a message.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Sends a backup.
pub(super) async fn send(
    app: Arc<App>,
    wire: v1::BackupRequest,
    answers: Sender<v1::BackupChunk>,
) -> Result<(), Problem> {
    let caller = proto::caller(wire.caller)?;
    let outcome = copy(&app, &answers).await;
    // A backup holds what every tenant has.
    audit::line(&caller, "Backup", "the store", &outcome);
    outcome
}

async fn copy(app: &App, answers: &Sender<v1::BackupChunk>) -> Result<(), Problem> {
    let store = app.shelf.store();
    let status = store.status().await;
    let status = status.map_err(|error| failed(&error))?;
    let mut range = KeyRange::prefix("/");
    let mut page = store.range(&range).await.map_err(|error| failed(&error))?;
    let mut writer = Writer::default();
    let header = writer.header(v1::BackupHeader {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: status.cluster,
        generation: app.shelf.generation().0,
        revision: page.revision.0,
        at_ms: clock::wall().0,
    });
    let mut gone = give(answers, header).await;
    while gone.is_ok() {
        let following = range.following(&page);
        gone = give(answers, writer.page(wire_page(page))).await;
        let Some(following) = following else {
            break;
        };
        range = following;
        page = store.range(&range).await.map_err(|error| failed(&error))?;
    }
    if gone.is_ok() {
        gone = give(answers, writer.end()).await;
    }
    if gone.is_ok() {
        let (data, last) = (Vec::new(), true);
        gone = answers.send(v1::BackupChunk { data, last }).await;
    }
    gone.map_err(|Gone| Problem::new(Code::DeadlineExceeded, "back up: whoever asked went away"))
}

async fn give(answers: &Sender<v1::BackupChunk>, bytes: Vec<u8>) -> Result<(), Gone> {
    for data in bytes.chunks(CHUNK_BYTES_MAX) {
        let (data, last) = (data.to_vec(), false);
        answers.send(v1::BackupChunk { data, last }).await?;
    }
    Ok(())
}

fn wire_page(page: Page) -> v1::BackupPage {
    let entries = page.entries.into_iter().map(|entry| v1::BackupEntry {
        key: entry.key,
        value: entry.value,
    });
    v1::BackupPage {
        entries: entries.collect(),
    }
}

/// A revision that goes while it is read is begun anew by whoever asks again.
fn failed(error: &ReadError) -> Problem {
    read_problem("every record, for a backup", error)
}
