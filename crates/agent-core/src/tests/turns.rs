//! Whose turn it is: bundles in the order in which their grants came, and jobs whose sources answer.

use super::*;

const OTHER: Digest = Digest([8; 32]);

fn of_job(job: &str, attempt: u32, tracks: u32) -> Granted {
    Granted {
        key: GrantKey {
            job: JobId::new(job).unwrap(),
            ..key(attempt)
        },
        ..granted(attempt, tracks)
    }
}

/// The node is given these in one answer, and reads their lists.
fn give(node: &mut Node, number: u64, grants: Vec<Granted>) -> Vec<Action> {
    let keys: Vec<GrantKey> = grants.iter().map(|granted| granted.key.clone()).collect();
    let answer = Ok(Pulled {
        grants,
        again_after: Millis(1_000),
    });
    let mut actions = node.told(Event::Pulled {
        session: Session(1),
        number: PullNo(number),
        answer,
    });
    for grant in keys {
        let outcome = Ok(());
        actions.extend(node.told(Event::Prepared { grant, outcome }));
    }
    actions
}

fn ready(node: &mut Node, bundle: Digest) {
    let device = DEVICE;
    node.tell(Event::DeviceReady { device, bundle });
    node.slot(0);
}

#[test]
fn a_grant_of_another_bundle_has_its_turn_before_what_came_after_it() {
    let mut node = Node::joined();
    give(&mut node, 1, vec![granted(1, 3)]);
    ready(&mut node, BUNDLE);
    node.now = node.now + Millis(1_000);
    node.tell(Event::Tick);
    let urgent = Granted {
        bundle: OTHER,
        ..of_job("urgent", 1, 1)
    };
    give(&mut node, 2, vec![urgent, granted(2, 1_000)]);
    let load = Action::Load {
        device: DEVICE,
        bundle: OTHER,
    };
    for token in 0..3 {
        let mut actions = node.end(token, TrackOutcome::Unscannable);
        actions.extend(node.told(Event::SlotReady {
            device: DEVICE,
            slot: SlotNo(0),
        }));
        if actions.contains(&load) {
            assert_eq!(token, 2, "the first grant ends before");
            return;
        }
    }
    panic!("the urgent track's bundle is never loaded");
}

#[test]
fn a_bundle_that_stays_out_of_reach_gives_its_grants_back_and_others_go_on() {
    let mut node = Node::joined();
    let lost = of_job("lost", 1, 4);
    let other = Granted {
        bundle: OTHER,
        ..of_job("other", 1, 4)
    };
    give(&mut node, 1, vec![lost.clone(), other]);
    for _ in 1..limits::BUNDLE_LATERS_MAX {
        let (device, bundle, why) = (DEVICE, BUNDLE, Unready::Later);
        let event = Event::BundleUnready {
            device,
            bundle,
            why,
        };
        assert_eq!(node.told(event), []);
        node.now = node.now + limits::BACK_OFF_MAX;
        let again = node.told(Event::Tick);
        assert_eq!(again, [Action::Load { device, bundle }]);
    }
    let (device, bundle, why) = (DEVICE, BUNDLE, Unready::Later);
    let last = node.told(Event::BundleUnready {
        device,
        bundle,
        why,
    });
    let forget = Action::Forget {
        grant: lost.key.clone(),
    };
    let bundle = OTHER;
    assert_eq!(last, [forget, Action::Load { device, bundle }]);
    let cause = Cause::Storage;
    let key = lost.key;
    assert_eq!(node.beat_call().released, [Released { key, cause }]);
}

#[test]
fn a_source_out_of_reach_holds_up_its_own_job_alone_and_goes_back_whole() {
    let mut node = Node::joined();
    let (dead, other) = (of_job("dead", 1, 1), of_job("other", 1, 500));
    give(
        &mut node,
        1,
        vec![dead.clone(), of_job("dead", 2, 4), other.clone()],
    );
    ready(&mut node, BUNDLE);
    let mut ran = 0;
    let (mut token, mut of_dead) = (0, true);
    for _ in 0..200 {
        let outcome = if of_dead {
            TrackOutcome::Unreachable
        } else {
            TrackOutcome::Scored
        };
        ran += u32::from(!of_dead);
        let mut actions = node.end(token, outcome);
        node.now = node.now + Millis(1_000);
        actions.extend(node.told(Event::SlotReady {
            device: DEVICE,
            slot: SlotNo(0),
        }));
        let gone = Action::Forget {
            grant: dead.key.clone(),
        };
        if actions.contains(&gone) {
            assert!(ran > 10, "other tracks run between the tries");
            assert!(!node.core.has_grant(&of_job("dead", 2, 4).key));
            return;
        }
        let begun = actions.iter().find_map(|action| match action {
            Action::Start { token, grant, .. } => Some((token.0, grant.job == dead.key.job)),
            _ => None,
        });
        (token, of_dead) = begun.expect("the slot never idles");
    }
    panic!("the dead source's grants are never given back");
}

#[test]
fn of_what_a_node_holds_the_fastest_lane_and_the_highest_priority_go_first() {
    let mut node = Node::joined();
    let ranked = |job: &str, lane, priority| Granted {
        rank: Rank {
            lane,
            priority: std::cmp::Reverse(priority),
        },
        ..of_job(job, 1, 1)
    };
    let grants = vec![
        granted(1, 2),
        ranked("low", 1, 0),
        ranked("high", 1, 5),
        ranked("fast", 0, 0),
    ];
    give(&mut node, 1, grants);
    let first = node.told(Event::DeviceReady {
        device: DEVICE,
        bundle: BUNDLE,
    });
    assert_eq!(first, []);
    let mut begun = Vec::new();
    for token in 0..5 {
        let actions = node.told(Event::SlotReady {
            device: DEVICE,
            slot: SlotNo(0),
        });
        let started = actions.iter().find_map(|action| match action {
            Action::Start { grant, .. } => Some(grant.job.to_string()),
            _ => None,
        });
        begun.push(started.unwrap());
        node.end(token, TrackOutcome::Unscannable);
    }
    assert_eq!(begun, ["fast", "high", "low", "job", "job"]);
}
