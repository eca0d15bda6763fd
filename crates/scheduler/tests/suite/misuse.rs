//! What is refused, by which code, with nothing lost or counted.

use crate::world::agent::{Agent, BOTH, SCREEN, tracks};
use crate::world::{World, agent_info, key, node, submission};
use scheduler::record::{Closing, PartKind, VerdictCounts};
use scheduler::{Answer, CanaryVerdict, Commit, CommitOutcome, Granted, Request, limits};
use types::{Code, Generation, JobId, PullNo, Session, ShardId, Stage, Stages, TenantId};

fn setting() -> (World, Agent, Granted) {
    let mut world = World::new();
    world.submit("j", 8, 4);
    let mut agent = Agent::joined(&mut world, "n");
    let granted = agent.pull(&mut world, 4).grants[0].clone();
    (world, agent, granted)
}

/// A sound commit of tracks 0 to 2, edited; refused with that code, and nothing is counted.
#[track_caller]
fn check_commit(edit: impl FnOnce(&mut Commit), expected: Code) {
    let (mut world, mut agent, granted) = setting();
    let Request::Commit(mut commit) =
        agent.commit_request(&granted, &tracks(0, 2), PartKind::Terminal)
    else {
        panic!("a commit is a commit");
    };
    let sound = commit.clone();
    edit(&mut commit);
    let before = world.store.writes;
    let problem = world.ask(Request::Commit(commit)).unwrap_err();
    assert_eq!(problem.code, expected, "{problem}");
    assert_eq!(
        world.store.writes, before,
        "a refused commit writes nothing"
    );
    let counted = world.ask(Request::Commit(sound)).unwrap();
    assert!(
        matches!(counted, Answer::Committed(answer) if answer.outcome == CommitOutcome::Counted)
    );
}

/// The same, answered with `superseded`.
#[track_caller]
fn check_superseded(edit: impl FnOnce(&mut Commit)) {
    let (mut world, mut agent, granted) = setting();
    let Request::Commit(mut commit) =
        agent.commit_request(&granted, &tracks(0, 2), PartKind::Terminal)
    else {
        panic!("a commit is a commit");
    };
    edit(&mut commit);
    let answer = world.ask(Request::Commit(commit)).unwrap();
    assert!(
        matches!(answer, Answer::Committed(answer) if answer.outcome == CommitOutcome::Superseded)
    );
}

#[test]
fn a_job_of_the_screen_alone_takes_no_part_that_escalates() {
    for (stages, code) in [
        (Stages::Screen, Some(Code::CommitInvalid)),
        (Stages::Both, None),
    ] {
        let mut world = World::new();
        world.submit_as("default", "j", 8, |submission| {
            submission.spec.policy.stages = stages;
        });
        let mut agent = Agent::joined(&mut world, "n");
        let granted = agent.pull(&mut world, 4).grants[0].clone();
        let kind = PartKind::Escalation;
        let request = agent.commit_request(&granted, &tracks(0, 2), kind);
        let refused = world.ask(request).err().map(|problem| problem.code);
        assert_eq!(refused, code, "{stages}");
    }
}

#[test]
fn a_commit_that_does_not_match_its_part_is_refused() {
    let invalid = Code::CommitInvalid;
    check_commit(|commit| commit.parts.clear(), invalid);
    check_commit(
        |commit| commit.parts = vec![commit.parts[0].clone(); 3],
        invalid,
    );
    check_commit(|commit| commit.parts[0].rows = 3, invalid);
    check_commit(|commit| commit.parts[0].bytes = 0, invalid);
    check_commit(|commit| commit.parts[0].tracks = tracks(0, 0), invalid);
    check_commit(
        |commit| commit.parts[0].verdicts = VerdictCounts::default(),
        invalid,
    );
    check_commit(
        |commit| commit.parts[0].verdicts.likely_ai = u64::MAX,
        invalid,
    );
    check_commit(
        |commit| commit.parts[0].kind = PartKind::Escalation,
        invalid,
    );
}

