//! Family 16 without the check that catches it: a decoder that believes a CAF's packet size aborts on allocation. It dies,
//! its track ends in `DECODE_CRASH`, and every other process and track goes on.

use crate::catalogue::{Scan, scanned, with_sample_bundle};
use crate::corpus;
use tests::cluster::{Cluster, Options};
use tests::music;
use types::{Code, Verdict};

/// Good tracks on both sides of the hostile one.
const GOOD: usize = 12;

#[test]
fn an_allocation_abort_kills_one_decoder_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let tracks = folder.path().join("tracks");
    music::folder(&tracks, GOOD, 1.0);
    let hostile = corpus()
        .iter()
        .find(|file| file.name == "caf-frames-per-packet.caf")
        .unwrap();
    hostile
        .blob
        .write(&tracks.join("0005-hostile.caf"))
        .unwrap();

    let decoder = tests::binaries().join("unguarded-decoder");
    let variables = vec![(
        "TRACKSCAN_DECODER".to_owned(),
        decoder.to_str().unwrap().to_owned(),
    )];
    let options = Options {
        variables,
        ..with_sample_bundle(folder.path())
    };
    let cluster = Cluster::start(&folder.path().join("data"), &options);
    let living = || ["coordinator", "node-agent"].map(|name| cluster.processes(name));
    let before = living();
    let Scan { rows, workers, .. } = scanned(&cluster, &tracks);

    assert_eq!(living(), before, "another process was replaced");
    assert_eq!(workers.len(), 1, "the worker was replaced: {workers:?}");
    assert_eq!(rows.len(), GOOD + 1);
    for (name, row) in rows {
        let expected = name.contains("hostile").then_some(Code::DecodeCrash);
        assert_eq!(
            (row.verdict == Verdict::Unscannable, row.code),
            (expected.is_some(), expected),
            "{name}: {:?}",
            row.detail
        );
    }
    println!(
        "    16 | {} | without the check: `DECODE_CRASH`, one decoder dead, all else alive",
        hostile.name
    );
}
