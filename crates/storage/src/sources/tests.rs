//! The sources against a real file system with all that a folder can hold.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use catalog::listing::Kind;
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::io::Errno;
use types::Code;

use super::*;

fn source(root: &Path) -> Arc<Source> {
    let name = SourceName::new("music").unwrap();
    let mut sources = Sources::default();
    sources.add(name.clone(), root).unwrap();
    sources.get(&name).unwrap()
}

fn put(root: &Path, key: &str, bytes: &[u8]) {
    let path = root.join(key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[track_caller]
fn check_open(source: &Source, key: &str, expected: Result<&[u8], Code>) {
    let found = source
        .open(key)
        .and_then(|file| file.read_whole(1_000, None));
    assert_eq!(
        found.as_deref().map_err(SourceError::code),
        expected,
        "{key:?}"
    );
}

#[test]
fn only_regular_files_within_the_root_are_ever_opened() {
    let outside = tempfile::tempdir().unwrap();
    put(outside.path(), "secret", b"secret");
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    put(root, "a.mp3", b"abc");
    put(root, "sub/b c.flac", b"");
    symlink(outside.path().join("secret"), root.join("link")).unwrap();
    symlink("a.mp3", root.join("inner-link")).unwrap();
    symlink(outside.path(), root.join("folder-link")).unwrap();
    symlink("sub", root.join("inner-folder-link")).unwrap();
    mkfifoat(CWD, root.join("pipe"), Mode::RWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let source = source(root);
    check_open(&source, "a.mp3", Ok(b"abc"));
    check_open(&source, "sub/b c.flac", Ok(b""));
    for key in [
        "link",
        "inner-link",
        "folder-link/secret",
        "inner-folder-link/b c.flac",
        "pipe",
        "socket",
        "sub",
        "a.mp3/x",
    ] {
        check_open(&source, key, Err(Code::SourceRefused));
    }
    for key in ["no", "sub/no", "no/no"] {
        check_open(&source, key, Err(Code::SourceMissing));
    }
    for key in [
        "",
        "../secret",
        "sub/../a.mp3",
        "/etc/passwd",
        "a\0",
        "a\nb",
        &"k".repeat(1_025),
    ] {
        check_open(&source, key, Err(Code::KeyInvalid));
    }
    check_open(&source, "/dev/zero", Err(Code::KeyInvalid));
    check_open(&source, "file:///etc/passwd", Err(Code::KeyInvalid));
}

#[test]
fn devices_are_refused_where_the_system_has_them() {
    let source = source(Path::new("/dev"));
    for key in ["null", "zero"] {
        check_open(&source, key, Err(Code::SourceRefused));
    }
}

#[test]
fn a_file_of_another_size_than_the_snapshot_says_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a", b"abc");
    let file = source(folder.path()).open("a").unwrap();
    let code = |max, expected| file.read_whole(max, expected).map_err(|error| error.code());
    assert_eq!(code(3, Some(3)).as_deref(), Ok(b"abc".as_slice()));
    assert_eq!(code(3, Some(4)), Err(Code::SourceChanged));
    assert_eq!(code(2, Some(3)), Err(Code::TooManyBytes));
}

#[test]
fn a_file_written_while_it_is_read_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a", b"abc");
    let file = source(folder.path()).open("a").unwrap();
    assert!(file.check_unchanged().is_ok());
    fs::OpenOptions::new()
        .append(true)
        .open(folder.path().join("a"))
        .unwrap()
        .set_len(2)
        .unwrap();
    assert_eq!(
        file.check_unchanged().unwrap_err().code(),
        Code::SourceChanged
    );
    assert_eq!(
        file.read_whole(9, None).unwrap_err().code(),
        Code::SourceChanged
    );
}

#[test]
fn bytes_are_read_at_any_offset_and_end_where_the_file_does() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a", b"abcdef");
    let file = source(folder.path()).open("a").unwrap();
    for (offset, expected) in [
        (0, b"abcd".as_slice()),
        (4, b"ef"),
        (6, b""),
        (u64::MAX, b""),
    ] {
        let mut buffer = [0; 4];
        let read = file.read_at(offset, &mut buffer).unwrap();
        assert_eq!(&buffer[..read], expected, "at {offset}");
    }
}

