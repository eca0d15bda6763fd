//! The reasons that policy gives: requirements, quotas, shares, revocations, and bundles that serve one stage on a node.

use super::{beat, check, check_node, job, pair, why};
use crate::world::World;
use crate::world::agent::{Agent, SCREEN, revoke};
use scheduler::record::PartKind;
use scheduler::{Blocked, Cause, Config, Quota, Released, Request};
use types::{DeviceKind, Millis, Requirements, ShardId, Stage, Stages};

/// A world with such a quota for everybody, a job of 32 tracks in shards of 8, and a node.
fn under(quota: Quota) -> (World, scheduler::JobKey, Agent) {
    let mut world = World::with_config(Config {
        quota,
        ..Config::default()
    });
    let job = world.submit("j", 32, 8);
    let agent = Agent::joined(&mut world, "n");
    (world, job, agent)
}

#[track_caller]
fn check_requirement(requires: Requirements, expected: &Blocked) {
    let mut world = World::new();
    let job = world.submit_as("default", "j", 8, |submission| {
        submission.requires = requires
    });
    let mut agent = Agent::joined(&mut world, "n");
    assert!(agent.pull(&mut world, 8).grants.is_empty());
    check(&world, &job, expected);
    check_node(&world, "n", &[Blocked::NothingToDo]);
}

#[test]
fn no_node_with_device() {
    let requires = Requirements {
        device: Some(DeviceKind::Cuda),
        ..Requirements::default()
    };
    let kind = DeviceKind::Cuda;
    check_requirement(requires, &Blocked::NoNodeWithDevice { kind });
}

#[test]
fn no_node_with_memory() {
    let bytes = (1 << 30) + 1;
    let requires = Requirements {
        memory_bytes: bytes,
        ..Requirements::default()
    };
    check_requirement(requires, &Blocked::NoNodeWithMemory { bytes });
}

#[test]
fn no_node_with_bundle() {
    let requires = Requirements {
        bundle_loaded: true,
        ..Requirements::default()
    };
    check_requirement(requires, &Blocked::NoNodeWithBundle);
}

#[test]
fn what_a_node_has_is_no_hindrance() {
    let mut world = World::new();
    let requires = Requirements {
        device: Some(DeviceKind::Cpu),
        memory_bytes: 1 << 30,
        bundle_loaded: true,
    };
    world.submit_as("default", "j", 8, |submission| {
        submission.requires = requires
    });
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull += 1;
    let Request::Pull(mut pull) = agent.pull_request(8) else {
        panic!("a pull is one");
    };
    pull.bundles = vec![types::Digest::of(b"bundle")];
    let answer = world.ask(Request::Pull(pull)).unwrap();
    assert_eq!(agent.take_pull(&answer).grants.len(), 1);
}

#[test]
fn quota_grants() {
    let (mut world, job, mut agent) = under(Quota {
        grants_max: Some(2),
        ..Quota::default()
    });
    assert_eq!(agent.pull(&mut world, 32).grants.len(), 2);
    assert!(agent.pull(&mut world, 32).grants.is_empty());
    check(&world, &job, &Blocked::QuotaGrants);
    agent.finish(&mut world);
    assert_eq!(agent.pull(&mut world, 32).grants.len(), 2);
}

#[test]
fn quota_tracks() {
    let (mut world, job, mut agent) = under(Quota {
        tracks_max: Some(12),
        ..Quota::default()
    });
    let tracks = |answer: scheduler::PullAnswer| {
        let grants = answer.grants.iter();
        grants.map(|granted| granted.tracks.len()).sum::<u64>()
    };
    assert_eq!(tracks(agent.pull(&mut world, 32)), 12);
    check(&world, &job, &Blocked::QuotaTracks);
    assert_eq!(tracks(agent.pull(&mut world, 32)), 0);
}

#[test]
fn quota_jobs() {
    let (mut world, first, mut agent) = under(Quota {
        jobs_max: Some(1),
        ..Quota::default()
    });
    let second = world.submit("k", 8, 8);
    let answer = agent.pull(&mut world, 99);
    assert!(answer.grants.iter().all(|granted| granted.job == first));
    check(&world, &second, &Blocked::QuotaJobs);
    world.ask(Request::Pause { job: job("j") }).unwrap();
    assert_eq!(agent.pull(&mut world, 99).grants[0].job, second);
}

#[test]
fn other_tenant_first() {
    let mut world = World::new();
    let first = world.submit_as("a", "j", 8, |_| {});
    let second = world.submit_as("b", "k", 8, |_| {});
    Agent::joined(&mut world, "n");
    check(&world, &first, &Blocked::NotYetPulled);
    check(&world, &second, &Blocked::OtherTenantFirst);
    assert!(
        !why(&world, &second)
            .iter()
            .any(|reason| matches!(reason, Blocked::QueuedBehind { .. }))
    );
}

#[test]
fn job_and_node_under_revocation() {
    let (mut world, job, mut agent) = pair();
    agent.pull(&mut world, 8);
    world.call(revoke("r", "n", 0, 9));
    check(&world, &job, &Blocked::JobRevoking);
    let node = crate::world::node("n");
    check_node(&world, "n", &[Blocked::NodeRevoked { node }]);
    world.settle();
    check(&world, &job, &Blocked::NotYetPulled);
}

/// A job of 24 tracks in three shards, one of which goes on to the residual, on a node that screens only.
fn escalated(requires: Requirements) -> (World, scheduler::JobKey) {
    let mut world = World::new();
    let job = world.submit_as("default", "j", 24, |submission| {
        submission.requires = requires
    });
    let mut agent = Agent::new("screen", crate::world::agent::SCREEN);
    agent.join(&mut world).unwrap();
    let granted = agent.pull(&mut world, 8).grants[0].clone();
    let request = agent.commit_request(&granted, &granted.tracks, PartKind::Escalation);
    world.ask(request).unwrap();
    (world, job)
}

