//! Importing: which source holds the path, reading it through `storage` with progress, and putting the snapshot on the
//! shelf. A folder that no source holds becomes a source only where the configuration allows it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proto::{Caller, v1};
use storage::{
    CatalogImport, ImportError, ImportFrom, ImportProgress, Imported, RegisteredFolder, SourceError,
};
use types::{CatalogName, Code, Problem, SourceName, chain};

use super::catalogs::snapshot_out;
use crate::app::{App, blocking, storage_problem};
use crate::rpc::Sender;
use crate::shelf::{FolderRecord, RejectedCount, SnapshotRecord};
use crate::sources::name_of_folder;
use crate::{audit, clock};

/// Time between two words of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Longest path taken: what the system takes.
const PATH_BYTES_MAX: usize = 4_096;

/// What is to be imported, resolved.
struct Plan {
    from: ImportFrom,
    format: v1::ImportFormat,
    source: SourceName,
    key: String,
    /// The folder that this import registered as a source.
    registered: Option<PathBuf>,
}

/// Imports, telling `answers` how it goes.
pub(super) async fn import(
    app: Arc<App>,
    mut wire: v1::ImportRequest,
    answers: Sender<v1::ImportEvent>,
) -> Result<(), Problem> {
    let caller = proto::caller(wire.caller.take())?;
    let what = format!("{} from {}", wire.catalog, wire.path);
    let outcome = run(&app, &caller, wire, &answers).await;
    audit::line(&caller, "Import", &what, &outcome);
    let done = outcome?;
    // A reader that is gone finds the snapshot by looking at the catalog.
    let _ = answers
        .send(event(v1::import_event::Event::Imported(done)))
        .await;
    Ok(())
}

async fn run(
    app: &Arc<App>,
    caller: &Caller,
    wire: v1::ImportRequest,
    answers: &Sender<v1::ImportEvent>,
) -> Result<v1::ImportDone, Problem> {
    let catalog: CatalogName = proto::field::parsed("catalog", &wire.catalog)?;
    let _turn = app
        .imports
        .acquire()
        .await
        .map_err(|_| Problem::new(Code::NotLeader, "import while the coordinator ends"))?;
    let plan = plan(app, caller, wire).await?;
    let started = v1::ImportStarted {
        format: plan.format.into(),
        source: plan.source.to_string(),
        registered_folder: plan
            .registered
            .as_ref()
            .map(|folder| folder.display().to_string())
            .unwrap_or_default(),
    };
    if answers
        .send(event(v1::import_event::Event::Started(started)))
        .await
        .is_err()
    {
        return Err(abandoned());
    }
    let imported = read(app, caller, &plan, answers).await?;
    let record = record(caller, plan, imported);
    let lasting = lasting(caller, &catalog, &record);
    let put = app.storage.put_import(&lasting).await;
    put.map_err(|error| storage_problem("put an import into storage", &error))?;
    let (record, new) = app
        .shelf
        .add_snapshot(&caller.tenant, &catalog, record)
        .await?;
    Ok(v1::ImportDone {
        snapshot: Some(snapshot_out(&catalog, record)),
        unchanged: !new,
    })
}

/// Reads what was named into storage, telling of progress until it is done or the reader goes away.
async fn read(
    app: &Arc<App>,
    caller: &Caller,
    plan: &Plan,
    answers: &Sender<v1::ImportEvent>,
) -> Result<Imported, Problem> {
    let progress = Arc::new(ImportProgress::default());
    let sources = app.sources.now();
    let importing = app.storage.import(
        &caller.tenant,
        plan.from.clone(),
        &sources,
        &app.scratch,
        progress.clone(),
    );
    tokio::pin!(importing);
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    loop {
        tokio::select! {
            imported = &mut importing => return imported.map_err(|error| problem(plan, &error)),
            _ = ticks.tick() => {
                if answers.send(event(v1::import_event::Event::Progress(counts(&progress)))).await.is_err() {
                    progress.stop();
                    return Err(abandoned());
                }
            }
            () = app.shutdown.asked() => {
                progress.stop();
                return Err(Problem::new(Code::NotLeader, "import while the coordinator ends"));
            }
        }
    }
}

