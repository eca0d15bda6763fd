//! One test for each reason why work does not run.

mod policy;

use crate::world::agent::{Agent, SCREEN, SILENCE, tracks};
use crate::world::{Effect, World, key, node, not_applied};
use scheduler::record::{Care, Duty, FailureCause, PartKind};
use scheduler::{
    Beat, Blocked, Cause, Core, Event, JobKey, NodeKey, Released, Request, StorageOutcome,
};
use types::{Code, JobId, Millis, ShardId, Stage, TenantId};

fn why(world: &World, job: &JobKey) -> Vec<Blocked> {
    let reasons = world
        .core
        .explain(world.now, job, None)
        .expect("the job is known");
    reasons.into_iter().map(|reason| reason.blocked).collect()
}

#[track_caller]
fn check(world: &World, job: &JobKey, expected: &Blocked) {
    let found = why(world, job);
    assert!(
        found.contains(expected),
        "{expected:?} is not among {found:?}"
    );
    assert!(!expected.fix().is_empty() && !expected.to_string().is_empty());
    assert_eq!(expected.code(), expected.code().to_uppercase());
}

#[track_caller]
fn check_shard(world: &World, job: &JobKey, expected: &Blocked) {
    let reasons = world
        .core
        .explain(world.now, job, Some(ShardId::Root(0)))
        .expect("the shard is known");
    let found: Vec<Blocked> = reasons.into_iter().map(|reason| reason.blocked).collect();
    assert!(
        found.contains(expected),
        "{expected:?} is not among {found:?}"
    );
}

#[track_caller]
fn check_node(world: &World, name: &str, expected: &[Blocked]) {
    let reasons = world
        .core
        .explain_node(world.now, &node_key(name))
        .expect("the node is known");
    let found: Vec<Blocked> = reasons.into_iter().map(|reason| reason.blocked).collect();
    assert_eq!(found, expected);
}

fn node_key(name: &str) -> NodeKey {
    NodeKey {
        tenant: TenantId::default(),
        node: node(name),
    }
}

fn job(name: &str) -> JobId {
    JobId::new(name).unwrap()
}

/// A job of 8 tracks in one shard, and a node.
fn pair() -> (World, JobKey, Agent) {
    let mut world = World::new();
    let job = world.submit("j", 8, 8);
    let agent = Agent::joined(&mut world, "n");
    (world, job, agent)
}

fn beat(world: &mut World, agent: &mut Agent, edit: impl FnOnce(&mut Beat)) {
    agent.beat += 1;
    let Request::Beat(mut beat) = agent.beat_request(|granted| granted.tracks.clone()) else {
        panic!("a beat is a beat");
    };
    edit(&mut beat);
    agent.send_beat(world, Request::Beat(beat)).unwrap();
}

/// The node dies with what it holds in hand, joins again and never names it.
fn die(world: &mut World, agent: &mut Agent, in_hand: u32) {
    agent
        .beat_with(world, |granted| {
            granted.tracks.iter().take(in_hand as usize).collect()
        })
        .unwrap();
    agent.kill();
    world.pass(Millis(7_000));
    agent.join(world).unwrap();
    for _ in 0..3 {
        agent.beat(world).unwrap();
    }
}

#[test]
fn not_leading() {
    let core = Core::new();
    let reasons = core.explain(Millis(0), &key("j"), None).unwrap();
    assert_eq!(reasons[0].blocked, Blocked::NotLeading);
    let reasons = core.explain_node(Millis(0), &node_key("n")).unwrap();
    assert_eq!(reasons[0].blocked, Blocked::NotLeading);
}

#[test]
fn what_does_not_exist_is_not_explained() {
    let (world, job, _) = pair();
    assert!(world.core.explain(world.now, &key("other"), None).is_none());
    assert!(
        world
            .core
            .explain(world.now, &job, Some(ShardId::Root(1)))
            .is_none()
    );
    assert!(
        world
            .core
            .explain_node(world.now, &node_key("other"))
            .is_none()
    );
}

