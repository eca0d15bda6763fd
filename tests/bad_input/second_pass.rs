//! Bad sound through both engines: what is read a second time for its residual ends as the same file does under the screen alone,
//! and costs neither a good neighbour its row nor a worker its life.

use crate::catalogue::{misjudged, scanned_as};
use crate::corpus;
use corpus::hostile::Hostile;
use tests::cluster::{Cluster, Options};
use tests::{both, music};

/// Families of bad sound: samples that are no numbers, silence, a constant and a square at full scale, too few samples, channels that say little.
const FAMILIES: std::ops::RangeInclusive<u8> = 51..=55;
/// Good tracks between them.
const GOOD: usize = 4;
/// The file whose outcome depends on the bundle's rate.
const ONE_FRAME: &str = "one-frame.wav";
/// Seconds of a good track.
const GOOD_SECONDS: f32 = 2.0;

#[test]
fn bad_sound_ends_after_both_engines_as_after_the_screen_alone() {
    let folder = tempfile::tempdir().unwrap();
    let tracks = folder.path().join("tracks");
    music::folder(&tracks, GOOD, GOOD_SECONDS);
    let bad: Vec<&Hostile> = corpus()
        .iter()
        .filter(|file| FAMILIES.contains(&file.family))
        .collect();
    for file in &bad {
        file.blob.write(&tracks.join(&file.name)).unwrap();
    }
    let cluster = Cluster::start(&folder.path().join("data"), &options(folder.path()));
    let all = [
        "--stages",
        "both",
        "--gate",
        "all",
        "--accept-demonstration",
    ];
    let scan = scanned_as(&cluster, &tracks, &all);

    assert_eq!(scan.workers.len(), 1, "the worker was replaced");
    assert_eq!(scan.rows.len(), GOOD + bad.len());
    // At the rate of this bundle one frame is a sample; at that of the other one it is none.
    let wrong: Vec<String> = bad
        .iter()
        .filter(|file| file.name != ONE_FRAME)
        .filter_map(|file| misjudged(file, &scan.rows[&file.name]))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let mut separated = 0;
    for (name, row) in &scan.rows {
        // What the screen gives no score, for silence or shortness, does not go on.
        assert_eq!(
            !row.segments.is_empty(),
            row.screen.is_some(),
            "{name}: {row:?}"
        );
        let finite = row.residual_features.iter().all(|value| value.is_finite());
        assert!(finite, "{name}: {:?}", row.residual_features);
        separated += usize::from(!row.segments.is_empty());
    }
    assert!(separated > GOOD, "bad sound went on too: {separated}");
}

fn options(folder: &std::path::Path) -> Options {
    let (bundle, key) = both::bundle(folder);
    let arguments = [
        "--device",
        "cpu",
        "--flush-secs",
        "1",
        "--default-bundle",
        bundle.to_str().unwrap(),
        "--trusted-key",
        &key,
    ];
    Options {
        arguments: arguments.map(str::to_owned).to_vec(),
        ..Options::default()
    }
}