#[test]
fn a_commit_of_tracks_outside_its_grant_or_of_covered_ones_is_refused() {
    check_commit(
        |commit| commit.parts[0].tracks = tracks(3, 5),
        Code::CommitInvalid,
    );
    check_commit(
        |commit| {
            let mut twice = commit.parts[0].clone();
            twice.sha256 = types::Digest::of(b"other");
            commit.parts.push(twice);
        },
        Code::CommitInvalid,
    );
    let (mut world, mut agent, granted) = setting();
    agent.commit(&mut world, &granted, &tracks(0, 2)).unwrap();
    let again = agent
        .commit(&mut world, &granted, &tracks(1, 3))
        .unwrap_err();
    assert_eq!(again.code, Code::CommitInvalid);
}

#[test]
fn a_part_without_a_good_canary_of_each_device_is_never_counted() {
    check_commit(
        |commit| commit.parts[0].canaries[0].verdict = CanaryVerdict::Bad,
        Code::CanaryFailed,
    );
    check_commit(
        |commit| commit.parts[0].canaries.clear(),
        Code::CommitInvalid,
    );
    check_commit(
        |commit| commit.parts[0].canaries[0].device = "cuda:1".into(),
        Code::CommitInvalid,
    );
    check_commit(
        |commit| commit.parts[0].canaries[0].stage = Stage::Residual,
        Code::CommitInvalid,
    );
    check_commit(|commit| commit.parts[0].made.clear(), Code::CommitInvalid);
}

#[test]
fn a_commit_by_or_to_what_is_not_there_is_refused() {
    check_commit(
        |commit| commit.generation = Generation(0),
        Code::GenerationOld,
    );
    check_commit(
        |commit| commit.job = JobId::new("other").unwrap(),
        Code::NotFound,
    );
    check_commit(|commit| commit.node = node("other"), Code::NodeUnknown);
    check_commit(|commit| commit.session = Session(0), Code::SessionOld);
    check_commit(|commit| commit.session = Session(2), Code::NodeUnknown);
}

#[test]
fn a_commit_for_a_shard_or_attempt_not_held_is_superseded() {
    check_superseded(|commit| commit.attempt = types::Attempt(2));
    check_superseded(|commit| commit.shard = ShardId::Root(1));
    check_superseded(|commit| commit.shard = ShardId::Root(99));
    check_superseded(|commit| {
        commit.shard = ShardId::Escalation {
            root: 0,
            attempt: types::Attempt(1),
            first: 0,
        };
    });
}

#[test]
fn another_nodes_attempt_is_not_ones_own() {
    let (mut world, _, granted) = setting();
    let mut other = Agent::joined(&mut world, "other");
    let answer = other.commit(&mut world, &granted, &tracks(0, 2)).unwrap();
    assert_eq!(answer.outcome, CommitOutcome::Superseded);
}

#[test]
fn a_terminal_and_an_escalation_part_of_one_flush_count_together() {
    let (mut world, mut agent, granted) = setting();
    let Request::Commit(mut commit) =
        agent.commit_request(&granted, &tracks(0, 2), PartKind::Terminal)
    else {
        panic!("a commit is a commit");
    };
    let Request::Commit(escalation) =
        agent.commit_request(&granted, &tracks(2, 4), PartKind::Escalation)
    else {
        panic!("a commit is a commit");
    };
    commit.parts.extend(escalation.parts);
    world.ask(Request::Commit(commit)).unwrap();
    let name = ShardId::Escalation {
        root: 0,
        attempt: granted.attempt,
        first: 2,
    };
    let shard = world
        .core
        .shard(&key("j"), name)
        .expect("the commit makes the shard exist");
    assert_eq!((shard.extent, shard.record.is_none()), (tracks(2, 4), true));
    let pulled = agent.pull(&mut world, 2).grants;
    assert_eq!(
        (pulled[0].shard, pulled[0].tracks.clone()),
        (name, tracks(2, 4))
    );
    assert_eq!(pulled[0].escalation.map(|e| e.first), Some(2));
}

