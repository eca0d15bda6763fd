//! One node agent as a process, with the stub worker and decoders that files have taken over; the test plays the
//! coordinator. What a hostile file can do, what a node commits, and what is left when it is killed.

#![expect(
    clippy::unwrap_used,
    reason = "a suite's helpers fail loudly, as its tests do"
)]

mod coordinator;
mod devices;
mod escalation;
mod keys;
mod stages;
mod world;

use std::collections::BTreeSet;

use engine::stub::Trick;
use proto::v1;
use rustix::process::Signal;
use tests::process::{self, wait_for};
use types::{Code, Policy, Thumbnail, TrackRow, Verdict};
use world::{Options, PATIENCE, RATE_HZ, World, assert_scored, tone, tricked};

#[test]
fn a_decoder_that_turns_on_its_ring_costs_its_track_and_nothing_else() {
    let tricks = [
        "truncate",
        "rewind",
        "overrun",
        "race",
        "poison",
        "surplus",
        "shortfall",
        "babble",
        "overread",
    ];
    let mut tracks: Vec<(String, Vec<i16>)> = Vec::new();
    for (number, trick) in (0..).zip(tricks) {
        tracks.push((format!("{trick}-{number}.wav"), tone(number)));
        tracks.push((format!("good-{number}.wav"), tone(100 + number)));
    }
    let named: Vec<(&str, Vec<i16>)> = tracks
        .iter()
        .map(|(name, samples)| (name.as_str(), samples.clone()))
        .collect();
    let mut world = World::new(&named, Options::default());
    let worker = world.worker();
    let rows = world.rows(18);
    assert_eq!(world.worker(), worker, "the worker's process stays");
    for (name, samples) in &tracks {
        match name.starts_with("good") {
            true => assert_scored(&rows[name], samples),
            false => assert_eq!(
                rows[name].code,
                Some(Code::RingViolation),
                "{name}: {:?}",
                rows[name].detail
            ),
        }
    }
}

#[test]
fn what_a_decoder_says_is_stored_as_short_lines_of_visible_text() {
    let tracks = [("gush.wav", tone(1)), ("slander.wav", tone(2))];
    let mut world = World::new(&tracks, Options::default());
    let rows = world.rows(2);
    let (gush, slander) = (&rows["gush.wav"], &rows["slander.wav"]);
    assert_eq!(gush.warnings, [types::Warning::Truncated]);
    let codec = gush.codec.as_deref().unwrap();
    let detail = slander.detail.as_deref().unwrap();
    assert!(codec.len() <= 32 && detail.len() <= 512, "{codec} {detail}");
    for row in [gush, slander] {
        assert!(row.provenance.len() <= 24, "{}", row.provenance.len());
        let texts = row
            .provenance
            .iter()
            .flat_map(|claim| [&claim.tag, &claim.value]);
        for text in texts.map(String::as_str).chain([codec, detail]) {
            assert!(
                text.len() <= 512 && !text.contains(char::is_control),
                "{text:?}"
            );
        }
    }
}

#[test]
fn a_decoder_that_sleeps_or_takes_nothing_of_what_it_asked_for_costs_its_track_and_nothing_else() {
    let (long, good) = (tone(1).repeat(8), tone(2));
    let tracks = [
        ("deaf.wav", long),
        ("good.wav", good.clone()),
        ("sleep.wav", tone(3)),
    ];
    let options = Options {
        arguments: vec!["--decoder-silence-secs", "3"],
        ..Options::default()
    };
    let mut world = World::new(&tracks, options);
    let worker = world.worker();
    let rows = world.rows(3);
    for name in ["deaf.wav", "sleep.wav"] {
        assert_eq!(rows[name].code, Some(Code::DecodeStalled), "{name}");
    }
    assert_scored(&rows["good.wav"], &good);
    assert_eq!(world.worker(), worker);
}

#[test]
fn a_decoder_that_dribbles_for_ever_costs_its_track_and_nothing_else() {
    let good = tone(2);
    let tracks = [("dribble.wav", tone(1)), ("good.wav", good.clone())];
    let options = Options {
        arguments: vec!["--decoder-silence-secs", "2", "--source-silence-secs", "2"],
        ..Options::default()
    };
    let mut world = World::new(&tracks, options);
    let worker = world.worker();
    let rows = world.rows(2);
    assert_eq!(rows["dribble.wav"].code, Some(Code::DecodeStalled));
    assert_scored(&rows["good.wav"], &good);
    assert_eq!(world.worker(), worker, "the worker's process stays");
}

