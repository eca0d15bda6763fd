//! From made rows to a commit that counts.

use super::*;

#[test]
fn the_end_of_a_grant_is_canary_part_commit_and_rest() {
    let mut node = Node::at_work(2, 2);
    assert_eq!(node.end(1, TrackOutcome::Unscannable), []);
    assert_eq!(node.end(0, TrackOutcome::Scored), [sing(0)]);
    assert_eq!(node.sung(0, true), [write(0, set(0, 2))]);
    assert_eq!(node.told(stored(0)), [commit(0)]);
    assert_eq!(node.told(counted(0)), forgotten());
    assert_eq!(node.core.open_tracks(), 0);
}

#[test]
fn rows_that_no_device_made_need_no_canary() {
    let mut node = Node::at_work(1, 1);
    let part = Action::WritePart {
        part: PartNo(0),
        grant: key(1),
        tracks: set(0, 1),
        onward: TrackSet::new(),
        withheld: TrackSet::new(),
        borderline: TrackSet::new(),
        device: None,
    };
    assert_eq!(node.end(0, TrackOutcome::Unscannable), [part]);
}

#[test]
fn a_commit_waits_for_a_renewal_once_the_grant_has_run_out() {
    let mut node = Node::at_work(1, 1);
    node.end(0, TrackOutcome::Scored);
    node.sung(0, true);
    node.now = node.now + Millis(25_000);
    assert_eq!(node.told(stored(0)), [], "the grant ran out");
    let (session, number) = node.next_beat();
    node.now = node.now + Millis(3_000);
    let answer = Ok(Beaten {
        orders: order(Order::Continue),
        pull_now: false,
        drain: false,
    });
    assert_eq!(
        node.told(Event::Beaten {
            session,
            number,
            answer
        }),
        [commit(0)]
    );
}

#[test]
fn an_unanswered_commit_is_sent_again_unchanged() {
    let mut node = Node::at_work(1, 1);
    node.end(0, TrackOutcome::Scored);
    node.sung(0, true);
    node.told(stored(0));
    assert_eq!(node.told(refused(0, CallError::Unanswered)), []);
    node.now = node.now + limits::BACK_OFF_FIRST;
    assert_eq!(node.told(Event::Tick), [commit(0)]);
    let done = Committed {
        outcome: CommitOutcome::DoneAlready,
        order: Order::Continue,
    };
    assert_eq!(
        node.told(Event::Committed {
            part: PartNo(0),
            answer: Ok(done)
        }),
        forgotten()
    );
}

#[test]
fn a_commit_waits_for_a_coordinator_that_was_long_away_no_longer_than_two_beats() {
    let mut node = Node::at_work(1, 1);
    node.end(0, TrackOutcome::Scored);
    node.sung(0, true);
    node.told(stored(0));
    // The fifth wait is no longer than the fourth; the grant lives all the while.
    for wait in [500, 1_000, 2_000, 4_000, 4_000] {
        assert_eq!(node.told(refused(0, CallError::Unanswered)), []);
        node.now = node.now + Millis(wait);
        assert_eq!(node.told(Event::Tick), [commit(0)]);
    }
}

#[test]
fn a_part_waits_for_storage_that_was_long_away_no_longer_than_a_few_seconds() {
    let mut node = Node::at_work(1, 1);
    node.end(0, TrackOutcome::Scored);
    node.sung(0, true);
    for _ in 0..20 {
        let outcome = Err(Code::StorageUnavailable);
        let part = PartNo(0);
        assert_eq!(node.told(Event::PartWritten { part, outcome }), []);
        node.now = node.now + limits::STORAGE_BACK_OFF_MAX;
        assert_eq!(node.told(Event::Tick), [write(0, set(0, 1))]);
    }
}

