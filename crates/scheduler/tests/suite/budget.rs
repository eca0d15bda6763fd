//! Jobs with an escalation budget: a shard is one node's work until each of its tracks is screened, and what goes on to the
//! residual is never more than its number, whatever was lost, revoked or made again.

use crate::world::agent::{Agent, BOTH, SCREEN, SILENCE, revoke, tracks};
use crate::world::{World, key, submission};
use scheduler::record::Care;
use scheduler::{
    Answer, Blocked, Commit, CommitOutcome, Config, Flush, Granted, JobKey, Order, Quota, Reason,
    Request,
};
use types::{Code, Millis, Range, ShardId, Stages, TrackSet};

const ROOT: ShardId = ShardId::Root(0);

/// A job of 16 tracks in shards of 8, of which a quarter may go on: 2 of each.
fn setting() -> (World, JobKey) {
    setting_with(Config::default())
}

fn setting_with(config: Config) -> (World, JobKey) {
    let mut world = World::with_config(config);
    let job = world.submit_as("default", "j", 16, |submission| {
        submission.spec.policy.max_escalation = Some("0.25".parse().unwrap());
    });
    (world, job)
}

fn set(ordinals: &[u32]) -> TrackSet {
    ordinals.iter().copied().collect()
}

fn send(world: &mut World, commit: Commit) -> Result<CommitOutcome, Code> {
    match world.ask(Request::Commit(commit)) {
        Ok(Answer::Committed(answer)) => Ok(answer.outcome),
        Ok(other) => panic!("a commit is answered by {other:?}"),
        Err(problem) => Err(problem.code),
    }
}

#[test]
fn a_shard_is_granted_whole_whatever_is_wanted_with_the_number_that_may_go_on() {
    let (mut world, _) = setting();
    for (name, first) in [("a", 0), ("b", 8)] {
        let mut agent = Agent::new(name, SCREEN);
        agent.join(&mut world).unwrap();
        let pulled = agent.pull(&mut world, 2);
        let [granted] = &pulled.grants[..] else {
            panic!("one grant: {pulled:?}");
        };
        assert_eq!(granted.tracks, tracks(first, first + 8));
        assert_eq!(granted.escalations_max, Some(2));
        assert_eq!(granted.flush, Flush::AtEnd);
        assert!(granted.apart.is_empty() && granted.care == Care::Normal);
    }
}

#[test]
fn an_escalation_shard_of_such_a_job_is_divided_like_any_other() {
    let (mut world, _) = setting();
    let mut agent = Agent::joined(&mut world, "a");
    let granted = agent.pull(&mut world, 8).grants[0].clone();
    let commit = agent.commit_whole(&granted, &set(&[1, 6]));
    assert_eq!(send(&mut world, commit), Ok(CommitOutcome::Counted));
    let mut residual = Agent::new("r", &[types::Stage::Decode, types::Stage::Residual]);
    residual.join(&mut world).unwrap();
    let granted = residual.pull(&mut world, 1).grants[0].clone();
    assert_eq!(granted.tracks, set(&[1]));
    assert_eq!(granted.escalations_max, None);
    assert_eq!(granted.flush, Flush::AsConfigured);
    assert!(granted.escalation.is_some());
}

#[test]
fn a_commit_that_leaves_tracks_out_or_sends_on_too_many_is_refused() {
    let (mut world, job) = setting();
    let mut agent = Agent::joined(&mut world, "a");
    let granted = agent.pull(&mut world, 8).grants[0].clone();
    let some = Granted {
        tracks: tracks(0, 7),
        ..granted.clone()
    };
    for (of, onward) in [(&some, set(&[0])), (&granted, set(&[0, 1, 2]))] {
        let commit = agent.commit_whole(of, &onward);
        assert_eq!(send(&mut world, commit), Err(Code::CommitInvalid));
    }
    let commit = agent.commit_whole(&granted, &set(&[0, 5]));
    assert_eq!(send(&mut world, commit.clone()), Ok(CommitOutcome::Counted));
    assert_eq!(send(&mut world, commit), Ok(CommitOutcome::DoneAlready));
    let record = world.store.shard(&job, ROOT).unwrap();
    assert_eq!((record.parts.len(), record.grants.len()), (2, 0));
}

