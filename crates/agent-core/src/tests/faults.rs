//! Deaths, canaries and what is out of reach: who answers for what.

use super::*;

#[test]
fn a_failed_canary_takes_the_device_out_and_its_part_is_never_written() {
    let mut node = Node::at_work(2, 2);
    node.end(0, TrackOutcome::Scored);
    node.end(1, TrackOutcome::Scored);
    let out = Action::TakeOut {
        device: DEVICE,
        code: Code::CanaryFailed,
    };
    assert_eq!(node.sung(0, false), [out, Action::Forget { grant: key(1) }]);
    let beat = node.beat_call();
    assert_eq!(beat.devices_out, [(DEVICE, Code::CanaryFailed)]);
    assert_eq!(
        beat.released,
        [Released {
            key: key(1),
            cause: Cause::DeviceOut
        }]
    );
    assert_eq!(node.told(stored(0)), [], "nothing is left to commit");
}

#[test]
fn a_second_device_runs_again_what_the_first_one_lost() {
    let mut node = Node {
        core: Core::new(Config {
            devices: 2,
            ..Config::default()
        }),
        now: Millis(0),
    };
    node.tell(Event::Tick);
    node.tell(Event::Joined(Ok(joined(1))));
    node.grant(granted(1, 1));
    node.tell(Event::Prepared {
        grant: key(1),
        outcome: Ok(()),
    });
    for device in [DeviceNo(0), DeviceNo(1)] {
        node.tell(Event::DeviceReady {
            device,
            bundle: BUNDLE,
        });
        node.tell(Event::SlotReady {
            device,
            slot: SlotNo(0),
        });
    }
    node.end(0, TrackOutcome::Scored);
    let out = Action::TakeOut {
        device: DEVICE,
        code: Code::CanaryFailed,
    };
    let again = Action::Start {
        token: Token(1),
        device: DeviceNo(1),
        slot: SlotNo(0),
        grant: key(1),
        ordinal: 0,
    };
    assert_eq!(node.sung(0, false), [out, again]);
}

#[test]
fn a_dead_workers_tracks_are_tried_alone_on_a_proven_device_before_the_rest() {
    let mut node = Node::at_work(5, 2);
    assert_eq!(node.die(Death::Own), []);
    let deaths = node.beat_call().held[0].deaths.clone();
    assert_eq!(
        deaths,
        [WorkerDeath {
            number: 1,
            tracks: set(0, 2)
        }]
    );
    assert_eq!(
        node.revive(),
        [sing(0)],
        "no suspect runs before the device has proven itself"
    );
    assert_eq!(node.sung(0, true), [start(2, 0, 0)]);
    node.slot(1);
    assert_eq!(node.core.open_tracks(), 5, "nothing runs beside a suspect");
    node.end(2, TrackOutcome::Scored);
    let second = node.told(Event::SlotReady {
        device: DEVICE,
        slot: SlotNo(0),
    });
    assert_eq!(
        second,
        [],
        "the idle slot 1 took the second suspect at once"
    );
    assert_eq!(
        node.end(3, TrackOutcome::Scored),
        [start(4, 0, 2)],
        "the others go on"
    );
}

#[test]
fn only_a_track_that_kills_alone_twice_is_given_up() {
    let mut node = Node::at_work(2, 1);
    node.die(Death::Own);
    node.revive();
    assert_eq!(node.sung(0, true), [start(1, 0, 0)]);
    assert_eq!(node.die(Death::Own), []);
    assert_eq!(node.revive(), [sing(1)]);
    assert_eq!(node.sung(1, true), [start(2, 0, 0)]);
    assert_eq!(node.die(Death::Hung)[0], reject(0, Code::WorkerDied));
    assert_eq!(
        node.revive(),
        [start(3, 0, 1)],
        "its neighbour needs no proof"
    );
}

#[test]
fn a_track_is_not_given_up_for_kills_from_outside() {
    let mut node = Node::at_work(2, 1);
    for round in 0..u64::from(limits::LONE_KILLS_MAX) {
        assert_eq!(node.die(Death::Killed), [], "round {round}");
        assert!(
            node.beat_call().held[0].deaths.is_empty(),
            "a kill from outside says nothing about tracks"
        );
        node.revive();
        assert_eq!(node.sung(round, true), [start(round + 1, 0, 0)]);
    }
}

#[test]
fn three_faults_that_no_track_answers_for_take_the_device_out() {
    let mut node = Node::at_work(4, 0);
    for _ in 1..limits::DEVICE_FAULTS_MAX {
        assert_eq!(node.die(Death::Own), []);
        node.now = node.now + Millis(30_000);
        node.tell(Event::Tick);
    }
    let out = Action::TakeOut {
        device: DEVICE,
        code: Code::DeviceFaulty,
    };
    assert_eq!(
        node.die(Death::Own),
        [out, Action::Forget { grant: key(1) }]
    );
}

#[test]
fn faults_are_forgotten_after_ten_minutes() {
    let mut node = Node::at_work(4, 0);
    for _ in 0..10 {
        assert_eq!(node.die(Death::Own), []);
        node.now = node.now + Millis(limits::FAULTS_WITHIN.0 / 2);
        node.tell(Event::Tick);
    }
}