#[test]
fn store_trouble() {
    let (mut world, job, mut agent) = pair();
    agent.pull += 1;
    world.call(agent.pull_request(4));
    let (id, _) = world.next_write();
    world.feed(Event::Written {
        id,
        outcome: not_applied(),
    });
    check(
        &world,
        &job,
        &Blocked::StoreTrouble {
            code: Code::StoreUnavailable,
        },
    );
}

#[test]
fn write_under_way() {
    let (mut world, name, _) = pair();
    world.call(Request::Pause { job: job("j") });
    check(&world, &name, &Blocked::WriteUnderWay);
}

#[test]
fn job_paused() {
    let (mut world, name, _) = pair();
    world.ask(Request::Pause { job: job("j") }).unwrap();
    check(&world, &name, &Blocked::JobPaused);
}

#[test]
fn job_cancelling_then_cancelled() {
    let (mut world, name, _) = pair();
    world.call(Request::Cancel {
        job: job("j"),
        reason: String::new(),
    });
    check(&world, &name, &Blocked::JobCancelling);
    world.settle();
    check(&world, &name, &Blocked::JobCancelled);
}

#[test]
fn job_publishing_then_manifest_fails_then_published() {
    let (mut world, name, mut agent) = pair();
    let granted = agent.pull(&mut world, 8).grants[0].clone();
    world.call(agent.commit_request(&granted, &granted.tracks, PartKind::Terminal));
    while !matches!(world.effects.front(), Some(Effect::Manifest(_))) {
        let effect = world.effects.pop_front().expect("publishing goes on");
        world.happen(effect);
    }
    check(&world, &name, &Blocked::JobPublishing);
    world.effects.clear();
    world.feed(Event::ManifestWritten {
        job: name.clone(),
        outcome: StorageOutcome::Failed {
            code: Code::StorageFull,
            cause: "no room".into(),
        },
        at: types::UnixMillis(0),
    });
    check(
        &world,
        &name,
        &Blocked::ManifestFails {
            code: Code::StorageFull,
        },
    );
    world.pass(Millis(5_000));
    check(&world, &name, &Blocked::JobPublished);
}

#[test]
fn no_node() {
    let mut world = World::new();
    let job = world.submit("j", 8, 8);
    check(&world, &job, &Blocked::NoNode);
    check_shard(&world, &job, &Blocked::NoNode);
}

#[test]
fn nodes_silent() {
    let (mut world, job, _) = pair();
    world.pass(SILENCE);
    check(&world, &job, &Blocked::NodesSilent);
    check_node(&world, "n", &[Blocked::NodeSilent { node: node("n") }]);
}

#[test]
fn nodes_not_serving() {
    let (mut world, job, _) = pair();
    world
        .ask(Request::SetDuty {
            node: node("n"),
            duty: Duty::Cordoned,
        })
        .unwrap();
    check(&world, &job, &Blocked::NodesNotServing);
    check_node(&world, "n", &[Blocked::NodeCordoned { node: node("n") }]);
}

#[test]
fn no_node_for_stage() {
    let mut world = World::new();
    let job = world.submit("j", 8, 8);
    let mut agent = Agent::new("n", SCREEN);
    agent.join(&mut world).unwrap();
    let granted = agent.pull(&mut world, 8).grants[0].clone();
    let request = agent.commit_request(&granted, &granted.tracks, PartKind::Escalation);
    world.ask(request).unwrap();
    check(
        &world,
        &job,
        &Blocked::NoNodeForStage {
            stage: Stage::Residual,
        },
    );
}

