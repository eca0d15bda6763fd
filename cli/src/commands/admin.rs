//! `admin journal export`.

use crate::client::Client;
use crate::failure::{Failure, problem};
use crate::sink::Sink;
use proto::v1;
use std::path::PathBuf;
use types::Code;

pub(super) async fn export_journal(client: &Client, to: Option<PathBuf>) -> Result<(), Failure> {
    let request = v1::ExportJournalRequest {
        caller: client.caller(),
    };
    let mut chunks = client.call(client.admin().export_journal(request)).await?;
    // Whether there is a journal is known with the first chunk, and only then is anything opened.
    let mut next = chunks.message().await?;
    let mut sink = Sink::open(to.as_deref())?;
    while let Some(chunk) = next {
        if chunk.last {
            return sink.finish();
        }
        sink.write(&chunk.data)?;
        next = chunks.message().await?;
    }
    Err(problem(
        Code::CoordinatorUnreachable,
        "the export of the journal ended before the file was whole",
    ))
}