#[test]
fn a_decoders_death_is_retried_once_and_then_typed() {
    let died = |death| TrackOutcome::DecoderDied {
        death,
        code: Code::DecodeCrash,
    };
    let mut node = Node::at_work(2, 1);
    assert_eq!(node.end(0, died(Death::Own)), []);
    let again = node.told(Event::SlotReady {
        device: DEVICE,
        slot: SlotNo(0),
    });
    assert_eq!(again, [start(1, 0, 0)]);
    assert_eq!(
        node.end(1, died(Death::Own)),
        [reject(0, Code::DecodeCrash)]
    );
}

#[test]
fn sources_out_of_reach_are_waited_for_and_then_the_grant_goes_back() {
    let mut node = Node::at_work(1, 1);
    for round in 0..u64::from(limits::UNREACHABLE_MAX) - 1 {
        assert_eq!(node.end(round, TrackOutcome::Unreachable), []);
        assert_eq!(
            node.told(Event::SlotReady {
                device: DEVICE,
                slot: SlotNo(0)
            }),
            [],
            "it waits"
        );
        node.now = node.now + limits::BACK_OFF_MAX;
        assert_eq!(node.told(Event::Tick), [start(round + 1, 0, 0)]);
    }
    let last = u64::from(limits::UNREACHABLE_MAX) - 1;
    assert_eq!(
        node.end(last, TrackOutcome::Unreachable),
        [Action::Forget { grant: key(1) }]
    );
    assert_eq!(
        node.beat_call().released,
        [Released {
            key: key(1),
            cause: Cause::Storage
        }]
    );
}

#[test]
fn what_is_made_is_committed_before_a_grant_goes_back_for_its_source() {
    let mut node = Node::at_work(3, 2);
    let mut token = 0;
    for round in 1..u64::from(limits::UNREACHABLE_MAX) {
        node.end(token, TrackOutcome::Unreachable);
        node.slot(0);
        node.now = node.now + limits::BACK_OFF_MAX;
        node.tell(Event::Tick);
        // Its neighbour is in hand all the while.
        token = round + 1;
    }
    assert_eq!(node.end(1, TrackOutcome::Scored), [sing(0)]);
    assert_eq!(
        node.end(token, TrackOutcome::Unreachable),
        [],
        "what is made is not forgotten"
    );
    let part = Action::WritePart {
        part: PartNo(0),
        grant: key(1),
        tracks: set(1, 2),
        onward: TrackSet::new(),
        withheld: TrackSet::new(),
        borderline: TrackSet::new(),
        device: Some(DEVICE),
    };
    assert_eq!(node.sung(0, true), [part]);
    let renewed = GrantOrder {
        key: key(1),
        order: Order::Continue,
        flush: Flush::AsConfigured,
    };
    // The first answer is to a beat from before the waits.
    node.beat(vec![renewed.clone()]);
    node.beat(vec![renewed]);
    assert!(matches!(
        node.told(stored(0)).as_slice(),
        [Action::Commit { .. }]
    ));
    let counted = Event::Committed {
        part: PartNo(0),
        answer: Ok(Committed {
            outcome: CommitOutcome::Counted,
            order: Order::Continue,
        }),
    };
    let forgotten = Action::ForgetPart { part: PartNo(0) };
    assert_eq!(
        node.told(counted),
        [forgotten, Action::Forget { grant: key(1) }]
    );
    assert_eq!(
        node.beat_call().released,
        [Released {
            key: key(1),
            cause: Cause::Storage
        }]
    );
}

#[test]
fn a_track_that_alone_cannot_be_read_is_put_off_and_then_typed_while_its_neighbours_go_on() {
    let mut node = Node::at_work(20, 1);
    let mut token = 0;
    for tries in 1..=limits::UNREADABLE_MAX {
        let end = node.end(token, TrackOutcome::Unreadable);
        if tries == limits::UNREADABLE_MAX {
            assert_eq!(end, [reject(0, Code::SourceUnreadable)]);
            return;
        }
        assert_eq!(end, []);
        let next = node.told(Event::SlotReady {
            device: DEVICE,
            slot: SlotNo(0),
        });
        token += 1;
        let neighbour = u32::from(tries);
        assert_eq!(
            next,
            [start(token, 0, neighbour)],
            "the next one runs at once"
        );
        // Once its time has come, the track is the first again.
        node.now = node.now + limits::BACK_OFF_MAX;
        node.end(token, TrackOutcome::Unscannable);
        node.slot(0);
        token += 1;
    }
}

#[test]
fn a_track_that_was_put_off_is_asked_for_in_time_and_goes_back_with_a_drain() {
    let mut node = Node::at_work(1, 1);
    node.end(0, TrackOutcome::Unreadable);
    assert_eq!(node.core.open_tracks(), 1);
    node.slot(0);
    let at = node.now + limits::BACK_OFF_FIRST;
    assert!(node.core.next_deadline().is_some_and(|next| next <= at));
    node.now = at;
    assert_eq!(node.told(Event::Tick), [start(1, 0, 0)]);
    node.end(1, TrackOutcome::Unreadable);
    assert_eq!(
        node.told(Event::Drain).first(),
        Some(&Action::Forget { grant: key(1) }),
        "nothing stays behind"
    );
}