#[test]
fn a_decoder_is_replaced_after_its_number_of_tracks_and_no_track_is_lost() {
    let names: Vec<String> = (0..12).map(|number| format!("slow-{number}.wav")).collect();
    let tracks: Vec<(&str, Vec<i16>)> = (0..)
        .zip(&names)
        .map(|(number, name)| (name.as_str(), tone(number)))
        .collect();
    let options = Options {
        arguments: vec!["--tracks-per-decoder", "2"],
        ..Options::default()
    };
    let mut world = World::new(&tracks, options);
    let mut seen = BTreeSet::new();
    world.wait("all rows", |world| {
        seen.extend(world.decoders());
        world.played.look(|books| books.committed()) >= 12
    });
    let rows = world.rows(12);
    for (name, samples) in &tracks {
        assert_scored(&rows[*name], samples);
    }
    // Three slots: without replacement three processes would have done it all.
    assert!(seen.len() >= 6, "twelve tracks of two each: {seen:?}");
}

#[test]
fn rows_that_may_be_asked_about_later_carry_picture_features_and_embedding() {
    let tracks = ["a.wav", "b.wav", "c.wav"];
    let named: Vec<(&str, Vec<i16>)> = (1..)
        .zip(tracks)
        .map(|(number, name)| (name, tone(number)))
        .collect();
    let options = Options {
        policy: Policy {
            embeddings: true,
            ..Policy::default()
        },
        ..Options::default()
    };
    let rows = World::new(&named, options).rows(3);
    let told = |row: &&TrackRow| row.verdict != Verdict::NoEvidence;
    assert!(rows.values().any(|row| told(&row)), "{rows:?}");
    for row in rows.values() {
        let picture = row.thumbnail.as_ref();
        assert_eq!(picture.is_some(), told(&row), "{}", row.key);
        assert!(picture.is_none_or(|picture| {
            !picture.levels.is_empty() && picture.levels.len() <= Thumbnail::MAX_BYTES
        }));
        assert_eq!(row.features.len(), if told(&row) { 4 } else { 0 });
        let embedding = row.embedding.as_ref().map(|embedding| &embedding.0);
        assert_eq!(embedding.map(Vec::len), Some(8), "the stub's width");
        assert!(embedding.is_some_and(|bits| bits.iter().any(|value| *value != 0)));
    }
}

#[test]
fn a_source_that_stalls_and_then_answers_costs_no_track_and_no_worker() {
    let tracks: Vec<(&str, Vec<i16>)> = (0..)
        .zip(["a.wav", "b.wav", "c.wav", "d.wav", "e.wav", "held.wav"])
        .map(|(number, name)| (name, tone(number)))
        .collect();
    let options = Options {
        arguments: vec!["--source-silence-secs", "2"],
        held: Some("held.wav"),
        ..Options::default()
    };
    let mut world = World::new(&tracks, options);
    let worker = world.worker();
    let log = world.root.join("agent.log");
    world.wait("slots to be given up", |_| {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        log.matches("a source does not answer").count() >= 2
    });
    // Every thread that waited wakes at once, while other threads have its slot.
    world.held = None;
    let rows = world.rows(6);
    for (name, samples) in &tracks {
        assert_scored(&rows[*name], samples);
    }
    assert_eq!(world.worker(), worker, "the worker's process stays");
}

#[test]
fn tracks_of_a_share_that_is_not_mounted_wait_until_it_is() {
    let tracks: Vec<(&str, Vec<i16>)> = (0..)
        .zip(["a.wav", "b.wav", "c.wav", "d.wav", "e.wav", "f.wav"])
        .map(|(number, name)| (name, tone(number)))
        .collect();
    let options = Options {
        grants: Some(0),
        ..Options::default()
    };
    let mut world = World::new(&tracks, options);
    // As a mount point is without its share.
    let (music, away) = (world.root.join("music"), world.root.join("away"));
    std::fs::rename(&music, &away).unwrap();
    std::fs::create_dir(&music).unwrap();
    world.played.look(|books| books.grants_left = usize::MAX);
    let log = world.root.join("agent.log");
    world.wait("tracks that are not read", |_| {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        log.matches("not read").count() >= 4
    });
    assert_eq!(world.played.look(|books| books.committed()), 0);
    std::fs::remove_dir(&music).unwrap();
    std::fs::rename(&away, &music).unwrap();
    let rows = world.rows(6);
    for (name, samples) in &tracks {
        assert_scored(&rows[*name], samples);
    }
}