#[test]
fn bundle_refused() {
    let (mut world, name, mut agent) = pair();
    let granted = agent.pull(&mut world, 8).grants[0].clone();
    beat(&mut world, &mut agent, |beat| {
        beat.held.clear();
        beat.released = vec![Released {
            job: job("j"),
            shard: granted.shard,
            attempt: granted.attempt,
            cause: Cause::Bundle,
        }];
    });
    check(&world, &name, &Blocked::BundleRefused);
    let refuses = Blocked::NodeRefusesBundle { node: node("n") };
    check_node(&world, "n", std::slice::from_ref(&refuses));
    let pulled = agent.pull(&mut world, 8);
    assert!(pulled.grants.is_empty());
    assert_eq!(pulled.reason, Some(refuses));
    let record = world.store.shard(&name, granted.shard).unwrap();
    assert_eq!(record.failures[0].cause, FailureCause::Bundle);
}

#[test]
fn devices_out() {
    let (mut world, job, mut agent) = pair();
    beat(&mut world, &mut agent, |beat| {
        beat.devices_out = vec![("cpu:0".into(), Code::CanaryFailed)];
    });
    check(&world, &job, &Blocked::DevicesOut);
    let code = Code::CanaryFailed;
    check_node(
        &world,
        "n",
        &[Blocked::NodeDevicesOut {
            node: node("n"),
            code,
        }],
    );
}

#[test]
fn storage_of_a_node() {
    let (mut world, job, mut agent) = pair();
    agent.pull(&mut world, 8);
    let code = Code::StorageFull;
    beat(&mut world, &mut agent, |beat| {
        beat.storage_trouble = Some(code);
    });
    let blocked = Blocked::NodeStorage {
        node: node("n"),
        code,
    };
    check(&world, &job, &blocked);
    assert!(!why(&world, &job).contains(&Blocked::InHand { nodes: 1 }));
    check_node(&world, "n", &[blocked]);
    beat(&mut world, &mut agent, |_| {});
    check(&world, &job, &Blocked::InHand { nodes: 1 });
}

#[test]
fn queued_behind() {
    let (mut world, first, _) = pair();
    let second = world.submit("k", 8, 8);
    check(&world, &first, &Blocked::NotYetPulled);
    check(&world, &second, &Blocked::QueuedBehind { job: job("j") });
}

#[test]
fn in_hand() {
    let (mut world, job, mut agent) = pair();
    agent.pull(&mut world, 8);
    check(&world, &job, &Blocked::InHand { nodes: 1 });
    check_shard(&world, &job, &Blocked::InHand { nodes: 1 });
    check_node(&world, "n", &[]);
}

#[test]
fn held_by_silent_node() {
    let (mut world, job, mut agent) = pair();
    agent.pull(&mut world, 8);
    world.pass(SILENCE);
    check(&world, &job, &Blocked::HeldBySilentNode { node: node("n") });
}

#[test]
fn shard_full() {
    let mut world = World::new();
    let job = world.submit("j", 20, 20);
    let mut agent = Agent::joined(&mut world, "n");
    for _ in 0..16 {
        assert_eq!(agent.pull(&mut world, 1).grants.len(), 1);
    }
    assert!(agent.pull(&mut world, 1).grants.is_empty());
    check(&world, &job, &Blocked::ShardFull);
    check_shard(&world, &job, &Blocked::ShardFull);
}

#[test]
fn back_off() {
    let (mut world, job, mut agent) = pair();
    agent.pull(&mut world, 8);
    die(&mut world, &mut agent, 8);
    let until = world.now + scheduler::limits::BACK_OFF_FIRST;
    check(&world, &job, &Blocked::BackOff { until });
    world.pass(Millis(600));
    check(&world, &job, &Blocked::NotYetPulled);
    let apart = agent.pull(&mut world, 8).grants;
    assert_eq!(
        (apart.len(), apart[0].care, apart[0].tracks.len()),
        (1, Care::Apart, 4)
    );
}

