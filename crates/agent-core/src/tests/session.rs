//! The session: joins, pulls, refusals, leaving.

use super::*;

#[test]
fn a_join_is_followed_by_a_pull_and_a_beat() {
    let mut node = Node {
        core: Core::new(Config::default()),
        now: Millis(0),
    };
    node.tell(Event::Tick);
    let actions = node.tell(Event::Joined(Ok(joined(1))));
    let pull = PullCall {
        session: Session(1),
        number: PullNo(1),
        tracks_per_1000_s: None,
        want_tracks: limits::TRACKS_UNMEASURED,
        bundles: Vec::new(),
    };
    assert_eq!(
        actions,
        [
            Action::Pull(pull),
            Action::Beat(BeatCall {
                number: 1,
                ..blank_beat()
            })
        ]
    );
}

#[test]
fn numbers_rise_from_session_to_session() {
    let mut node = Node::at_work(2, 1);
    let (session, number) = node.next_beat();
    let answer = Err(CallError::Refused(Code::GenerationOld));
    node.tell(Event::Beaten {
        session,
        number,
        answer,
    });
    node.tell(Event::Tick);
    let actions = node.tell(Event::Joined(Ok(joined(7))));
    let pull = actions.iter().find_map(|action| match action {
        Action::Pull(call) => Some((call.session, call.number)),
        _ => None,
    });
    assert!(pull.is_some_and(|(session, pull)| session == Session(7) && pull > PullNo(1)));
    assert!(node.core.beat_out() > Some(number));
}

#[test]
fn a_refused_join_is_tried_again_later() {
    let mut node = Node {
        core: Core::new(Config::default()),
        now: Millis(0),
    };
    node.tell(Event::Tick);
    let refusal = CallError::Refused(Code::IdentityInUse);
    assert_eq!(node.tell(Event::Joined(Err(refusal))), []);
    node.now = node.core.next_deadline().unwrap();
    assert_eq!(
        (node.now, node.tell(Event::Tick)),
        (limits::BACK_OFF_FIRST, vec![Action::Join])
    );
}

#[test]
fn a_pull_without_an_answer_is_repeated_with_its_number() {
    let mut node = Node::joined();
    let lost = |number| Event::Pulled {
        session: Session(1),
        number,
        answer: Err(CallError::Unanswered),
    };
    node.tell(lost(PullNo(1)));
    node.now = node.now + limits::BACK_OFF_FIRST;
    let again = node.tell(Event::Tick);
    assert!(
        again
            .iter()
            .any(|action| matches!(action, Action::Pull(call) if call.number == PullNo(1))),
        "{again:?}"
    );
    let answer = Ok(Pulled {
        grants: Vec::new(),
        again_after: Millis(1_000),
    });
    node.tell(Event::Pulled {
        session: Session(1),
        number: PullNo(1),
        answer,
    });
    node.now = node.now + Millis(1_000);
    let next = node.tell(Event::Tick);
    assert!(
        next.iter()
            .any(|action| matches!(action, Action::Pull(call) if call.number == PullNo(2))),
        "{next:?}"
    );
}

#[test]
fn a_coordinator_that_is_back_is_asked_for_work_and_joined_within_two_beats() {
    let mut node = Node::joined();
    for _ in 0..20 {
        node.tell(Event::Pulled {
            session: Session(1),
            number: PullNo(1),
            answer: Err(CallError::Unanswered),
        });
        node.now = node.now + limits::CALL_BACK_OFF_MAX;
        let again = node.tell(Event::Tick);
        let pulls = again
            .iter()
            .any(|action| matches!(action, Action::Pull(call) if call.number == PullNo(1)));
        assert!(pulls, "{again:?}");
    }
    let mut apart = Node {
        core: Core::new(Config::default()),
        now: Millis(0),
    };
    apart.tell(Event::Tick);
    for _ in 0..20 {
        apart.tell(Event::Joined(Err(CallError::Unanswered)));
        apart.now = apart.now + limits::CALL_BACK_OFF_MAX;
        assert_eq!(apart.tell(Event::Tick), [Action::Join]);
    }
}

#[test]
fn an_older_session_drops_everything_and_joins_again() {
    for (code, void) in [
        (Code::SessionOld, true),
        (Code::GenerationOld, true),
        (Code::NodeUnknown, false),
    ] {
        let mut node = Node::at_work(2, 1);
        let (session, number) = node.next_beat();
        let answer = Err(CallError::Refused(code));
        let actions = node.told(Event::Beaten {
            session,
            number,
            answer,
        });
        assert_eq!(
            actions.contains(&Action::Forget { grant: key(1) }),
            void,
            "{code}"
        );
        node.now = node.now + Millis(1);
        let rejoins =
            actions.contains(&Action::Join) || node.told(Event::Tick).contains(&Action::Join);
        assert!(rejoins, "{code}");
    }
}

