//! Which part objects may be collected: never one that counts or may yet count.

use crate::world::agent::{Agent, tracks};
use crate::world::{GENERATION, World, key};
use scheduler::record::PartKind;
use scheduler::{Collector, Fate, Granted, Listed, PartName, Request};
use types::{Attempt, Digest, Generation, JobId, Millis, ShardId};

/// Attempt 1 of shard 0 has committed tracks 0 to 2 and is live.
fn setting() -> (World, Agent, Granted, Digest) {
    let mut world = World::new();
    world.submit("j", 8, 4);
    let mut agent = Agent::joined(&mut world, "n");
    let granted = agent.pull(&mut world, 4).grants[0].clone();
    let request = agent.commit_request(&granted, &tracks(0, 2), PartKind::Terminal);
    let Request::Commit(commit) = request.clone() else {
        panic!("a commit is a commit");
    };
    world.ask(request).unwrap();
    (world, agent, granted, commit.parts[0].sha256)
}

fn part(shard: u32, attempt: u32, sha256: Digest) -> PartName {
    PartName {
        job: key("j"),
        generation: GENERATION,
        shard: ShardId::Root(shard),
        attempt: Attempt(attempt),
        sha256,
    }
}

#[track_caller]
fn check(world: &World, part: &PartName, expected: Fate) {
    assert_eq!(world.core.fate(part), expected);
}

#[test]
fn what_counts_or_may_yet_count_is_kept() {
    let (world, _, _, sha256) = setting();
    let other = Digest::of(b"other");
    check(&world, &part(0, 1, sha256), Fate::Keep);
    check(&world, &part(0, 1, other), Fate::Keep);
    // A leader that was paused may not know the attempt yet.
    check(&world, &part(0, 2, other), Fate::Keep);
    check(&world, &part(1, 1, other), Fate::Keep);
}

#[test]
fn only_an_ended_attempts_unnamed_part_is_an_orphan() {
    let (mut world, mut agent, granted, sha256) = setting();
    agent.commit(&mut world, &granted, &tracks(2, 4)).unwrap();
    check(&world, &part(0, 1, sha256), Fate::Keep);
    let orphan = Digest::of(b"other");
    check(&world, &part(0, 1, orphan), Fate::Orphan);
    let record = world.store.shard(&key("j"), ShardId::Root(0)).unwrap();
    let mut counting = record.parts.iter();
    scheduler::invariants::orphan_is_unnamed(orphan, counting.clone()).expect("I6 holds");
    let kept = |part| scheduler::invariants::counted_was_not_collected(part, false);
    assert!(counting.all(|part| kept(part).is_ok()));
}

#[test]
fn nothing_is_said_of_other_generations_unknown_jobs_or_parked_keys() {
    let (mut world, mut agent, granted, _) = setting();
    agent.commit(&mut world, &granted, &tracks(2, 4)).unwrap();
    let orphan = part(0, 1, Digest::of(b"other"));
    check(
        &world,
        &PartName {
            generation: Generation(0),
            ..orphan.clone()
        },
        Fate::Keep,
    );
    let unknown = scheduler::JobKey {
        job: JobId::new("none").unwrap(),
        ..key("j")
    };
    check(
        &world,
        &PartName {
            job: unknown,
            ..orphan.clone()
        },
        Fate::Keep,
    );
    world.call(Request::Pause {
        job: JobId::new("j").unwrap(),
    });
    check(&world, &orphan, Fate::Keep);
    world.settle();
    check(&world, &orphan, Fate::Orphan);
}

#[test]
fn a_published_jobs_manifest_stands_for_its_records_and_a_cancelled_job_has_nothing_to_keep() {
    let (mut world, mut agent, granted, sha256) = setting();
    agent.commit(&mut world, &granted, &tracks(2, 4)).unwrap();
    agent.grants.clear();
    agent.pull(&mut world, 4);
    agent.finish(&mut world);
    check(&world, &part(0, 1, sha256), Fate::ByManifest);
    let (mut world, _, _, sha256) = setting();
    world
        .ask(Request::Cancel {
            job: JobId::new("j").unwrap(),
            reason: String::new(),
        })
        .unwrap();
    check(&world, &part(0, 1, sha256), Fate::Orphan);
}

#[test]
fn an_orphan_is_given_back_when_it_is_seen_again_after_a_while_and_nothing_else_ever_is() {
    let (mut world, mut agent, granted, sha256) = setting();
    agent.commit(&mut world, &granted, &tracks(2, 4)).unwrap();
    let listed = |sha256, in_manifest| Listed {
        part: part(0, 1, sha256),
        in_manifest,
    };
    let orphan = Digest::of(b"other");
    let page = [listed(sha256, true), listed(orphan, true)];
    let mut collector = Collector::new(Millis(1_000));
    let mut see = |world: &World, at, page: &[Listed]| {
        let doomed = collector.see(Millis(at), &world.core, page);
        doomed
            .into_iter()
            .map(|part| part.sha256)
            .collect::<Vec<_>>()
    };
    assert!(see(&world, 0, &page).is_empty());
    assert!(see(&world, 999, &page).is_empty());
    assert_eq!(see(&world, 1_000, &page), [orphan]);
    // A new leader marks anew.
    assert!(see(&world, 2_000, &page).is_empty());
    world.restart();
    world.settle();
    assert!(see(&world, 9_000, &page).is_empty());
    agent.grants.clear();
    agent.pull(&mut world, 4);
    agent.finish(&mut world);
    // The manifest stands for the records of a published job.
    let page = [listed(sha256, true), listed(orphan, false)];
    assert_eq!(see(&world, 12_000, &page), [orphan]);
}

#[test]
fn a_core_that_does_not_lead_keeps_everything() {
    let core = scheduler::Core::new();
    assert_eq!(core.fate(&part(0, 1, Digest::of(b"other"))), Fate::Keep);
}