#[test]
fn a_part_that_is_refused_for_good_costs_and_what_else_is_made_of_its_grant_is_committed_first() {
    for code in [Code::CommitInvalid, Code::InvalidRequest] {
        let mut node = Node::at_work(3, 1);
        node.end(0, TrackOutcome::Scored);
        node.now = node.now + limits::FLUSH_EVERY;
        assert_eq!(node.told(Event::Tick), [sing(0)]);
        node.beat(order(Order::Continue));
        assert_eq!(node.sung(0, true), [write(0, set(0, 1))]);
        node.slot(0);
        node.told(stored(0));
        let refusal = refused(0, CallError::Refused(code));
        assert_eq!(
            node.told(refusal),
            [Action::ForgetPart { part: PartNo(0) }],
            "the track in hand goes on"
        );
        assert_eq!(node.end(1, TrackOutcome::Scored), [sing(1)]);
        assert_eq!(node.sung(1, true), [write(1, set(1, 2))]);
        node.told(stored(1));
        let rest = [
            Action::ForgetPart { part: PartNo(1) },
            Action::Forget { grant: key(1) },
        ];
        assert_eq!(node.told(counted(1)), rest);
        let back = Released {
            key: key(1),
            cause: Cause::Storage,
        };
        assert_eq!(node.beat_call().released, [back]);
    }
}

#[test]
fn superseded_means_forget() {
    let mut node = Node::at_work(1, 1);
    node.end(0, TrackOutcome::Scored);
    node.sung(0, true);
    node.told(stored(0));
    let late = Committed {
        outcome: CommitOutcome::Superseded,
        order: Order::Stop,
    };
    assert_eq!(
        node.told(Event::Committed {
            part: PartNo(0),
            answer: Ok(late)
        }),
        forgotten()
    );
}

#[test]
fn a_part_that_is_not_stored_is_written_again() {
    let mut node = Node::at_work(1, 1);
    node.end(0, TrackOutcome::Scored);
    node.sung(0, true);
    assert_eq!(
        node.told(Event::PartWritten {
            part: PartNo(0),
            outcome: Err(Code::StorageFull)
        }),
        []
    );
    node.now = node.now + limits::BACK_OFF_FIRST;
    assert_eq!(node.told(Event::Tick), [write(0, set(0, 1))]);
}

#[test]
fn beats_tell_why_a_part_is_not_stored_until_it_is() {
    let mut node = Node::at_work(1, 1);
    node.end(0, TrackOutcome::Scored);
    node.sung(0, true);
    assert_eq!(node.beat_call().storage_trouble, None);
    let outcome = Err(Code::StorageFull);
    let part = PartNo(0);
    node.tell(Event::PartWritten { part, outcome });
    assert_eq!(node.beat_call().storage_trouble, Some(Code::StorageFull));
    // It is being written again by now, and until that is answered the reason stands.
    assert_eq!(node.beat_call().storage_trouble, Some(Code::StorageFull));
    node.tell(stored(0));
    assert_eq!(node.beat_call().storage_trouble, None);
}

#[test]
fn parts_that_fill_the_disk_budget_keep_tracks_from_being_started_until_one_counts() {
    for (bytes, is_full) in [
        (limits::PARTS_BYTES_MAX, true),
        (limits::PARTS_BYTES_MAX - 1, false),
    ] {
        let mut node = Node::at_work(2, 1);
        node.end(0, TrackOutcome::Scored);
        node.now = node.now + limits::FLUSH_EVERY;
        assert_eq!(node.told(Event::Tick), [sing(0)]);
        node.beat(order(Order::Continue));
        assert_eq!(node.sung(0, true), [write(0, set(0, 1))]);
        let part = PartNo(0);
        assert_eq!(node.told(Event::PartSaved { part, bytes }), []);
        let slot = Event::SlotReady {
            device: DEVICE,
            slot: SlotNo(0),
        };
        let started = node.told(slot);
        assert_eq!(started.is_empty(), is_full, "{started:?}");
        node.told(stored(0));
        let then = node.told(counted(0));
        assert_eq!(then.contains(&start(1, 0, 1)), is_full, "{then:?}");
    }
}

#[test]
fn a_flush_comes_after_a_minute_or_a_share_of_the_shard() {
    // 320,000 tracks at one each 20 ms are 6,400 s; a 32nd is 200 s.
    for (shard_tracks, seconds) in [(10, 60), (320_000, 200)] {
        let mut node = Node::joined();
        node.grant(Granted {
            shard_tracks,
            ..granted(1, 100_000)
        });
        node.tell(Event::Prepared {
            grant: key(1),
            outcome: Ok(()),
        });
        node.tell(Event::DeviceReady {
            device: DEVICE,
            bundle: BUNDLE,
        });
        let begun = node.now;
        let flushed = (0..).find_map(|token| {
            node.slot(0);
            node.now = node.now + Millis(20);
            let actions = node.end(token, TrackOutcome::Scored);
            actions.contains(&sing(0)).then_some(node.now)
        });
        let waited = flushed.unwrap().since(begun).0.div_ceil(1_000);
        assert!(
            (seconds..=seconds + 1).contains(&waited),
            "{shard_tracks}: {waited}"
        );
    }
}

