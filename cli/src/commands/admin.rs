//! `admin journal export` and `admin gc`; who leads, copies of the store and their restores are in files of their own.

mod backup;
mod leader;
mod offline;

pub(super) use backup::{backup, verify};
pub(super) use leader::{ask, leader};
pub(super) use offline::{rebuild, restore};

use crate::args::Global;
use crate::client::Client;
use crate::failure::{Failure, problem};
use crate::output::print;
use crate::sink;
use crate::view::Garbage;
use proto::v1;
use std::path::PathBuf;
use types::Code;

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

pub(super) async fn gc(global: &Global, client: &Client, apply: bool) -> Result<(), Failure> {
    let request = v1::CollectGarbageRequest {
        caller: client.caller(),
        apply,
    };
    let mut answers = client.call(client.admin().collect_garbage(request)).await?;
    let answer = answers.message().await?;
    let answer = answer.ok_or_else(|| {
        let said = "the coordinator ended before all jobs were looked through";
        problem(Code::CoordinatorUnreachable, said)
    })?;
    print(global, &Garbage::new(answer, apply))
}