#[test]
fn a_source_whose_folder_is_gone_says_nothing_of_its_tracks() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path());
    drop(folder);
    assert!(source.open("a").unwrap_err().is_transient());
}

#[test]
fn a_listing_is_sorted_by_key_and_reports_what_is_no_regular_file() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for key in ["b/2", "b/10", "b.txt", "a", "b-", ".hidden/x", "c/d/e"] {
        put(root, key, b"12345");
    }
    fs::create_dir(root.join("empty")).unwrap();
    symlink("a", root.join("link")).unwrap();
    symlink("b", root.join("c/folder-link")).unwrap();
    mkfifoat(CWD, root.join("c/pipe"), Mode::RWXU).unwrap();
    let source = source(root);
    let list = |prefix| -> Vec<(String, Kind)> {
        let entries = source.list(prefix).unwrap();
        entries
            .map(|e| e.unwrap())
            .map(|e| (e.key.unwrap(), e.kind.unwrap()))
            .collect()
    };
    let keys: Vec<String> = list("").into_iter().map(|(key, _)| key).collect();
    let expected = [
        ".hidden/x",
        "a",
        "b-",
        "b.txt",
        "b/10",
        "b/2",
        "c/d/e",
        "c/folder-link",
        "c/pipe",
        "link",
    ];
    assert_eq!(keys, expected);
    assert_eq!(
        list("c")[1..],
        [
            ("c/folder-link".to_owned(), Kind::Link),
            ("c/pipe".to_owned(), Kind::Pipe)
        ]
    );
    assert_eq!(list("b")[0], ("b/10".to_owned(), Kind::File(5)));
    for (prefix, code) in [
        ("a", Code::SourceRefused),
        ("link", Code::SourceRefused),
        ("c/folder-link", Code::SourceRefused),
        ("no", Code::SourceMissing),
        ("..", Code::KeyInvalid),
    ] {
        assert_eq!(source.list(prefix).unwrap_err().code(), code, "{prefix}");
    }
}

#[test]
fn a_name_that_is_not_utf_8_is_listed_without_a_key() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join(std::ffi::OsStr::from_bytes(b"\xff"));
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join("a"), b"1").unwrap();
    let entries: Vec<_> = source(folder.path())
        .list("")
        .unwrap()
        .map(|e| e.unwrap())
        .collect();
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (&entries[0].key, entries[0].shown.as_str()),
        (&None, "\u{fffd}/a")
    );
}

#[test]
fn a_path_is_located_in_the_innermost_source_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "in/deep/a.csv", b"");
    put(folder.path(), "b.csv", b"");
    let mut sources = Sources::default();
    let name = |name: &str| SourceName::new(name).unwrap();
    sources.add(name("outer"), folder.path()).unwrap();
    sources
        .add(name("inner"), &folder.path().join("in"))
        .unwrap();
    for (path, expected) in [
        ("in/deep/a.csv", Some(("inner", "deep/a.csv"))),
        ("in", Some(("inner", ""))),
        ("b.csv", Some(("outer", "b.csv"))),
        ("no", None),
        ("..", None),
    ] {
        let found = sources.locate(&folder.path().join(path));
        let expected = expected.map(|(source, key)| (name(source), key.to_owned()));
        assert_eq!(found, expected, "{path}");
    }
    assert!(
        sources
            .add(name("gone"), &folder.path().join("no"))
            .is_err()
    );
}

#[test]
fn a_source_that_is_defined_before_its_folder_is_there_answers_as_soon_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("mounted/later");
    let name = SourceName::new("music").unwrap();
    let mut sources = Sources::default();
    sources.define(name.clone(), &root);
    let source = sources.get(&name).unwrap();
    let absent = source.open("a.wav").unwrap_err();
    assert!(absent.is_transient(), "{absent}");
    assert_eq!(source.folder(), Some(root.as_path()));
    put(&root, "a.wav", b"a");
    check_open(&source, "a.wav", Ok(b"a"));
    let located = sources.locate(&root.join("a.wav"));
    assert_eq!(located, Some((name.clone(), "a.wav".to_owned())));
    sources.define(name.clone(), &root);
    let again = sources.get(&name).unwrap();
    assert!(Arc::ptr_eq(&source, &again), "what was learnt of it stays");
}

