//! Reads that come back late: what they show is older than what is known since.

use crate::world::agent::Agent;
use crate::world::{Effect, World, unknown};
use scheduler::invariants::Invariant;
use scheduler::record::{JobRecord, JobState, PartKind, encode};
use scheduler::{Event, Outcome, ReadOutcome, Request, Revision, StepDown};
use types::Millis;

/// A job that was paused while a commit's write is in doubt, with the read that is to settle it under way.
fn doubtful(world: &mut World) -> (scheduler::JobKey, scheduler::ReadId, scheduler::Reading) {
    let job = world.submit("j", 4, 4);
    let mut agent = Agent::joined(world, "n");
    let granted = agent.pull(world, 4).grants[0].clone();
    world
        .ask(Request::Pause {
            job: job.job.clone(),
        })
        .unwrap();
    let commit = agent.commit_request(&granted, &granted.tracks, PartKind::Terminal);
    world.call(commit);
    let (id, txn) = world.next_write();
    assert!(matches!(world.store.write(&txn), Outcome::Applied { .. }));
    let outcome = unknown();
    world.feed(Event::Written { id, outcome });
    world.pass_silently(Millis(500));
    let (id, txn) = world.next_write();
    let outcome = world.store.write(&txn);
    assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    world.feed(Event::Written { id, outcome });
    match world.effects.pop_front() {
        Some(Effect::Read(id, reading)) => (job, id, reading),
        other => panic!("the keys are read: {other:?}"),
    }
}

#[test]
fn a_read_that_was_overtaken_by_a_write_does_not_bring_back_what_it_showed() {
    let mut world = World::new();
    let (job, id, reading) = doubtful(&mut world);
    let old = world.store.read(&reading);
    let resumed = world.ask(Request::Resume {
        job: job.job.clone(),
    });
    assert!(resumed.is_ok(), "{resumed:?}");
    world.feed(Event::Read { id, outcome: old });
    world.settle();
    assert_eq!(
        world.core.leads().map(|epoch| epoch.0),
        Some(world.store.epoch)
    );
    let stored = world.store.job(&job).expect("jobs stay");
    assert!(stored.state != JobState::Paused, "{:?}", stored.state);
    assert!(world.manifests.contains_key(&job), "all its rows are in");
}

#[test]
fn a_leader_whose_store_was_set_back_steps_down_and_names_both_revisions() {
    let mut world = World::new();
    let (_, id, reading) = doubtful(&mut world);
    let mut old = world.store.read(&reading);
    let ReadOutcome::Page { revision, .. } = &mut old else {
        panic!("keys are read: {old:?}");
    };
    let stood = *revision;
    *revision = Revision(1);
    world.feed(Event::Read { id, outcome: old });
    let [StepDown::Unreadable { cause, .. }] = &world.stepped_down[..] else {
        panic!("it goes on: {:?}", world.stepped_down);
    };
    assert!(cause.contains("shows revision 1 and"), "{cause}");
    assert!(stood > Revision(1), "{stood:?}");
    assert_eq!(world.core.leads(), None);
}

#[test]
fn a_record_that_differs_at_the_revision_held_is_counted() {
    let mut world = World::new();
    let (job, id, reading) = doubtful(&mut world);
    let mut read = world.store.read(&reading);
    let ReadOutcome::Page { entries, .. } = &mut read else {
        panic!("keys are read: {read:?}");
    };
    let held = world.store.job(&job).expect("the job is stored");
    let entry = entries.iter_mut().find(|entry| entry.key.contains("/job/"));
    let changed = JobRecord {
        priority: held.priority + 1,
        ..held
    };
    entry.expect("the job's record is read").value = encode(&changed);
    world.feed(Event::Read { id, outcome: read });
    let counted = world.core.violations();
    assert_eq!(counted.get(&Invariant::I12), Some(&1), "{counted:?}");
}