fn counts(progress: &ImportProgress) -> v1::ImportProgress {
    let (accepted, rejected) = (progress.accepted(), progress.rejected());
    v1::ImportProgress {
        seen: accepted + rejected,
        accepted,
        rejected,
    }
}

fn record(caller: &Caller, plan: Plan, imported: Imported) -> SnapshotRecord {
    let by_code = imported
        .rejected_by_code
        .into_iter()
        .map(|(code, rows)| RejectedCount { code, rows });
    SnapshotRecord {
        digest: imported.list,
        rows: imported.rows,
        rejected: imported.rejected,
        bytes: imported.bytes,
        imported_at: clock::wall(),
        source: plan.source,
        path: plan.key,
        format: plan.format.into(),
        rejected_by_code: by_code.collect(),
        object: storage::paths::snapshot(&caller.tenant, imported.list).to_string(),
        rejected_object: imported.rejected_path.map(|path| path.to_string()),
    }
}

/// The same for storage, where a rebuild finds it.
fn lasting(caller: &Caller, catalog: &CatalogName, record: &SnapshotRecord) -> CatalogImport {
    let by_code = record.rejected_by_code.iter();
    CatalogImport {
        tenant: caller.tenant.clone(),
        catalog: catalog.clone(),
        list: record.digest,
        rows: record.rows,
        rejected: record.rejected,
        bytes: record.bytes,
        at: record.imported_at,
        source: record.source.clone(),
        path: record.path.clone(),
        format: record.format,
        rejected_by_code: by_code.map(|count| (count.code, count.rows)).collect(),
        rejected_object: record.rejected_object.clone(),
    }
}

/// Finds the source and what to read in it.
async fn plan(app: &Arc<App>, caller: &Caller, wire: v1::ImportRequest) -> Result<Plan, Problem> {
    let wanted = v1::ImportFormat::try_from(wire.format).unwrap_or(v1::ImportFormat::Unspecified);
    if wanted == v1::ImportFormat::Unspecified {
        let cause = format!("field `format` is {}", wanted.as_str_name());
        return Err(Problem::new(Code::InvalidRequest, cause));
    }
    if wire.path.len() > PATH_BYTES_MAX {
        return Err(Problem::new(
            Code::InvalidRequest,
            format!("field `path` has more than {PATH_BYTES_MAX} bytes"),
        ));
    }
    let (source, key, registered) = place(app, caller, &wire).await?;
    let sources = app.sources.now();
    let from = blocking("look at what is to be imported", move || {
        let source = sources
            .get(&source)
            .map_err(|error| source_problem(&error))?;
        from(&source, &key, wanted).map(|from| (from, source.name().clone(), key))
    });
    let (from, source, key) = from.await?;
    let format = match from {
        ImportFrom::Folder { .. } => v1::ImportFormat::Folder,
        ImportFrom::Csv { .. } => v1::ImportFormat::Csv,
        ImportFrom::M3u8 { .. } => v1::ImportFormat::M3u8,
    };
    Ok(Plan {
        from,
        format,
        source,
        key,
        registered,
    })
}

fn from(
    source: &storage::Source,
    key: &str,
    wanted: v1::ImportFormat,
) -> Result<ImportFrom, Problem> {
    let (name, key) = (source.name().clone(), key.to_owned());
    match wanted {
        v1::ImportFormat::Unspecified | v1::ImportFormat::Auto => ImportFrom::detect(source, &key)
            .map_err(|error| {
                Problem::new(
                    error.code(),
                    format!("import `{key}` of source `{name}`: {}", chain(&error)),
                )
            }),
        v1::ImportFormat::Folder => Ok(ImportFrom::Folder {
            source: name,
            prefix: key,
        }),
        v1::ImportFormat::Csv => Ok(ImportFrom::Csv { source: name, key }),
        v1::ImportFormat::M3u8 => Ok(ImportFrom::M3u8 { source: name, key }),
    }
}

type Placed = (SourceName, String, Option<PathBuf>);

