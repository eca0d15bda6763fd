//! Records that nobody needs go under a bound; what is still needed stays.

use crate::world::agent::{Agent, revoke};
use crate::world::{World, key, node, submission, unknown};
use scheduler::record::Duty;
use scheduler::{Config, Event, Request, limits};
use types::{JobId, Millis};

fn setting() -> World {
    World::with_config(Config {
        jobs_kept: 3,
        nodes_kept: 2,
        ..Config::default()
    })
}

fn cancel(world: &mut World, name: &str) {
    world.pass(Millis(1));
    world
        .ask(Request::Cancel {
            job: JobId::new(name).unwrap(),
            reason: String::new(),
        })
        .unwrap();
}

#[test]
fn the_longest_closed_jobs_go_and_open_ones_never() {
    let mut world = setting();
    for name in ["a", "b", "c", "d", "e"] {
        world.submit(name, 8, 4);
    }
    assert_eq!(world.store.entries.len(), 5, "open jobs are all kept");
    for name in ["b", "a", "d"] {
        cancel(&mut world, name);
    }
    let kept = |world: &World, name: &str| world.store.job(&key(name)).is_some();
    let left: Vec<&str> = ["a", "b", "c", "d", "e"]
        .into_iter()
        .filter(|name| kept(&world, name))
        .collect();
    assert_eq!(left, ["c", "d", "e"]);
    assert!(world.core.job(&key("a")).is_none());
    world.restart();
    world.settle();
    assert!(world.core.job(&key("d")).is_some());
}

#[test]
fn no_more_go_while_one_is_going() {
    let mut world = setting();
    for name in ["a", "b", "c"] {
        world.submit(name, 8, 4);
    }
    cancel(&mut world, "a");
    cancel(&mut world, "b");
    // The removal of `a` follows the first of these writes, and is under way when the second is back.
    world.call(submission("d", 8, 4));
    world.call(Request::Pause {
        job: JobId::new("c").unwrap(),
    });
    world.settle();
    let kept = |name: &&str| world.store.job(&key(name)).is_some();
    let left: Vec<&str> = ["a", "b", "c", "d"].into_iter().filter(kept).collect();
    assert_eq!(left, ["b", "c", "d"]);
}

#[test]
fn a_submit_that_comes_again_while_its_record_goes_starts_nothing_anew() {
    let mut world = setting();
    for name in ["a", "b", "c"] {
        world.submit(name, 8, 4);
    }
    cancel(&mut world, "a");
    world.call(submission("d", 8, 4));
    let (id, txn) = world.next_write();
    let outcome = world.store.write(&txn);
    world.feed(Event::Written { id, outcome });
    // The removal of `a` is under way.
    world.call(submission("a", 8, 4));
    world.settle();
    assert!(world.store.job(&key("a")).is_none());
}

#[test]
fn a_job_goes_only_when_its_shards_have_gone() {
    let mut world = setting();
    for name in ["a", "b", "c"] {
        world.submit(name, 8, 4);
    }
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull(&mut world, 8);
    agent.finish(&mut world);
    world.submit("d", 8, 4);
    assert!(world.store.job(&key("a")).is_none());
    assert_eq!(world.store.shard_keys(), 0);
}

#[test]
fn a_job_whose_first_write_may_have_a_late_copy_stays_in_this_reign() {
    let mut world = setting();
    world.call(submission("a", 8, 4));
    let (id, late) = world.next_write();
    world.feed(Event::Written {
        id,
        outcome: unknown(),
    });
    world.pass(Millis(5_000));
    cancel(&mut world, "a");
    for name in ["b", "c", "d"] {
        world.submit(name, 8, 4);
    }
    assert!(world.store.job(&key("a")).is_some());
    world.store.write(&late);
    world.restart();
    world.settle();
    // The copy is of an ended epoch now.
    assert!(world.store.job(&key("a")).is_none());
}

#[test]
fn the_oldest_closed_revocations_go() {
    let mut world = setting();
    world.submit("a", 8, 4);
    Agent::joined(&mut world, "n");
    for n in 0..limits::REVOCATIONS_KEPT + 3 {
        world.pass(Millis(1));
        world.ask(revoke(&format!("r{n}"), "n", 0, 0)).unwrap();
    }
    let tenant = types::TenantId::default();
    let left: Vec<_> = world.core.revocations(&tenant).collect();
    assert_eq!(left.len(), limits::REVOCATIONS_KEPT);
    assert!(left.iter().all(|view| view.key.revocation.as_str() != "r2"));
}

#[test]
fn nodes_that_left_or_fell_silent_go_and_cordoned_ones_stay() {
    let mut world = setting();
    let left = Agent::joined(&mut world, "left");
    Agent::joined(&mut world, "cordoned");
    world
        .ask(Request::SetDuty {
            node: node("cordoned"),
            duty: Duty::Cordoned,
        })
        .unwrap();
    world
        .ask(Request::Leave {
            node: node("left"),
            session: left.session,
        })
        .unwrap();
    Agent::joined(&mut world, "silent");
    world.pass(Millis(4_000_000));
    Agent::joined(&mut world, "new");
    let nodes = |world: &World| {
        let tenant = types::TenantId::default();
        let nodes = world.core.nodes(world.now, &tenant);
        nodes
            .map(|view| view.key.node.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(nodes(&world), ["cordoned", "new"]);
    let again = Agent::joined(&mut world, "left");
    assert_eq!(again.session, types::Session(1));
}
