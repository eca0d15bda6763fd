//! Sessions, beats and what becomes of grants whose node falls silent, leaves, yields or is cordoned.

use crate::world::agent::{Agent, SILENCE, tracks};
use crate::world::{World, node};
use scheduler::Request;
use types::{Code, Millis};

#[test]
fn a_second_agent_of_one_name_is_refused_while_the_first_beats() {
    let mut world = World::new();
    let mut first = Agent::joined(&mut world, "n");
    let mut copy = Agent::new("n", crate::world::agent::BOTH);
    copy.nonce = 7;
    assert_eq!(copy.join(&mut world).unwrap_err().code, Code::IdentityInUse);
    world.pass(Millis(5_000));
    first.beat(&mut world).unwrap();
    world.pass(Millis(5_000));
    assert_eq!(copy.join(&mut world).unwrap_err().code, Code::IdentityInUse);
    world.pass(Millis(1_001));
    assert_eq!(copy.join(&mut world).unwrap(), types::Session(2));
    assert_eq!(first.beat(&mut world).unwrap_err().code, Code::SessionOld);
    assert_eq!(
        first.join(&mut world).unwrap_err().code,
        Code::IdentityInUse
    );
}

#[test]
fn a_join_repeated_by_the_same_process_is_the_same_session() {
    let mut world = World::new();
    let mut agent = Agent::joined(&mut world, "n");
    let before = world.store.writes;
    assert_eq!(agent.join(&mut world).unwrap(), types::Session(1));
    assert_eq!(world.store.writes, before);
}

#[test]
fn leaving_returns_everything_at_no_cost_and_a_join_need_not_wait() {
    let mut world = World::new();
    let j = world.submit("j", 4, 4);
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull(&mut world, 4);
    world
        .ask(Request::Leave {
            node: node("n"),
            session: agent.session,
        })
        .unwrap();
    let record = world.store.shard(&j, types::ShardId::Root(0)).unwrap();
    assert!(record.grants.is_empty() && record.failures.is_empty() && record.suspects.is_empty());
    agent.kill();
    assert_eq!(agent.join(&mut world).unwrap(), types::Session(2));
    assert_eq!(
        agent.pull(&mut world, 4).grants[0].attempt,
        types::Attempt(2)
    );
}

#[test]
fn a_grant_that_is_stored_after_its_node_has_left_or_come_back_returns_at_no_cost() {
    for leaves in [true, false] {
        let mut world = World::new();
        let j = world.submit("j", 4, 4);
        let mut agent = Agent::joined(&mut world, "n");
        agent.pull += 1;
        world.call(agent.pull_request(4));
        let (id, txn) = world.next_write();
        if leaves {
            let (node, session) = (node("n"), agent.session);
            world.ask(Request::Leave { node, session }).unwrap();
        } else {
            agent.kill();
            world.pass(Millis(7_000));
            agent.join(&mut world).unwrap();
        }
        let outcome = world.store.write(&txn);
        world.feed(scheduler::Event::Written { id, outcome });
        world.settle();
        let record = world.store.shard(&j, types::ShardId::Root(0)).unwrap();
        assert!(record.grants.is_empty(), "leaves: {leaves}");
        assert!(record.failures.is_empty() && record.suspects.is_empty());
    }
}

#[test]
fn the_first_beat_of_a_new_session_ends_what_it_does_not_name_of_an_earlier_one() {
    let mut world = World::new();
    let j = world.submit("j", 8, 4);
    let mut agent = Agent::joined(&mut world, "n");
    let granted = agent.pull(&mut world, 8).grants;
    agent.beat(&mut world).unwrap();
    agent.kill();
    world.pass(Millis(7_000));
    agent.join(&mut world).unwrap();
    // A part of the first grant was found on disk.
    agent.grants = vec![granted[0].clone()];
    agent.beat(&mut world).unwrap();
    let grants = |root| {
        let record = world.store.shard(&j, types::ShardId::Root(root)).unwrap();
        record.grants.len()
    };
    assert_eq!((grants(0), grants(1)), (1, 0));
}

#[test]
fn a_grant_missing_from_two_later_beats_returns_to_the_queue_at_no_cost() {
    let mut world = World::new();
    let j = world.submit("j", 4, 4);
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull(&mut world, 4);
    agent.grants.clear();
    let shard = types::ShardId::Root(0);
    for beats in 1..=3 {
        assert_eq!(
            world.store.shard(&j, shard).unwrap().grants.len(),
            1,
            "before beat {beats}"
        );
        agent.beat(&mut world).unwrap();
    }
    let record = world.store.shard(&j, shard).unwrap();
    assert!(record.grants.is_empty() && record.failures.is_empty());
}

#[test]
fn a_silent_nodes_grants_stay_until_another_node_asks_for_more() {
    let mut world = World::new();
    let j = world.submit("j", 4, 4);
    let mut silent = Agent::joined(&mut world, "silent");
    silent.pull(&mut world, 4);
    silent.beat_with(&mut world, |_| tracks(1, 3)).unwrap();
    let mut other = Agent::joined(&mut world, "other");
    other.beats_for(&mut world, SILENCE);
    let shard = types::ShardId::Root(0);
    assert_eq!(
        world.store.shard(&j, shard).unwrap().grants.len(),
        1,
        "expiry alone withdraws nothing"
    );
    assert!(other.pull(&mut world, 4).grants.is_empty());
    let record = world.store.shard(&j, shard).unwrap();
    assert!(record.grants.is_empty());
    assert_eq!(record.suspects[0].tracks, types::Range { first: 1, end: 3 });
    assert_eq!(
        (record.suspects[0].deaths, record.suspects[0].together),
        (1, 1)
    );
}

