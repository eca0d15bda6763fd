//! What an operator steers, on real processes: pausing, ranking, shares of tenants, cordons and drains, retries, revocations,
//! quotas, and a node without room. Only the workers are stubs. No test waits for a time to pass: each waits, within bounds, for what must come.

#![expect(
    clippy::unwrap_used,
    reason = "a suite's helpers fail loudly, as its tests do"
)]

mod backlog;
mod twins;
mod world;

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use world::World;

/// Tracks that have a row or are held by a node.
fn begun(job: &Value) -> u64 {
    count(job, "tracks_done") + count(job, "tracks_granted")
}

fn count(of: &Value, field: &str) -> u64 {
    of[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{field} of {of:#}"))
}

#[test]
fn a_paused_job_is_granted_nothing_and_ends_once_it_is_resumed() {
    let mut world = World::new(60, &[]);
    world.agent("n");
    world.import("");
    let job = world.submit("");
    world.wait("the first rows", |world| {
        count(&world.job(&job), "tracks_done") > 0
    });
    assert_eq!(world.json(&format!("scan pause {job}"))["state"], "paused");
    world.wait("what is in hand", |world| {
        count(&world.job(&job), "tracks_granted") == 0
    });
    let paused = world.job(&job);
    assert!(count(&paused, "tracks_done") < 60, "{paused:#}");
    assert!(world.reasons(&job).contains(&"JOB_PAUSED".to_owned()));
    // The node works: another job ends meanwhile, and of this one nothing was granted.
    let other = world.submit("");
    world.published(&other);
    let still = world.job(&job);
    assert_eq!(
        (&still["state"], begun(&still)),
        (&"paused".into(), count(&paused, "tracks_done"))
    );
    assert_eq!(
        world.json(&format!("scan resume {job}"))["state"],
        "running"
    );
    world.published(&job);
}

#[test]
fn what_a_node_has_not_begun_goes_to_one_that_comes_later_and_back_when_the_job_is_paused() {
    const TRACKS: u64 = 400;
    let mut world = World::new(400, &["--grant-millis", "120000"]);
    world.import("");
    let job = world.submit_in(1_000, "music", "");
    world.agent("first");
    world.wait("one node to hold it all", |world| {
        begun(&world.job(&job)) == TRACKS
    });
    world.agent("second");
    world.wait("tracks for the second", |world| {
        count(&world.node("second"), "tracks_granted") > 0
    });
    world.json(&format!("scan pause {job}"));
    world.wait("what is in hand", |world| {
        count(&world.job(&job), "tracks_granted") == 0
    });
    let paused = world.job(&job);
    assert!(count(&paused, "tracks_done") < TRACKS, "{paused:#}");
    world.json(&format!("scan resume {job}"));
    world.published(&job);
}

#[test]
fn the_urgent_lane_goes_first_and_then_the_higher_priority() {
    let mut world = World::new(40, &[]);
    world.import("");
    let low = world.submit("");
    let high = world.submit(" --priority 5");
    let urgent = world.submit(" --lane interactive");
    world.agent("n");
    world.published(&urgent);
    let high_then = world.job(&high);
    assert_eq!(high_then["state"], "running", "{high_then:#}");
    world.published(&high);
    let low_then = world.job(&low);
    assert_eq!(low_then["state"], "running", "{low_then:#}");
    world.published(&low);
}

#[test]
fn a_rank_is_changed_while_the_job_waits() {
    let mut world = World::new(40, &[]);
    world.import("");
    let (first, second) = (world.submit(""), world.submit(""));
    let ranked = world.json(&format!("scan rank {second} --priority 1 --deadline 6h"));
    assert_eq!(
        (&ranked["lane"], &ranked["priority"]),
        (&"batch".into(), &1.into())
    );
    assert_ne!(ranked["deadline"], "");
    world.agent("n");
    world.published(&second);
    assert_eq!(world.job(&first)["state"], "running");
    world.published(&first);
}

#[test]
fn two_tenants_with_backlog_have_even_shares() {
    let mut world = World::new(160, &[]);
    let flags = [" --tenant a", " --tenant b"];
    flags.iter().for_each(|tenant| world.import(tenant));
    let jobs = flags.map(|tenant| (tenant, world.submit(tenant)));
    world.agent("n");
    let begun = |world: &World, which: usize| {
        let (tenant, job) = &jobs[which];
        begun(&world.json(&format!("scan get {job}{tenant}")))
    };
    // The first answers are made before a track's cost is known; both have backlog until one has begun all of its tracks.
    let mut looks = 0;
    while begun(&world, 0).max(begun(&world, 1)) < 140 {
        let enough = 60 + looks * 30;
        world.wait("more work", |world| {
            begun(world, 0) + begun(world, 1) >= enough
        });
        looks += 1;
        let (before, b, after) = (begun(&world, 0), begun(&world, 1), begun(&world, 0));
        // One grant of the one device is at most a shard; 5 % is of what both have.
        let most = 4.max((before + b) / 20);
        let apart = before.saturating_sub(b).max(b.saturating_sub(after));
        assert!(apart <= most, "look {looks}: a {before}..{after}, b {b}");
    }
    assert!(looks >= 3, "{looks} looks");
    for (tenant, job) in &jobs {
        let ended = world.json(&format!("scan wait {job}{tenant} --timeout 5m"));
        assert_eq!(ended["state"], "published", "{ended:#}");
    }
    let foreign = world.run(&format!("scan get {}{}", jobs[0].1, jobs[1].0));
    assert_eq!(
        foreign.status.code(),
        Some(5),
        "a tenant does not see another's job"
    );
}

/// A job and the tenant whose it is, as flags.
struct Owned {
    job: String,
    tenant: &'static str,
}

impl Owned {
    fn submit(world: &World, catalog: &str, tenant: &'static str, flags: &str) -> Self {
        let job = world.submit_over(catalog, &format!("{flags}{tenant}"));
        Self { job, tenant }
    }

    fn named(&self) -> String {
        format!("{}{}", self.job, self.tenant)
    }

    fn state(&self, world: &World) -> Value {
        world.job(&self.named())
    }

    /// Device time of all of its parts that count, in seconds.
    fn device_seconds(&self, world: &World) -> f64 {
        let summary = world.json(&format!("result summary {}", self.named()));
        let stages = summary["stages"].as_array().expect("stages").iter();
        let screen = stages.filter(|stage| stage["stage"] == "screen");
        let seconds = screen.map(|stage| stage["device_seconds"].as_f64().expect("seconds"));
        seconds.sum()
    }
}

/// Device time of one grant at most, in seconds: a grant is of whole tracks, and one of the longer ones, with its seven windows of the
/// stub, takes more than the suite's `--grant-millis`.
const GRANT_SECONDS: f64 = 0.3;

/// Two tenants' jobs, those of each.
type Sides<'a> = [&'a [&'a Owned]; 2];

/// Holds all jobs, waits for what is in hand, and gives the device time that the jobs of each side have had by their ledgers.
fn held(world: &World, sides: Sides<'_>) -> [f64; 2] {
    let all = || sides.into_iter().flatten();
    for one in all() {
        world.run(&format!("scan pause {}", one.named()));
    }
    world.wait("the end of what is in hand", |world| {
        all().all(|one| count(&one.state(world), "tracks_granted") == 0)
    });
    sides.map(|jobs| jobs.iter().map(|one| one.device_seconds(world)).sum())
}

fn resume(world: &World, jobs: &[&Owned]) {
    for one in jobs {
        world.json(&format!("scan resume {}", one.named()));
    }
}

/// What both sides had since then is even.
#[track_caller]
fn check_even(before: [f64; 2], after: [f64; 2]) {
    let had = [after[0] - before[0], after[1] - before[1]];
    let fair = f64::midpoint(had[0], had[1]);
    let error = (had[0] - fair).abs();
    let found = format!("device-seconds {had:.2?}: {error:.2} from {fair:.2}");
    assert!(error <= GRANT_SECONDS.max(0.05 * fair), "{found}");
}

#[test]
fn shares_pauses_ranks_and_lanes_hold_together_though_one_tenants_tracks_are_three_times_longer() {
    let mut world = World::over(&[], |music| {
        tests::music::folder(&music.join("short"), 140, 1.2);
        tests::music::folder(&music.join("long"), 64, 3.6);
        tests::music::folder(&music.join("few"), 4, 1.2);
    });
    let (short, long) = (" --tenant short", " --tenant long");
    let music = world.music();
    world.import_folder("music", &music.join("short"), short);
    world.import_folder("few", &music.join("few"), short);
    world.import_folder("music", &music.join("long"), long);
    let first = Owned::submit(&world, "music", short, "");
    let second = Owned::submit(&world, "music", short, "");
    let theirs = Owned::submit(&world, "music", long, "");
    let jobs = [&first, &second, &theirs];
    world.agent("n");
    let done = |world: &World, one: &Owned| count(&one.state(world), "tracks_done");

    // Shares: by device time, not by tracks. The first grants are made before anybody knows what a track costs, and are not
    // compared.
    let sides: Sides<'_> = [&[&first, &second], &[&theirs]];
    world.wait("rows of both", |world| {
        done(world, &first).min(done(world, &theirs)) >= 4
    });
    let begin = held(&world, sides);
    resume(&world, &jobs);
    world.wait("work of both", |world| done(world, &theirs) >= 40);
    check_even(begin, held(&world, sides));

    // Pauses: nothing is granted of what is paused, and another job has the node for itself.
    let why = world.reasons(&theirs.named());
    assert!(why.contains(&"JOB_PAUSED".to_owned()), "{why:?}");
    let paused = jobs.map(|one| done(&world, one));
    assert_eq!(paused[1], 0, "the second stands behind the first");
    let alone = Owned::submit(&world, "few", short, "");
    world.published(&alone.named());
    assert_eq!(jobs.map(|one| done(&world, one)), paused);

    // Lanes: what is urgent goes before the backlog of both tenants. Ranks: what stood behind goes before what stood first.
    world.json("node cordon n");
    let urgent = Owned::submit(&world, "few", short, " --lane interactive");
    world.json(&format!("scan rank {} --priority 1", second.named()));
    resume(&world, &jobs);
    world.json("node uncordon n");
    world.published(&urgent.named());
    for one in jobs {
        let state = one.state(&world);
        assert_eq!(state["state"], "running", "{state:#}");
    }
    world.wait("the second job", |world| done(world, &second) >= 8);
    assert_eq!(done(&world, &first), paused[0]);

    world.json(&format!("scan cancel {}", second.named()));
    world.published(&first.named());
    world.published(&theirs.named());
}

#[test]
fn a_cordoned_node_takes_nothing_and_a_drained_one_leaves() {
    let mut world = World::new(160, &[]);
    world.import("");
    world.agent("one");
    world.agent("two");
    let job = world.submit("");
    let granted = |world: &World, node: &str| count(&world.node(node), "tracks_granted");
    world.wait("work on both", |world| {
        granted(world, "one") > 0 && granted(world, "two") > 0
    });

    let cordoned = world.json("node cordon one");
    assert_eq!(cordoned["nodes"][0]["state"], "cordoned", "{cordoned:#}");
    world.wait("the end of what it has", |world| granted(world, "one") == 0);
    let before = count(&world.job(&job), "tracks_done");
    world.wait("work of the other", |world| {
        count(&world.job(&job), "tracks_done") > before + 8
    });
    assert_eq!(granted(&world, "one"), 0);
    let why = world.json("node explain one");
    assert_eq!(why["reasons"][0]["code"], "NODE_CORDONED", "{why:#}");

    assert_eq!(
        world.json("node uncordon one")["nodes"][0]["state"],
        "ready"
    );
    world.wait("work on it again", |world| granted(world, "one") > 0);

    world.json("node drain two");
    assert_eq!(world.wait_exit(1), Some(0), "a drained agent ends well");
    assert_eq!(world.node("two")["state"], "left");
    world.wait("the end of what it gave back", |world| {
        granted(world, "two") == 0
    });
    world.published(&job);
}

#[test]
fn a_retry_gives_files_that_were_mended_their_verdicts_and_leaves_the_first_result() {
    let mut world = World::new(24, &[]);
    let (mended, grown) = (["0003.wav", "0011.wav"], "0012.wav");
    let broken = [mended[0], mended[1], grown];
    let sound = broken.map(|name| fs::read(world.music().join(name)).unwrap());
    for (name, bytes) in broken.iter().zip(&sound) {
        fs::write(world.music().join(name), vec![0; bytes.len()]).unwrap();
    }
    world.agent("n");
    world.import("");
    let first = world.submit("");
    let verified = world.published(&first);
    assert_eq!(verified["verdicts"]["unscannable"], 3, "{verified:#}");

    for (name, bytes) in broken.iter().zip(sound) {
        let more: &[u8] = if *name == grown { b"more" } else { b"" };
        fs::write(world.music().join(name), [&bytes, more].concat()).unwrap();
    }
    let retry = world.json(&format!("scan retry {first} --failed"));
    let retry = retry["job"].as_str().unwrap();
    assert_eq!(world.job(retry)["retry_of"], first.as_str());
    let ended = world.json(&format!("scan wait {retry} --timeout 5m"));
    assert_eq!(ended["state"], "published", "{ended:#}");
    let again = world.json(&format!("result verify {retry}"));
    assert_eq!(
        (&again["ok"], &again["rows_found"]),
        (&true.into(), &24.into()),
        "{again:#}"
    );
    let row = |name: &str| world.json(&format!("result get {retry} {name}"))["row"].take();
    for name in mended {
        let row = row(name);
        assert_ne!(row["verdict"], "unscannable", "{row:#}");
        assert!(!row["timeline"].as_array().unwrap().is_empty(), "{row:#}");
    }
    // A file of another size is none that the snapshot names: it is for a new import.
    assert_eq!(row(grown)["reason"], "SOURCE_CHANGED");
    let before = world.json(&format!("result verify {first}"));
    assert_eq!(
        before["verdicts_sha256"], verified["verdicts_sha256"],
        "{before:#}"
    );
}

#[test]
fn what_is_revoked_while_a_job_runs_is_scanned_again_and_each_row_counts_once() {
    let mut world = World::new(120, &[]);
    world.import("");
    world.agent("n");
    let job = world.submit("");
    world.wait("rows", |world| count(&world.job(&job), "tracks_done") >= 20);
    let mut changes = world.watch(&job);
    let first = changes.next().expect("the job as it stands");
    let revoked = world.json("node revoke n --from 1h --reason doubt");
    assert_eq!(
        (&revoked["jobs"], &revoked["existing"]),
        (&1.into(), &false.into())
    );
    // Rows that counted are taken back.
    let done: Vec<u64> = std::iter::once(first)
        .chain(changes)
        .map(|change| count(&change, "tracks_done"))
        .collect();
    assert!(done.windows(2).any(|two| two[1] < two[0]), "{done:?}");
    assert_eq!(done.last(), Some(&120));
    world.published(&job);
    let listed = world.json("node revocations");
    let listed = &listed["revocations"][0];
    assert_eq!(
        (&listed["reason"], &listed["state"], &listed["jobs"][0]),
        (&"doubt".into(), &"done".into(), &job.as_str().into())
    );
}

#[test]
fn a_quota_is_named_by_explain_and_holds() {
    let mut world = World::new(40, &["--quota", "default:jobs=1"]);
    world.import("");
    let (first, second) = (world.submit(""), world.submit(""));
    world.agent("n");
    world.wait("the first job's work", |world| {
        count(&world.job(&first), "tracks_done") > 0
    });
    assert_eq!(begun(&world.job(&second)), 0);
    assert!(
        world.reasons(&second).contains(&"QUOTA_JOBS".to_owned()),
        "{:?}",
        world.reasons(&second)
    );
    world.published(&first);
    world.published(&second);
}

#[test]
fn a_node_without_room_for_its_parts_is_named_and_its_job_ends_by_itself_once_there_is_room() {
    let mut world = World::new(80, &[]);
    world.agent("n");
    world.import("");
    let job = world.submit("");
    world.wait("the first rows", |world| {
        count(&world.job(&job), "tracks_done") > 0
    });
    world.limit_files(0, Some(64));
    let named = |explained: &Value| {
        let reasons = explained["reasons"].as_array().expect("reasons");
        reasons.iter().any(|reason| {
            let cause = reason["cause"].as_str().expect("a cause");
            reason["code"] == "NODE_STORAGE" && cause.contains("STORAGE_FULL")
        })
    };
    world.wait("the reason", |world| {
        named(&world.json(&format!("scan explain {job}")))
    });
    assert!(named(&world.json("node explain n")));
    let stands = world.job(&job);
    assert_eq!(stands["state"], "running", "{stands:#}");

    world.limit_files(0, None);
    world.published(&job);
    assert!(!named(&world.json("node explain n")));
}

/// What `trackscan-sim` says of a journal: its one line, or its error.
fn replayed(journal: &Path) -> Result<String, String> {
    let mut command = Command::new(tests::binaries().join("trackscan-sim"));
    let output = command.args(["replay", "--journal"]).arg(journal).output();
    let output = output.expect("trackscan-sim is built with the suites");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

#[test]
fn the_journal_that_scanctl_exports_of_a_run_replays_to_the_same_end() {
    let folder = tempfile::tempdir().unwrap();
    let journals = folder.path().join("journals");
    let mut world = World::new(20, &["--journal", journals.to_str().unwrap()]);
    world.agent("n");
    world.import("");
    let job = world.submit("");
    world.published(&job);
    let file = folder.path().join("run.jsonl");
    let line = format!("admin journal export --to {}", file.display());
    let exported = world.run(&line);
    assert!(exported.status.success(), "{exported:?}");
    let said = replayed(&file).unwrap();
    // It ends with what the core knew: a line of its state, which the replay has to match.
    assert!(said.contains(" states 1 "), "{said}");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(&job), "the job is in it");
    let changed = text.replacen("\"node\":\"n\"", "\"node\":\"m\"", 1);
    assert_ne!(changed, text);
    fs::write(&file, changed).unwrap();
    replayed(&file).expect_err("a changed journal is refused");
}