/// The source and key of the request, and the folder where one was registered for it.
async fn place(
    app: &Arc<App>,
    caller: &Caller,
    wire: &v1::ImportRequest,
) -> Result<Placed, Problem> {
    if !wire.source.is_empty() {
        let source: SourceName = proto::field::parsed("source", &wire.source)?;
        return Ok((source, wire.path.trim_matches('/').to_owned(), None));
    }
    let path = PathBuf::from(&wire.path);
    if !path.is_absolute() {
        let cause = format!(
            "field `path` is `{}`, neither absolute nor in a named source",
            wire.path
        );
        return Err(Problem::new(Code::InvalidRequest, cause));
    }
    let sources = app.sources.now();
    let located = blocking("look for a source", move || {
        let real = path.canonicalize();
        let real = real.map_err(|error| {
            Problem::new(
                Code::SourceMissing,
                format!("import `{}`: {error}", path.display()),
            )
        })?;
        Ok((sources.locate(&path), real))
    });
    let (located, path) = located.await?;
    match located {
        Some((source, key)) => Ok((source, key, None)),
        None => register(app, caller, &path).await,
    }
}

/// Makes the folder of a path a source, where that is allowed.
async fn register(app: &Arc<App>, caller: &Caller, path: &Path) -> Result<Placed, Problem> {
    if !app.folder_sources {
        return Err(Problem::new(
            Code::SourceUnknown,
            format!("import `{}`, which no source holds", path.display()),
        ));
    }
    let wanted = path.to_owned();
    let folder = blocking("look at what is to be imported", move || {
        Ok(folder_to_register(&wanted).to_owned())
    });
    let folder = folder.await?;
    let Some(text) = folder.to_str() else {
        return Err(Problem::new(
            Code::KeyInvalid,
            format!("import `{}`, whose name is not UTF-8", folder.display()),
        ));
    };
    let name = name_of_folder(&folder);
    let record = FolderRecord {
        name: name.clone(),
        folder: text.to_owned(),
        by: caller.actor.clone(),
        at: clock::wall(),
    };
    let lasting = RegisteredFolder {
        name: record.name.clone(),
        folder: record.folder.clone(),
        by: record.by.clone(),
        at: record.at,
    };
    let put = app.storage.put_folder(&lasting).await;
    put.map_err(|error| storage_problem("put a folder's name into storage", &error))?;
    app.shelf.add_folder(record).await?;
    let what = format!("{name} = {text}");
    let (known, path, root) = (Arc::clone(app), path.to_owned(), folder.clone());
    let placed = blocking("register a folder", move || {
        known
            .sources
            .add(name, &root)
            .map_err(|error| source_problem(&error))?;
        Ok((known.sources.now().locate(&path), path))
    });
    let (located, path) = placed.await?;
    audit::line(caller, "RegisterFolder", &what, &Ok(()));
    let (source, key) = located.ok_or_else(|| {
        Problem::new(
            Code::KeyInvalid,
            format!("import `{}`, whose name is no key", path.display()),
        )
    })?;
    Ok((source, key, Some(folder)))
}

/// The folder that an import makes a source: the one imported, or that of the manifest. Blocks.
fn folder_to_register(path: &Path) -> &Path {
    if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(path)
    }
}

fn source_problem(error: &SourceError) -> Problem {
    Problem::of(error.code(), error)
}

fn problem(plan: &Plan, error: &ImportError) -> Problem {
    let mut message = format!(
        "import `{}` of source `{}`: {}",
        plan.key,
        plan.source,
        chain(error)
    );
    if let ImportError::Empty { by_code, first, .. } = error {
        for (code, rows) in by_code {
            message = format!("{message}; {code}: {rows}");
        }
        for row in first.iter().take(1) {
            message = format!("{message}; first at line {}: {}", row.line, row.detail);
        }
    }
    Problem::new(error.code(), message)
}

/// The reader went away, and with it the wish.
fn abandoned() -> Problem {
    Problem::new(
        Code::DeadlineExceeded,
        "import: whoever asked for it went away",
    )
}

const fn event(event: v1::import_event::Event) -> v1::ImportEvent {
    v1::ImportEvent { event: Some(event) }
}