#[test]
fn what_has_gone_on_and_counts_is_not_given_again() {
    for (revoked, tracks, most) in [(0, set(&[0, 2, 3, 4, 6, 7]), 0), (1, set(&[1, 5]), 2)] {
        let (mut world, _) = setting();
        let mut agent = Agent::joined(&mut world, "a");
        let granted = agent.pull(&mut world, 8).grants[0].clone();
        let commit = agent.commit_whole(&granted, &set(&[1, 5]));
        assert_eq!(send(&mut world, commit), Ok(CommitOutcome::Counted));
        // The terminal part is the first one that it made, the escalation part the second.
        let part = 1 + revoked;
        world.ask(revoke("r", "a", part, part)).unwrap();
        let mut other = Agent::new("b", SCREEN);
        other.join(&mut world).unwrap();
        let granted = other.pull(&mut world, 8).grants[0].clone();
        assert_eq!((granted.shard, granted.tracks), (ROOT, tracks));
        assert_eq!(granted.escalations_max, Some(most));
    }
}

#[test]
fn suspects_are_named_in_the_whole_grant_and_the_one_that_kills_is_rejected_by_itself() {
    let (mut world, job) = setting();
    let mut watch = Agent::new("watch", &[]);
    watch.join(&mut world).unwrap();
    let mut hands = vec![set(&[2, 3]), set(&[3]), set(&[3])].into_iter();
    let mut seen = Vec::new();
    for life in 0..20 {
        let mut node = Agent::new(&format!("n{life}"), BOTH);
        node.join(&mut world).unwrap();
        while node.pull(&mut world, 8).grants.is_empty() {
            watch.beats_for(&mut world, Millis(1_000));
            node.beat(&mut world).unwrap();
        }
        let granted = node.grants[0].clone();
        seen.push((granted.tracks.clone(), granted.apart.clone(), granted.care));
        let Some(hand) = hands.next() else { break };
        // Whoever tries suspects gets nothing else meanwhile.
        let more = node.pull(&mut world, 64).grants;
        assert_eq!(more.is_empty(), !granted.apart.is_empty());
        let last = node.grants.len() > 1;
        node.beat_with(&mut world, |of| match of.shard == ROOT {
            true => hand.clone(),
            false => TrackSet::new(),
        })
        .unwrap();
        if last {
            // The other shard is through, so that the node holds the suspects alone.
            let other = node.grants.remove(1);
            node.commit(&mut world, &other, &other.tracks).unwrap();
        }
        watch.beats_for(&mut world, SILENCE);
    }
    let all = tracks(0, 8);
    let expected = [
        (all.clone(), TrackSet::new(), Care::Normal),
        (all.clone(), set(&[2, 3]), Care::Normal),
        (all.clone(), set(&[2, 3]), Care::Normal),
        (set(&[3]), TrackSet::new(), Care::Reject),
    ];
    assert_eq!(seen, expected);
    let record = world.store.shard(&job, ROOT).unwrap();
    assert_eq!(
        record.suspects.len(),
        2,
        "the neighbour is not cleared by that"
    );
    // While the one is being rejected nobody gets the rest; then it is whole again.
    let mut last = Agent::joined(&mut world, "last");
    assert!(last.pull(&mut world, 8).grants.is_empty());
}

#[test]
fn a_sound_track_that_happens_to_be_alone_in_hand_did_not_die_alone() {
    let (mut world, job) = setting();
    let mut silent = Agent::joined(&mut world, "silent");
    silent.pull(&mut world, 8);
    silent.beat_with(&mut world, |_| set(&[4])).unwrap();
    let mut other = Agent::joined(&mut world, "other");
    other.beats_for(&mut world, SILENCE);
    other.pull(&mut world, 8);
    let record = world.store.shard(&job, ROOT).unwrap();
    assert_eq!(record.suspects[0].tracks, Range { first: 4, end: 5 });
    assert!(record.suspects[0].alone.is_empty());
}

