//! Jobs of both stages on one node: what the gate sends on, the second pass, and what a budget, a kill or a changed source makes
//! of it. The decoders are the real ones, which give the residual its second channel.

use std::collections::BTreeSet;

use proto::v1;
use types::{
    Code, Digest, GateChoice, InconclusiveReason, Policy, ShardId, Stage, Stages, TrackRow, Verdict,
};

use crate::world::{Options, World, assert_scored, logits, tone};
use storage::{Part, PartKind};

/// Segments that the sample bundle asks for of each track.
const SEGMENTS: usize = 3;

/// A job of both stages, under the bundle's gate unless given.
fn both(gate: Option<GateChoice>) -> Options {
    Options {
        honest_decoder: true,
        policy: Policy {
            stages: Stages::Both,
            gate,
            ..Policy::default()
        },
        ..Options::default()
    }
}

/// So many tracks with names in order.
fn tracks(count: i32) -> Vec<(String, Vec<i16>)> {
    (0..count)
        .map(|number| (format!("{number:02}.wav"), tone(number)))
        .collect()
}

fn start(tracks: &[(String, Vec<i16>)], options: Options) -> World {
    let named: Vec<(&str, Vec<i16>)> = tracks
        .iter()
        .map(|(name, samples)| (name.as_str(), samples.clone()))
        .collect();
    World::new(&named, options)
}

/// The score that the screen gives a track: the mean of its windows.
fn score(samples: &[i16]) -> f64 {
    let logits = logits(samples);
    logits.iter().map(|logit| f64::from(*logit)).sum::<f64>() / logits.len() as f64
}

fn assert_separated(row: &TrackRow, samples: &[i16]) {
    assert_scored(row, samples);
    assert_eq!(row.segments.len(), SEGMENTS, "{}", row.key);
    let windows = row.residual.map(|score| score.windows);
    assert_eq!(windows, Some(3), "{}", row.key);
    let (screen, own) = (row.screen.unwrap(), row.residual.unwrap());
    let fused = row.fused.unwrap();
    // The sample's rule.
    let sum = screen.logit + own.logit;
    assert!((fused.logit - sum).abs() < 1e-3, "{row:?}");
    let likely = fused.logit >= 2.0;
    let verdict = if likely {
        Verdict::LikelyAi
    } else {
        Verdict::NoEvidence
    };
    assert_eq!(row.verdict, verdict, "{}", row.key);
    let mean = row.segments.iter().map(|segment| segment.features[0]);
    let mean = mean.sum::<f32>() / SEGMENTS as f32;
    assert!((row.residual_features[0] - mean).abs() < 1e-5, "{row:?}");
}

fn assert_not_separated(row: &TrackRow) {
    assert_eq!((row.residual, row.fused), (None, None), "{}", row.key);
    assert!(row.segments.is_empty() && row.residual_us == 0);
}

/// Kinds of the parts of each commit.
fn kinds(world: &World) -> Vec<Vec<v1::PartKind>> {
    let commits = world.played.look(|books| books.commits.clone());
    let kinds = commits.iter().map(|commit| {
        let parts = commit.parts.iter();
        parts.map(v1::Part::kind).collect()
    });
    kinds.collect()
}

/// The parts of escalation shards, each with the digest of the escalation part that its shard is.
fn second_passes(parts: &[Part]) -> Vec<(&Part, Digest)> {
    let of_shard = parts.iter().filter_map(|part| match part.footer.shard {
        ShardId::Root(_) => None,
        ShardId::Escalation { .. } => Some((part, part.footer.escalation?)),
    });
    of_shard.collect()
}

#[test]
fn what_the_gate_sends_on_is_separated_under_a_grant_of_its_own_and_each_track_has_one_row() {
    let tracks = tracks(8);
    let mut world = start(&tracks, both(None));
    let parts = world.parts(8);
    let rows = world.rows(8);
    let mut sent = 0;
    for (name, samples) in &tracks {
        let row = &rows[name];
        // The sample's gate.
        if (-1.0..1.0).contains(&score(samples)) {
            sent += 1;
            assert_separated(row, samples);
        } else {
            assert_scored(row, samples);
            assert_not_separated(row);
        }
    }
    assert!(0 < sent && sent < 8, "{sent} of 8 tracks go on");
    let passes = second_passes(&parts);
    let separated: u64 = passes
        .iter()
        .map(|(part, _)| part.footer.ledger.residual.tracks)
        .sum();
    assert_eq!(separated, sent);
    for (part, _) in &passes {
        assert_eq!(part.footer.kind, PartKind::Terminal);
        let stages: Vec<Stage> = part.footer.spans.iter().map(|span| span.stage).collect();
        assert_eq!(stages, [Stage::Decode, Stage::Residual]);
        assert_eq!(part.footer.ledger.screen.tracks, 0);
    }
    let commits = world.played.look(|books| books.commits.clone());
    for commit in commits {
        let expected = match commit.shard.contains('.') {
            true => v1::Stage::Residual,
            false => v1::Stage::Screen,
        };
        for canary in commit.parts.iter().flat_map(|part| &part.canaries) {
            assert_eq!((canary.stage(), canary.good), (expected, true));
        }
        let told = commit.parts.iter().all(|part| !part.canaries.is_empty());
        assert!(told, "{commit:?}");
    }
    // Each second pass names an escalation part that was committed.
    let known: BTreeSet<String> = world.played.look(|books| {
        let parts = books.commits.iter().flat_map(|commit| &commit.parts);
        let onward = parts.filter(|part| part.kind() == v1::PartKind::Escalation);
        onward.map(|part| part.sha256.clone()).collect()
    });
    for (_, of) in passes {
        assert!(known.contains(&of.to_string()), "{of}");
    }
}

