//! Revoking what a device made: the object, the intent, shard by shard, the closing; and every way in which a commit,
//! a publish, a late write or a new leader might get around it.

use crate::world::agent::{Agent, SCREEN, revoke, tracks};
use crate::world::{Effect, World, key, refused, unknown};
use scheduler::record::{PartKind, Progress, Standing};
use scheduler::{
    Answer, Blocked, CommitOutcome, Event, Granted, Order, Outcome, Refusal, Request,
    StorageOutcome,
};
use types::{Attempt, Code, Millis, ShardId};

const ROOT: ShardId = ShardId::Root(0);

/// A job of 8 tracks in two shards, and a node whose first part counts tracks 0 to 2.
fn setting() -> (World, Agent, Granted) {
    let mut world = World::new();
    world.submit("j", 8, 4);
    let mut agent = Agent::joined(&mut world, "n");
    let granted = agent.pull(&mut world, 4).grants[0].clone();
    agent.commit(&mut world, &granted, &tracks(0, 2)).unwrap();
    world.lines();
    (world, agent, granted)
}

fn done(world: &World) -> u64 {
    world.core.job(&key("j")).unwrap().totals.done
}

#[test]
fn a_revocation_is_marked_then_intended_then_carried_out_then_closed() {
    let (mut world, _, _) = setting();
    world.ask(revoke("r", "n", 1, 1)).unwrap();
    assert_eq!(
        world.lines(),
        [
            "mark revoked default/r in default/j",
            "write if at job/j, absent revocation/r then put revocation/r, put job/j",
            "answer 5: revoked default/r in 1 jobs existing=false",
            "write if at job/j, at shard/j/0000000000 then put shard/j/0000000000",
            "write if at revocation/r then put revocation/r",
        ]
    );
    let record = world.store.shard(&key("j"), ROOT).unwrap();
    assert!(record.parts.is_empty() && record.grants.is_empty());
    assert_eq!(record.last_attempt, Attempt(1));
    assert_eq!(done(&world), 0);
    world.ask(revoke("r", "n", 1, 1)).unwrap();
    let again = ["answer 6: revoked default/r in 1 jobs existing=true"];
    assert_eq!(world.lines(), again);
}

#[test]
fn only_what_that_device_made_in_that_span_is_revoked() {
    for (device, node, from, to, left) in [
        (None, "n", 1, 1, 0),
        (Some("cpu:0"), "n", 0, 9, 0),
        (Some("cuda:0"), "n", 0, 9, 2),
        (None, "n", 2, 9, 2),
        (None, "other", 0, 9, 2),
    ] {
        let (mut world, _, _) = setting();
        Agent::joined(&mut world, "other");
        let Request::Revoke(mut wish) = revoke("r", node, from, to) else {
            panic!("a revocation is one");
        };
        wish.device = device.map(Into::into);
        world.ask(Request::Revoke(wish)).unwrap();
        assert_eq!(
            done(&world),
            left,
            "{device:?} of {node} from {from} to {to}"
        );
    }
}

#[test]
fn a_commit_that_was_on_its_way_finds_no_live_attempt() {
    let (mut world, mut agent, granted) = setting();
    let late = agent.commit_request(&granted, &tracks(2, 4), PartKind::Terminal);
    world.ask(revoke("r", "n", 0, 9)).unwrap();
    let Answer::Committed(answer) = world.ask(late).unwrap() else {
        panic!("a commit is answered as one");
    };
    assert_eq!(answer.outcome, CommitOutcome::Superseded);
    assert_eq!(agent.beat(&mut world).unwrap().orders[0].order, Order::Stop);
    assert_eq!(done(&world), 0);
}

#[test]
fn what_was_revoked_is_scanned_again_and_published_once() {
    let (mut world, mut agent, granted) = setting();
    agent.commit(&mut world, &granted, &tracks(2, 4)).unwrap();
    world.ask(revoke("r", "n", 1, 2)).unwrap();
    agent.grants.clear();
    for _ in 0..2 {
        agent.pull(&mut world, 8);
        agent.finish(&mut world);
    }
    let manifest = &world.manifests[&key("j")];
    assert!(
        manifest
            .parts
            .iter()
            .all(|part| part.attempt != Attempt(1) || part.shard != ROOT)
    );
}