#[test]
fn an_escalation_shard_never_escalates_further() {
    let mut world = World::new();
    world.submit("j", 4, 4);
    let mut agent = Agent::joined(&mut world, "n");
    let granted = agent.pull(&mut world, 4).grants[0].clone();
    world
        .ask(agent.commit_request(&granted, &tracks(0, 4), PartKind::Escalation))
        .unwrap();
    let granted = agent.pull(&mut world, 4).grants[0].clone();
    let request = agent.commit_request(&granted, &tracks(0, 4), PartKind::Escalation);
    assert_eq!(world.ask(request).unwrap_err().code, Code::CommitInvalid);
    assert!(
        world.manifests.is_empty(),
        "nothing is published while an escalation shard is open"
    );
    agent.commit(&mut world, &granted, &tracks(0, 4)).unwrap();
    assert_eq!(world.manifests.len(), 1);
}

#[test]
fn a_part_made_at_another_stage_than_its_shard_goes_through_is_refused() {
    let stage = Stage::Residual;
    check_commit(
        |commit| {
            commit.parts[0].made[0].stage = stage;
            commit.parts[0].canaries[0].stage = stage;
        },
        Code::CommitInvalid,
    );
    let mut world = World::new();
    world.submit("j", 4, 4);
    let mut agent = Agent::joined(&mut world, "n");
    let granted = agent.pull(&mut world, 4).grants[0].clone();
    let screened = agent.commit_request(&granted, &tracks(0, 4), PartKind::Escalation);
    world.ask(screened).unwrap();
    let granted = agent.pull(&mut world, 4).grants[0].clone();
    let request = agent.commit_request(&granted, &tracks(0, 4), PartKind::Terminal);
    let Request::Commit(mut commit) = request else {
        panic!("a commit is a commit");
    };
    commit.parts[0].made[0].stage = Stage::Screen;
    commit.parts[0].canaries[0].stage = Stage::Screen;
    let refused = world.ask(Request::Commit(commit)).unwrap_err();
    assert_eq!(refused.code, Code::CommitInvalid);
}

#[test]
fn a_screen_only_node_is_not_given_escalation_shards() {
    let mut world = World::new();
    world.submit("j", 4, 4);
    let mut screen = Agent::new("screen", SCREEN);
    screen.join(&mut world).unwrap();
    let granted = screen.pull(&mut world, 4).grants[0].clone();
    world
        .ask(screen.commit_request(&granted, &tracks(0, 4), PartKind::Escalation))
        .unwrap();
    assert!(screen.pull(&mut world, 4).grants.is_empty());
    let mut both = Agent::new("both", BOTH);
    both.join(&mut world).unwrap();
    assert_eq!(both.pull(&mut world, 4).grants.len(), 1);
}

#[test]
fn escalation_shards_that_a_node_cannot_run_hide_no_work_from_it() {
    let mut world = World::new();
    world.submit("j", 1_200, 1);
    let mut screen = Agent::new("screen", SCREEN);
    screen.join(&mut world).unwrap();
    while world.core.shards(&key("j")).count() < 640 {
        for granted in screen.pull(&mut world, 64).grants {
            let request = screen.commit_request(&granted, &granted.tracks, PartKind::Escalation);
            world.ask(request).unwrap();
        }
        screen.grants.clear();
    }
    assert_eq!(screen.pull(&mut world, 64).grants.len(), 64);
}

