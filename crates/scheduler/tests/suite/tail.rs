//! The end of a job: what slow nodes hold is split, and what makes no progress goes to another node.

use crate::world::World;
use crate::world::agent::{Agent, tracks};
use scheduler::limits::{PARTS_BEFORE_FLUSH_ONCE, RESIDUAL_STANDS};
use scheduler::record::{Care, FailureCause};
use scheduler::{Beat, Cause, Config, Flush, Order, Released, Request, WorkerDeath};
use types::{Millis, ShardId, TrackSet};

const ROOT: ShardId = ShardId::Root(0);
const STALLED: Millis = Millis(60_000);

/// One node holds all 16 tracks of a job and does them at that rate; another one has nothing.
fn setting(tracks_per_1000_s: u32) -> (World, Agent, Agent) {
    let mut world = World::with_config(Config {
        stalled_after: STALLED,
        ..Config::default()
    });
    world.submit("j", 16, 16);
    let mut slow = Agent::joined(&mut world, "slow");
    slow.pull += 1;
    let Request::Pull(mut pull) = slow.pull_request(16) else {
        panic!("a pull is one");
    };
    pull.tracks_per_1000_s = Some(tracks_per_1000_s);
    let answer = world.ask(Request::Pull(pull)).unwrap();
    slow.take_pull(&answer);
    slow.beat_with(&mut world, |_| tracks(0, 4)).unwrap();
    let idle = Agent::joined(&mut world, "idle");
    (world, slow, idle)
}

/// The node beats with these in hand and gives back what the last answer asked for.
fn beat(
    world: &mut World,
    agent: &mut Agent,
    in_hand: &TrackSet,
    yielded_at: Option<u32>,
) -> Order {
    agent.beat += 1;
    let Request::Beat(mut beat) = agent.beat_request(|_| in_hand.clone()) else {
        panic!("a beat is one");
    };
    beat.held[0].yielded_at = yielded_at;
    let beaten = agent.send_beat(world, Request::Beat(beat)).unwrap();
    beaten.orders[0].order
}

#[test]
fn half_of_what_a_slow_node_has_not_begun_goes_to_an_idle_one() {
    let (mut world, mut slow, mut idle) = setting(200);
    assert!(idle.pull(&mut world, 16).grants.is_empty());
    let order = beat(&mut world, &mut slow, &tracks(0, 4), None);
    assert_eq!(order, Order::YieldAt { at: 10 });
    beat(&mut world, &mut slow, &tracks(0, 4), Some(10));
    assert!(idle.beat(&mut world).unwrap().pull_now);
    assert_eq!(idle.pull(&mut world, 16).grants[0].tracks, tracks(10, 16));
    let record = world.core.shard(&crate::world::key("j"), ROOT).unwrap();
    assert!(
        record.record.unwrap().failures.is_empty(),
        "a split costs nothing"
    );
}

#[test]
fn a_grant_that_was_split_is_split_again_though_its_agent_repeats_its_old_answer() {
    let (mut world, mut slow, mut idle) = setting(200);
    idle.pull(&mut world, 16);
    beat(&mut world, &mut slow, &tracks(0, 4), None);
    beat(&mut world, &mut slow, &tracks(0, 4), Some(10));
    idle.pull(&mut world, 16);
    idle.finish(&mut world);
    world.pass(Millis(600));
    assert!(idle.pull(&mut world, 16).grants.is_empty());
    let order = beat(&mut world, &mut slow, &tracks(0, 4), Some(10));
    assert_eq!(order, Order::YieldAt { at: 7 });
    let order = beat(&mut world, &mut slow, &tracks(0, 4), Some(7));
    assert_eq!(order, Order::Continue);
    assert_eq!(idle.pull(&mut world, 16).grants[0].tracks, tracks(7, 10));
}

#[test]
fn a_wish_that_two_answers_have_carried_in_vain_is_given_up() {
    let (mut world, mut slow, mut idle) = setting(200);
    idle.pull(&mut world, 16);
    beat(&mut world, &mut slow, &tracks(0, 16), None);
    for expected in [true, true, false] {
        let order = beat(&mut world, &mut slow, &tracks(0, 16), Some(16));
        assert_eq!(order != Order::Continue, expected);
    }
}

#[test]
fn what_will_soon_be_done_is_not_split() {
    let (mut world, mut slow, mut idle) = setting(16_000);
    idle.pull(&mut world, 16);
    assert_eq!(
        beat(&mut world, &mut slow, &tracks(0, 4), None),
        Order::Continue
    );
}

