//! What is not asked for while a write is in doubt.

use crate::world::agent::Agent;
use crate::world::{Effect, World, not_applied, submission, unknown};
use scheduler::record::PartKind;
use scheduler::{Event, StorageOutcome, limits};
use types::{Code, Millis, UnixMillis};

/// Lets everything happen up to the write that makes the job published.
fn published_but_for_its_write(world: &mut World) {
    world.submit("j", 4, 4);
    let mut agent = Agent::joined(world, "n");
    let granted = agent.pull(world, 4).grants.remove(0);
    world.call(agent.commit_request(&granted, &granted.tracks, PartKind::Terminal));
    for _ in ["the commit", "publishing", "the manifest"] {
        let effect = world.effects.pop_front().expect("publishing goes on");
        world.happen(effect);
    }
}

#[test]
fn no_manifest_is_asked_for_again_while_the_write_of_published_is_in_doubt() {
    let mut world = World::new();
    published_but_for_its_write(&mut world);
    let (id, _) = world.next_write();
    let outcome = unknown();
    world.feed(Event::Written { id, outcome });
    // The store takes no writes for a while; then all that waited is looked at.
    world.call(submission("other", 4, 4));
    let (id, _) = world.next_write();
    let outcome = not_applied();
    world.feed(Event::Written { id, outcome });
    world.pass_silently(Millis(5_000));
    let asked = |effect: &Effect| matches!(effect, Effect::Manifest(_));
    assert!(!world.effects.iter().any(asked), "{:?}", world.effects);
    world.settle();
    assert!(
        world
            .store
            .job(&crate::world::key("j"))
            .unwrap()
            .state
            .is_closed()
    );
}

#[test]
fn a_manifest_is_put_within_seconds_of_storage_being_back_however_long_it_was_away() {
    let mut world = World::new();
    world.submit("j", 4, 4);
    let mut agent = Agent::joined(&mut world, "n");
    let granted = agent.pull(&mut world, 4).grants.remove(0);
    world.call(agent.commit_request(&granted, &granted.tracks, PartKind::Terminal));
    for _ in ["the commit", "publishing"] {
        let effect = world.effects.pop_front().expect("publishing goes on");
        world.happen(effect);
    }
    for _ in 0..20 {
        let asked = |effect: Effect| matches!(effect, Effect::Manifest(_));
        assert!(world.effects.drain(..).any(asked));
        world.feed(Event::ManifestWritten {
            job: crate::world::key("j"),
            outcome: StorageOutcome::Failed {
                code: Code::StorageUnavailable,
                cause: String::new(),
            },
            at: UnixMillis(0),
        });
        world.pass_silently(limits::STORAGE_RETRY_MAX);
    }
}
