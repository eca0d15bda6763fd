//! Suspects of a machine's death: named before they run, and alone on the node.

use super::*;

fn apart(attempt: u32, tracks: u32) -> Granted {
    Granted {
        care: Care::Apart,
        ..granted(attempt, tracks)
    }
}

fn prepared(attempt: u32) -> Event {
    Event::Prepared {
        grant: key(attempt),
        outcome: Ok(()),
    }
}

fn grants(node: &mut Node, number: u64, grants: Vec<Granted>) {
    let again_after = Millis(1_000);
    let answer = Ok(Pulled {
        grants,
        again_after,
    });
    node.tell(Event::Pulled {
        session: Session(1),
        number: PullNo(number),
        answer,
    });
}

/// A node on whose proven device a grant of suspects waits for its first track to be named.
fn waiting(tracks: u32) -> Node {
    let mut node = Node::joined();
    grants(&mut node, 1, vec![apart(1, tracks)]);
    node.tell(prepared(1));
    let (device, bundle) = (DEVICE, BUNDLE);
    node.tell(Event::DeviceReady { device, bundle });
    node.slot(0);
    node.slot(1);
    node.sung(0, true);
    node
}

fn named(node: &mut Node) -> TrackSet {
    let beat = node.beat_call();
    beat.held[0].in_hand.clone()
}

fn starts(actions: &[Action]) -> Vec<Ordinal> {
    let start = |action: &Action| match action {
        Action::Start { ordinal, .. } => Some(*ordinal),
        _ => None,
    };
    actions.iter().filter_map(start).collect()
}

#[test]
fn a_suspect_starts_only_once_a_beat_that_named_it_is_answered() {
    let mut node = waiting(2);
    assert_eq!(named(&mut node), set(0, 1));
    assert_eq!(starts(&node.tell(Event::Tick)), []);
    let begun = node.beat(order(Order::Continue));
    assert_eq!(starts(&begun), [0]);
    assert_eq!(starts(&node.end(0, TrackOutcome::Scored)), []);
    assert_eq!(
        named(&mut node),
        set(1, 2),
        "the next one is named in its turn"
    );
    assert_eq!(starts(&node.beat(order(Order::Continue))), [1]);
}

#[test]
fn a_suspect_waits_for_every_device_of_the_node_and_nothing_starts_beside_it() {
    let mut node = Node {
        core: Core::new(Config {
            devices: 2,
            ..Config::default()
        }),
        now: Millis(0),
    };
    node.tell(Event::Tick);
    node.tell(Event::Joined(Ok(joined(1))));
    node.beat(Vec::new());
    grants(&mut node, 1, vec![granted(1, 2)]);
    node.tell(prepared(1));
    for device in [DeviceNo(0), DeviceNo(1)] {
        let (bundle, slot) = (BUNDLE, SlotNo(0));
        node.tell(Event::DeviceReady { device, bundle });
        node.tell(Event::SlotReady { device, slot });
    }
    // Track 0 runs on device 0; then the suspect comes.
    node.now = node.now + Millis(2_000);
    node.tell(Event::Tick);
    grants(&mut node, 2, vec![apart(2, 1)]);
    node.tell(prepared(2));
    let (device, slot) = (DEVICE, SlotNo(1));
    let more = node.told(Event::SlotReady { device, slot });
    assert_eq!(starts(&more), [], "the node comes to rest");
    node.sung(0, true);
    let orders = |first| {
        let order = Order::Continue;
        let flush = Flush::AsConfigured;
        let each = [1, 2].map(|attempt| GrantOrder {
            key: key(attempt),
            order,
            flush,
        });
        each.into_iter().skip(first).collect::<Vec<_>>()
    };
    for _ in 0..3 {
        assert_eq!(starts(&node.beat(orders(0))), []);
        let beat = node.beat_call();
        assert_eq!(beat.held[1].in_hand, TrackSet::new());
    }
    let flushed = node.end(0, TrackOutcome::Scored);
    assert!(
        flushed.contains(&sing(1)) || flushed.contains(&sing(0)),
        "{flushed:?}"
    );
}

#[test]
fn other_work_goes_on_only_after_a_beat_has_said_that_the_suspect_is_through() {
    let mut node = waiting(1);
    node.beat_call();
    node.beat(order(Order::Continue));
    grants(&mut node, 2, vec![granted(2, 2)]);
    node.tell(prepared(2));
    let ended = node.end(0, TrackOutcome::Scored);
    assert_eq!(starts(&ended), []);
    let more = node.told(Event::SlotReady {
        device: DEVICE,
        slot: SlotNo(0),
    });
    assert_eq!(starts(&more), []);
    let told = node.beat(order(Order::Continue));
    let told = if starts(&told).is_empty() {
        node.beat(order(Order::Continue))
    } else {
        told
    };
    assert_eq!(starts(&told), [0, 1]);
}
