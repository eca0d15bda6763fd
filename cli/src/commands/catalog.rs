//! `catalog import|ls|get|rejected`. The coordinator reads the path; only its absolute form is made here.

use crate::args::{Global, ImportFormat};
use crate::client::{Client, PAGE_ROWS};
use crate::failure::{Exit, Failure, after, problem};
use crate::output::print;
use crate::progress::Progress;
use crate::view::{CatalogDetail, CatalogList, Imported, RejectedList};
use proto::v1::{self, import_event::Event};
use std::ffi::OsString;
use std::path::Path;
use types::Code;

pub(super) async fn import(
    global: &Global,
    client: &Client,
    name: String,
    path: OsString,
    source: Option<String>,
    format: ImportFormat,
) -> Result<(), Failure> {
    let path = if source.is_some() {
        text(path)?
    } else {
        absolute(Path::new(&path))?
    };
    let request = v1::ImportRequest {
        caller: client.caller(),
        catalog: name,
        path,
        format: wire_format(format).into(),
        source: source.unwrap_or_default(),
    };
    let view = imported(global, client, request).await?;
    after(print(global, &view), outcome(&view))
}

/// Imports a folder of this machine under a name, with progress; gives the snapshot that stands then, be it new or not.
pub(super) async fn import_folder(
    global: &Global,
    client: &Client,
    name: String,
    folder: &Path,
) -> Result<Imported, Failure> {
    let request = v1::ImportRequest {
        caller: client.caller(),
        catalog: name,
        path: absolute(folder)?,
        format: wire_format(ImportFormat::Folder).into(),
        source: String::new(),
    };
    imported(global, client, request).await
}

async fn imported(
    global: &Global,
    client: &Client,
    request: v1::ImportRequest,
) -> Result<Imported, Failure> {
    let name = request.catalog.clone();
    let mut events = client.call(client.catalogs().import(request)).await?;
    let mut registered_folder = String::new();
    let mut progress = Progress::new(global);
    while let Some(event) = events.message().await? {
        match event.event {
            Some(Event::Started(started)) => {
                registered_folder = started.registered_folder;
                if !global.quiet && !registered_folder.is_empty() {
                    progress.say(&format!(
                        "registered {registered_folder} as the read-only source `{}`",
                        started.source
                    ));
                }
            }
            Some(Event::Progress(seen)) => progress.show_import(&seen),
            None => {}
            Some(Event::Imported(done)) => {
                progress.end();
                return Ok(Imported {
                    catalog: name,
                    snapshot: done.snapshot.unwrap_or_default().into(),
                    unchanged: done.unchanged,
                    registered_folder,
                });
            }
        }
    }
    Err(problem(
        Code::Internal,
        format!("the import of `{name}` ended without an answer"),
    ))
}

/// An import that finds a snapshot of the same rows stores nothing, and says so by its exit code.
fn outcome(imported: &Imported) -> Result<(), Failure> {
    if imported.unchanged {
        Err(Failure::Ended(Exit::Unchanged))
    } else {
        Ok(())
    }
}

/// The absolute form of a path, as the coordinator is told it.
pub(super) fn absolute(path: &Path) -> Result<String, Failure> {
    let full = std::path::absolute(path).map_err(|why| {
        let said = format!("`{}` is no path: {why}", path.display());
        problem(Code::InvalidRequest, said)
    })?;
    text(full.into_os_string())
}

/// A path as the coordinator is told it: keys and requests are text.
fn text(path: OsString) -> Result<String, Failure> {
    path.into_string().map_err(|path| {
        let said = format!("the path `{}` is not UTF-8", path.display());
        problem(Code::InvalidRequest, said)
    })
}

const fn wire_format(format: ImportFormat) -> v1::ImportFormat {
    match format {
        ImportFormat::Auto => v1::ImportFormat::Auto,
        ImportFormat::Folder => v1::ImportFormat::Folder,
        ImportFormat::Csv => v1::ImportFormat::Csv,
        ImportFormat::M3u8 => v1::ImportFormat::M3u8,
    }
}

pub(super) async fn ls(global: &Global, client: &Client) -> Result<(), Failure> {
    let (mut catalogs, mut page) = (Vec::new(), String::new());
    loop {
        let request = v1::ListCatalogsRequest {
            caller: client.caller(),
            page_size: PAGE_ROWS,
            page,
        };
        let answer = client
            .call(client.catalogs().list_catalogs(request))
            .await?;
        catalogs.extend(answer.catalogs.into_iter().map(Into::into));
        page = answer.next_page;
        if page.is_empty() {
            return print(global, &CatalogList { catalogs });
        }
    }
}

pub(super) async fn get(global: &Global, client: &Client, catalog: String) -> Result<(), Failure> {
    let request = v1::GetCatalogRequest {
        caller: client.caller(),
        catalog: catalog.clone(),
    };
    let answer = client.call(client.catalogs().get_catalog(request)).await?;
    let snapshots = answer.snapshots.into_iter().map(Into::into).collect();
    print(
        global,
        &CatalogDetail {
            name: catalog,
            snapshots,
        },
    )
}

pub(super) async fn rejected(
    global: &Global,
    client: &Client,
    catalog: String,
    snapshot: Option<String>,
) -> Result<(), Failure> {
    let (mut rows, mut page) = (Vec::new(), String::new());
    let snapshot = snapshot.unwrap_or_default();
    loop {
        let request = v1::ListRejectedRequest {
            caller: client.caller(),
            catalog: catalog.clone(),
            snapshot: snapshot.clone(),
            page_size: PAGE_ROWS,
            page,
        };
        let answer = client
            .call(client.catalogs().list_rejected(request))
            .await?;
        rows.extend(answer.rows);
        page = answer.next_page;
        if page.is_empty() {
            return print(global, &RejectedList::from(rows));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn a_path_that_is_not_utf_8_is_refused_by_the_command_with_and_without_a_source() {
        let odd = || OsString::from_vec(b"/music/\xff".to_vec());
        for refused in [text(odd()), absolute(Path::new(&odd()))] {
            let Err(Failure::Problem { code, cause, .. }) = refused else {
                panic!("it is no text");
            };
            assert_eq!(code, "INVALID_REQUEST");
            assert!(cause.contains("is not UTF-8"), "{cause}");
        }
    }
}