#[test]
fn a_shard_with_many_parts_is_flushed_once_at_the_grants_end() {
    let mut node = Node::joined();
    node.grant(Granted {
        flush: Flush::AtEnd,
        ..granted(1, 2)
    });
    node.tell(Event::Prepared {
        grant: key(1),
        outcome: Ok(()),
    });
    node.tell(Event::DeviceReady {
        device: DEVICE,
        bundle: BUNDLE,
    });
    node.slot(0);
    node.end(0, TrackOutcome::Scored);
    node.now = node.now + Millis(1_000_000);
    assert_eq!(node.told(Event::Tick), []);
    node.slot(0);
    assert_eq!(node.end(1, TrackOutcome::Scored), [sing(0)]);
}

#[test]
fn parts_of_an_earlier_life_are_offered_once_a_beat_says_that_their_grant_lives() {
    let mut node = Node {
        core: Core::new(Config::default()),
        now: Millis(0),
    };
    let found = Found {
        grant: key(1),
        tracks: set(3, 5),
        part: PartNo(0),
    };
    let again = Action::WritePart {
        part: PartNo(0),
        grant: key(1),
        tracks: set(3, 5),
        onward: TrackSet::new(),
        withheld: TrackSet::new(),
        borderline: TrackSet::new(),
        device: None,
    };
    assert_eq!(node.told(Event::Found(found)), [Action::Join, again]);
    assert_eq!(node.told(stored(0)), []);
    node.tell(Event::Joined(Ok(joined(1))));
    let answer = Ok(Beaten {
        orders: order(Order::Continue),
        pull_now: false,
        drain: false,
    });
    let actions = node.told(Event::Beaten {
        session: Session(1),
        number: 1,
        answer,
    });
    assert_eq!(actions, [commit(0)]);
    assert_eq!(node.told(counted(0)), forgotten());
}

/// A node with a part that a good canary proved and that is being written, and one more track to run.
fn with_a_proven_part() -> Node {
    let mut node = Node::at_work(2, 1);
    node.end(0, TrackOutcome::Scored);
    node.now = node.now + limits::FLUSH_EVERY;
    assert_eq!(node.told(Event::Tick), [sing(0)]);
    assert_eq!(node.sung(0, true), [write(0, set(0, 1))]);
    node
}

/// What is proven counts, and then the grant goes back.
fn check_goes_back_once_committed(mut node: Node, cause: Cause) {
    assert_eq!(node.beat_call().released, []);
    node.beat(order(Order::Continue));
    assert_eq!(node.told(stored(0)), [commit(0)]);
    assert_eq!(node.told(counted(0)), forgotten());
    let back = Released { key: key(1), cause };
    assert_eq!(node.beat_call().released, [back]);
}

#[test]
fn what_is_proven_is_committed_before_a_grant_goes_back_for_its_last_device() {
    let mut node = with_a_proven_part();
    node.slot(0);
    assert_eq!(node.end(1, TrackOutcome::Scored), [sing(1)]);
    let out = Action::TakeOut {
        device: DEVICE,
        code: Code::CanaryFailed,
    };
    assert_eq!(node.sung(1, false), [out]);
    check_goes_back_once_committed(node, Cause::DeviceOut);
}

#[test]
fn what_is_proven_is_committed_before_a_grant_goes_back_for_its_bundle() {
    let mut node = with_a_proven_part();
    node.slot(0);
    assert_eq!(node.end(1, TrackOutcome::Scored), [sing(1)]);
    // Its rows wait for the canary of the next worker, which never comes.
    assert_eq!(node.die(Death::Killed), []);
    node.now = node.now + Millis(30_000);
    let (device, bundle, why) = (DEVICE, BUNDLE, Unready::Never);
    assert_eq!(node.told(Event::Tick), [Action::Load { device, bundle }]);
    let unready = Event::BundleUnready {
        device,
        bundle,
        why,
    };
    assert_eq!(node.told(unready), []);
    check_goes_back_once_committed(node, Cause::Bundle);
}