#[test]
fn a_budget_sends_on_the_nearest_to_the_gate_in_one_commit_with_what_it_holds_back() {
    let tracks = tracks(6);
    let options = Options {
        escalations_max: Some(2),
        ..both(Some(GateChoice::All))
    };
    let mut world = start(&tracks, options);
    let rows = world.rows(6);
    assert_eq!(
        kinds(&world)[0],
        [v1::PartKind::Terminal, v1::PartKind::Escalation]
    );
    let mut nearest: Vec<&(String, Vec<i16>)> = tracks.iter().collect();
    // All are taken, those in the middle of the unsure ones first.
    nearest.sort_by(|a, b| score(&a.1).abs().total_cmp(&score(&b.1).abs()));
    for (place, (name, samples)) in nearest.into_iter().enumerate() {
        let row = &rows[name];
        if place < 2 {
            assert_separated(row, samples);
        } else {
            assert_scored(row, samples);
            assert_not_separated(row);
            assert_eq!(row.verdict, Verdict::Inconclusive, "{name}");
            assert_eq!(
                row.reason,
                Some(InconclusiveReason::EscalationBudget),
                "{name}"
            );
        }
    }
}

#[test]
fn tracks_that_score_alike_on_either_side_of_a_budget_s_cut_are_borderline_and_others_are_not() {
    let mut tracks = tracks(5);
    tracks.sort_by(|a, b| score(&a.1).abs().total_cmp(&score(&b.1).abs()));
    let (second, twin) = (tracks[1].0.clone(), "twin.wav".to_owned());
    tracks.push((twin.clone(), tracks[1].1.clone()));
    let options = Options {
        escalations_max: Some(2),
        ..both(Some(GateChoice::All))
    };
    let mut world = start(&tracks, options);
    let rows = world.rows(6);
    let pair = [&rows[&second], &rows[&twin]];
    assert!(pair.iter().all(|row| row.borderline), "{pair:?}");
    let separated = pair.iter().filter(|row| row.fused.is_some()).count();
    assert_eq!(separated, 1, "the cut lies between them");
    let last = &rows[&tracks[4].0];
    assert!(!last.borderline, "nothing lies near it: {last:?}");
}

#[test]
fn both_parts_of_a_flush_without_an_answer_are_offered_again_together_by_the_next_life() {
    let tracks = tracks(6);
    let options = Options {
        escalations_max: Some(2),
        ..both(Some(GateChoice::All))
    };
    let mut world = start(&tracks, options);
    world.played.look(|books| books.deaf = true);
    let parts = world.root.join("node/parts");
    let files = || {
        let files = std::fs::read_dir(&parts).into_iter().flatten().flatten();
        files.map(|file| file.path()).collect::<Vec<_>>()
    };
    world.wait("a pair on disk", |_| {
        let mut files = files().into_iter();
        files.any(|file| file.extension().is_some_and(|suffix| suffix == "pair"))
    });
    let before = files();
    world.restart();
    let left: Vec<_> = files();
    assert_eq!(left, before, "one file has both");
    world.played.look(|books| books.deaf = false);
    let rows = world.rows(6);
    let separated = rows.values().filter(|row| row.fused.is_some()).count();
    assert_eq!(separated, 2);
    assert_eq!(
        kinds(&world)[0],
        [v1::PartKind::Terminal, v1::PartKind::Escalation]
    );
    world.wait("an empty shelf", |_| files().is_empty());
}

