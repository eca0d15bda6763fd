//! Tracks that the gate sends on: into the escalation part of their flush, as many as the budget has room for, whoever came first.

use super::*;
use types::{Stage, TrackId};

fn onward(distance: u64, track: &str) -> TrackOutcome {
    within(Reach::exact(distance), distance, track)
}

/// One that may stand elsewhere on another device.
fn within(reach: Reach, distance: u64, track: &str) -> TrackOutcome {
    let track = TrackId::new(track).unwrap();
    TrackOutcome::Escalated(Escalation {
        distance,
        track,
        reach,
    })
}

fn some(ordinals: &[Ordinal]) -> TrackSet {
    ordinals.iter().copied().collect()
}

/// A grant of all that is left of a shard of a job with a budget.
fn budgeted(tracks: u32, most: u32) -> Granted {
    Granted {
        flush: Flush::AtEnd,
        escalations_max: Some(most),
        ..granted(1, tracks)
    }
}

/// A node with that grant, a loaded device and so many slots.
fn at_work(granted: Granted, slots: u32) -> Node {
    let mut node = Node::joined();
    let grant = granted.key.clone();
    node.grant(granted);
    let outcome = Ok(());
    node.tell(Event::Prepared { grant, outcome });
    let (device, bundle) = (DEVICE, BUNDLE);
    node.tell(Event::DeviceReady { device, bundle });
    (0..slots).for_each(|slot| node.slot(slot));
    node
}

/// What a part is written of: all of it, what goes on, what the budget holds back.
fn written(actions: &[Action]) -> Option<(TrackSet, TrackSet, TrackSet)> {
    actions.iter().find_map(|action| match action {
        Action::WritePart {
            tracks,
            onward,
            withheld,
            ..
        } => Some((tracks.clone(), onward.clone(), withheld.clone())),
        _ => None,
    })
}

fn starts(actions: &[Action]) -> Vec<Ordinal> {
    let start = |action: &Action| match action {
        Action::Start { ordinal, .. } => Some(*ordinal),
        _ => None,
    };
    actions.iter().filter_map(start).collect()
}

#[test]
fn what_the_gate_sends_on_goes_with_its_flush_where_there_is_no_budget() {
    let mut node = at_work(granted(1, 3), 3);
    node.end(1, onward(7, "b"));
    node.end(0, TrackOutcome::Scored);
    assert_eq!(node.end(2, onward(9, "c")), [sing(0)]);
    let part = written(&node.sung(0, true));
    assert_eq!(part, Some((set(0, 3), some(&[1, 2]), TrackSet::new())));
}

#[test]
fn a_budget_takes_the_nearest_to_the_gate_whoever_came_first_and_holds_the_others_back() {
    let outcomes = [
        onward(5, "e"),
        onward(2, "z"),
        TrackOutcome::Scored,
        onward(2, "a"),
        onward(9, "b"),
        TrackOutcome::Unscannable,
    ];
    let orders: [[u64; 6]; 3] = [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [4, 0, 3, 5, 1, 2]];
    for (most, sent, held) in [
        (0, some(&[]), some(&[0, 1, 3, 4])),
        (1, some(&[3]), some(&[0, 1, 4])),
        (3, some(&[0, 1, 3]), some(&[4])),
        (9, some(&[0, 1, 3, 4]), some(&[])),
    ] {
        for order in orders {
            let mut node = at_work(budgeted(6, most), 6);
            for token in order {
                node.end(token, outcomes[usize::try_from(token).unwrap()].clone());
            }
            let part = written(&node.sung(0, true));
            assert_eq!(
                part,
                Some((set(0, 6), sent.clone(), held.clone())),
                "{order:?}"
            );
        }
    }
}

