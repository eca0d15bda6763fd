//! `bundle convert` by the real binary: both kinds of published files, what is refused, and that the process which parses them
//! can do nothing else. The files are those of `crates/checkpoint/golden`.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

use bundle::{Bundle, OriginFormat, Trust, sample};
use std::fs;
use std::io::Write as _;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use types::{Digest, Purpose};

const WORKER: &str = env!("CARGO_BIN_EXE_trackscan-worker");
const NEWER: &str = "newer/7e57da7a.safetensors";
const OLDER: &str = "older/7e57da7a-544ae575.th";
/// More than two pipes hold: whoever has taken this much has read some of it.
const MUCH: usize = 1 << 20;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../crates/checkpoint/golden")
        .join(name)
}

/// A folder with the sample's bundle as base, its key, and room for more.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let (manifest, contents) = (sample::manifest(), sample::contents());
        bundle::write(&world.path("base"), manifest, &contents, &sample::key()).unwrap();
        fs::write(world.path("signer.key"), "2a".repeat(32)).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn convert(&self, from: &Path, out: &str, more: &[&str]) -> Output {
        Command::new(WORKER)
            .args(["bundle", "convert", "--from"])
            .arg(from)
            .arg("--out")
            .arg(self.path(out))
            .arg("--base")
            .arg(self.path("base"))
            .args(["--trusted-key", &sample::key().public().to_string()])
            .args(more)
            .output()
            .unwrap()
    }

    fn signed(&self, from: &Path, out: &str, more: &[&str]) -> Output {
        let key = self.path("signer.key").display().to_string();
        self.convert(from, out, &[&["--key", &key], more].concat())
    }

    fn open(&self, name: &str) -> Bundle {
        Bundle::open(&self.path(name), &Trust::new([sample::key().public()])).unwrap()
    }

    fn verify(&self, name: &str) -> Output {
        Command::new(WORKER)
            .args(["bundle", "verify"])
            .arg(self.path(name))
            .args(["--trusted-key", &sample::key().public().to_string()])
            .output()
            .unwrap()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn done(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
}

#[test]
fn both_kinds_of_files_become_the_same_weights_in_bundles_that_verify() {
    let world = World::new();
    for (from, out) in [(NEWER, "from-newer"), (OLDER, "from-older")] {
        let made = world.signed(&golden(from), out, &[]);
        done(&made);
        let digest = world.open(out).digest;
        assert!(
            stdout(&made).contains(&format!("digest {digest}")),
            "{}",
            stdout(&made)
        );
        assert!(
            stdout(&made).contains("not calibrated"),
            "{}",
            stdout(&made)
        );
        let verified = world.verify(out);
        done(&verified);
        assert!(stdout(&verified).contains("residual htdemucs, stems drums, bass, other, vocals"));
        assert!(
            stdout(&verified).contains("not calibrated"),
            "{}",
            stdout(&verified)
        );
        // What an operator sees of it; `make parity` shows it.
        println!("{from}\n{}", stdout(&verified));
    }
    let weights =
        |out: &str| Digest::of(&fs::read(world.path(out).join("separator.safetensors")).unwrap());
    assert_eq!(weights("from-newer"), weights("from-older"));
}

#[test]
fn a_converted_bundle_says_where_its_weights_come_from_and_is_for_demonstration() {
    let world = World::new();
    let more = [
        "--segments",
        "6",
        "--overlap",
        "0.5",
        "--epsilon",
        "bf16=0.03,f32=0.0002",
    ];
    done(&world.signed(&golden(OLDER), "out", &more));
    let (base, made) = (world.open("base").manifest, world.open("out").manifest);
    assert_eq!(made.purpose, Purpose::Demonstration);
    assert_eq!((made.name, made.version), (base.name, base.version + 1));
    assert_eq!((made.screen, made.gate), (base.screen, base.gate));
    let residual = made.residual.unwrap();
    let origin = residual.origin.unwrap();
    let file = fs::read(golden(OLDER)).unwrap();
    assert_eq!(origin.sha256, Digest::of(&file));
    assert_eq!(origin.bytes, file.len() as u64);
    assert_eq!(origin.format, OriginFormat::TorchArchive);
    assert_eq!(residual.segments, bundle::Segments::Spread { count: 6 });
    assert_eq!(residual.overlap.share, 0.5);
    assert_eq!(
        (residual.epsilon.f32, residual.epsilon.bf16),
        (0.0002, Some(0.03))
    );
    let card = fs::read_to_string(world.path("out/model-card.md")).unwrap();
    assert!(
        card.contains(&origin.sha256.to_string()) && card.contains("Not calibrated"),
        "{card}"
    );
}

#[test]
fn a_bag_and_a_folder_stand_for_the_file_that_they_name() {
    let world = World::new();
    for (at, from) in ["newer", "newer/tiny.yaml", "older", "older/tiny.yaml"]
        .iter()
        .enumerate()
    {
        done(&world.signed(&golden(from), &format!("out-{at}"), &[]));
    }
    let bare = world.file(
        "bare/7e57da7a.safetensors",
        &fs::read(golden(NEWER)).unwrap(),
    );
    done(&world.signed(bare.parent().unwrap(), "out-bare", &[]));
}

#[test]
fn a_bundle_that_was_left_unsigned_is_loaded_only_once_it_is_signed() {
    let world = World::new();
    let made = world.convert(&golden(NEWER), "out", &[]);
    done(&made);
    assert!(stdout(&made).contains("not signed"), "{}", stdout(&made));
    let refused = world.verify("out");
    assert!(
        stderr(&refused).contains("BUNDLE_UNSIGNED"),
        "{}",
        stderr(&refused)
    );
    let signed = Command::new(WORKER)
        .args(["bundle", "sign"])
        .arg(world.path("out"))
        .arg("--key")
        .arg(world.path("signer.key"))
        .output()
        .unwrap();
    done(&signed);
    done(&world.verify("out"));
}

#[test]
fn a_converted_bundle_is_a_base_again() {
    let world = World::new();
    done(&world.signed(&golden(NEWER), "once", &[]));
    fs::remove_dir_all(world.path("base")).unwrap();
    fs::rename(world.path("once"), world.path("base")).unwrap();
    done(&world.signed(
        &golden(OLDER),
        "twice",
        &["--name", "other", "--bundle-version", "9"],
    ));
    let made = world.open("twice").manifest;
    assert_eq!((made.name.as_str(), made.version), ("other", 9));
}

#[test]
fn a_hostile_archive_is_refused_by_what_it_tries_and_does_not_get_it() {
    let world = World::new();
    let mark = Path::new("/tmp/trackscan-a-pickle-ran");
    let check = |name: &str, words: &str| {
        assert!(!mark.exists(), "`{}` is in the way", mark.display());
        let refused = world.signed(&golden(&format!("hostile/{name}")), "out", &[]);
        assert!(!refused.status.success(), "{name}: was converted");
        assert!(
            stderr(&refused).contains(words),
            "{name}: {}",
            stderr(&refused)
        );
        assert!(!mark.exists(), "{name}: ran");
        assert!(!world.path("out").exists(), "{name}");
    };
    check(
        "system.th",
        "the pickle names `posix.system`, which is not read; nothing of it was run",
    );
    check(
        "eval.th",
        "the pickle names `__builtin__.eval`, which is not read; nothing of it was run",
    );
    check("bomb.th", "is compressed");
    check(
        "traversal.th",
        "`../../tmp/trackscan-a-pickle-ran` has a name that is refused",
    );
    check("deep.th", "nests too deeply");
}

#[test]
fn what_is_no_separator_is_refused_by_what_it_is() {
    let world = World::new();
    let check = |case: &str, from: &Path, words: &str| {
        let refused = world.signed(from, "out", &[]);
        assert!(!refused.status.success(), "{case}: was converted");
        assert!(
            stderr(&refused).contains(words),
            "{case}: {}",
            stderr(&refused)
        );
        assert!(!world.path("out").exists(), "{case}");
    };
    let newer = fs::read(golden(NEWER)).unwrap();
    let changed = |from: &str, to: &str| {
        let at = newer
            .windows(from.len())
            .position(|window| window == from.as_bytes())
            .unwrap();
        let mut bytes = newer.clone();
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    let other = world.file(
        "class/x.safetensors",
        &changed("htdemucs.HTDemucs", "xxdemucs.XXDemucs"),
    );
    check("another class", &other, "only HTDemucs is read");
    let unknown = world.file(
        "unknown/x.safetensors",
        &changed("t_sparsity", "t_novelty_"),
    );
    check(
        "an unknown argument",
        &unknown,
        "`t_novelty_` that is not known",
    );
    let renamed = world.file(
        "names/x.safetensors",
        &changed("freq_emb.embedding.weight", "freq_emb.embedding.height"),
    );
    check(
        "a tensor that the network has no place for",
        &renamed,
        "freq_emb.embedding.height",
    );
    let bare = world.file("bare.th", b"\x80\x02}q\x00.");
    check("a bare pickle", &bare, "a bare pickle");
    let cut = world.file("cut/x.safetensors", &newer[..newer.len() - 1]);
    check("cut off", &cut, "neither safetensors nor a torch archive");
    let empty = world.file("empty.th", b"");
    check("nothing", &empty, "too short");
    check(
        "a device",
        Path::new("/dev/zero"),
        "neither a file nor a folder",
    );
    check("absent", &world.path("absent"), "absent");
}

#[test]
fn bags_and_folders_that_leave_a_doubt_are_refused() {
    let world = World::new();
    let newer = fs::read(golden(NEWER)).unwrap();
    let older = fs::read(golden(OLDER)).unwrap();
    let check = |case: &str, from: &Path, words: &str| {
        let refused = world.signed(from, "out", &[]);
        assert!(!refused.status.success(), "{case}: was converted");
        assert!(
            stderr(&refused).contains(words),
            "{case}: {}",
            stderr(&refused)
        );
    };
    let several = world.file("several/bag.yaml", b"models: ['a', 'b']\n");
    check(
        "several models",
        &several,
        "the bag has 2 models; bags of one are read",
    );
    let astray = world.file("astray/bag.yaml", b"models: ['../newer/7e57da7a']\n");
    check("a path for a model", &astray, "which is no signature");
    let absent = world.file("absent/bag.yaml", b"models: ['7e57da7a']\n");
    check(
        "a model that is absent",
        &absent,
        "holds 0 files of the model `7e57da7a`",
    );
    let two = world.file("two/7e57da7a-1.th", &older);
    world.file("two/7e57da7a-2.th", &older);
    world.file("two/bag.yaml", b"models: ['7e57da7a']\n");
    check(
        "two files of a model",
        two.parent().unwrap(),
        "holds 2 files of the model",
    );
    let pair = world.file("pair/a.safetensors", &newer);
    world.file("pair/b.safetensors", &newer);
    check(
        "two checkpoints",
        pair.parent().unwrap(),
        "0 bags and 2 checkpoints",
    );
    let long = world.file("long/bag.yaml", &b" ".repeat(1 << 17));
    check("a long bag", &long, "the bound is");
    let other = world.file("7e57da7a-00000000.th", &older);
    check(
        "another digest than its name says",
        &other,
        "does not begin with the digits of its name",
    );
}

#[test]
fn a_base_that_is_not_trusted_and_a_folder_in_use_are_refused() {
    let world = World::new();
    let full = world.file("full/other", b"x");
    let refused = world.signed(&golden(NEWER), "full", &[]);
    assert!(
        stderr(&refused).contains("is not empty"),
        "{}",
        stderr(&refused)
    );
    assert_eq!(fs::read_dir(full.parent().unwrap()).unwrap().count(), 1);
    fs::write(world.path("base/model-card.md"), "other").unwrap();
    let refused = world.signed(&golden(NEWER), "out", &[]);
    assert!(
        stderr(&refused).contains("BUNDLE_DIGEST_MISMATCH"),
        "{}",
        stderr(&refused)
    );
}

/// A reader that has taken some of its input, which is more to come.
fn reading() -> (std::process::Child, std::process::ChildStdin) {
    let mut child = Command::new(WORKER)
        .args(["read", "checkpoint"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&vec![b'x'; MUCH]).unwrap();
    (child, stdin)
}

#[test]
fn the_reader_is_shut_in_before_it_takes_a_byte() {
    // SAFETY: a new descriptor, owned from here on, that a program started now inherits.
    let stray = unsafe { OwnedFd::from_raw_fd(libc::dup(2)) };
    let (mut child, stdin) = reading();
    drop(stray);
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let status = fs::read_to_string(proc.join("status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    assert!(status.contains("Seccomp:\t2"), "{status}");
    assert!(status.contains("Threads:\t1"), "{status}");
    let limits = fs::read_to_string(proc.join("limits")).unwrap();
    for limit in ["Max file size", "Max processes", "Max core file size"] {
        let line = limits.lines().find(|line| line.starts_with(limit)).unwrap();
        let hard = line[limit.len()..].split_whitespace().nth(1);
        assert_eq!(hard, Some("0"), "{line}");
    }
    let mut open: Vec<String> = fs::read_dir(proc.join("fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2"]);
    drop(stdin);
    // What it was given is no checkpoint, and it ends by saying so.
    assert_eq!(child.wait().unwrap().code(), Some(70));
}

#[test]
fn a_reader_that_is_fed_without_end_refuses() {
    let (mut child, mut stdin) = reading();
    let piece = vec![b'x'; MUCH];
    let mut fed = MUCH;
    // It stops taking at the longest file; one byte behind it is enough.
    while fed <= 600 << 20 && stdin.write_all(&piece).is_ok() {
        fed += MUCH;
    }
    drop(stdin);
    let status = child.wait().unwrap();
    assert_eq!(
        status.code(),
        Some(70),
        "{status}, signal {:?}",
        status.signal()
    );
    assert!(fed <= 520 << 20, "{fed} bytes were taken");
}
