//! The main transitions, each with the exact list of what the core asks for, in order.

use crate::world::agent::{Agent, tracks};
use crate::world::{World, applied, key, not_applied, refused, submission, unknown};
use scheduler::record::PartKind;
use scheduler::{Answer, CommitOutcome, Event, Order, Request, StorageOutcome};
use types::{Code, JobId, Millis};

fn job(name: &str) -> JobId {
    JobId::new(name).unwrap()
}

#[test]
fn a_leader_reads_every_page_before_it_says_ready() {
    let mut world = World::new();
    assert_eq!(world.lines(), ["read page of /0000000001/", "ready 1"]);
    for name in ["a", "b", "c"] {
        world.submit(name, 10, 4);
    }
    world.lines();
    world.restart();
    world.settle();
    let page = "read page of /0000000001/";
    assert_eq!(world.lines(), [page, page, "ready 5"]);
}

#[test]
fn submit_is_one_write_of_one_record_and_the_answer_follows_it() {
    let mut world = World::new();
    world.lines();
    world.call(submission("j", 100_000_000, 1_024));
    assert_eq!(world.lines(), ["write if absent job/j then put job/j"]);
    world.settle();
    assert_eq!(
        world.lines(),
        ["answer 1: submitted default/j existing=false"]
    );
    world.ask(submission("j", 100_000_000, 1_024)).unwrap();
    assert_eq!(
        world.lines(),
        ["answer 2: submitted default/j existing=true"]
    );
    let other = world.ask(submission("j", 7, 4)).unwrap_err();
    assert_eq!(other.code, Code::AlreadyExists);
}

#[test]
fn a_pull_persists_its_grants_before_it_is_answered() {
    let mut world = World::new();
    world.submit("j", 10, 4);
    let mut agent = Agent::joined(&mut world, "n");
    world.lines();
    agent.pull(&mut world, 6);
    assert_eq!(
        world.lines(),
        [
            "write if at job/j, absent shard/j/0000000000, absent shard/j/0000000001 \
             then put shard/j/0000000000, put shard/j/0000000001",
            "answer 3: pulled 1 [0#1[0,4)Normal 1#1[4,6)Normal]",
        ]
    );
}

