//! A node whose storage takes nothing from it: a real S3 server, keys that are no good any more, and a server without room. What it scans
//! meanwhile waits on its disk.

use std::path::{Path, PathBuf};

use types::Code;

use crate::coordinator::Books;
use crate::world::{Options, World, assert_scored, tone};
use tests::s3::{self, Server};

/// Tracks of which the first grant has some.
const TRACKS: u32 = 12;
/// Tracks of one grant.
const GRANTED: u32 = 4;

/// Files by which a test changes what the node's storage does.
struct Files {
    /// The node's keys.
    keys: PathBuf,
    /// The faults between it and the server.
    faults: PathBuf,
}

#[test]
fn a_node_that_storage_denies_says_so_keeps_its_parts_and_goes_on_once_it_may() {
    check(
        Code::StorageDenied,
        |files| s3::deny(&files.keys),
        |files| s3::permit(&files.keys),
    );
}

#[test]
fn a_node_whose_storage_is_full_says_so_keeps_its_parts_and_goes_on_once_there_is_room() {
    check(
        Code::StorageFull,
        |files| std::fs::write(&files.faults, "full:1").unwrap(),
        |files| std::fs::write(&files.faults, "").unwrap(),
    );
}

/// Trouble begins after the first grant. The node names it in its beats and commits nothing; once it ends the list does, each track with the row that
/// it has without trouble.
fn check(trouble: Code, begin: impl FnOnce(&Files), end: impl FnOnce(&Files)) {
    let names: Vec<String> = (0..TRACKS).map(|n| format!("{n:02}.wav")).collect();
    let named = (0..).zip(&names);
    let tracks: Vec<(&str, Vec<i16>)> = named.map(|(n, name)| (name.as_str(), tone(n))).collect();
    let folder = tempfile::tempdir().unwrap();
    let files = Files {
        keys: folder.path().join("theirs"),
        faults: folder.path().join("faults"),
    };
    s3::permit(&files.keys);
    let server = Server::start(&folder.path().join("buckets"));
    let mut world = World::new(&tracks, options(folder.path(), &server, &files));
    world.wait("the first grant's rows", |world| {
        world.played.look(|books| books.committed()) == GRANTED
    });

    begin(&files);
    world.played.look(|books| books.grants_left = usize::MAX);
    world.wait("a beat that names the trouble", |world| {
        let said = |books: &mut Books| {
            let mut beats = books.beats.iter();
            beats.any(|beat| beat.storage_trouble == trouble.as_str())
        };
        world.played.look(said)
    });
    assert_eq!(world.played.look(|books| books.committed()), GRANTED);
    world.wait("a part on the node's disk", kept);

    end(&files);
    let rows = world.rows(TRACKS);
    for (name, samples) in &tracks {
        assert_scored(&rows[*name], samples);
    }
    world.wait("a beat without trouble", |world| {
        let last = |books: &mut Books| {
            let last = books.beats.last();
            last.is_some_and(|beat| beat.storage_trouble.is_empty())
        };
        world.played.look(last)
    });
}

/// How the node is started, on the server's bucket.
fn options(folder: &Path, server: &Server, files: &Files) -> Options {
    // What the suite puts there it puts into the folder that the server serves: the server has no uploads in parts under names this long.
    let ours = types::file_url(&folder.join("buckets/bucket/scans"));
    let theirs = server.url(&files.keys);
    let theirs = format!("{theirs}&faults=file:{}", files.faults.display());
    Options {
        bucket: Some([ours, theirs]),
        grants: Some(1),
        ..Options::default()
    }
}

/// Whether the node has a part on its disk.
fn kept(world: &World) -> bool {
    let parts = std::fs::read_dir(world.root.join("node/parts"));
    let mut parts = parts.into_iter().flatten().flatten();
    parts.any(|file| file.path().extension().is_some_and(|end| end == "part"))
}
