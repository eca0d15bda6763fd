//! What a bundle does not do on this node: a stage that no worker serves with it, and files that change under a loaded one.

use super::*;
use types::Stage;

fn residual(attempt: u32, tracks: u32) -> Granted {
    let shard = ShardId::Escalation {
        root: 0,
        attempt: Attempt(1),
        first: 0,
    };
    Granted {
        key: GrantKey {
            shard,
            ..key(attempt)
        },
        ..granted(attempt, tracks)
    }
}

fn pulled(node: &mut Node, number: u64, grants: Vec<Granted>) -> Vec<Action> {
    let (session, number) = (Session(1), PullNo(number));
    let answer = Ok(Pulled {
        grants,
        again_after: Millis(1_000),
    });
    node.told(Event::Pulled {
        session,
        number,
        answer,
    })
}

fn prepared(node: &mut Node, grant: &GrantKey) {
    let (grant, outcome) = (grant.clone(), Ok(()));
    node.tell(Event::Prepared { grant, outcome });
}

/// The device's worker comes up with one slot and serves no residual.
fn ready(node: &mut Node) -> Vec<Action> {
    let (device, bundle, stage) = (DEVICE, BUNDLE, Stage::Residual);
    let mut actions = node.told(Event::StageUnserved {
        device,
        bundle,
        stage,
    });
    actions.extend(node.told(Event::DeviceReady { device, bundle }));
    let slot = SlotNo(0);
    actions.extend(node.told(Event::SlotReady { device, slot }));
    actions
}

#[test]
fn tracks_of_a_stage_that_is_not_served_go_back_for_their_bundle_and_others_run() {
    let mut node = Node::joined();
    let second = residual(2, 3).key;
    pulled(&mut node, 1, vec![residual(2, 3), granted(1, 1)]);
    prepared(&mut node, &second);
    prepared(&mut node, &key(1));
    let back = |grant: &GrantKey| Action::Forget {
        grant: grant.clone(),
    };
    assert_eq!(ready(&mut node), [back(&second), start(0, 0, 0)]);
    let (key, cause) = (second, Cause::Bundle);
    assert_eq!(node.beat_call().released, [Released { key, cause }]);
    // What comes later is not even prepared.
    let later = residual(3, 1).key;
    let actions = pulled(&mut node, 2, vec![residual(3, 1)]);
    assert_eq!(actions, [back(&later)]);
}

#[test]
fn a_suspect_of_a_stage_that_is_not_served_costs_the_device_no_canary() {
    let mut node = Node::joined();
    let suspect = Granted {
        care: Care::Apart,
        ..residual(1, 1)
    };
    let grant = suspect.key.clone();
    pulled(&mut node, 1, vec![suspect]);
    prepared(&mut node, &grant);
    assert_eq!(ready(&mut node), [Action::Forget { grant }]);
}

#[test]
fn files_that_change_under_a_loaded_bundle_are_no_death_of_its_worker() {
    let mut node = Node::at_work(3, 2);
    let (device, bundle, why) = (DEVICE, BUNDLE, Unready::Never);
    let actions = node.told(Event::BundleUnready {
        device,
        bundle,
        why,
    });
    assert_eq!(actions, [Action::Forget { grant: key(1) }]);
    let beat = node.beat_call();
    let (key, cause) = (key(1), Cause::Bundle);
    assert_eq!(beat.released, [Released { key, cause }]);
    assert_eq!((beat.held, beat.devices_out), (vec![], vec![]));
    assert_eq!(node.end(0, TrackOutcome::Scored), [], "it is lost");
}
