//! `admin journal export`.

use crate::client::Client;
use crate::failure::Failure;
use crate::sink;
use proto::v1;
use std::path::PathBuf;

pub(super) async fn export_journal(client: &Client, to: Option<PathBuf>) -> Result<(), Failure> {
    let request = v1::ExportJournalRequest {
        caller: client.caller(),
    };
    let chunks = client.call(client.admin().export_journal(request)).await?;
    sink::receive(to.as_deref(), "the journal", chunks, |chunk| {
        (chunk.data, chunk.last)
    })
    .await
}