#[test]
fn a_stage_that_no_node_runs_holds_up_its_own_tracks_alone() {
    let (world, job) = escalated(Requirements::default());
    let reasons = world.core.explain(world.now, &job, None).unwrap();
    let said: Vec<(Blocked, u64)> = reasons.into_iter().map(|r| (r.blocked, r.tracks)).collect();
    let stage = Stage::Residual;
    assert_eq!(
        said,
        [
            (Blocked::NotYetPulled, 16),
            (Blocked::NoNodeForStage { stage }, 8)
        ]
    );
    let fresh = world
        .core
        .explain(world.now, &job, Some(ShardId::Root(1)))
        .unwrap();
    assert_eq!(fresh[0].blocked, Blocked::NotYetPulled);
}

#[test]
fn a_node_that_runs_the_stage_must_also_meet_the_job() {
    let bytes = 1 << 30;
    let (mut world, job) = escalated(Requirements {
        memory_bytes: bytes,
        ..Requirements::default()
    });
    let mut small = crate::world::agent_info("small", 1, crate::world::agent::BOTH);
    small.devices[0].memory_bytes = 1 << 20;
    world.ask(Request::Join(small)).unwrap();
    check(&world, &job, &Blocked::NoNodeWithMemory { bytes });
    check(&world, &job, &Blocked::NotYetPulled);
}

#[test]
fn a_node_has_nothing_to_do_where_the_stage_or_the_quota_keeps_it_from_what_waits() {
    let (mut world, _) = escalated(Requirements::default());
    let mut both = Agent::joined(&mut world, "both");
    while both
        .pull(&mut world, 8)
        .grants
        .iter()
        .any(|g| matches!(g.shard, ShardId::Root(_)))
    {}
    let mut screen = Agent::new("other", crate::world::agent::SCREEN);
    screen.join(&mut world).unwrap();
    world
        .ask(Request::Leave {
            node: crate::world::node("both"),
            session: both.session,
        })
        .unwrap();
    while !screen.pull(&mut world, 8).grants.is_empty() {}
    check_node(&world, "screen", &[Blocked::NothingToDo]);
    let (mut world, _, mut agent) = under(Quota {
        grants_max: Some(1),
        ..Quota::default()
    });
    Agent::joined(&mut world, "idle");
    agent.pull(&mut world, 1);
    check_node(&world, "idle", &[Blocked::NothingToDo]);
}

#[test]
fn a_job_whose_source_no_node_reaches_waits_until_one_may_try_again() {
    let (mut world, name, mut agent) = pair();
    let granted = agent.pull(&mut world, 8).grants[0].clone();
    super::beat(&mut world, &mut agent, |beat| {
        beat.held.clear();
        beat.released = vec![scheduler::Released {
            job: job("j"),
            shard: granted.shard,
            attempt: granted.attempt,
            cause: scheduler::Cause::Storage,
        }];
    });
    let until = world.now + scheduler::limits::BACK_OFF_FIRST;
    check(&world, &name, &Blocked::BackOff { until });
}

#[test]
fn an_agent_that_is_older_than_jobs_of_both_stages_gets_none_of_one() {
    let mut world = World::new();
    let job = world.submit("j", 8, 8);
    let mut agent = Agent::new("n", crate::world::agent::BOTH);
    let Request::Join(mut info) = agent.join_request() else {
        unreachable!("it asks to join");
    };
    info.version = "0.1.0".into();
    let answer = world.ask(Request::Join(info)).unwrap();
    agent.take_join(&answer);
    assert!(agent.pull(&mut world, 8).grants.is_empty());
    let stage = Stage::Screen;
    check(&world, &job, &Blocked::NoNodeForStage { stage });
    let screens = world.submit_as("default", "s", 8, |submission| {
        submission.spec.policy.stages = Stages::Screen;
    });
    let granted = agent.pull(&mut world, 8).grants;
    assert!(granted.iter().all(|grant| grant.job == screens));
    assert_eq!(granted.len(), 1);
}

#[test]
fn a_bundle_refused_for_its_residual_still_screens_on_that_node() {
    let mut world = World::new();
    let name = world.submit("j", 24, 8);
    let mut screen = Agent::new("screen", SCREEN);
    screen.join(&mut world).unwrap();
    let granted = screen.pull(&mut world, 8).grants[0].clone();
    let request = screen.commit_request(&granted, &granted.tracks, PartKind::Escalation);
    world.ask(request).unwrap();
    let mut agent = Agent::joined(&mut world, "n");
    let second = agent.pull(&mut world, 8).grants[0].clone();
    let is_second = |shard| matches!(shard, ShardId::Escalation { .. });
    assert!(is_second(second.shard));
    agent.grants.retain(|granted| !is_second(granted.shard));
    beat(&mut world, &mut agent, |beat| {
        beat.released = vec![Released {
            job: job("j"),
            shard: second.shard,
            attempt: second.attempt,
            cause: Cause::Bundle,
        }];
    });
    check(&world, &name, &Blocked::BundleRefused);
    let more = agent.pull(&mut world, 8).grants;
    assert!(!more.is_empty(), "it screens");
    assert!(!more.iter().any(|granted| is_second(granted.shard)));
    // Another life may have the number format that the bundle serves.
    agent.kill();
    world.pass(Millis(7_000));
    agent.join(&mut world).unwrap();
    assert!(!why(&world, &name).contains(&Blocked::BundleRefused));
}