#[test]
fn what_a_dead_node_holds_goes_first_to_a_node_that_is_never_short_of_other_work() {
    let mut world = World::new();
    let urgent = world.submit_as("default", "urgent", 1, |submission| {
        submission.lane = scheduler::record::Lane::Interactive;
    });
    let mut dead = Agent::joined(&mut world, "dead");
    assert_eq!(dead.pull(&mut world, 1).grants[0].job, urgent);
    world.submit("bulk", 100_000, 8);
    let mut other = Agent::joined(&mut world, "other");
    for _ in 0..13 {
        other.beats_for(&mut world, Millis(2_000));
        let pulled = other.pull(&mut world, 4);
        if pulled.grants.iter().any(|granted| granted.job == urgent) {
            return;
        }
        assert!(!pulled.grants.is_empty(), "there is always other work");
    }
    panic!(
        "the urgent track stays with the dead: {:?}",
        world.core.explain(world.now, &urgent, None)
    );
}

#[test]
fn a_coordinator_that_heard_nobody_for_longer_than_a_grant_lives_books_no_node_as_dead() {
    let mut world = World::new();
    let j = world.submit("j", 1, 1);
    let mut busy = Agent::joined(&mut world, "busy");
    busy.pull(&mut world, 1);
    busy.beat(&mut world).unwrap();
    let mut other = Agent::joined(&mut world, "other");
    other.beat(&mut world).unwrap();
    for _ in 0..3 {
        world.pass(Millis(25_000));
        assert!(other.pull(&mut world, 1).grants.is_empty());
        let order = busy.beat(&mut world).unwrap().orders[0].order;
        assert_eq!(order, scheduler::Order::Continue);
    }
    let record = world.store.shard(&j, types::ShardId::Root(0)).unwrap();
    assert!(record.suspects.is_empty() && record.failures.is_empty());
}

#[test]
fn a_renewed_grant_outlives_the_time_that_a_silent_one_has() {
    let mut world = World::new();
    let j = world.submit("j", 4, 4);
    let mut busy = Agent::joined(&mut world, "busy");
    busy.pull(&mut world, 4);
    let mut other = Agent::joined(&mut world, "other");
    for _ in 0..10 {
        world.pass(Millis(5_000));
        busy.beat(&mut world).unwrap();
        assert!(other.pull(&mut world, 4).grants.is_empty());
    }
    assert_eq!(
        world
            .store
            .shard(&j, types::ShardId::Root(0))
            .unwrap()
            .last_attempt,
        types::Attempt(1)
    );
}

#[test]
fn a_yield_shrinks_the_grant_and_never_extends_it() {
    let mut world = World::new();
    let j = world.submit("j", 8, 8);
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull(&mut world, 8);
    let shard = types::ShardId::Root(0);
    for (answer, end) in [(6, 6), (3, 3), (5, 3)] {
        agent.beat += 1;
        let Request::Beat(mut beat) = agent.beat_request(|_| tracks(0, 2)) else {
            panic!("a beat is a beat");
        };
        beat.held[0].yielded_at = Some(answer);
        agent.send_beat(&mut world, Request::Beat(beat)).unwrap();
        assert_eq!(
            world.store.shard(&j, shard).unwrap().grants[0].range.end,
            end
        );
    }
}

#[test]
fn what_an_operator_cordons_takes_nothing_until_it_serves_again() {
    use scheduler::record::Duty;
    let mut world = World::new();
    world.submit("j", 8, 8);
    let mut agent = Agent::joined(&mut world, "n");
    let duty = |duty| Request::SetDuty {
        node: node("n"),
        duty,
    };
    world.ask(duty(Duty::Cordoned)).unwrap();
    let answer = agent.pull(&mut world, 8);
    assert_eq!(answer.reason.unwrap().code(), "NODE_CORDONED");
    world.ask(duty(Duty::Serving)).unwrap();
    assert!(agent.beat(&mut world).unwrap().pull_now);
    assert_eq!(agent.pull(&mut world, 8).grants.len(), 1);
}

#[test]
fn no_session_of_a_new_generation_has_a_number_of_an_older_one() {
    let joined = |generation| {
        let mut core = scheduler::Core::new();
        let mut actions = scheduler::Actions::new();
        let mut tell = |event| core.handle(Millis(1), event, &mut actions);
        let epoch = types::Epoch(1);
        tell(scheduler::Event::Led { epoch, generation });
        tell(scheduler::Event::Read {
            id: scheduler::ReadId(1),
            outcome: scheduler::ReadOutcome::Page {
                entries: Vec::new(),
                next: None,
                revision: scheduler::Revision(1),
            },
        });
        let info = crate::world::agent_info("n", 7, &[types::Stage::Screen]);
        tell(scheduler::Event::Call {
            call: scheduler::CallId(1),
            caller: scheduler::Caller::default(),
            at: types::UnixMillis(1),
            request: Box::new(Request::Join(info)),
        });
        let put = actions.iter().find_map(|action| {
            let scheduler::Action::Write { txn, .. } = action else {
                return None;
            };
            txn.ops.first().cloned()
        });
        let Some(scheduler::Op::Put { value, .. }) = put else {
            panic!("a join is written: {actions:?}");
        };
        let record: scheduler::record::NodeRecord = scheduler::record::decode(&value).unwrap();
        record.session.0
    };
    assert_eq!(joined(types::Generation(1)), 1);
    assert!(joined(types::Generation(2)) > 1_000_000_000);
    assert!(joined(types::Generation(3)) > joined(types::Generation(2)) + 1_000_000_000);
}
