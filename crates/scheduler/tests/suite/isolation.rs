//! A track that kills whatever works on it is found, alone, in few deaths; its neighbours finish; nothing sound is
//! rejected.

use crate::world::World;
use crate::world::agent::{Agent, BOTH, SCREEN, SILENCE, tracks};
use scheduler::record::{Care, FailureCause, PartKind};
use scheduler::{Granted, Request};
use types::{Millis, Ordinal, ShardId, Stage, TrackSet};

/// What a cluster of one-by-one dying nodes came to.
struct End {
    deaths: u32,
    rejected: TrackSet,
}

/// Runs a job whose `poison` kills the node that runs it, until it is published. A node that is `told` beats between
/// taking work and dying of it; one that tries suspects always does.
fn run(nodes: usize, rows: u32, poison: &[Ordinal], told: bool) -> End {
    let mut world = World::new();
    let job = world.submit("j", rows, rows);
    let mut agents: Vec<Agent> = (0..nodes)
        .map(|n| Agent::joined(&mut world, &format!("n{n}")))
        .collect();
    let mut end = End {
        deaths: 0,
        rejected: TrackSet::new(),
    };
    for _ in 0..500 {
        for agent in &mut agents {
            round(&mut world, agent, poison, told, &mut end);
        }
        world.pass(Millis(2_000));
        if world.manifests.contains_key(&job) {
            return end;
        }
    }
    panic!("no end: {:?}", world.core.explain(world.now, &job, None));
}

fn round(world: &mut World, agent: &mut Agent, poison: &[Ordinal], told: bool, end: &mut End) {
    if agent.session.0 == 0 && agent.join(world).is_err() {
        return;
    }
    if agent.beat(world).is_err() {
        agent.kill();
        return;
    }
    if agent.grants.is_empty() {
        // A node that was given work may ask again at once.
        agent.pull(world, 64);
        agent.pull(world, 64);
    }
    let apart = agent
        .grants
        .iter()
        .any(|granted| granted.care == Care::Apart);
    let kills = |granted: &Granted| poison.iter().any(|track| granted.tracks.contains(*track));
    let runs = |granted: &Granted| granted.care != Care::Reject && kills(granted);
    if agent.grants.iter().any(runs) {
        // A suspect is named in hand before it runs.
        if told || apart {
            agent.beat(world).expect("a living session is heard");
        }
        agent.kill();
        end.deaths += 1;
        return;
    }
    for granted in &agent.grants {
        if granted.care == Care::Reject {
            end.rejected = end.rejected.union(&granted.tracks);
        }
    }
    agent.finish(world);
}

#[test]
fn a_poison_track_is_rejected_alone_and_its_neighbours_finish() {
    for nodes in [1, 2, 3] {
        for poison in [0, 7, 15] {
            let end = run(nodes, 16, &[poison], true);
            assert_eq!(end.rejected, tracks(poison, poison + 1), "{nodes} nodes");
            // Halved from 16 to 1 is four deaths, and five of agents that are back at once, alone.
            assert!(end.deaths <= 10, "{} deaths with {nodes} nodes", end.deaths);
        }
    }
}

#[test]
fn tracks_that_kill_before_any_beat_names_them_are_rejected_alone() {
    for nodes in [1, 2, 3] {
        for poison in [&[7][..], &[6, 8], &[0, 1, 15]] {
            let end = run(nodes, 16, poison, false);
            let expected: TrackSet = poison.iter().copied().collect();
            assert_eq!(end.rejected, expected, "{nodes} nodes");
        }
    }
}

