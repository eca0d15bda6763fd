//! A node whose storage denies it: a real S3 server, and keys that are no good any more. What it scans meanwhile waits on its disk.

use types::Code;

use crate::world::{Options, World, assert_scored, tone};
use tests::s3::{self, Server};

/// Tracks of which the first grant has some.
const TRACKS: u32 = 12;
/// Tracks of one grant.
const GRANTED: u32 = 4;

#[test]
fn a_node_that_storage_denies_says_so_keeps_its_parts_and_goes_on_once_it_may() {
    let names: Vec<String> = (0..TRACKS).map(|n| format!("{n:02}.wav")).collect();
    let named = (0..).zip(&names);
    let tracks: Vec<(&str, Vec<i16>)> = named.map(|(n, name)| (name.as_str(), tone(n))).collect();
    let folder = tempfile::tempdir().unwrap();
    let (buckets, theirs) = (folder.path().join("buckets"), folder.path().join("theirs"));
    s3::permit(&theirs);
    let server = Server::start(&buckets);
    // What the suite puts there it puts into the folder that the server serves: the server has no uploads in parts under names this long.
    let ours = types::file_url(&buckets.join("bucket/scans"));
    let options = Options {
        bucket: Some([ours, server.url(&theirs)]),
        grants: Some(1),
        ..Options::default()
    };
    let mut world = World::new(&tracks, options);
    world.wait("the first grant's rows", |world| {
        world.played.look(|books| books.committed()) == GRANTED
    });
    s3::deny(&theirs);
    world.played.look(|books| books.grants_left = usize::MAX);
    let denied = Code::StorageDenied.to_string();
    world.wait("a beat that says that storage denies it", |world| {
        let said = |books: &mut crate::coordinator::Books| {
            let mut beats = books.beats.iter();
            beats.any(|beat| beat.storage_trouble == denied)
        };
        world.played.look(said)
    });
    assert_eq!(world.played.look(|books| books.committed()), GRANTED);
    s3::permit(&theirs);
    let rows = world.rows(TRACKS);
    for (name, samples) in &tracks {
        assert_scored(&rows[*name], samples);
    }
    world.wait("a beat without trouble", |world| {
        let last = |books: &mut crate::coordinator::Books| {
            let last = books.beats.last();
            last.is_some_and(|beat| beat.storage_trouble.is_empty())
        };
        world.played.look(last)
    });
}