#[test]
fn an_escalation_shard_falls_with_its_part_and_leaves_a_tombstone_where_it_never_had_a_key() {
    for granted_before in [false, true] {
        let mut world = World::new();
        let job = world.submit("j", 4, 4);
        let mut screen = Agent::new("screen", SCREEN);
        screen.join(&mut world).unwrap();
        let granted = screen.pull(&mut world, 4).grants[0].clone();
        let request = screen.commit_request(&granted, &tracks(0, 4), PartKind::Escalation);
        world.ask(request).unwrap();
        let shard = ShardId::Escalation {
            root: 0,
            attempt: Attempt(1),
            first: 0,
        };
        let mut both = Agent::joined(&mut world, "both");
        let mut late = None;
        if granted_before {
            let granted = both.pull(&mut world, 2).grants[0].clone();
            late = Some(both.commit_request(&granted, &granted.tracks, PartKind::Terminal));
        }
        world.ask(revoke("r", "screen", 0, 9)).unwrap();
        let grave = world.store.shard(&job, shard).expect("its key stays");
        assert_eq!(grave.standing, Standing::Tombstone);
        assert_eq!(grave.last_attempt, Attempt(u32::from(granted_before)));
        assert!(world.core.shard(&job, shard).is_none());
        if let Some(late) = late {
            let Answer::Committed(answer) = world.ask(late).unwrap() else {
                panic!("a commit is answered as one");
            };
            assert_eq!(answer.outcome, CommitOutcome::Superseded);
        }
        world.restart();
        world.settle();
        both.grants.clear();
        both.pull(&mut world, 4);
        both.finish(&mut world);
        assert_eq!(world.manifests[&job].parts.len(), 1);
    }
}

#[test]
fn a_late_copy_of_a_fallen_shards_first_grant_is_refused() {
    let mut world = World::new();
    world.submit("j", 4, 4);
    let mut screen = Agent::new("screen", SCREEN);
    screen.join(&mut world).unwrap();
    let granted = screen.pull(&mut world, 4).grants[0].clone();
    let request = screen.commit_request(&granted, &tracks(0, 4), PartKind::Escalation);
    world.ask(request).unwrap();
    let mut both = Agent::joined(&mut world, "both");
    both.pull += 1;
    world.call(both.pull_request(4));
    let (id, late) = world.next_write();
    world.feed(Event::Written {
        id,
        outcome: unknown(),
    });
    world.pass(Millis(5_000));
    world.ask(revoke("r", "screen", 0, 9)).unwrap();
    assert!(matches!(
        world.store.write(&late),
        Outcome::Refused(Refusal::Key(_))
    ));
}

#[test]
fn nothing_publishes_and_the_node_gets_nothing_before_it_is_closed() {
    let (mut world, mut agent, granted) = setting();
    let mut other = Agent::joined(&mut world, "other");
    other.pull(&mut world, 8);
    world.call(revoke("r", "n", 1, 1));
    let at_once = [
        agent.commit_request(&granted, &tracks(2, 4), PartKind::Terminal),
        agent.pull_request(8),
    ];
    let calls: Vec<_> = at_once
        .into_iter()
        .map(|request| world.call(request))
        .collect();
    for granted in std::mem::take(&mut other.grants) {
        world.call(other.commit_request(&granted, &granted.tracks, PartKind::Terminal));
    }
    let why = world.core.explain(world.now, &key("j"), None).unwrap();
    assert!(
        why.iter()
            .any(|reason| reason.blocked == Blocked::JobRevoking)
    );
    let why = world.core.explain_node(
        world.now,
        &scheduler::NodeKey {
            tenant: types::TenantId::default(),
            node: crate::world::node("n"),
        },
    );
    assert!(matches!(
        why.unwrap()[0].blocked,
        Blocked::NodeRevoked { .. }
    ));
    world.settle();
    assert!(world.manifests.is_empty(), "a revoked track is open again");
    assert!(world.answers[&calls[0]].is_ok());
    let mut rounds = 0;
    while world.manifests.is_empty() {
        other.pull(&mut world, 8);
        other.finish(&mut world);
        rounds += 1;
        assert!(rounds < 5, "no end");
    }
}

#[test]
fn an_intent_of_unknown_outcome_parks_publish() {
    let (mut world, mut agent, granted) = setting();
    agent.grants.clear();
    agent.pull(&mut world, 4);
    agent.finish(&mut world);
    world.call(revoke("r", "n", 1, 1));
    let mark = world.effects.pop_front().unwrap();
    world.happen(mark);
    let (id, intent) = world.next_write();
    world.feed(Event::Written {
        id,
        outcome: unknown(),
    });
    let last = agent.commit_request(&granted, &tracks(2, 4), PartKind::Terminal);
    world.call(last);
    world.settle();
    assert!(world.manifests.is_empty());
    world.store.write(&intent);
    world.pass(Millis(5_000));
    assert!(world.manifests.is_empty());
    let open = world.store.revocations(Progress::Open, &key("j"));
    assert!(open.is_empty(), "it is carried out and closed");
    assert!(done(&world) < 8);
}

#[test]
fn an_intent_that_was_refused_for_another_records_sake_is_staged_again_and_answered() {
    let (mut world, _, _) = setting();
    let call = world.call(revoke("r", "n", 1, 1));
    let mark = world.effects.pop_front().unwrap();
    world.happen(mark);
    let (id, _) = world.next_write();
    let outcome = refused("of a neighbour in its group");
    world.feed(Event::Written { id, outcome });
    world.settle();
    let answer = world.answers.remove(&call).expect("whoever asked hears");
    assert!(matches!(answer, Ok(Answer::Revoked { jobs: 1, .. })));
    let closed = world.store.revocations(Progress::Closed, &key("j"));
    assert_eq!((closed.len(), done(&world)), (1, 0));
}