#[test]
fn nodes_that_die_of_nothing_convict_no_track() {
    let mut world = World::new();
    let job = world.submit("j", 16, 16);
    let mut agent = Agent::new("n", BOTH);
    for life in 0..40 {
        while agent.join(&mut world).is_err() {
            world.pass(Millis(1_000));
        }
        for _ in 0..3 {
            agent.beat(&mut world).expect("a living session is heard");
        }
        world.pass(Millis(60_000));
        agent.beat(&mut world).expect("a living session is heard");
        agent.pull(&mut world, 16);
        assert!(
            agent
                .grants
                .iter()
                .all(|granted| granted.care != Care::Reject)
        );
        if life % 3 == 2 {
            // Two of three lives are cut short; the third finishes what it has.
            agent.finish(&mut world);
        } else {
            agent.beat(&mut world).expect("a living session is heard");
        }
        agent.kill();
        if world.manifests.contains_key(&job) {
            return;
        }
    }
    panic!("no end: {:?}", world.core.explain(world.now, &job, None));
}

#[test]
fn a_suspect_does_not_wait_for_a_node_that_could_not_take_it() {
    let mut world = World::new();
    world.submit("j", 1, 1);
    let mut both = Agent::joined(&mut world, "both");
    let mut screen = Agent::new("screen", SCREEN);
    screen.join(&mut world).unwrap();
    let granted = screen.pull(&mut world, 1).grants[0].clone();
    let request = screen.commit_request(&granted, &granted.tracks, PartKind::Escalation);
    world.ask(request).unwrap();
    both.pull(&mut world, 1);
    both.beat(&mut world).unwrap();
    both.kill();
    world.pass(Millis(7_000));
    both.join(&mut world).unwrap();
    for _ in 0..4 {
        world.pass(Millis(2_000));
        both.beat(&mut world).unwrap();
        screen.beat(&mut world).unwrap();
    }
    let again = both.pull(&mut world, 1).grants;
    assert_eq!(again[0].care, Care::Apart);
}

#[test]
fn a_worker_death_makes_its_tracks_suspect_and_counts_once_however_often_it_is_told() {
    let mut world = World::new();
    let job = world.submit("j", 8, 8);
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull(&mut world, 8);
    for _ in 0..3 {
        agent.beat += 1;
        let Request::Beat(mut beat) = agent.beat_request(|_| tracks(0, 4)) else {
            panic!("a beat is a beat");
        };
        let death = scheduler::WorkerDeath {
            number: 1,
            tracks: tracks(2, 40),
        };
        beat.held[0].deaths = vec![death];
        agent.send_beat(&mut world, Request::Beat(beat)).unwrap();
    }
    let record = world.store.shard(&job, ShardId::Root(0)).unwrap();
    assert_eq!(record.failures.len(), 1);
    assert_eq!(
        (record.failures[0].cause, record.failures[0].count),
        (FailureCause::WorkerLost, 1)
    );
    assert_eq!(record.suspects[0].tracks, types::Range { first: 2, end: 8 });
    assert_eq!(record.suspects[0].deaths, 1);
}

#[test]
fn an_agent_that_is_back_with_a_part_of_a_grant_accuses_what_else_its_last_life_had_in_hand() {
    let mut world = World::new();
    let job = world.submit("j", 8, 8);
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull(&mut world, 8);
    agent.beat_with(&mut world, |_| tracks(0, 4)).unwrap();
    let grants = agent.grants.clone();
    agent.kill();
    world.pass(Millis(7_000));
    agent.join(&mut world).unwrap();
    agent.grants = grants;
    for _ in 0..3 {
        // On its disk it has found a part with the first two.
        agent.beat_with(&mut world, |_| tracks(0, 2)).unwrap();
    }
    let record = world.store.shard(&job, ShardId::Root(0)).unwrap();
    assert_eq!(record.grants.len(), 1, "what was found may yet count");
    assert_eq!(record.suspects[0].tracks, types::Range { first: 2, end: 4 });
    assert_eq!((record.suspects.len(), record.suspects[0].deaths), (1, 1));
    let failure = record.failures[0];
    assert_eq!((failure.cause, failure.count), (FailureCause::NodeLost, 1));
}