#[test]
fn a_shard_is_given_back_whole_or_not_at_all() {
    for (yielded_at, stays) in [(3, true), (u32::MAX, true), (0, false)] {
        let (mut world, job) = setting();
        let mut agent = Agent::joined(&mut world, "a");
        agent.pull(&mut world, 8);
        agent.beat += 1;
        let Request::Beat(mut beat) = agent.beat_request(|_| TrackSet::new()) else {
            panic!("a beat is one");
        };
        beat.held[0].yielded_at = Some(yielded_at);
        world.ask(Request::Beat(beat)).unwrap();
        let record = world.store.shard(&job, ROOT).unwrap();
        let ranges: Vec<Range> = record.grants.iter().map(|grant| grant.range).collect();
        let whole = Range { first: 0, end: 8 };
        assert_eq!(ranges, vec![whole; usize::from(stays)], "{yielded_at}");
    }
}

#[test]
fn nothing_of_a_shard_is_asked_back_for_a_node_with_nothing_to_do() {
    let (mut world, _) = setting();
    let mut slow = Agent::joined(&mut world, "slow");
    for number in 1..=2 {
        slow.pull = number;
        let Request::Pull(mut pull) = slow.pull_request(8) else {
            panic!("a pull is one");
        };
        pull.tracks_per_1000_s = Some(100);
        let answer = world.ask(Request::Pull(pull)).unwrap();
        slow.take_pull(&answer);
    }
    assert_eq!(slow.grants.len(), 2);
    slow.beat_with(&mut world, |_| TrackSet::new()).unwrap();
    let mut idle = Agent::joined(&mut world, "idle");
    for _ in 0..3 {
        assert!(idle.pull(&mut world, 8).grants.is_empty());
        let beaten = slow.beat_with(&mut world, |_| TrackSet::new()).unwrap();
        assert!(
            beaten
                .orders
                .iter()
                .all(|order| order.order == Order::Continue)
        );
        idle.beats_for(&mut world, Millis(1_000));
    }
}

#[test]
fn a_shard_larger_than_a_quota_goes_to_a_tenant_that_holds_nothing_and_to_no_other() {
    let (mut world, _) = setting_with(quota_of(5));
    let mut agent = Agent::joined(&mut world, "a");
    let pulled = agent.pull(&mut world, 16);
    assert_eq!(pulled.grants.len(), 1);
    assert_eq!(pulled.grants[0].tracks, tracks(0, 8));
    assert!(
        Agent::joined(&mut world, "b")
            .pull(&mut world, 16)
            .grants
            .is_empty()
    );
    agent.finish(&mut world);
    assert_eq!(agent.pull(&mut world, 16).grants[0].tracks, tracks(8, 16));
}

#[test]
fn a_shard_that_is_being_given_whole_counts_whole_in_its_tenants_quota() {
    let (mut world, job) = setting_with(quota_of(12));
    let pull = |world: &mut World, name| {
        let mut agent = Agent::joined(world, name);
        agent.pull = 1;
        (agent.pull_request(2), agent)
    };
    let ((first, _), (second, _)) = (pull(&mut world, "a"), pull(&mut world, "b"));
    // The second one asks while the first one's grant is being written.
    world.call(first);
    world.call(second);
    world.settle();
    let granted = |shard| {
        let record = world.store.shard(&job, ShardId::Root(shard));
        record.map_or(0, |record| record.grants.len())
    };
    assert_eq!((granted(0), granted(1)), (1, 0));
}