#[test]
fn a_decoder_that_dies_on_a_track_is_tried_once_more_and_then_the_track_is_typed() {
    let (bad, good) = (tone(1), tone(2));
    let mut world = World::new(
        &[("die.wav", bad), ("good.wav", good.clone())],
        Options::default(),
    );
    let worker = world.worker();
    let rows = world.rows(2);
    assert_eq!(rows["die.wav"].code, Some(Code::DecodeCrash));
    assert_scored(&rows["good.wav"], &good);
    assert_eq!(world.worker(), worker);
}

#[test]
fn a_track_that_kills_workers_is_found_among_its_neighbours_which_all_finish() {
    let mut tracks = vec![("kills.wav", tricked(9, Trick::Die))];
    for (number, name) in (1..).zip(["a.wav", "b.wav", "c.wav", "d.wav", "e.wav"]) {
        tracks.push((name, tone(number)));
    }
    let mut world = World::new(&tracks, Options::default());
    let rows = world.rows(6);
    assert_eq!(rows["kills.wav"].code, Some(Code::WorkerDied));
    for (name, samples) in &tracks[1..] {
        assert_scored(&rows[*name], samples);
    }
}

#[test]
fn a_hanging_worker_is_replaced_and_the_track_that_hangs_it_is_typed() {
    let good = tone(1);
    let tracks = [
        ("good.wav", good.clone()),
        ("hangs.wav", tricked(2, Trick::Hang)),
    ];
    let options = Options {
        arguments: vec!["--silence-secs", "3"],
        ..Options::default()
    };
    let mut world = World::new(&tracks, options);
    let rows = world.rows(2);
    assert_eq!(rows["hangs.wav"].code, Some(Code::WorkerDied));
    assert_scored(&rows["good.wav"], &good);
}

#[test]
fn what_a_device_says_of_one_track_is_that_tracks_code() {
    let good = tone(3);
    let tracks = [
        ("full.wav", tricked(1, Trick::OutOfMemory)),
        ("nan.wav", tricked(2, Trick::NotFinite)),
        ("good.wav", good.clone()),
    ];
    let mut world = World::new(&tracks, Options::default());
    let rows = world.rows(3);
    assert_eq!(rows["full.wav"].code, Some(Code::DeviceOutOfMemory));
    assert_eq!(rows["nan.wav"].code, Some(Code::ScoreNotFinite));
    assert_scored(&rows["good.wav"], &good);
}

#[test]
fn a_failed_canary_takes_the_device_out_and_nothing_of_it_is_committed() {
    let sick = tempfile::NamedTempFile::new().unwrap();
    let path = sick.path().display().to_string();
    let options = Options {
        variables: vec![("TRACKSCAN_STUB_CANARY_FAILS_IF", path)],
        ..Options::default()
    };
    let mut world = World::new(&[("a.wav", tone(1)), ("b.wav", tone(2))], options);
    world.wait("the device to go out", |world| {
        world
            .played
            .look(|books| books.beats.iter().any(|beat| !beat.devices_out.is_empty()))
    });
    let out = world
        .played
        .look(|books| books.beats.last().unwrap().devices_out.clone());
    assert_eq!(
        (out[0].device.as_str(), out[0].code.as_str()),
        ("cpu:0", "CANARY_FAILED")
    );
    assert_eq!(world.played.look(|books| books.commits.len()), 0);
}

#[test]
fn kill_9_of_worker_decoders_and_agent_loses_no_track_and_leaves_no_orphan() {
    let names: Vec<String> = (0..24).map(|number| format!("{number:02}.wav")).collect();
    let tracks: Vec<(&str, Vec<i16>)> = (0..)
        .zip(&names)
        .map(|(number, name)| (name.as_str(), tone(number)))
        .collect();
    let options = Options {
        variables: vec![("TRACKSCAN_STUB_WINDOW_MS", "30".to_owned())],
        ..Options::default()
    };
    let mut world = World::new(&tracks, options);
    let worker = world.worker();
    process::signal(worker, Signal::KILL);
    world.wait("some rows", |world| {
        world.played.look(|books| books.committed()) >= 4
    });
    let pid = world.pid();
    for decoder in process::descendants(pid)
        .iter()
        .filter(|seen| "hostile-decoder".starts_with(&seen.name))
    {
        process::signal(decoder.pid, Signal::KILL);
    }
    world.wait("more rows", |world| {
        world.played.look(|books| books.committed()) >= 8
    });
    let below = process::descendants(pid);
    let dead = world
        .played
        .look(|books| std::mem::take(&mut books.commits));
    world.restart();
    wait_for("the children of a killed agent to end", PATIENCE, || {
        below
            .iter()
            .all(|seen| process::one(seen.pid).is_none())
            .then_some(())
    });
    world.played.look(|books| books.commits = dead);
    // What the dead agent had in hand is granted again, as a coordinator does after two beats without it.
    world.played.look(coordinator::Books::grant_again);
    let rows = world.rows(24);
    for (name, samples) in &tracks {
        assert_scored(&rows[*name], samples);
    }
}