#[test]
fn tracks_that_might_change_places_at_the_cut_of_a_budget_are_named_with_their_part() {
    let moved = |distance: u64, track: &str| {
        let reach = Reach {
            nearest: distance - 1,
            farthest: distance + 1,
            certain: true,
        };
        within(reach, distance, track)
    };
    let spared = TrackOutcome::Spared(Spared {
        nearest: 30,
        track: TrackId::new("f").unwrap(),
    });
    let mut node = at_work(budgeted(5, 2), 5);
    node.end(0, moved(10, "a"));
    node.end(1, moved(21, "b"));
    node.end(2, spared);
    node.end(3, moved(20, "c"));
    node.end(4, moved(40, "d"));
    let actions = node.sung(0, true);
    let borderline = actions.iter().find_map(|action| match action {
        Action::WritePart { borderline, .. } => Some(borderline.clone()),
        _ => None,
    });
    assert_eq!(borderline, Some(some(&[1, 3])));
    let part = (set(0, 5), some(&[0, 3]), some(&[1, 4]));
    assert_eq!(written(&actions), Some(part));
}

#[test]
fn a_grant_with_a_budget_is_flushed_once_when_each_of_its_tracks_has_a_row() {
    let asked = Granted {
        flush: Flush::AsConfigured,
        ..budgeted(3, 1)
    };
    let mut node = at_work(asked, 1);
    node.end(0, onward(1, "a"));
    node.slot(0);
    node.now = node.now + Millis(1_000_000);
    assert_eq!(node.told(Event::Tick), []);
    node.beat_call();
    node.beat(order(Order::Continue));
    node.end(1, onward(2, "b"));
    node.slot(0);
    assert_eq!(node.end(2, TrackOutcome::Scored), [sing(0)]);
    node.sung(0, true);
    assert_eq!(node.told(stored(0)), [commit(0)]);
    assert_eq!(node.told(counted(0)), forgotten());
}

#[test]
fn a_grant_with_a_budget_that_is_begun_is_finished_before_another_bundle_has_its_turn() {
    let mut node = at_work(granted(1, 1), 1);
    let other = Granted {
        key: GrantKey {
            job: JobId::new("other").unwrap(),
            ..key(2)
        },
        bundle: Digest([8; 32]),
        ..granted(2, 1)
    };
    let whole = Granted {
        key: key(3),
        range: Range { first: 1, end: 3 },
        tracks: set(1, 3),
        ..budgeted(2, 1)
    };
    node.now = node.now + Millis(1_000);
    node.tell(Event::Tick);
    let (first, second) = (other.key.clone(), whole.key.clone());
    let answer = Ok(Pulled {
        grants: vec![other, whole],
        again_after: Millis(1_000),
    });
    node.tell(Event::Pulled {
        session: Session(1),
        number: PullNo(2),
        answer,
    });
    let mut begun = Vec::new();
    // The other one came first, and its list is read last.
    for (token, grant) in [(0, second), (1, first)] {
        node.end(token, TrackOutcome::Scored);
        node.tell(Event::Prepared {
            grant,
            outcome: Ok(()),
        });
        let actions = node.told(Event::SlotReady {
            device: DEVICE,
            slot: SlotNo(0),
        });
        begun.extend(starts(&actions));
    }
    assert_eq!(begun, [1, 2]);
}

#[test]
fn what_is_made_again_for_a_dead_worker_is_chosen_again_and_not_beside_what_was_chosen() {
    let mut node = at_work(budgeted(3, 1), 3);
    node.end(0, onward(4, "a"));
    node.end(1, onward(2, "b"));
    assert_eq!(node.end(2, onward(3, "c")), [sing(0)]);
    node.die(Death::Own);
    node.revive();
    // Its rows are made anew, in another order.
    for token in 3..6 {
        node.end(
            token,
            onward([4, 2, 3][usize::try_from(token - 3).unwrap()], "x"),
        );
        node.slot(0);
    }
    let part = written(&node.sung(1, true));
    assert_eq!(part, Some((set(0, 3), some(&[1]), some(&[0, 2]))));
}