#[test]
fn what_comes_after_a_shard_that_does_not_fit_its_tenants_quota_waits_with_it() {
    let mut world = World::with_config(quota_of(12));
    let low = world.submit("low", 64, 8);
    let mut agent = Agent::joined(&mut world, "a");
    assert_eq!(agent.pull(&mut world, 8).grants[0].tracks, tracks(0, 8));
    let urgent = world.submit_as("default", "urgent", 8, |submission| {
        submission.spec.policy.max_escalation = Some("0.25".parse().unwrap());
        submission.priority = 5;
    });
    let mut other = Agent::joined(&mut world, "b");
    for _ in 0..3 {
        assert!(other.pull(&mut world, 8).grants.is_empty());
        for job in [&low, &urgent] {
            let reasons = world.core.explain(world.now, job, None).unwrap();
            let quota = |reason: &Reason| reason.blocked == Blocked::QuotaTracks;
            assert!(reasons.iter().any(quota), "{job}: {reasons:?}");
        }
        world.pass(Millis(2_000));
    }
    agent.finish(&mut world);
    assert_eq!(other.pull(&mut world, 8).grants[0].job, urgent);
    assert_eq!(agent.pull(&mut world, 8).grants[0].job, low);
}

/// That many tracks a tenant.
fn quota_of(tracks: u64) -> Config {
    Config {
        quota: Quota {
            tracks_max: Some(tracks),
            ..Quota::default()
        },
        ..Config::default()
    }
}

/// A job of one shard of 40 tracks with a budget.
fn large() -> (World, JobKey, Agent) {
    let mut world = World::new();
    let Request::Submit(mut asked) = submission("j", 40, 40) else {
        panic!("a submission is one");
    };
    asked.spec.policy.max_escalation = Some("0.25".parse().unwrap());
    world.ask(Request::Submit(asked)).unwrap();
    let mut watch = Agent::new("watch", &[]);
    watch.join(&mut world).unwrap();
    (world, key("j"), watch)
}

/// A node of that name that was given the shard, or what is to be rejected of it.
fn next_life(world: &mut World, watch: &mut Agent, life: u32) -> (Agent, Granted) {
    let mut node = Agent::joined(world, &format!("n{life}"));
    while node.pull(world, 8).grants.is_empty() {
        watch.beats_for(world, Millis(1_000));
        node.beat(world).unwrap();
    }
    let granted = node.grants[0].clone();
    (node, granted)
}

#[test]
fn a_node_that_falls_silent_with_all_rows_made_accuses_no_track() {
    let (mut world, job, mut watch) = large();
    let (mut node, _) = next_life(&mut world, &mut watch, 0);
    node.beat += 1;
    let Request::Beat(mut beat) = node.beat_request(|granted| granted.tracks.clone()) else {
        panic!("a beat is one");
    };
    // They stand in a part whose commit is not answered.
    beat.held[0].unflushed = 40;
    world.ask(Request::Beat(beat)).unwrap();
    watch.beats_for(&mut world, SILENCE);
    next_life(&mut world, &mut watch, 1);
    let record = world.store.shard(&job, ROOT).unwrap();
    assert_eq!((record.failures.len(), record.suspects.len()), (1, 0));
}

#[test]
fn a_track_that_kills_before_any_beat_names_it_is_found_though_few_are_accused_at_first() {
    let (mut world, _, mut watch) = large();
    let mut apart = Vec::new();
    for life in 0..6 {
        let (mut node, granted) = next_life(&mut world, &mut watch, life);
        if granted.care == Care::Reject {
            assert_eq!(granted.tracks, set(&[30]));
            assert_eq!(apart, [0, 16, 32, 32]);
            return;
        }
        apart.push(granted.apart.len());
        let named = granted.apart.intersection(&set(&[30]));
        node.beat_with(&mut world, |_| named.clone()).unwrap();
        watch.beats_for(&mut world, SILENCE);
    }
    panic!("it was never found: {apart:?}");
}

#[test]
fn a_budget_without_the_residual_is_no_budget() {
    let mut world = World::new();
    let Request::Submit(mut asked) = submission("j", 8, 8) else {
        panic!("a submission is one");
    };
    asked.spec.policy.stages = Stages::Screen;
    asked.spec.policy.max_escalation = Some("0.5".parse().unwrap());
    let refused = world.ask(Request::Submit(asked)).unwrap_err();
    assert_eq!(refused.code, Code::InvalidRequest);
    assert!(world.store.job(&key("j")).is_none());
}