#[test]
fn a_new_leader_finishes_what_an_earlier_one_intended() {
    for survived in 1..6 {
        let (mut world, _, _) = setting();
        world.call(revoke("r", "n", 1, 1));
        for _ in 0..survived {
            if let Some(effect) = world.effects.pop_front() {
                world.happen(effect);
            }
        }
        let intended = !world
            .store
            .revocations(Progress::Open, &key("j"))
            .is_empty()
            || !world
                .store
                .revocations(Progress::Closed, &key("j"))
                .is_empty();
        world.restart();
        world.settle();
        assert_eq!(
            done(&world),
            if intended { 0 } else { 2 },
            "after {survived}"
        );
        let open = world.store.revocations(Progress::Open, &key("j"));
        assert!(open.is_empty(), "after {survived}");
    }
}

#[test]
fn a_revocation_whose_object_cannot_be_put_holds_nothing() {
    let (mut world, mut agent, _) = setting();
    let call = world.call(revoke("r", "n", 1, 1));
    let Some(Effect::MarkRevoked(revocation)) = world.effects.pop_front() else {
        panic!("the object is put first");
    };
    world.feed(Event::RevocationMarked {
        revocation,
        outcome: StorageOutcome::Failed {
            code: Code::StorageFull,
            cause: "no room".into(),
        },
    });
    assert_eq!(
        world.answers[&call].as_ref().unwrap_err().code,
        Code::StorageFull
    );
    assert_eq!(agent.pull(&mut world, 4).grants.len(), 1);
    assert!(world.ask(revoke("r", "n", 1, 1)).is_ok());
    assert_eq!(done(&world), 0);
}

#[test]
fn a_published_job_is_not_touched_and_the_mark_stays() {
    let (mut world, mut agent, granted) = setting();
    agent.commit(&mut world, &granted, &tracks(2, 4)).unwrap();
    agent.grants.clear();
    agent.pull(&mut world, 4);
    agent.finish(&mut world);
    assert_eq!(world.manifests.len(), 1);
    let before = world.store.job(&key("j")).unwrap();
    world.ask(revoke("r", "n", 0, 9)).unwrap();
    assert_eq!(world.store.job(&key("j")).unwrap(), before);
    let tenant = types::TenantId::default();
    let seen: Vec<_> = world.core.revocations(&tenant).collect();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].record.progress, Progress::Closed);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (mut world, _, _) = setting();
    for (request, code) in [
        (revoke("r", "n", 2, 1), Code::InvalidRequest),
        (revoke("r", "nobody", 1, 2), Code::NotFound),
    ] {
        assert_eq!(world.ask(request).unwrap_err().code, code);
    }
    world.ask(revoke("r", "n", 1, 1)).unwrap();
    let other = world.ask(revoke("r", "n", 1, 2)).unwrap_err();
    assert_eq!(other.code, Code::AlreadyExists);
}

#[test]
fn a_tenant_revokes_nothing_of_another_ones_and_nothing_that_the_fleet_made() {
    let (mut world, mut agent, granted) = setting();
    agent.commit(&mut world, &granted, &tracks(2, 4)).unwrap();
    agent.grants.clear();
    world.submit_as("b", "own", 8, |submission| {
        submission.lane = scheduler::record::Lane::Interactive;
    });
    assert_eq!(agent.pull(&mut world, 4).grants[0].job.job.as_str(), "own");
    agent.finish(&mut world);
    let before = world.store.all();
    let refused = world.ask_as("b", revoke("r", "n", 0, 99)).unwrap_err();
    assert_eq!(refused.code, Code::NotFound);
    let same = |a: &scheduler::StoredEntry, b: &scheduler::StoredEntry| a.revision == b.revision;
    let after = world.store.all();
    assert!(before.iter().zip(&after).all(|(a, b)| same(a, b)) && before.len() == after.len());
    // Even with a node of that name it reaches its own jobs alone.
    let join = agent.join_request();
    world.ask_as("b", join).unwrap();
    let answer = world.ask_as("b", revoke("r", "n", 0, 99)).unwrap();
    assert!(
        matches!(answer, Answer::Revoked { jobs: 1, .. }),
        "{answer:?}"
    );
    assert_eq!(world.core.job(&key("j")).unwrap().totals.done, 4);
}

#[test]
fn the_fleets_owner_revokes_what_a_node_made_for_anybody() {
    let mut world = World::new();
    let own = world.submit_as("b", "own", 8, |_| {});
    let mut agent = Agent::joined(&mut world, "n");
    let granted = agent.pull(&mut world, 8).grants[0].clone();
    agent.commit(&mut world, &granted, &tracks(0, 2)).unwrap();
    world.ask(revoke("r", "n", 0, 9)).unwrap();
    assert_eq!(world.core.job(&own).unwrap().totals.done, 0);
}
