//! `admin backup` and `admin backup verify`. A backup is checked as it comes, and takes its name only once it is whole.

use crate::args::Global;
use crate::client::Client;
use crate::failure::{Failure, problem};
use crate::output::print;
use crate::sink::Sink;
use crate::view::BackupView;
use proto::backup::Reader;
use proto::v1;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use types::Code;

/// Bytes of a backup's file that are read at a time.
const READ_BYTES: usize = 256 * 1024;

pub(crate) async fn backup(global: &Global, client: &Client, out: &Path) -> Result<(), Failure> {
    let file = named(out);
    let request = v1::BackupRequest {
        caller: client.caller(),
    };
    let mut chunks = client.call(client.admin().backup(request)).await?;
    // Whether there is anything is known with the first chunk, and only then is anything opened.
    let mut next = chunks.message().await?;
    let (mut sink, mut reader) = (Sink::open(Some(&file)).await?, Reader::default());
    while let Some(chunk) = next {
        if chunk.last {
            let whole = reader.finish()?;
            sink.finish()?;
            return print(global, &BackupView::new(&file, &whole));
        }
        reader.push(&chunk.data)?;
        sink.write(chunk.data).await?;
        next = chunks.message().await?;
    }
    let said = "the copy of the store ended before it was whole";
    Err(problem(Code::CoordinatorUnreachable, said))
}

/// The file itself, or one named by the time in a folder.
fn named(out: &Path) -> PathBuf {
    if !out.is_dir() {
        return out.to_owned();
    }
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    out.join(format!("trackscan-{now}.backup"))
}

pub(crate) fn verify(global: &Global, path: &Path) -> Result<(), Failure> {
    let failed = |why: std::io::Error| {
        let said = format!("could not read `{}`: {why}", path.display());
        problem(Code::NotFound, said)
    };
    let mut file = File::open(path).map_err(failed)?;
    let (mut reader, mut piece) = (Reader::default(), vec![0; READ_BYTES]);
    loop {
        match file.read(&mut piece).map_err(failed)? {
            0 => break,
            read => reader.push(&piece[..read])?,
        };
    }
    print(global, &BackupView::new(path, &reader.finish()?))
}