#[test]
fn a_grant_with_a_budget_is_given_back_whole_before_anything_is_begun_and_not_at_all_after() {
    let mut node = Node::joined();
    node.grant(budgeted(4, 1));
    let asked = order(Order::YieldAt(0));
    node.beat_call();
    let actions = node.beat(asked.clone());
    assert!(actions.contains(&Action::Forget { grant: key(1) }));
    assert_eq!(node.core.open_tracks(), 0);

    let mut node = at_work(budgeted(4, 1), 1);
    node.beat_call();
    node.beat(asked);
    assert_eq!(node.core.open_tracks(), 4);
    let beat = node.beat_call();
    assert_eq!(beat.held[0].yielded_at, Some(Ordinal::MAX));
}

#[test]
fn a_draining_node_releases_a_grant_with_a_budget_unless_all_of_it_is_made() {
    let mut node = at_work(budgeted(2, 1), 2);
    node.end(0, onward(1, "a"));
    let actions = node.told(Event::Drain);
    let expected = [
        Action::Abort { token: Token(1) },
        Action::Forget { grant: key(1) },
        Action::Leave {
            session: Session(1),
        },
    ];
    assert_eq!(actions, expected);

    let mut node = at_work(budgeted(2, 1), 2);
    node.end(0, onward(1, "a"));
    assert_eq!(node.end(1, TrackOutcome::Scored), [sing(0)]);
    assert_eq!(node.told(Event::Drain), []);
    let part = written(&node.sung(0, true));
    assert_eq!(part, Some((set(0, 2), some(&[0]), TrackSet::new())));
}

#[test]
fn a_source_that_stays_away_takes_a_grant_with_a_budget_back_whole() {
    let mut node = at_work(budgeted(2, 1), 1);
    node.end(0, onward(1, "a"));
    node.slot(0);
    for token in 1.. {
        let actions = node.end(token, TrackOutcome::Unreachable);
        if actions.contains(&Action::Forget { grant: key(1) }) {
            break;
        }
        node.slot(0);
        node.now = node.now + Millis(30_000);
        node.tell(Event::Tick);
    }
    assert_eq!(node.beat_call().released[0].cause, Cause::Storage);
}

#[test]
fn suspects_of_a_grant_with_a_budget_run_before_the_others_with_nothing_beside_them() {
    let asked = Granted {
        apart: some(&[2]),
        ..budgeted(3, 1)
    };
    let mut node = at_work(asked, 2);
    node.sung(0, true);
    let beat = node.beat_call();
    assert_eq!(beat.held[0].in_hand, some(&[2]));
    assert_eq!(starts(&node.beat(order(Order::Continue))), [2]);
    let mut begun = starts(&node.end(0, onward(1, "c")));
    assert_eq!(begun, [], "a beat without it must be answered first");
    node.slot(1);
    node.beat_call();
    begun = starts(&node.beat(order(Order::Continue)));
    assert_eq!(begun, [0]);
}

#[test]
fn what_the_residual_made_is_proved_by_a_canary_of_the_residual_and_goes_no_further() {
    let shard = ShardId::Escalation {
        root: 0,
        attempt: Attempt(1),
        first: 0,
    };
    let key = GrantKey { shard, ..key(1) };
    let asked = Granted {
        key: key.clone(),
        tracks: some(&[0, 5]),
        ..granted(1, 6)
    };
    let mut node = at_work(asked, 2);
    node.end(0, TrackOutcome::Scored);
    let song = Action::Sing {
        device: DEVICE,
        stage: Stage::Residual,
        nonce: 0,
    };
    assert_eq!(node.end(1, onward(1, "a")), [song]);
    let part = Action::WritePart {
        part: PartNo(0),
        grant: key,
        tracks: some(&[0, 5]),
        onward: TrackSet::new(),
        withheld: TrackSet::new(),
        borderline: TrackSet::new(),
        device: Some(DEVICE),
    };
    assert_eq!(node.sung(0, true), [part]);
}