#[test]
fn kill_9_in_the_second_pass_keeps_the_screens_work_and_loses_no_track() {
    let tracks = tracks(8);
    let options = Options {
        variables: vec![("TRACKSCAN_STUB_WINDOW_MS", "60".to_owned())],
        ..both(Some(GateChoice::All))
    };
    let mut world = start(&tracks, options);
    world.wait("a second pass under way", |world| {
        world.played.look(|books| {
            let held = books.beats.last().into_iter().flat_map(|beat| &beat.held);
            let mut held = held.filter(|held| held.shard.contains('.'));
            held.any(|held| !held.in_hand.is_empty())
        })
    });
    let screened = world.played.look(|books| {
        let commits = books.commits.iter();
        commits.filter(|commit| !commit.shard.contains('.')).count()
    });
    assert!(screened > 0);
    world.restart();
    world.played.look(crate::coordinator::Books::grant_again);
    let rows = world.rows(8);
    for (name, samples) in &tracks {
        assert_separated(&rows[name], samples);
    }
    let twice = world.played.look(|books| {
        let commits = books.commits.iter();
        let roots = commits.filter(|commit| !commit.shard.contains('.'));
        let rows = roots.flat_map(|commit| &commit.parts).map(|part| part.rows);
        rows.sum::<u32>()
    });
    assert_eq!(
        twice, 8,
        "no track is screened twice for a part that counts"
    );
}

#[test]
fn a_source_that_changes_between_the_passes_is_told_as_changed_and_costs_nothing_else() {
    let tracks = tracks(3);
    let mut world = start(&tracks, both(Some(GateChoice::All)));
    world.played.look(|books| books.keeps_onward = true);
    world.wait("all to be sent on", |world| {
        let sent: u32 = world.played.look(|books| {
            let parts = books.commits.iter().flat_map(|commit| &commit.parts);
            let onward = parts.filter(|part| part.kind() == v1::PartKind::Escalation);
            onward.map(|part| part.rows).sum()
        });
        sent == 3
    });
    // Of the same length, so that nothing but its content tells.
    let changed = crate::world::wav(&tone(77));
    std::fs::write(world.root.join("music/01.wav"), &changed).unwrap();
    world.played.look(|books| books.keeps_onward = false);
    let rows = world.rows(3);
    let row = &rows["01.wav"];
    assert_eq!(row.code, Some(Code::SourceChanged), "{row:?}");
    assert_eq!(row.content_sha256, Some(Digest::of(&changed)));
    for (name, samples) in [&tracks[0], &tracks[2]] {
        assert_separated(&rows[name], samples);
    }
}

#[test]
fn a_device_without_room_for_the_separator_gives_its_grants_back_and_no_track_ends_for_it() {
    let full = tempfile::NamedTempFile::new().unwrap();
    let tracks = tracks(3);
    let options = Options {
        variables: vec![(
            "TRACKSCAN_STUB_NO_ROOM_IF",
            full.path().display().to_string(),
        )],
        ..both(Some(GateChoice::All))
    };
    let mut world = start(&tracks, options);
    let given_back = |beat: &v1::BeatRequest| {
        let mut residual = beat.released.iter().filter(|of| of.shard.contains('.'));
        residual.any(|of| of.cause() == v1::ReleaseCause::Storage)
    };
    world.wait("a grant given back", |world| {
        world
            .played
            .look(|books| books.beats.iter().any(given_back))
    });
    drop(full);
    world.played.look(crate::coordinator::Books::grant_again);
    let rows = world.rows(3);
    for (name, samples) in &tracks {
        assert_separated(&rows[name], samples);
    }
}

#[test]
fn a_residual_without_an_epsilon_for_the_node_s_number_format_goes_back_for_its_bundle() {
    let tracks = tracks(2);
    // The sample screens in this format and does not separate in it.
    let options = Options {
        arguments: vec!["--dtype", "bf16"],
        variables: vec![("TRACKSCAN_STUB_DEVICE", "cuda".to_owned())],
        ..both(Some(GateChoice::All))
    };
    let mut world = start(&tracks, options);
    world.wait("the second pass to go back", |world| {
        world.played.look(|books| {
            let mut released = books.beats.iter().flat_map(|beat| &beat.released);
            released.any(|released| {
                released.shard.contains('.') && released.cause() == v1::ReleaseCause::Bundle
            })
        })
    });
    let sent = kinds(&world);
    assert!(sent.contains(&vec![v1::PartKind::Escalation]), "{sent:?}");
    world.played.look(|books| {
        assert_eq!(books.committed(), 0);
        assert!(books.beats.iter().all(|beat| beat.devices_out.is_empty()));
    });
}

#[test]
fn a_node_says_which_stages_it_takes() {
    let (decode, screen) = (v1::Stage::Decode, v1::Stage::Screen);
    let residual = v1::Stage::Residual;
    for (arguments, expected) in [
        (vec![], vec![decode, screen, residual]),
        (vec!["--stages", "screen"], vec![decode, screen]),
        (vec!["--stages", "residual"], vec![decode, residual]),
    ] {
        let options = Options {
            arguments,
            grants: Some(0),
            ..Options::default()
        };
        let mut world = start(&tracks(1), options);
        world.wait("a join", |world| {
            world.played.look(|books| books.joined.is_some())
        });
        let joined = world.played.look(|books| books.joined.take()).unwrap();
        let stages: Vec<v1::Stage> = joined.stages().collect();
        assert_eq!(stages, expected);
    }
}
