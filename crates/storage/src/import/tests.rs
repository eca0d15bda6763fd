//! Imports of real folders and manifests into a real storage folder.

use std::fs;
use std::os::unix::fs::symlink;

use types::{CatalogRow, Range};

use super::*;

struct World {
    root: tempfile::TempDir,
    storage: Storage,
    sources: Sources,
    progress: Arc<ImportProgress>,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let music = root.path().join("music");
        fs::create_dir(&music).unwrap();
        let mut sources = Sources::default();
        sources
            .add(SourceName::new("music").unwrap(), &music)
            .unwrap();
        let storage = Storage::open_folder(&root.path().join("storage")).unwrap();
        Self {
            root,
            storage,
            sources,
            progress: Arc::default(),
        }
    }

    fn put(&self, key: &str, bytes: impl AsRef<[u8]>) {
        let path = self.root.path().join("music").join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    async fn import(&self, key: &str) -> Result<Imported, ImportError> {
        let source = self
            .sources
            .get(&SourceName::new("music").unwrap())
            .unwrap();
        let from = ImportFrom::detect(&source, key)?;
        self.storage
            .import(
                &TenantId::default(),
                from,
                &self.sources,
                self.root.path(),
                self.progress.clone(),
            )
            .await
    }

    async fn rows(&self, imported: &Imported) -> Vec<CatalogRow> {
        let snapshot = self
            .storage
            .snapshot(&TenantId::default(), imported.list)
            .await
            .unwrap();
        snapshot
            .read(Range {
                first: 0,
                end: imported.rows,
            })
            .await
            .unwrap()
    }

    async fn rejected_file(&self, imported: &Imported) -> String {
        let bytes = self
            .storage
            .get(imported.rejected_path.as_ref().unwrap())
            .await
            .unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }
}

#[tokio::test]
async fn a_folder_becomes_a_snapshot_of_every_regular_file_and_links_are_rejected_rows() {
    let world = World::new();
    for key in ["b/2.flac", "a.mp3", "b/notes", ".hidden"] {
        world.put(key, key);
    }
    symlink("/etc/passwd", world.root.path().join("music/b/link")).unwrap();
    let imported = world.import("").await.unwrap();
    let keys: Vec<_> = world
        .rows(&imported)
        .await
        .into_iter()
        .map(|row| (row.ordinal, row.key))
        .collect();
    let expected = [
        (0, ".hidden"),
        (1, "a.mp3"),
        (2, "b/2.flac"),
        (3, "b/notes"),
    ];
    assert_eq!(keys, expected.map(|(n, key)| (n, key.to_owned())));
    assert_eq!(
        imported.rejected_by_code,
        [(Code::NotRegularFile, 1)].into()
    );
    let file = world.rejected_file(&imported).await;
    assert_eq!(
        file,
        "line,code,detail,named\n4,NOT_REGULAR_FILE,entry is a symbolic link,b/link\n"
    );
}

#[tokio::test]
async fn an_import_is_counted_while_it_runs_and_ends_when_it_is_stopped() {
    let world = World::new();
    world.put("a.mp3", "one");
    world.put("b.mp3", "three");
    symlink("a.mp3", world.root.path().join("music/link")).unwrap();
    let imported = world.import("").await.unwrap();
    assert_eq!(imported.bytes, 8);
    assert_eq!(
        (world.progress.accepted(), world.progress.rejected()),
        (2, 1)
    );
    world.progress.stop();
    world.put("list.csv", "key\na.mp3\n");
    for key in ["", "list.csv"] {
        let stopped = world.import(key).await;
        assert!(matches!(stopped, Err(ImportError::Stopped)), "{stopped:?}");
    }
}

#[tokio::test]
async fn the_same_folder_imported_twice_is_one_snapshot() {
    let world = World::new();
    world.put("a.mp3", "1");
    let first = world.import("").await.unwrap();
    assert_eq!(world.import("").await.unwrap(), first);
    world.put("b.mp3", "2");
    assert_ne!(world.import("").await.unwrap().list, first.list);
}

#[tokio::test]
async fn a_csv_s_bad_and_repeated_rows_are_rejected_by_line_and_the_rest_keep_their_order() {
    let world = World::new();
    world.put(
        "list.csv",
        "id,path,title\n\
         t1,a.mp3,A\n\
         t2,../b.mp3,B\n\
         t1,c.mp3,C\n\
         t3,a.mp3,D\n\
         t4,d.mp3,=cmd|x\n\
         t1,a.mp3,E\n",
    );
    let imported = world.import("list.csv").await.unwrap();
    let rows = world.rows(&imported).await;
    let ids: Vec<_> = rows
        .iter()
        .map(|row| (row.ordinal, row.track_id.as_str(), row.key.as_str()))
        .collect();
    assert_eq!(ids, [(0, "t1", "a.mp3"), (1, "t4", "d.mp3")]);
    let lines: Vec<_> = imported
        .first_rejected
        .iter()
        .map(|row| (row.line, row.code))
        .collect();
    assert_eq!(
        lines,
        [
            (3, Code::KeyInvalid),
            (4, Code::DuplicateTrackId),
            (5, Code::DuplicateKey),
            (7, Code::DuplicateTrackId)
        ]
    );
    assert_eq!(world.rejected_file(&imported).await.lines().count(), 5);
}

