//! Every hostile file in one catalogue, a good track after each few, scanned by the real processes.

use crate::{corpus, expected};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tests::cluster::{Cluster, Options};
use tests::{music, process};
use types::{TrackRow, Verdict, Warning};

/// A good track stands after so many hostile ones.
const HOSTILE_PER_GOOD: usize = 4;
/// Seconds of a good track: several windows of the sample bundle.
const GOOD_SECONDS: f32 = 2.0;
/// How long the scan may take before it counts as stuck.
const SCAN_LIMIT: &str = "10m";
/// Most memory of any decoder at any time, MiB: what the costliest case may hold.
const DECODER_MIB: u64 = 128;
/// Time between two looks at living processes.
const LOOK: Duration = Duration::from_millis(20);

/// Options of a cluster that scans with the sample bundle of `folder`, whose rules are sound and whose scores mean nothing.
pub(crate) fn with_sample_bundle(folder: &Path) -> Options {
    let bundle = folder.join("bundle");
    bundle::write(
        &bundle,
        bundle::sample::manifest(),
        &bundle::sample::contents(),
        &bundle::sample::key(),
    )
    .unwrap();
    let key = bundle::sample::key().public().to_string();
    let arguments = [
        "--device",
        "cpu",
        "--flush-secs",
        "2",
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

/// What a scan gave, and what was seen of the processes meanwhile.
pub(crate) struct Scan {
    /// The rows by file name.
    pub(crate) rows: BTreeMap<String, TrackRow>,
    /// Process numbers of workers.
    pub(crate) workers: BTreeSet<i32>,
    /// The most memory of any decoder, bytes.
    pub(crate) decoder_peak: u64,
}

/// Scans a folder as the catalog `bad`, with an eye on the processes.
pub(crate) fn scanned(cluster: &Cluster, tracks: &Path) -> Scan {
    scanned_as(cluster, tracks, &[])
}

/// The same, submitted with more flags.
pub(crate) fn scanned_as(cluster: &Cluster, tracks: &Path, flags: &[&str]) -> Scan {
    cluster.import("bad", tracks);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| watch(cluster, &ended));
        let rows = rows_of_a_scan(cluster, flags);
        ended.store(true, Ordering::Relaxed);
        let (workers, decoder_peak) = watch.join().expect("the watch does not panic");
        Scan {
            rows,
            workers,
            decoder_peak,
        }
    })
}

fn rows_of_a_scan(cluster: &Cluster, flags: &[&str]) -> BTreeMap<String, TrackRow> {
    let submit = ["scan", "submit", "--catalog", "bad"];
    let submitted = cluster.json(&[&submit[..], flags].concat());
    let job = submitted["job"]
        .as_str()
        .unwrap_or_else(|| panic!("{submitted:#}\n{}", cluster.log()));
    let ended = cluster.json(&["scan", "wait", job, "--timeout", SCAN_LIMIT]);
    assert_eq!(ended["state"], "published", "{ended:#}\n{}", cluster.log());
    let verified = cluster.json(&["result", "verify", job]);
    assert_eq!(verified["ok"], true, "{verified:#}");
    let exported = cluster.scanctl(&["result", "export", job, "--format", "jsonl"]);
    let rows = serde_json::Deserializer::from_slice(&exported.stdout).into_iter::<TrackRow>();
    rows.map(|row| row.expect("an exported row reads back"))
        .map(|row| (file_name(&row.key), row))
        .collect()
}

/// Notes every worker and the most memory of any decoder until the scan has ended.
fn watch(cluster: &Cluster, ended: &AtomicBool) -> (BTreeSet<i32>, u64) {
    let (mut workers, mut peak) = (BTreeSet::new(), 0);
    while !ended.load(Ordering::Relaxed) {
        workers.extend(
            cluster
                .processes("trackscan-worker")
                .iter()
                .map(|worker| worker.pid),
        );
        for decoder in cluster.processes("trackscan-decoder") {
            peak = peak.max(process::most_memory(decoder.pid));
        }
        std::thread::sleep(LOOK);
    }
    (workers, peak)
}