#[test]
fn however_many_deaths_are_told_at_once_no_track_in_hand_at_one_goes_free() {
    let mut world = World::new();
    let job = world.submit("j", 32, 32);
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull(&mut world, 32);
    agent.beat += 1;
    let Request::Beat(mut beat) = agent.beat_request(|granted| granted.tracks.clone()) else {
        panic!("a beat is a beat");
    };
    let death = |track: Ordinal| scheduler::WorkerDeath {
        number: u64::from(track) + 1,
        tracks: tracks(track, track + 1),
    };
    beat.held[0].deaths = (0..20).map(death).collect();
    agent.send_beat(&mut world, Request::Beat(beat)).unwrap();
    let record = world.store.shard(&job, ShardId::Root(0)).unwrap();
    let accused = record
        .suspects
        .iter()
        .flat_map(|suspect| suspect.tracks.first..suspect.tracks.end);
    assert_eq!(accused.collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_silent_node_accuses_what_its_last_beat_had_in_hand_and_everything_where_that_was_nothing() {
    for (in_hand, suspects) in [(1, 1), (2, 2), (0, 8)] {
        let mut world = World::new();
        let job = world.submit("j", 8, 8);
        let mut silent = Agent::joined(&mut world, "silent");
        silent.pull(&mut world, 8);
        silent
            .beat_with(&mut world, |_| tracks(3, 3 + in_hand))
            .unwrap();
        let mut other = Agent::joined(&mut world, "other");
        other.beats_for(&mut world, SILENCE);
        other.pull(&mut world, 8);
        let record = world.store.shard(&job, ShardId::Root(0)).unwrap();
        let named: u32 = record
            .suspects
            .iter()
            .map(|suspect| suspect.tracks.len())
            .sum();
        assert_eq!(named, suspects);
        let alone = record
            .suspects
            .iter()
            .any(|suspect| !suspect.alone.is_empty());
        assert!(!alone, "others of the grant may have begun since the beat");
    }
}

/// Tries the one track of a job on one node after the other, each of which falls silent; gives what each beat had in hand.
fn trials(hands: &[TrackSet]) -> scheduler::record::ShardRecord {
    let mut world = World::new();
    let job = world.submit("j", 1, 1);
    let mut watch = Agent::new("watch", &[]);
    watch.join(&mut world).unwrap();
    for (life, hand) in hands.iter().enumerate() {
        let mut node = Agent::joined(&mut world, &format!("n{life}"));
        while node.pull(&mut world, 1).grants.is_empty() {
            watch.beats_for(&mut world, Millis(1_000));
            node.beat(&mut world).unwrap();
        }
        node.beat_with(&mut world, |_| hand.clone()).unwrap();
        watch.beats_for(&mut world, SILENCE);
    }
    watch.pull(&mut world, 1);
    world.store.shard(&job, ShardId::Root(0)).unwrap()
}

#[test]
fn only_a_suspect_that_was_named_in_hand_by_itself_died_alone() {
    let (empty, one) = (TrackSet::new(), tracks(0, 1));
    for (hands, alone) in [
        (vec![one.clone()], 0),
        (vec![one.clone(), empty.clone()], 0),
        (vec![one.clone(), one.clone()], 1),
        (vec![empty, one.clone(), one], 2),
    ] {
        let record = trials(&hands);
        let suspect = &record.suspects[0];
        assert_eq!(usize::from(suspect.deaths), hands.len());
        assert_eq!(suspect.alone.len(), alone, "{hands:?}");
    }
}

#[test]
fn a_machine_that_falls_silent_again_and_again_convicts_no_track_that_another_one_could_try() {
    let mut world = World::new();
    let job = world.submit("j", 1, 1);
    let mut sound = Agent::joined(&mut world, "sound");
    let mut sick = Agent::new("sick", BOTH);
    for life in 0..3 {
        sick.join(&mut world).unwrap();
        // The third time it waits for the other one, which has better to do, until the wait is over.
        while sick.pull(&mut world, 1).grants.is_empty() {
            sound.beats_for(&mut world, Millis(1_000));
            sick.beat(&mut world).unwrap();
        }
        sick.beat(&mut world).unwrap();
        sick.kill();
        sound.beats_for(&mut world, SILENCE);
        let freed = sound.pull(&mut world, 1).grants.is_empty();
        assert!(freed, "life {life}: what the dead held is free from now on");
    }
    let record = world.store.shard(&job, ShardId::Root(0)).unwrap();
    assert_eq!(record.suspects[0].alone.len(), 2);
    while sound.pull(&mut world, 1).grants.is_empty() {
        sound.beats_for(&mut world, Millis(1_000));
    }
    assert_eq!(sound.grants[0].care, Care::Apart);
    sound.finish(&mut world);
    assert!(world.manifests.contains_key(&job));
}

#[test]
fn a_track_that_kills_before_the_beat_that_would_name_it_waits_longer_each_time() {
    let mut world = World::new();
    world.submit("j", 1, 1);
    let mut watch = Agent::new("watch", &[]);
    watch.join(&mut world).unwrap();
    let mut waits = Vec::new();
    for life in 0..6 {
        let mut node = Agent::joined(&mut world, &format!("n{life}"));
        let from = world.now;
        while node.pull(&mut world, 1).grants.is_empty() {
            watch.beats_for(&mut world, Millis(250));
            node.beat(&mut world).unwrap();
        }
        waits.push(world.now.since(from));
        node.beat_with(&mut world, |_| TrackSet::new()).unwrap();
        watch.beats_for(&mut world, SILENCE);
    }
    assert!(waits.is_sorted_by(|a, b| a < b), "{waits:?}");
}

#[test]
fn suspects_that_lie_far_apart_are_tried_one_at_a_time_after_one_death_too() {
    let mut world = World::new();
    let job = world.submit("j", 1_000, 1_000);
    let mut screen = Agent::new("screen", SCREEN);
    screen.join(&mut world).unwrap();
    let granted = screen.pull(&mut world, 1_000).grants[0].clone();
    let unsure: TrackSet = [0, 999].into_iter().collect();
    let request = screen.commit_request(&granted, &unsure, PartKind::Escalation);
    world.ask(request).unwrap();
    let mut residual = Agent::new("residual", &[Stage::Decode, Stage::Residual]);
    residual.join(&mut world).unwrap();
    let below = residual.pull(&mut world, 1_000).grants[0].clone();
    assert_eq!(below.tracks, unsure);
    screen.beats_for(&mut world, SILENCE);
    screen.pull(&mut world, 1);
    let record = world.store.shard(&job, below.shard).unwrap();
    let named: Vec<_> = record
        .suspects
        .iter()
        .map(|suspect| (suspect.tracks.first, suspect.tracks.end, suspect.together))
        .collect();
    assert_eq!(named, [(0, 1, 1), (999, 1_000, 1)]);
}

#[test]
fn a_worker_death_is_counted_in_every_grant_whose_tracks_it_took() {
    let mut world = World::new();
    let job = world.submit("j", 16, 8);
    let mut agent = Agent::joined(&mut world, "n");
    assert_eq!(agent.pull(&mut world, 16).grants.len(), 2);
    agent.beat += 1;
    let Request::Beat(mut beat) = agent.beat_request(|granted| granted.tracks.clone()) else {
        panic!("a beat is a beat");
    };
    for (held, first) in beat.held.iter_mut().zip([2, 9]) {
        let tracks = tracks(first, first + 1);
        held.deaths = vec![scheduler::WorkerDeath { number: 1, tracks }];
    }
    agent.send_beat(&mut world, Request::Beat(beat)).unwrap();
    for (root, first) in [(0, 2), (1, 9)] {
        let record = world.store.shard(&job, ShardId::Root(root)).unwrap();
        assert_eq!(record.suspects[0].tracks.first, first);
    }
}