#[test]
fn answers_to_an_older_session_change_nothing() {
    let mut node = Node::at_work(1, 1);
    node.end(0, TrackOutcome::Scored);
    node.sung(0, true);
    node.told(stored(0));
    let (session, number) = node.next_beat();
    let unknown = Err(CallError::Refused(Code::NodeUnknown));
    node.tell(Event::Beaten {
        session,
        number,
        answer: unknown.clone(),
    });
    node.tell(Event::Tick);
    node.tell(Event::Joined(Ok(joined(2))));
    assert_eq!(
        node.told(refused(0, CallError::Refused(Code::SessionOld))),
        []
    );
    assert_eq!(
        node.told(Event::Beaten {
            session,
            number,
            answer: unknown
        }),
        []
    );
    node.now = node.now + limits::BACK_OFF_FIRST;
    assert_eq!(
        node.told(Event::Tick),
        [Action::Commit {
            part: PartNo(0),
            session: Session(2)
        }]
    );
}

#[test]
fn a_drained_node_finishes_what_is_in_hand_commits_and_leaves() {
    let mut node = Node::at_work(5, 1);
    assert_eq!(node.told(Event::Drain), []);
    assert_eq!(node.end(0, TrackOutcome::Scored), [sing(0)]);
    assert_eq!(
        node.told(Event::SlotReady {
            device: DEVICE,
            slot: SlotNo(0)
        }),
        [],
        "nothing new is begun"
    );
    assert_eq!(node.sung(0, true), [write(0, set(0, 1))]);
    assert_eq!(node.told(stored(0)), [commit(0)]);
    assert_eq!(
        node.told(counted(0)),
        [
            &forgotten()[..],
            &[Action::Leave {
                session: Session(1)
            }]
        ]
        .concat()
    );
    assert_eq!(node.told(Event::Left(Ok(()))), [Action::Exit]);
}

#[test]
fn a_drain_whose_time_is_over_gives_up_what_is_in_hand_and_leaves_with_all_it_holds() {
    let farewell = Action::Leave {
        session: Session(1),
    };
    let mut node = Node::at_work(5, 2);
    assert_eq!(node.told(Event::Drain), []);
    let expected = [
        Action::Abort { token: Token(0) },
        Action::Abort { token: Token(1) },
        farewell.clone(),
        Action::Forget { grant: key(1) },
    ];
    assert_eq!(node.told(Event::DrainOver), expected);
    assert_eq!(node.told(Event::DrainOver), [], "it is said once");
    let unanswered = Event::Left(Err(CallError::Unanswered));
    assert_eq!(node.told(unanswered), std::slice::from_ref(&farewell));
    assert_eq!(node.told(Event::Left(Ok(()))), [Action::Exit]);

    let mut node = Node::at_work(2, 2);
    node.end(0, TrackOutcome::Scored);
    node.end(1, TrackOutcome::Scored);
    node.sung(0, true);
    assert_eq!(node.told(stored(0)), [commit(0)]);
    assert_eq!(node.told(Event::Drain), []);
    assert_eq!(node.told(Event::DrainOver), [farewell]);
    assert_eq!(node.told(Event::Left(Ok(()))), [Action::Exit]);
    assert!(node.core.has_part(PartNo(0)), "its copy stays on disk");
}

#[test]
fn a_drain_whose_time_is_over_waits_for_no_session() {
    let mut node = Node {
        core: Core::new(Config::default()),
        now: Millis(0),
    };
    assert_eq!(node.told(Event::Tick), [Action::Join]);
    assert_eq!(node.told(Event::DrainOver), [Action::Exit]);
}

#[test]
fn a_tick_that_comes_early_or_twice_asks_for_nothing_twice() {
    let mut node = Node::at_work(3, 2);
    assert_eq!(node.tell(Event::Tick), []);
    assert_eq!(node.tell(Event::Tick), []);
    let deadline = node.core.next_deadline().unwrap();
    assert!(deadline > node.now, "nothing is left undone now");
}

#[test]
fn a_session_that_is_joined_again_goes_on_with_its_numbers() {
    let mut node = Node::at_work(2, 1);
    node.now = node.now + Millis(1_000);
    let number = |actions: &[Action]| {
        let calls = actions.iter().find_map(|action| match action {
            Action::Pull(call) => Some(call.number),
            _ => None,
        });
        calls.expect("a pull is due")
    };
    assert_eq!(number(&node.tell(Event::Tick)), PullNo(2));
    let beats = node.beat_call().number;
    // A coordinator that has not read the node's record yet does not know the session.
    let unknown = Err(CallError::Refused(Code::NodeUnknown));
    let lost = node.told(Event::Beaten {
        session: Session(1),
        number: beats,
        answer: unknown,
    });
    assert_eq!(lost, [Action::Join]);
    let again = node.tell(Event::Joined(Ok(joined(1))));
    assert_eq!(number(&again), PullNo(2), "the unanswered pull is repeated");
    assert!(node.core.beat_out() > Some(beats), "beats go on");
}
