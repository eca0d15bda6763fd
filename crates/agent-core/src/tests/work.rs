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