#[test]
fn a_rejecting_grant_runs_nothing_and_says_why() {
    let mut node = Node::joined();
    node.grant(Granted {
        care: Care::Reject,
        ..granted(1, 1)
    });
    let part = Action::WritePart {
        part: PartNo(0),
        grant: key(1),
        tracks: set(0, 1),
        onward: TrackSet::new(),
        withheld: TrackSet::new(),
        borderline: TrackSet::new(),
        device: None,
    };
    let actions = node.tell(Event::Prepared {
        grant: key(1),
        outcome: Ok(()),
    });
    assert_eq!(actions, [reject(0, Code::WorkerDied), part]);
}

#[test]
fn a_bundle_that_cannot_be_had_gives_its_grants_back() {
    let mut node = Node::joined();
    node.grant(granted(1, 2));
    node.tell(Event::Prepared {
        grant: key(1),
        outcome: Ok(()),
    });
    let why = Unready::Never;
    let actions = node.told(Event::BundleUnready {
        device: DEVICE,
        bundle: BUNDLE,
        why,
    });
    assert_eq!(actions, [Action::Forget { grant: key(1) }]);
    assert_eq!(
        node.beat_call().released,
        [Released {
            key: key(1),
            cause: Cause::Bundle
        }]
    );
}

#[test]
fn work_that_comes_to_a_node_whose_devices_are_all_out_goes_back() {
    let mut node = Node::at_work(2, 2);
    node.now = node.now + Millis(1_000);
    node.tell(Event::Tick);
    node.end(0, TrackOutcome::Scored);
    node.end(1, TrackOutcome::Scored);
    node.sung(0, false);
    // The pull that was under way meanwhile is answered.
    let answer = Ok(Pulled {
        grants: vec![granted(2, 3)],
        again_after: Millis(1_000),
    });
    let late = Event::Pulled {
        session: Session(1),
        number: PullNo(2),
        answer,
    };
    assert_eq!(node.told(late), []);
    let back = |attempt| Released {
        key: key(attempt),
        cause: Cause::DeviceOut,
    };
    let beat = node.beat_call();
    assert_eq!((beat.held, beat.released), (vec![], vec![back(1), back(2)]));
}

#[test]
fn what_a_dead_worker_scored_is_not_vouched_for_by_its_successor() {
    for (death, kept) in [
        (Death::Own, false),
        (Death::Hung, false),
        (Death::Killed, true),
    ] {
        let mut node = Node::at_work(3, 2);
        node.end(0, TrackOutcome::Scored);
        node.die(death);
        node.revive();
        node.sung(0, true);
        node.end(2, TrackOutcome::Scored);
        let next = node.told(Event::SlotReady {
            device: DEVICE,
            slot: SlotNo(0),
        });
        let again = Action::Start {
            token: Token(3),
            device: DEVICE,
            slot: SlotNo(0),
            grant: key(1),
            ordinal: if kept { 2 } else { 0 },
        };
        assert_eq!(next, [again], "{death:?}");
    }
}

#[test]
fn a_part_that_waits_for_its_canary_falls_with_its_worker() {
    let mut node = Node::at_work(1, 1);
    assert_eq!(node.end(0, TrackOutcome::Scored), [sing(0)]);
    node.die(Death::Own);
    assert_eq!(node.revive(), [start(1, 0, 0)]);
    assert_eq!(
        node.sung(0, true),
        [],
        "nothing of its predecessor is written"
    );
}

#[test]
fn poisoned_tracks_in_a_row_do_not_take_a_sound_device_out() {
    let mut node = Node::at_work(7, 1);
    let mut rejects = 0;
    let mut nonce = 0;
    let mut running = vec![(0, 0)];
    // Tracks 0 to 5 kill every worker that runs them, track 6 is sound.
    for _ in 0..100 {
        let Some((token, ordinal)) = running.pop() else {
            break;
        };
        let mut actions = if ordinal < 6 {
            let mut actions = node.die(Death::Own);
            actions.extend(node.revive());
            actions
        } else {
            let mut actions = node.end(token, TrackOutcome::Scored);
            actions.extend(node.told(Event::SlotReady {
                device: DEVICE,
                slot: SlotNo(0),
            }));
            actions
        };
        while let Some(action) = actions.pop() {
            match action {
                Action::Sing { nonce: asked, .. } => {
                    assert_eq!(asked, nonce);
                    nonce += 1;
                    actions.extend(node.sung(asked, true));
                }
                Action::Start { token, ordinal, .. } => running.push((token.0, ordinal)),
                Action::Reject { .. } => rejects += 1,
                Action::TakeOut { .. } => panic!("the device is sound"),
                _ => {}
            }
        }
    }
    assert_eq!(rejects, 6);
    assert_eq!(node.beat_call().devices_out, []);
}