fn file_name(key: &str) -> String {
    key.rsplit('/')
        .next()
        .expect("a split has a last part")
        .to_owned()
}

#[test]
fn one_catalogue_of_hostile_files_costs_no_good_neighbour_its_row_and_no_worker_its_life() {
    let folder = tempfile::tempdir().unwrap();
    let tracks = folder.path().join("tracks");
    let good = write(&tracks);
    let cluster = Cluster::start(
        &folder.path().join("data"),
        &with_sample_bundle(folder.path()),
    );
    let Scan {
        rows,
        workers,
        decoder_peak,
    } = scanned(&cluster, &tracks);

    assert_eq!(workers.len(), 1, "the worker was replaced: {workers:?}");
    assert_eq!(rows.len(), good.len() + corpus().len());
    let wrong: Vec<String> = corpus()
        .iter()
        .enumerate()
        .filter_map(|(i, file)| misjudged(file, &rows[&placed(i, &file.name)]))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for name in &good {
        assert_ne!(
            rows[name].verdict,
            Verdict::Unscannable,
            "a good neighbour: {:?}",
            rows[name]
        );
    }
    let mib = decoder_peak.div_ceil(1 << 20);
    assert!(mib <= DECODER_MIB, "a decoder held {mib} MiB");
    println!(
        "{} hostile files and {} good ones in one scan; no decoder above {mib} MiB; one worker throughout",
        corpus().len(),
        good.len()
    );
    tags_are_shown_without_harm(&rows);
}

/// Writes the catalogue; gives the names of the good tracks.
fn write(tracks: &Path) -> Vec<String> {
    let good = corpus().len() / HOSTILE_PER_GOOD;
    music::folder(tracks, good, GOOD_SECONDS);
    let mut names = Vec::new();
    for nth in 0..good {
        let name = format!(
            "{:04}-good.wav",
            nth * HOSTILE_PER_GOOD + HOSTILE_PER_GOOD - 1
        );
        fs::rename(tracks.join(format!("{nth:04}.wav")), tracks.join(&name)).unwrap();
        names.push(name);
    }
    for (i, file) in corpus().iter().enumerate() {
        file.blob
            .write(&tracks.join(placed(i, &file.name)))
            .unwrap();
    }
    names
}

/// The name that puts a case in its place of the catalogue.
fn placed(at: usize, name: &str) -> String {
    format!("{at:04}-{name}")
}

/// What is wrong with a hostile file's row, if anything is.
pub(crate) fn misjudged(file: &corpus::hostile::Hostile, row: &TrackRow) -> Option<String> {
    let warnings: Vec<Warning> = row
        .warnings
        .iter()
        .copied()
        .filter(|warning| *warning != Warning::ShorterThanWindow)
        .collect();
    let seen = match (row.verdict, row.code) {
        (Verdict::Unscannable, Some(code)) => expected::refusal(code),
        (Verdict::LikelyAi | Verdict::NoEvidence | Verdict::Inconclusive, None) => {
            expected::scan(&warnings)
        }
        (verdict, code) => format!("{verdict} with {code:?}"),
    };
    let expected = expected::of(file).ending.to_string();
    (seen != expected).then(|| {
        format!(
            "{}: {seen}, expected {expected}: {:?}",
            file.name, row.detail
        )
    })
}

/// What attackers wrote into tags reaches no row with a character that moves a cursor or turns a line.
fn tags_are_shown_without_harm(rows: &BTreeMap<String, TrackRow>) {
    let tagged = rows.iter().filter(|(name, _)| name.contains("-tags-"));
    for (name, row) in tagged {
        let values: Vec<&str> = row
            .provenance
            .iter()
            .map(|claim| claim.value.as_str())
            .collect();
        assert!(
            values.iter().any(|value| value.contains("suno")),
            "{name}: {values:?}"
        );
        assert!(
            !values
                .iter()
                .any(|value| value.chars().any(char::is_control)),
            "{name}: {values:?}"
        );
    }
}
