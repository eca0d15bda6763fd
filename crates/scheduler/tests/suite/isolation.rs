//! A track that kills whatever works on it is found, alone, in few deaths; its neighbours finish; nothing sound is
//! rejected.

use crate::world::World;
use crate::world::agent::{Agent, BOTH, SCREEN, SILENCE, tracks};
use scheduler::record::{Care, FailureCause, PartKind};
use scheduler::{Granted, Request};
use types::{Millis, Ordinal, ShardId, TrackSet};

/// What a cluster of one-by-one dying nodes came to.
struct End {
    deaths: u32,
    rejected: TrackSet,
}

/// Runs a job whose `poison` kills the node that runs it, until it is published. A node that is `told` beats between
/// taking work and dying of it.
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
    let kills = |granted: &Granted| poison.iter().any(|track| granted.tracks.contains(*track));
    let runs = |granted: &Granted| granted.care != Care::Reject && kills(granted);
    if agent.grants.iter().any(runs) {
        if told {
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
fn a_silent_nodes_one_track_in_hand_is_a_death_alone_and_an_empty_hand_accuses_nobody() {
    for (in_hand, alone, suspects) in [(1, 1, 1), (0, 0, 0), (2, 0, 1)] {
        let mut world = World::new();
        let job = world.submit("j", 8, 8);
        let mut silent = Agent::joined(&mut world, "silent");
        silent.pull(&mut world, 8);
        silent
            .beat_with(&mut world, |_| tracks(3, 3 + in_hand))
            .unwrap();
        world.pass(SILENCE);
        let mut other = Agent::joined(&mut world, "other");
        other.pull(&mut world, 8);
        let record = world.store.shard(&job, ShardId::Root(0)).unwrap();
        assert_eq!(record.suspects.len(), suspects);
        let names: usize = record
            .suspects
            .iter()
            .map(|suspect| suspect.alone.len())
            .sum();
        assert_eq!(names, alone);
    }
}
