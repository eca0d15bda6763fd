//! How much is looked at for one call: in step with the jobs and nodes there are, whatever the quotas, lanes and the tail ask.

use crate::world::World;
use crate::world::agent::{Agent, tracks};
use scheduler::record::Lane;
use scheduler::{Config, Quota, Request};
use types::Millis;

/// Four times as many things cost at most six times as many looks: fixed costs make it less than four, a walk within a walk
/// makes it sixteen.
#[track_caller]
fn check_in_step(looks: impl Fn(u32) -> u64) {
    let (few, many) = (looks(40), looks(160));
    assert!(few >= 40, "all are looked at: {few}");
    assert!(many <= 6 * few, "{few} looks at 40, {many} at 160");
}

fn looks(world: &mut World, act: impl FnOnce(&mut World)) -> u64 {
    let before = world.core.looks();
    act(world);
    world.core.looks() - before
}

fn with_quota(grants_max: u32) -> World {
    let quota = Quota {
        grants_max: Some(grants_max),
        jobs_max: Some(1_000),
        ..Quota::default()
    };
    World::with_config(Config {
        quota,
        ..Config::default()
    })
}

/// The node asks for sixteen tracks, each of which it says to need five seconds for.
fn pull(world: &mut World, agent: &mut Agent) -> usize {
    agent.pull += 1;
    let Request::Pull(mut pull) = agent.pull_request(16) else {
        panic!("a pull is one");
    };
    pull.tracks_per_1000_s = Some(200);
    let answer = world.ask(Request::Pull(pull)).unwrap();
    agent.take_pull(&answer).grants.len()
}

#[test]
fn a_pull_looks_at_each_job_a_few_times_however_many_there_are() {
    check_in_step(|jobs| {
        let mut world = with_quota(1);
        for job in 0..jobs {
            world.submit(&format!("j{job}"), 64, 16);
        }
        let mut holder = Agent::joined(&mut world, "holder");
        assert_eq!(pull(&mut world, &mut holder), 1);
        let mut other = Agent::joined(&mut world, "other");
        looks(&mut world, |world| {
            assert_eq!(pull(world, &mut other), 0, "its quota is spent");
        })
    });
}

#[test]
fn a_beat_looks_at_each_urgent_job_a_few_times_however_many_there_are() {
    check_in_step(|jobs| {
        let mut world = with_quota(1_000);
        world.submit_as("a", "held", 16, |_| {});
        let mut agent = Agent::joined(&mut world, "n");
        assert!(pull(&mut world, &mut agent) > 0);
        for job in 0..jobs {
            world.submit_as("b", &format!("j{job}"), 16, |submission| {
                submission.lane = Lane::Interactive;
                submission.requires.memory_bytes = u64::MAX;
            });
        }
        looks(&mut world, |world| {
            agent.beat_with(world, |_| tracks(0, 1)).unwrap();
        })
    });
}

#[test]
fn nodes_that_ask_in_vain_look_at_the_fleet_together_and_not_each_for_itself() {
    const HUNGRY: u32 = 8;
    let cost = |nodes: u32| {
        let mut world = with_quota(nodes);
        for node in 0..nodes {
            world.submit(&format!("j{node}"), 16, 16);
            let mut agent = Agent::joined(&mut world, &format!("n{node}"));
            while pull(&mut world, &mut agent) > 0 {}
        }
        let hungry = |node| Agent::joined(&mut world, &format!("hungry{node}"));
        let mut hungry: Vec<Agent> = (0..HUNGRY).map(hungry).collect();
        for agent in &mut hungry {
            assert_eq!(pull(&mut world, agent), 0);
        }
        world.pass(Millis(1_000));
        looks(&mut world, |world| {
            assert_eq!(pull(world, &mut hungry[0]), 0);
        })
    };
    check_in_step(cost);
    let (nodes, looks) = (160, cost(160));
    assert!(
        looks <= 14 * nodes,
        "{looks} looks at {nodes} nodes and jobs"
    );
}