#[test]
fn nothing_is_asked_back_for_a_node_that_could_not_take_it() {
    let (mut world, mut slow, mut idle) = setting(200);
    idle.kill();
    idle.stages = &[types::Stage::Decode, types::Stage::Residual];
    world.pass(Millis(7_000));
    slow.beat_with(&mut world, |_| tracks(0, 4)).unwrap();
    idle.join(&mut world).unwrap();
    assert!(idle.pull(&mut world, 16).grants.is_empty());
    assert_eq!(
        beat(&mut world, &mut slow, &tracks(0, 4), None),
        Order::Continue
    );
}

#[test]
fn a_suspect_stays_with_the_node_that_tries_it() {
    let mut world = World::new();
    world.submit("j", 1, 1);
    let mut slow = Agent::joined(&mut world, "slow");
    accuse(&mut world, &mut slow);
    world.pass(Millis(2_000));
    slow.pull += 1;
    let Request::Pull(mut pull) = slow.pull_request(1) else {
        panic!("a pull is one");
    };
    pull.tracks_per_1000_s = None;
    let answer = world.ask(Request::Pull(pull)).unwrap();
    assert_eq!(slow.take_pull(&answer).grants[0].care, Care::Apart);
    let mut idle = Agent::joined(&mut world, "idle");
    assert!(idle.pull(&mut world, 1).grants.is_empty());
    slow.beat += 1;
    let request = slow.beat_request(|_| TrackSet::new());
    let beaten = slow.send_beat(&mut world, request).unwrap();
    assert_eq!(beaten.orders[0].order, Order::Continue);
}

/// The node's worker dies with the track, and the node gives it back.
fn accuse(world: &mut World, agent: &mut Agent) {
    agent.pull(world, 1);
    let mut dead = beat_of(agent);
    let granted = agent.grants.remove(0);
    dead.held[0].deaths = vec![WorkerDeath {
        number: 1,
        tracks: tracks(0, 1),
    }];
    world.ask(Request::Beat(dead)).unwrap();
    let mut given_back = beat_of(agent);
    given_back.released = vec![Released {
        job: granted.job.job,
        shard: granted.shard,
        attempt: granted.attempt,
        cause: Cause::WorkerLost,
    }];
    world.ask(Request::Beat(given_back)).unwrap();
}

fn beat_of(agent: &mut Agent) -> Beat {
    agent.beat += 1;
    let Request::Beat(beat) = agent.beat_request(|_| tracks(0, 1)) else {
        panic!("a beat is one");
    };
    beat
}

#[test]
fn a_grant_without_progress_is_withdrawn_only_for_a_node_with_nothing_to_do() {
    let (mut world, mut slow, mut idle) = setting(16_000);
    for _ in 0..12 {
        world.pass(Millis(6_000));
        slow.beat_with(&mut world, |_| tracks(0, 4)).unwrap();
        idle.beat(&mut world).unwrap();
    }
    let shard = |world: &World| world.store.shard(&crate::world::key("j"), ROOT).unwrap();
    assert_eq!(shard(&world).grants.len(), 1, "nobody asked");
    assert!(idle.pull(&mut world, 16).grants.is_empty());
    let record = shard(&world);
    assert!(record.grants.is_empty());
    assert_eq!(record.failures[0].cause, FailureCause::Stalled);
    assert!(record.suspects.is_empty());
    assert!(idle.pull(&mut world, 16).grants[0].tracks.contains(0));
    assert_eq!(
        beat(&mut world, &mut slow, &tracks(0, 4), None),
        Order::Stop
    );
}

#[test]
fn a_node_that_is_slow_at_the_residual_keeps_it_though_another_has_nothing_to_do() {
    let (mut world, mut slow, mut idle) = setting(16_000);
    let granted = slow.grants.remove(0);
    let screened = slow.commit_whole(&granted, &tracks(0, 8));
    world.ask(Request::Commit(screened)).unwrap();
    while !slow.pull(&mut world, 16).grants.is_empty() {}
    let shard = slow.grants[0].shard;
    let stands = |world: &mut World, slow: &mut Agent, idle: &mut Agent, times: u64| {
        for _ in 0..times {
            idle.beats_for(world, Millis(6_000));
            slow.beat_with(world, |_| tracks(0, 4)).unwrap();
        }
        idle.pull(world, 16);
        let record = world.store.shard(&crate::world::key("j"), shard).unwrap();
        (record.grants.len(), record.failures.len())
    };
    let soon = 2 * STALLED.0 / 6_000;
    assert_eq!(stands(&mut world, &mut slow, &mut idle, soon), (1, 0));
    let late = RESIDUAL_STANDS * STALLED.0 / 6_000;
    assert_eq!(stands(&mut world, &mut slow, &mut idle, late), (0, 1));
}