#[test]
fn a_repeated_pull_gets_the_same_answer_also_from_a_new_leader() {
    let mut world = World::new();
    world.submit("j", 10, 4);
    let mut agent = Agent::joined(&mut world, "n");
    let first = agent.pull(&mut world, 6);
    let again = world.ask(agent.pull_request(6)).unwrap();
    assert_eq!(again, Answer::Pulled(first.clone()));
    world.restart();
    world.settle();
    let Answer::Pulled(later) = world.ask(agent.pull_request(6)).unwrap() else {
        panic!("a pull is answered as one");
    };
    let named = |answer: &scheduler::PullAnswer| {
        let name = |g: &scheduler::Granted| (g.shard, g.attempt, g.range);
        answer.grants.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(named(&later), named(&first));
}

#[test]
fn a_commit_is_one_guarded_write_and_repeating_it_is_done_already() {
    let mut world = World::new();
    world.submit("j", 10, 4);
    let mut agent = Agent::joined(&mut world, "n");
    let granted = agent.pull(&mut world, 4).grants[0].clone();
    world.lines();
    let request = agent.commit_request(&granted, &tracks(0, 2), PartKind::Terminal);
    world.ask(request.clone()).unwrap();
    world.ask(request).unwrap();
    assert_eq!(
        world.lines(),
        [
            "write if at job/j, at shard/j/0000000000 then put shard/j/0000000000",
            "answer 4: Counted Continue",
            "answer 5: DoneAlready Continue",
        ]
    );
}

#[test]
fn a_grant_ends_with_its_last_track_and_its_attempt_is_superseded_for_others() {
    let mut world = World::new();
    let job = world.submit("j", 10, 10);
    let mut agent = Agent::joined(&mut world, "n");
    let granted = agent.pull(&mut world, 4).grants[0].clone();
    let last = agent.commit(&mut world, &granted, &tracks(0, 4)).unwrap();
    assert_eq!(
        (last.outcome, last.order),
        (CommitOutcome::Counted, Order::Stop)
    );
    assert!(
        world
            .store
            .shard(&job, types::ShardId::Root(0))
            .unwrap()
            .grants
            .is_empty()
    );
    let late = agent.commit(&mut world, &granted, &tracks(0, 4)).unwrap();
    assert_eq!(late.outcome, CommitOutcome::Superseded);
}

#[test]
fn the_last_commit_publishes_and_then_the_shard_keys_go() {
    let mut world = World::new();
    world.submit("j", 4, 2);
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull(&mut world, 4);
    world.lines();
    agent.finish(&mut world);
    let shard = |n| format!("shard/j/000000000{n}");
    let (one, two) = (shard(0), shard(1));
    assert_eq!(
        world.lines(),
        [
            format!("write if at job/j, at {one} then put {one}"),
            "answer 4: Counted Stop".into(),
            format!("write if at job/j, at {two} then put {two}"),
            "answer 5: Counted Stop".into(),
            "write if at job/j then put job/j".into(),
            "manifest default/j of 2 parts".into(),
            "write if at job/j then put job/j".into(),
            format!("write if at job/j, at {one}, at {two} then delete {one}, delete {two}"),
        ]
    );
    assert_eq!(world.store.shard_keys(), 0);
    let view = world.core.job(&key("j")).unwrap();
    assert_eq!((view.totals.done, view.totals.verdicts.no_evidence), (4, 4));
}

#[test]
fn a_leader_that_dies_while_publishing_is_followed_by_one_that_ends_it() {
    for survived in 0..3 {
        let mut world = World::new();
        world.submit("j", 4, 2);
        let mut agent = Agent::joined(&mut world, "n");
        for granted in agent.pull(&mut world, 4).grants {
            let request = agent.commit_request(&granted, &granted.tracks, PartKind::Terminal);
            world.call(request);
        }
        let mut done = 0;
        while done < 2 + survived {
            let effect = world.effects.pop_front().expect("publishing goes on");
            world.happen(effect);
            done += 1;
        }
        world.restart();
        world.settle();
        let record = world.store.job(&key("j")).unwrap();
        assert!(
            record.state.is_closed(),
            "after {survived}: {:?}",
            record.state
        );
        assert_eq!(world.store.shard_keys(), 0);
    }
}

#[test]
fn a_cancel_is_marked_in_storage_before_the_record_says_so() {
    let mut world = World::new();
    world.submit("j", 4, 2);
    world.lines();
    let request = Request::Cancel {
        job: job("j"),
        reason: "wrong list".into(),
    };
    world.ask(request.clone()).unwrap();
    world.ask(request).unwrap();
    assert_eq!(
        world.lines(),
        [
            "mark default/j",
            "write if at job/j then put job/j",
            "answer 2: default/j Cancelled existing=false",
            "answer 3: default/j Cancelled existing=true",
        ]
    );
}

#[test]
fn a_cancel_whose_marker_fails_changes_nothing_and_may_be_repeated() {
    let mut world = World::new();
    world.submit("j", 4, 2);
    let request = Request::Cancel {
        job: job("j"),
        reason: String::new(),
    };
    let call = world.call(request.clone());
    world.effects.clear();
    world.feed(Event::CancelMarked {
        job: key("j"),
        outcome: StorageOutcome::Failed {
            code: Code::StorageFull,
            cause: "no room".into(),
        },
    });
    assert_eq!(
        world.answers[&call].as_ref().unwrap_err().code,
        Code::StorageFull
    );
    assert!(world.store.job(&key("j")).unwrap().state.is_open());
    assert!(world.ask(request).is_ok());
}

#[test]
fn publish_waits_for_a_cancel_on_its_way_and_a_cancel_is_refused_from_publishing_on() {
    let mut world = World::new();
    world.submit("j", 2, 2);
    let mut agent = Agent::joined(&mut world, "n");
    let granted = agent.pull(&mut world, 2).grants[0].clone();
    let request = Request::Cancel {
        job: job("j"),
        reason: String::new(),
    };
    world.call(request.clone());
    let marker = world.effects.pop_front().unwrap();
    agent.commit(&mut world, &granted, &granted.tracks).unwrap();
    assert!(
        world.manifests.is_empty(),
        "nothing is published while a cancel is on its way"
    );
    world.happen(marker);
    world.settle();
    assert!(world.manifests.is_empty());

    world.submit("k", 2, 2);
    agent.pull(&mut world, 2);
    agent.finish(&mut world);
    let late = Request::Cancel {
        job: job("k"),
        reason: String::new(),
    };
    assert_eq!(world.ask(late).unwrap_err().code, Code::JobClosed);
}

#[test]
fn a_commit_after_cancel_is_superseded_and_beats_say_stop() {
    let mut world = World::new();
    world.submit("j", 4, 4);
    let mut agent = Agent::joined(&mut world, "n");
    let granted = agent.pull(&mut world, 4).grants[0].clone();
    world
        .ask(Request::Cancel {
            job: job("j"),
            reason: String::new(),
        })
        .unwrap();
    let orders = agent.beat(&mut world).unwrap().orders;
    assert_eq!(orders[0].order, Order::Stop);
    let late = agent.commit(&mut world, &granted, &granted.tracks).unwrap();
    assert_eq!(
        (late.outcome, late.order),
        (CommitOutcome::Superseded, Order::Stop)
    );
}

#[test]
fn a_paused_job_grants_nothing_and_still_counts_what_is_in_hand() {
    let mut world = World::new();
    world.submit("j", 8, 4);
    let mut agent = Agent::joined(&mut world, "n");
    let granted = agent.pull(&mut world, 4).grants[0].clone();
    world.ask(Request::Pause { job: job("j") }).unwrap();
    let order = agent.beat(&mut world).unwrap().orders[0].order;
    assert_eq!(order, Order::YieldAt { at: 0 });
    let done = agent.commit(&mut world, &granted, &granted.tracks).unwrap();
    assert_eq!(done.outcome, CommitOutcome::Counted);
    agent.grants.clear();
    assert!(agent.pull(&mut world, 4).grants.is_empty());
    world.ask(Request::Resume { job: job("j") }).unwrap();
    assert!(agent.beat(&mut world).unwrap().pull_now);
    assert_eq!(agent.pull(&mut world, 4).grants.len(), 1);
}

#[test]
fn an_unknown_write_parks_its_key_until_the_same_write_is_refused_and_found() {
    let mut world = World::new();
    world.submit("j", 4, 4);
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull += 1;
    let pull = world.call(agent.pull_request(4));
    let (id, txn) = world.next_write();
    world.store.write(&txn);
    world.lines();
    world.feed(Event::Written {
        id,
        outcome: unknown(),
    });
    assert!(
        world.lines().is_empty(),
        "nothing leaves while the outcome is unknown"
    );
    world.pass(Millis(5_000));
    let key = "shard/j/0000000000";
    assert_eq!(
        world.lines(),
        [
            format!("write if at job/j, absent {key} then put {key}"),
            format!("read job/j {key}"),
            "answer 3: pulled 1 [0#1[0,4)Normal]".into(),
        ]
    );
    assert!(world.answers.contains_key(&pull));
}

#[test]
fn an_unknown_write_that_did_not_land_is_written_by_its_repetition() {
    let mut world = World::new();
    world.submit("j", 4, 4);
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull += 1;
    world.call(agent.pull_request(4));
    let (id, first) = world.next_write();
    world.feed(Event::Written {
        id,
        outcome: unknown(),
    });
    world.lines();
    world.pass(Millis(5_000));
    let write = "write if at job/j, absent shard/j/0000000000 then put shard/j/0000000000";
    assert_eq!(
        world.lines(),
        [write, "answer 3: pulled 1 [0#1[0,4)Normal]"]
    );
    assert_eq!(
        world.store.write(&first),
        refused("/0000000001/default/shard/j/0000000000")
    );
}

#[test]
fn a_repetition_that_was_not_applied_settles_nothing() {
    let mut world = World::new();
    world.submit("j", 4, 4);
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull += 1;
    let pull = world.call(agent.pull_request(4));
    let (id, txn) = world.next_write();
    world.store.write(&txn);
    world.feed(Event::Written {
        id,
        outcome: unknown(),
    });
    world.pass_silently(Millis(100));
    let (id, _) = world.next_write();
    world.feed(Event::Written {
        id,
        outcome: not_applied(),
    });
    assert!(
        !world.answers.contains_key(&pull),
        "the first copy may have landed"
    );
    world.pass(Millis(5_000));
    assert!(world.answers[&pull].is_ok());
}

#[test]
fn a_write_that_certainly_did_not_happen_is_told_to_its_caller() {
    let mut world = World::new();
    world.submit("j", 4, 4);
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull += 1;
    let call = world.call(agent.pull_request(4));
    let (id, _) = world.next_write();
    world.feed(Event::Written {
        id,
        outcome: not_applied(),
    });
    let problem = world.answers[&call].as_ref().unwrap_err();
    assert_eq!(problem.code, Code::StoreUnavailable);
    let Answer::Pulled(again) = world.ask(agent.pull_request(4)).unwrap() else {
        panic!("the same number is free again");
    };
    assert_eq!(again.grants.len(), 1);
}

#[test]
fn a_refused_group_is_tried_again_one_by_one() {
    let mut world = World::new();
    world.submit("j", 8, 4);
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull += 1;
    world.call(agent.pull_request(8));
    let (id, _) = world.next_write();
    world.lines();
    world.feed(Event::Written {
        id,
        outcome: refused("/0000000001/default/shard/j/0000000001"),
    });
    let write =
        |n| format!("write if at job/j, absent shard/j/000000000{n} then put shard/j/000000000{n}");
    assert_eq!(world.lines(), [write(0), write(1)]);
}

#[test]
fn a_refused_epoch_drops_everything_and_answers_every_call() {
    let mut world = World::new();
    world.submit("j", 8, 4);
    let mut agent = Agent::joined(&mut world, "n");
    agent.pull += 1;
    let pull = world.call(agent.pull_request(8));
    let same = world.call(agent.pull_request(8));
    world.store.new_epoch();
    world.lines();
    world.settle();
    assert_eq!(
        world.lines(),
        [
            "answer 3: NOT_LEADER",
            "answer 4: NOT_LEADER",
            "step down: EpochEnded"
        ]
    );
    assert!(world.answers[&pull].is_err() && world.answers[&same].is_err());
    assert_eq!(world.core.leads(), None);
    let later = world.ask(submission("k", 4, 4)).unwrap_err();
    assert_eq!(later.code, Code::NotLeader);
}

#[test]
fn a_late_word_of_an_earlier_reign_is_not_mistaken() {
    let mut world = World::new();
    let call = world.call(submission("j", 4, 4));
    let (id, _) = world.next_write();
    world.feed(Event::Lost);
    assert!(world.answers[&call].is_err());
    let epoch = world.store.new_epoch();
    world.feed(Event::Led {
        epoch,
        generation: crate::world::GENERATION,
    });
    world.settle();
    world.lines();
    world.feed(Event::Written {
        id,
        outcome: applied(99),
    });
    assert!(world.lines().is_empty());
    assert!(world.core.job(&key("j")).is_none());
}

#[test]
fn a_record_that_cannot_be_read_is_named_and_nothing_is_served() {
    let mut world = World::new();
    world.submit("j", 4, 4);
    let path = "/0000000001/default/job/j".to_string();
    world.store.entries.get_mut(&path).unwrap().0 = vec![9, 9, 9];
    world.restart();
    world.settle();
    let reason = format!("{:?}", world.stepped_down);
    assert!(
        reason.contains(&path) && reason.contains("version 9"),
        "{reason}"
    );
    assert_eq!(world.core.leads(), None);
}

#[test]
fn a_cancelled_jobs_totals_count_a_commit_that_was_on_its_way() {
    let mut world = World::new();
    let j = world.submit("j", 8, 8);
    let mut agent = Agent::joined(&mut world, "n");
    let granted = agent.pull(&mut world, 8).grants[0].clone();
    let first = agent.commit_request(&granted, &tracks(0, 2), PartKind::Terminal);
    let commit = world.call(first);
    let write = world.effects.pop_front().unwrap();
    let cancel = world.call(Request::Cancel {
        job: j.job.clone(),
        reason: String::new(),
    });
    world.settle();
    assert!(
        !world.answers.contains_key(&cancel),
        "the commit may count yet"
    );
    let late = agent.commit_request(&granted, &tracks(2, 4), PartKind::Terminal);
    let late = world.call(late);
    world.settle();
    world.happen(write);
    world.settle();
    for call in [commit, cancel, late] {
        assert!(world.answers.remove(&call).unwrap().is_ok());
    }
    let record = world.core.job(&j).unwrap();
    assert_eq!(record.totals.done, 2);
    let stored = world.store.job(&j).unwrap();
    assert_eq!(stored.totals.unwrap().done, 2);
}