#[test]
fn only_sources_into_whose_folder_a_path_leads_are_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let name = |name: &str| SourceName::new(name).unwrap();
    let mut sources = Sources::default();
    put(&at("there"), "a.wav", b"a");
    sources.add(name("there"), &at("there")).unwrap();
    for absent in ["far", "near"] {
        sources.define(name(absent), &at(absent));
        put(&at(absent), "a.wav", b"a");
    }
    let was_found = |source: &str| {
        let source = sources.get(&name(source)).unwrap();
        source.as_folder().unwrap().root.get().is_some()
    };
    for (path, expected) in [
        ("there/a.wav", Some("there")),
        ("", None),
        ("near/a.wav", Some("near")),
    ] {
        let located = sources.locate(&at(path)).map(|(source, _)| source);
        assert_eq!(located, expected.map(name), "{path}");
        assert_eq!(was_found("near"), expected == Some("near"), "{path}");
        assert!(!was_found("far"), "{path}: no path leads there");
    }
}

#[test]
fn what_the_system_says_of_a_file_is_told_from_a_source_that_does_not_answer() {
    let name = SourceName::new("music").unwrap();
    let check = |errno: Errno, code: Code, transient: bool| {
        let error = SourceError::of(errno.into(), &name, "a.wav");
        assert_eq!((error.code(), error.is_transient()), (code, transient));
    };
    check(Errno::INVAL, Code::SourceUnreadable, false);
    check(Errno::BADMSG, Code::SourceUnreadable, false);
    check(Errno::NOENT, Code::SourceMissing, false);
    check(Errno::ACCESS, Code::SourceDenied, false);
    check(Errno::IO, Code::StorageUnavailable, true);
    check(Errno::STALE, Code::StorageUnavailable, true);
    check(Errno::TIMEDOUT, Code::StorageUnavailable, true);
}

#[test]
fn a_source_answers_as_long_as_another_of_its_files_gives_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    put(root, "a/bad.wav", b"bad");
    put(root, "a/empty.wav", b"");
    let source = source(root);
    let answers = || source.answers_besides("a/bad.wav");
    assert!(!answers(), "nothing beside it says so");
    put(root, "b/c/good.wav", b"good");
    assert!(answers(), "one that lies elsewhere");
    fs::remove_file(root.join("b/c/good.wav")).unwrap();
    assert!(!answers(), "it is read again");
    put(root, "a/other.wav", b"other");
    assert!(answers(), "a neighbour");
    fs::remove_file(root.join("a/bad.wav")).unwrap();
    assert!(!source.answers_besides("a/other.wav"), "not itself");
}

#[test]
fn a_missing_file_is_believed_only_where_its_source_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("music");
    put(&root, "album/a.wav", b"a");
    put(&root, "album/b.wav", b"b");
    let source = source(&root);
    let check = |key: &str, expected: bool, why: &str| {
        let error = source.open(key).unwrap_err();
        assert_eq!(error.code(), Code::SourceMissing, "{key}");
        assert_eq!(source.bears_out(&error, key), expected, "{key}: {why}");
    };
    check("album/gone.wav", true, "its neighbours are there");
    check("gone/album/x.wav", true, "so is another album");
    let away = folder.path().join("away");
    fs::rename(&root, &away).unwrap();
    fs::create_dir(&root).unwrap();
    check("album/a.wav", false, "the share is not mounted");
    put(&root, "README", b"");
    check("album/a.wav", false, "what lies there gives no bytes");
    let error = source.open("album/a.wav").unwrap_err();
    fs::remove_dir_all(&root).unwrap();
    fs::rename(&away, &root).unwrap();
    assert!(
        !source.bears_out(&error, "album/a.wav"),
        "it is back meanwhile"
    );
}

#[test]
fn a_source_that_denies_everything_says_nothing_of_its_tracks() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path());
    let (name, key) = (source.name().clone(), "a.wav".to_owned());
    let denied = SourceError::Denied { name, key };
    assert!(!source.bears_out(&denied, "a.wav"));
}
