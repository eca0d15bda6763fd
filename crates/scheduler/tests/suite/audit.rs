//! The audit trail: what has a line, who is named in it, and what has none.

use crate::world::agent::{Agent, revoke, tracks};
use crate::world::{Effect, World, key, node, not_applied, unknown};
use scheduler::record::Duty;
use scheduler::{Event, Request, What};
use types::{Attempt, Millis, Session};

/// What the lines since the last look say.
fn said(world: &mut World) -> Vec<What> {
    world.judge_trail();
    world.store.changed.clear();
    let lines = std::mem::take(&mut world.trail).into_iter();
    lines.map(|(_, change)| change.what).collect()
}

#[test]
fn each_change_has_one_line_and_what_changes_nothing_has_none() {
    let mut world = World::new();
    world.submit("j", 4, 4);
    let mut agent = Agent::joined(&mut world, "n");
    let granted = agent.pull(&mut world, 4).grants[0].clone();
    world.ask(agent.pull_request(4)).unwrap();
    let lines = said(&mut world);
    let begun = [
        What::Submitted,
        What::Joined(Session(1)),
        What::Granted(Attempt(1), node("n")),
    ];
    assert_eq!(lines, begun, "a repeated pull grants nothing anew");
    let request = agent.commit_request(
        &granted,
        &tracks(0, 2),
        scheduler::record::PartKind::Terminal,
    );
    world.ask(request.clone()).unwrap();
    let lines = said(&mut world);
    assert!(matches!(lines[..], [What::Counted(_)]), "{lines:?}");
    world.ask(request).unwrap();
    assert!(said(&mut world).is_empty(), "it had counted before");
    let job = key("j").job;
    world.ask(Request::Pause { job: job.clone() }).unwrap();
    world.ask(Request::Pause { job: job.clone() }).unwrap();
    world.ask(Request::Resume { job }).unwrap();
    assert_eq!(said(&mut world), [What::Paused, What::Resumed]);
    let duty = Request::SetDuty {
        node: node("n"),
        duty: Duty::Cordoned,
    };
    world.ask(duty).unwrap();
    assert_eq!(said(&mut world), [What::Duty(Duty::Cordoned)]);
    world.ask(revoke("r", "n", 0, 9)).unwrap();
    let lines = said(&mut world);
    assert!(
        matches!(
            lines[..],
            [
                What::Revoked,
                What::Dropped(_),
                What::Withdrawn(Attempt(1)),
                What::Closed
            ]
        ),
        "{lines:?}"
    );
}

#[test]
fn what_the_coordinator_does_by_itself_has_lines_that_name_nobody() {
    let mut world = World::new();
    world.submit("j", 4, 4);
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull(&mut world, 4);
    agent.finish(&mut world);
    world.judge_trail();
    let by_itself: Vec<What> = world
        .trail
        .iter()
        .filter(|(by, _)| by.is_none())
        .map(|(_, change)| change.what.clone())
        .collect();
    // The keys of its shards go with the job, without a line each.
    assert_eq!(by_itself, [What::Publishing, What::Published]);
    assert_eq!(world.core.changes_applied(), world.trail.len() as u64);
}

#[test]
fn a_write_has_its_line_once_it_is_known_to_be_stored_and_not_before() {
    for lands in [true, false] {
        let mut world = World::new();
        world.call(crate::world::submission("j", 4, 4));
        let (id, txn) = world.next_write();
        if lands {
            world.store.write(&txn);
        }
        let outcome = unknown();
        world.feed(Event::Written { id, outcome });
        assert!(world.trail.is_empty(), "nobody knows");
        world.pass(Millis(5_000));
        assert_eq!(said(&mut world), [What::Submitted]);
    }
    let mut world = World::new();
    world.call(crate::world::submission("j", 4, 4));
    let (id, _) = world.next_write();
    let outcome = not_applied();
    world.feed(Event::Written { id, outcome });
    assert!(world.trail.is_empty(), "nothing was stored");
    assert!(
        !world
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Write(..)))
    );
}

#[test]
fn a_change_that_a_read_on_its_way_shows_first_has_its_line_all_the_same() {
    let mut world = World::new();
    world.submit("j", 8, 4);
    let mut agent = Agent::joined(&mut world, "n");
    said(&mut world);
    agent.pull += 1;
    world.call(agent.pull_request(4));
    let (granting, grant) = world.next_write();
    world.call(Request::Pause { job: key("j").job });
    let (pausing, pause) = world.next_write();
    let paused = world.store.write(&pause);
    let refused = world.store.write(&grant);
    world.feed(Event::Written {
        id: granting,
        outcome: refused,
    });
    // The read for the grant shows that the job is paused before the pause's own answer comes.
    world.settle();
    world.feed(Event::Written {
        id: pausing,
        outcome: paused,
    });
    world.settle();
    assert_eq!(said(&mut world), [What::Paused]);
}