#[tokio::test]
async fn a_playlist_names_tracks_beside_itself() {
    let world = World::new();
    world.put(
        "sets/one.m3u8",
        "#EXTM3U\n#EXTINF:1,First\na.mp3\nhttp://x/y\nsub/b.mp3\n",
    );
    let imported = world.import("sets/one.m3u8").await.unwrap();
    let keys: Vec<_> = world
        .rows(&imported)
        .await
        .into_iter()
        .map(|row| row.key)
        .collect();
    assert_eq!(keys, ["sets/a.mp3", "sets/sub/b.mp3"]);
    assert_eq!(imported.rejected_by_code, [(Code::RawUrl, 1)].into());
}

#[tokio::test]
async fn a_csv_names_tracks_beside_itself_and_those_of_a_named_source_from_its_root() {
    let world = World::new();
    world.put(
        "lists/keys.csv",
        "key,source\na.mp3,\nsub/b.mp3,\nc.mp3,music\n../d.mp3,\n",
    );
    let imported = world.import("lists/keys.csv").await.unwrap();
    let rows = world.rows(&imported).await;
    let keys: Vec<_> = rows.into_iter().map(|row| row.key).collect();
    assert_eq!(keys, ["lists/a.mp3", "lists/sub/b.mp3", "c.mp3"]);
    assert_eq!(imported.rejected_by_code, [(Code::KeyInvalid, 1)].into());
}

#[tokio::test]
async fn a_file_whose_name_looks_like_a_scheme_is_a_track_of_its_folder() {
    let world = World::new();
    let names = [
        "Data: One.flac",
        "File: X/a.wav",
        "Memory: Live.mp3",
        "http:b.wav",
    ];
    for name in names {
        world.put(name, "x");
    }
    let imported = world.import("").await.unwrap();
    let rows = world.rows(&imported).await;
    let keys: Vec<_> = rows.into_iter().map(|row| row.key).collect();
    assert_eq!(keys, names);
}

#[tokio::test]
async fn a_rejected_row_of_any_name_is_one_line_of_its_file() {
    let world = World::new();
    world.put("a.mp3", "x");
    world.put("\u{1b}[2J\nb\u{202e}.mp3", "x");
    let imported = world.import("").await.unwrap();
    let file = world.rejected_file(&imported).await;
    assert_eq!(
        file.lines().nth(1),
        Some("1,KEY_INVALID,key has the character '\\u{1b}',\\u{1b}[2J\\nb\\u{202e}.mp3")
    );
    assert_eq!(file.lines().count(), 2);
}

#[test]
fn a_full_disk_under_an_import_is_storage_full_however_deep_it_is_told() {
    let scratch = |source| ImportError::Scratch {
        folder: PathBuf::from("/scratch"),
        source,
    };
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    let quota = io::Error::from(io::ErrorKind::QuotaExceeded);
    let other = io::Error::from(io::ErrorKind::PermissionDenied);
    for (error, code) in [
        (scratch(full()), Code::StorageFull),
        (scratch(quota), Code::StorageFull),
        (scratch(to_io(full().into())), Code::StorageFull),
        (ImportError::Manifest(full().into()), Code::StorageFull),
        (scratch(other), Code::StorageUnavailable),
    ] {
        assert_eq!(error.code(), code, "{error:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_imported_is_refused_by_code_and_leaves_nothing_in_storage() {
    let world = World::new();
    world.put("list.csv", "title\nA\n");
    world.put("empty.csv", "key\n../a\n");
    world.put("broken.csv", "key,title\na,\"b\n");
    world.put("song.mp3", "x");
    fs::create_dir(world.root.path().join("music/nothing")).unwrap();
    symlink("list.csv", world.root.path().join("music/link.csv")).unwrap();
    for (key, code) in [
        ("list.csv", Code::ColumnMissing),
        ("empty.csv", Code::CatalogEmpty),
        ("broken.csv", Code::RowMalformed),
        ("song.mp3", Code::ManifestUnknown),
        ("nothing", Code::CatalogEmpty),
        ("link.csv", Code::SourceRefused),
        ("gone.csv", Code::SourceMissing),
        ("../x", Code::KeyInvalid),
    ] {
        assert_eq!(world.import(key).await.unwrap_err().code(), code, "{key}");
    }
    assert_eq!(
        fs::read_dir(world.root.path().join("storage"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(
        fs::read_dir(world.root.path()).unwrap().count(),
        2,
        "scratch files stayed"
    );
}