#[test]
fn parts_of_two_stages_wait_for_a_canary_each() {
    let shard = ShardId::Escalation {
        root: 3,
        attempt: Attempt(1),
        first: 0,
    };
    let residual = Granted {
        key: GrantKey { shard, ..key(1) },
        ..granted(1, 1)
    };
    let mut node = at_work(granted(1, 1), 2);
    let (session, number) = (Session(1), PullNo(2));
    let answer = Ok(Pulled {
        grants: vec![residual.clone()],
        again_after: Millis(1_000),
    });
    node.now = node.now + Millis(1_000);
    node.tell(Event::Tick);
    node.tell(Event::Pulled {
        session,
        number,
        answer,
    });
    let begun = node.tell(Event::Prepared {
        grant: residual.key,
        outcome: Ok(()),
    });
    assert_eq!(starts(&begun), [0]);
    assert_eq!(node.end(0, TrackOutcome::Scored), [sing(0)]);
    assert_eq!(node.end(1, TrackOutcome::Scored), []);
    let after = node.sung(0, true);
    let song = Action::Sing {
        device: DEVICE,
        stage: Stage::Residual,
        nonce: 1,
    };
    assert!(after.contains(&song), "{after:?}");
    assert_eq!(written(&after).map(|(tracks, ..)| tracks), Some(set(0, 1)));
    assert!(written(&node.sung(1, true)).is_some());
}

/// A grant of an escalation shard.
fn of_residual(tracks: u32) -> Granted {
    let shard = ShardId::Escalation {
        root: 3,
        attempt: Attempt(1),
        first: 0,
    };
    Granted {
        key: GrantKey { shard, ..key(1) },
        ..granted(1, tracks)
    }
}

#[test]
fn a_device_without_room_for_the_residual_gives_back_what_is_to_be_separated() {
    let grant = of_residual(5).key;
    let mut node = at_work(of_residual(5), 2);
    let expected = [
        Action::Abort { token: Token(0) },
        Action::Abort { token: Token(1) },
        Action::Forget { grant },
    ];
    assert_eq!(node.told(Event::NoRoom { device: DEVICE }), expected);
    assert_eq!(node.core.open_tracks(), 0);
    let released = node.beat_call().released;
    assert_eq!(released.len(), 1);
    assert_eq!(released[0].cause, Cause::NoRoom);
}

#[test]
fn what_no_canary_of_the_residual_can_prove_for_want_of_room_goes_back_too() {
    let grant = of_residual(1).key;
    let mut node = at_work(of_residual(1), 1);
    let song = Action::Sing {
        device: DEVICE,
        stage: Stage::Residual,
        nonce: 0,
    };
    assert_eq!(node.end(0, TrackOutcome::Scored), [song]);
    let actions = node.told(Event::NoRoom { device: DEVICE });
    assert_eq!(actions, [Action::Forget { grant }]);
    assert!(!node.core.has_part(PartNo(0)));
    assert_eq!(node.sung(0, false), [], "nobody asks any more");
}

#[test]
fn a_device_without_room_for_the_residual_goes_on_screening() {
    let mut node = at_work(granted(1, 3), 2);
    assert_eq!(node.told(Event::NoRoom { device: DEVICE }), []);
    assert_eq!(node.core.open_tracks(), 3);
    assert_eq!(node.end(0, TrackOutcome::Scored), []);
}

#[test]
fn an_escalation_part_that_stays_out_of_reach_gives_its_grant_back() {
    let shard = ShardId::Escalation {
        root: 0,
        attempt: Attempt(1),
        first: 0,
    };
    let key = GrantKey { shard, ..key(1) };
    let mut node = Node::joined();
    let asked = Granted {
        key: key.clone(),
        ..granted(1, 2)
    };
    let actions = node.grant(asked);
    assert!(actions.contains(&Action::Prepare { grant: key.clone() }));
    for tries in 1..=limits::PREPARES_MAX {
        let outcome = Err(Unready::Later);
        let grant = key.clone();
        let actions = node.told(Event::Prepared { grant, outcome });
        let over = actions.contains(&Action::Forget { grant: key.clone() });
        assert_eq!(over, tries == limits::PREPARES_MAX);
        node.now = node.now + Millis(30_000);
        node.tell(Event::Tick);
    }
    assert_eq!(node.beat_call().released[0].cause, Cause::Storage);
}