#[test]
fn a_grant_of_which_nothing_could_be_heard_is_not_taken_for_stalled() {
    let (mut world, mut slow, mut idle) = setting(16_000);
    slow.beat_with(&mut world, |_| tracks(0, 4)).unwrap();
    world.pass(Millis(2 * STALLED.0));
    // The coordinator was deaf: the first beat after it says what the last one before it said.
    slow.beat_with(&mut world, |_| tracks(0, 4)).unwrap();
    idle.pull(&mut world, 16);
    let record = world.store.shard(&crate::world::key("j"), ROOT).unwrap();
    assert_eq!(record.grants.len(), 1);
}

#[test]
fn progress_of_any_kind_keeps_a_grant() {
    let (mut world, mut slow, mut idle) = setting(16_000);
    for step in 0..30 {
        world.pass(Millis(6_000));
        let at = step / 8;
        beat(&mut world, &mut slow, &tracks(at, at + 4), None);
        idle.pull(&mut world, 16);
    }
    let record = world.store.shard(&crate::world::key("j"), ROOT).unwrap();
    assert_eq!(record.grants.len(), 1);
}

#[test]
fn a_stalled_grant_that_fills_its_tenants_quota_is_withdrawn_all_the_same() {
    let mut world = World::with_config(Config {
        stalled_after: STALLED,
        quota: scheduler::Quota {
            grants_max: Some(1),
            ..scheduler::Quota::default()
        },
        ..Config::default()
    });
    world.submit("j", 16, 16);
    let mut slow = Agent::joined(&mut world, "slow");
    slow.pull(&mut world, 16);
    let mut idle = Agent::joined(&mut world, "idle");
    for _ in 0..12 {
        slow.beat_with(&mut world, |_| tracks(0, 4)).unwrap();
        idle.beats_for(&mut world, Millis(6_000));
    }
    assert!(idle.pull(&mut world, 16).grants.is_empty());
    assert!(idle.pull(&mut world, 16).grants[0].tracks.contains(0));
}

#[test]
fn nodes_that_ask_in_step_are_helped_in_turn_though_the_first_could_take_nothing() {
    let (mut world, mut slow, mut idle) = setting(200);
    let mut unable = Agent::new("unable", &[types::Stage::Decode, types::Stage::Residual]);
    unable.join(&mut world).unwrap();
    let order = |world: &mut World, slow: &mut Agent| {
        slow.beat += 1;
        let request = slow.beat_request(|_| tracks(0, 4));
        slow.send_beat(world, request).unwrap().orders[0].order
    };
    for _ in 0..3 {
        assert!(unable.pull(&mut world, 16).grants.is_empty());
        assert!(idle.pull(&mut world, 16).grants.is_empty());
        world.pass(Millis(2_000));
    }
    assert_eq!(order(&mut world, &mut slow), Order::YieldAt { at: 10 });
}

#[test]
fn what_a_dead_node_holds_of_a_paused_job_fills_its_tenants_quota_no_longer() {
    let mut world = World::with_config(Config {
        quota: scheduler::Quota {
            grants_max: Some(1),
            ..scheduler::Quota::default()
        },
        ..Config::default()
    });
    let paused = world.submit("j", 8, 8);
    let mut dead = Agent::joined(&mut world, "dead");
    dead.pull(&mut world, 8);
    let pause = Request::Pause {
        job: paused.job.clone(),
    };
    world.ask(pause).unwrap();
    let other = world.submit("k", 8, 8);
    let mut alive = Agent::joined(&mut world, "alive");
    alive.beats_for(&mut world, crate::world::agent::SILENCE);
    alive.pull(&mut world, 8);
    assert!(world.store.shard(&paused, ROOT).unwrap().grants.is_empty());
    assert_eq!(alive.pull(&mut world, 8).grants[0].job, other);
}

#[test]
fn from_48_parts_on_a_shards_grants_flush_once_at_their_end() {
    let mut world = World::new();
    let parts = u32::try_from(PARTS_BEFORE_FLUSH_ONCE).unwrap();
    world.submit("j", parts + 2, parts + 2);
    let mut first = Agent::joined(&mut world, "first");
    let granted = first.pull(&mut world, parts + 1).grants[0].clone();
    for part in 0..parts {
        let told = first.beat(&mut world).unwrap().orders[0].flush;
        assert_eq!(told, Flush::AsConfigured, "with {part} parts");
        let one = tracks(part, part + 1);
        first.commit(&mut world, &granted, &one).unwrap();
    }
    let told = first.beat(&mut world).unwrap().orders[0].flush;
    assert_eq!(told, Flush::AtEnd);
    let mut second = Agent::joined(&mut world, "second");
    let granted = second.pull(&mut world, 1).grants[0].clone();
    assert_eq!(granted.flush, Flush::AtEnd, "a grant begins so too");
}
