//! What is started, held, yielded and given up.

use super::*;

#[test]
fn a_grant_is_prepared_and_its_bundle_loaded_before_its_tracks_start() {
    let mut node = Node::joined();
    assert_eq!(
        node.grant(granted(1, 3)),
        [Action::Prepare { grant: key(1) }]
    );
    let load = Action::Load {
        device: DEVICE,
        bundle: BUNDLE,
    };
    assert_eq!(
        node.tell(Event::Prepared {
            grant: key(1),
            outcome: Ok(())
        }),
        [load]
    );
    assert_eq!(
        node.tell(Event::DeviceReady {
            device: DEVICE,
            bundle: BUNDLE
        }),
        []
    );
    assert_eq!(
        node.told(Event::SlotReady {
            device: DEVICE,
            slot: SlotNo(4)
        }),
        [start(0, 4, 0)]
    );
    assert_eq!(
        node.told(Event::SlotReady {
            device: DEVICE,
            slot: SlotNo(2)
        }),
        [start(1, 2, 1)]
    );
}

#[test]
fn a_yield_gives_back_what_is_not_begun_and_never_takes_it_again() {
    let mut node = Node::at_work(10, 2);
    node.beat(order(Order::YieldAt(1)));
    let held = node.beat_call().held;
    assert_eq!(held[0].yielded_at, Some(2), "tracks 0 and 1 are in hand");
    assert_eq!(node.core.open_tracks(), 2);
    node.end(0, TrackOutcome::Scored);
    node.slot(0);
    assert_eq!(node.core.open_tracks(), 1);
}

#[test]
fn stop_gives_up_what_is_in_hand() {
    let mut node = Node::at_work(2, 1);
    let (session, number) = node.next_beat();
    let answer = Ok(Beaten {
        orders: order(Order::Stop),
        pull_now: false,
        drain: false,
    });
    let stopped = node.told(Event::Beaten {
        session,
        number,
        answer,
    });
    assert_eq!(
        stopped,
        [
            Action::Abort { token: Token(0) },
            Action::Forget { grant: key(1) }
        ]
    );
    assert_eq!(
        node.end(0, TrackOutcome::Scored),
        [],
        "a late end is no matter"
    );
}

#[test]
fn work_is_kept_for_about_two_minutes_at_the_measured_rate() {
    let mut node = Node::at_work(30_000, 1);
    for token in 0..200 {
        node.now = node.now + Millis(100);
        node.end(token, TrackOutcome::Scored);
        node.slot(0);
    }
    let rate = node.core.tracks_per_1000_s().unwrap();
    assert!((9_900..=10_100).contains(&rate), "{rate}");
    let (target, held) = node.core.work();
    assert!((1_370..=1_390).contains(&target), "{target}");
    assert_eq!(held, limits::TRACKS_HELD_MAX);
}

#[test]
fn tracks_that_end_without_a_score_count_in_no_rate() {
    let mut node = Node::at_work(30_000, 1);
    for token in 0..400 {
        node.now = node.now + Millis(50);
        let scored = token % 2 == 0;
        let outcome = match scored {
            true => TrackOutcome::Scored,
            false => TrackOutcome::Unscannable,
        };
        node.end(token, outcome);
        node.slot(0);
    }
    let rate = node.core.tracks_per_1000_s().unwrap();
    assert!((9_900..=10_100).contains(&rate), "{rate}");
}

#[test]
fn what_a_node_does_at_one_stage_says_nothing_of_the_other() {
    let shard = ShardId::Escalation {
        root: 3,
        attempt: Attempt(1),
        first: 0,
    };
    let residual = Granted {
        key: GrantKey { shard, ..key(1) },
        ..granted(1, 1_000)
    };
    let mut node = Node::joined();
    let answer = Ok(Pulled {
        grants: vec![granted(1, 200), residual.clone()],
        again_after: Millis(1_000),
    });
    node.tell(Event::Pulled {
        session: Session(1),
        number: PullNo(1),
        answer,
    });
    for grant in [key(1), residual.key] {
        let outcome = Ok(());
        node.tell(Event::Prepared { grant, outcome });
    }
    node.tell(Event::DeviceReady {
        device: DEVICE,
        bundle: BUNDLE,
    });
    node.slot(0);
    let mut sings = Vec::new();
    for token in 0..210 {
        let takes = if token < 200 { 100 } else { 10_000 };
        node.now = node.now + Millis(takes);
        sings.extend(node.end(token, TrackOutcome::Scored));
        node.slot(0);
    }
    let rate = node.core.tracks_per_1000_s().unwrap();
    assert!((9_900..=10_100).contains(&rate), "{rate}");
    let rate = node.core.rate_at(types::Stage::Residual).unwrap();
    assert!((95..=105).contains(&rate), "{rate}");
    // A track of the residual is a hundred others' work, and a shard of a thousand is flushed every five minutes.
    assert_eq!(node.core.work().1, limits::TRACKS_HELD_MAX);
    assert_eq!(sings, [sing(0)], "the screen's rows alone are flushed");
}