#[test]
fn a_late_or_overtaking_pull_is_refused_and_grants_nothing() {
    let (mut world, mut agent, _) = setting();
    agent.pull(&mut world, 1);
    let Request::Pull(mut pull) = agent.pull_request(4) else {
        panic!("a pull is a pull");
    };
    for late in [0, 1] {
        pull.number = PullNo(late);
        let problem = world.ask(Request::Pull(pull.clone())).unwrap_err();
        assert_eq!(problem.code, Code::InvalidRequest);
    }
    pull.number = PullNo(3);
    world.call(Request::Pull(pull.clone()));
    pull.number = PullNo(4);
    let over = world.call(Request::Pull(pull));
    assert_eq!(
        world.answers[&over].as_ref().unwrap_err().code,
        Code::Overloaded
    );
}

#[test]
fn what_is_impossible_or_another_tenants_is_refused_at_submit() {
    let mut world = World::new();
    let edited = |edit: fn(&mut scheduler::Submission)| {
        let Request::Submit(mut submission) = submission("j", 8, 4) else {
            panic!("a submission is one");
        };
        edit(&mut submission);
        Request::Submit(submission)
    };
    let bad: [fn(&mut scheduler::Submission); 5] = [
        |submission| submission.spec.plan.rows = 0,
        |submission| submission.spec.plan.shard_tracks = 0,
        |submission| submission.spec.plan.shard_tracks = 1_025,
        |submission| submission.spec.tenant = TenantId::new("other").unwrap(),
        |submission| submission.spec.generation = Generation(9),
    ];
    for edit in bad {
        assert_eq!(
            world.ask(edited(edit)).unwrap_err().code,
            Code::InvalidRequest
        );
    }
    assert_eq!(world.store.writes, 0);
}

#[test]
fn an_unknown_job_or_node_is_not_found() {
    let mut world = World::new();
    let job = || JobId::new("none").unwrap();
    let requests = [
        Request::Cancel {
            job: job(),
            reason: String::new(),
        },
        Request::Pause { job: job() },
        Request::Resume { job: job() },
        Request::SetDuty {
            node: node("none"),
            duty: scheduler::record::Duty::Cordoned,
        },
    ];
    for request in requests {
        assert_eq!(world.ask(request).unwrap_err().code, Code::NotFound);
    }
    let leave = Request::Leave {
        node: node("none"),
        session: Session(1),
    };
    assert_eq!(world.ask(leave).unwrap_err().code, Code::NodeUnknown);
}

#[test]
fn a_join_that_says_too_much_is_refused() {
    let mut world = World::new();
    let mut info = agent_info("n", 1, SCREEN);
    info.devices = vec![info.devices[0].clone(); limits::DEVICES_PER_NODE_MAX + 1];
    assert_eq!(
        world.ask(Request::Join(info)).unwrap_err().code,
        Code::InvalidRequest
    );
}

#[test]
fn more_calls_than_may_wait_for_a_record_are_told_so() {
    let (mut world, mut agent, granted) = setting();
    let request = agent.commit_request(&granted, &tracks(0, 2), PartKind::Terminal);
    world.call(request.clone());
    let calls: Vec<_> = (0..=limits::WAITING_PER_RECORD_MAX)
        .map(|_| world.call(request.clone()))
        .collect();
    let last = calls.last().expect("there are calls");
    assert_eq!(
        world.answers[last].as_ref().unwrap_err().code,
        Code::Overloaded
    );
    world.settle();
    assert!(world.answers[&calls[0]].is_ok());
}

#[test]
fn a_cancels_reason_is_kept_within_its_bound() {
    let mut world = World::new();
    let name = world.submit("j", 8, 4);
    let reason = "ü".repeat(400);
    world
        .ask(Request::Cancel {
            job: name.job.clone(),
            reason,
        })
        .unwrap();
    let record = world.store.job(&name).unwrap();
    let scheduler::record::JobState::Cancelled(closing) = record.state else {
        panic!("a cancelled job is cancelled");
    };
    assert_eq!(closing.reason.len(), Closing::REASON_BYTES_MAX);
}