#[test]
fn parts_carry_the_coordinators_time_whatever_the_machines_clock_says() {
    const HOUR_MS: i64 = 3_600_000;
    let tracks = [("a.wav", tone(1)), ("b.wav", tone(2))];
    let options = Options {
        ahead_ms: HOUR_MS,
        ..Options::default()
    };
    let before = coordinator::wall_ms();
    let mut world = World::new(&tracks, options);
    world.rows(2);
    let after = coordinator::wall_ms();
    let commits = world.played.look(|books| books.commits.clone());
    let made: Vec<_> = commits
        .iter()
        .flat_map(|commit| &commit.parts)
        .flat_map(|part| &part.made)
        .collect();
    assert!(!made.is_empty());
    for span in made {
        let (from, to) = (span.from_ms - HOUR_MS, span.to_ms - HOUR_MS);
        assert!(
            before <= from && from <= to && to <= after,
            "{span:?}: {before} to {after}"
        );
    }
}

#[test]
fn a_part_without_an_answer_is_offered_again_by_the_agents_next_life() {
    let (a, b) = (tone(1), tone(2));
    let mut world = World::new(
        &[("a.wav", a.clone()), ("b.wav", b.clone())],
        Options::default(),
    );
    world.played.look(|books| books.deaf = true);
    let parts = world.root.join("node/parts");
    world.wait("a part on disk", |_| {
        std::fs::read_dir(&parts).is_ok_and(|files| {
            files.flatten().any(|file| {
                file.path()
                    .extension()
                    .is_some_and(|suffix| suffix == "part")
            })
        })
    });
    world.restart();
    world.played.look(|books| books.deaf = false);
    let rows = world.rows(2);
    assert_scored(&rows["a.wav"], &a);
    assert_scored(&rows["b.wav"], &b);
    world.wait("an empty shelf", |_| {
        std::fs::read_dir(&parts).is_ok_and(|files| files.count() == 0)
    });
}

#[test]
fn sigterm_commits_what_is_in_hand_and_leaves() {
    let names: Vec<String> = (0..40).map(|number| format!("{number:02}.wav")).collect();
    let tracks: Vec<(&str, Vec<i16>)> = (0..)
        .zip(&names)
        .map(|(number, name)| (name.as_str(), tone(number)))
        .collect();
    let options = Options {
        variables: vec![("TRACKSCAN_STUB_WINDOW_MS", "20".to_owned())],
        ..Options::default()
    };
    let mut world = World::new(&tracks, options);
    world.wait("a first row", |world| {
        world.played.look(|books| books.committed()) >= 1
    });
    world.signal(Signal::TERM);
    let status = wait_for("the agent to end", PATIENCE, || {
        world.agent.try_wait().unwrap()
    });
    assert!(status.success(), "{status:?}");
    assert!(world.played.look(|books| books.left));
    assert_eq!(
        std::fs::read_dir(world.root.join("node/parts"))
            .unwrap()
            .count(),
        0,
        "nothing stays unanswered"
    );
}

#[test]
fn sigterm_with_tracks_that_outlast_the_drain_gives_them_back_and_leaves() {
    let options = Options {
        arguments: vec!["--drain-secs", "1"],
        variables: vec![("TRACKSCAN_STUB_WINDOW_MS", "600000".to_owned())],
        ..Options::default()
    };
    let mut world = World::new(&[("slow.wav", tone(1))], options);
    let in_hand = |beat: &v1::BeatRequest| beat.held.iter().any(|held| !held.in_hand.is_empty());
    world.wait("a track in hand", |world| {
        world.played.look(|books| books.beats.iter().any(in_hand))
    });
    world.signal(Signal::TERM);
    let status = wait_for("the agent to end", PATIENCE, || {
        world.agent.try_wait().unwrap()
    });
    assert!(status.success(), "{status:?}");
    assert!(world.played.look(|books| books.left));
}

#[test]
fn the_sandboxed_decoder_and_the_stub_agree_on_a_whole_track() {
    let good = tone(5);
    let options = Options {
        honest_decoder: true,
        ..Options::default()
    };
    let mut world = World::new(
        &[("good.wav", good.clone()), ("noise.bin", vec![77; 9_000])],
        options,
    );
    let rows = world.rows(2);
    assert_scored(&rows["good.wav"], &good);
    assert_eq!(rows["good.wav"].sample_rate_hz, Some(RATE_HZ));
}