#[test]
fn retries_spent() {
    let (mut world, job, mut agent) = pair();
    for _ in 0..16 {
        // Something is in hand with it each time, so that no track dies alone.
        agent.pull(&mut world, 8);
        die(&mut world, &mut agent, 0);
        world.pass(Millis(60_000));
        agent.beat(&mut world).unwrap();
    }
    agent.pull(&mut world, 8);
    die(&mut world, &mut agent, 2);
    check(
        &world,
        &job,
        &Blocked::RetriesSpent {
            cause: FailureCause::NodeLost,
        },
    );
    world.pass(Millis(60_001));
    agent.beat(&mut world).unwrap();
    assert_eq!(
        agent.pull(&mut world, 8).grants.len(),
        1,
        "it is still tried now and then"
    );
}

#[test]
fn waits_for_other_node() {
    let (mut world, job, mut agent) = pair();
    agent.pull(&mut world, 8);
    for in_hand in [2, 1] {
        die(&mut world, &mut agent, in_hand);
        world.pass(Millis(10_000));
        agent.beat(&mut world).unwrap();
        agent.pull(&mut world, 8);
    }
    agent.beat(&mut world).unwrap();
    let mut other = Agent::joined(&mut world, "other");
    beat(&mut world, &mut agent, |beat| {
        beat.released = beat
            .held
            .drain(..)
            .map(|held| Released {
                job: held.job,
                shard: held.shard,
                attempt: held.attempt,
                cause: Cause::Drain,
            })
            .collect();
    });
    agent.grants.clear();
    check(
        &world,
        &job,
        &Blocked::WaitsForOtherNode { node: node("n") },
    );
    let grants = agent.pull(&mut world, 8).grants;
    assert!(
        grants.iter().all(|granted| !granted.tracks.contains(0)),
        "{grants:?}"
    );
    let grants = other.pull(&mut world, 8).grants;
    assert_eq!(grants[0].tracks, tracks(0, 1));
}

#[test]
fn not_yet_pulled() {
    let (world, job, _) = pair();
    check(&world, &job, &Blocked::NotYetPulled);
    check_shard(&world, &job, &Blocked::NotYetPulled);
    check_node(&world, "n", &[Blocked::NotYetPulled]);
}

#[test]
fn shard_done() {
    let mut world = World::new();
    let job = world.submit("j", 16, 8);
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull(&mut world, 8);
    agent.finish(&mut world);
    check_shard(&world, &job, &Blocked::ShardDone);
}

#[test]
fn node_left() {
    let (mut world, _, agent) = pair();
    world
        .ask(Request::Leave {
            node: node("n"),
            session: agent.session,
        })
        .unwrap();
    check_node(&world, "n", &[Blocked::NodeLeft { node: node("n") }]);
}

#[test]
fn node_draining_by_its_own_word_and_by_an_operators() {
    let (mut world, _, mut agent) = pair();
    beat(&mut world, &mut agent, |beat| beat.draining = true);
    check_node(&world, "n", &[Blocked::NodeDraining { node: node("n") }]);
    beat(&mut world, &mut agent, |beat| beat.draining = false);
    world
        .ask(Request::SetDuty {
            node: node("n"),
            duty: Duty::Draining,
        })
        .unwrap();
    check_node(&world, "n", &[Blocked::NodeDraining { node: node("n") }]);
    assert!(agent.beat(&mut world).unwrap().drain);
}

#[test]
fn node_full() {
    let mut world = World::new();
    world.submit("j", 1_000, 1);
    let mut agent = Agent::joined(&mut world, "n");
    for _ in 0..3 {
        assert_eq!(agent.pull(&mut world, 1_000).grants.len(), 64);
    }
    let answer = agent.pull(&mut world, 1_000);
    assert_eq!(answer.reason, Some(Blocked::NodeFull { node: node("n") }));
    check_node(&world, "n", &[Blocked::NodeFull { node: node("n") }]);
}

#[test]
fn nothing_to_do() {
    let mut world = World::new();
    let mut agent = Agent::joined(&mut world, "n");
    check_node(&world, "n", &[Blocked::NothingToDo]);
    assert_eq!(agent.pull(&mut world, 8).reason, Some(Blocked::NothingToDo));
    world.submit("j", 8, 8);
    assert!(agent.beat(&mut world).unwrap().pull_now, "work has come");
}
