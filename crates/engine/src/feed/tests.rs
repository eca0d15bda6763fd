//! A slot against rings that tell the truth, lie, or stay empty.

use super::*;
use crate::segments::Scale;
use audio::ring::{RingFds, SAMPLES_MIN, Writer};

const SPEC: WindowSpec = WindowSpec {
    rate_hz: 8_000,
    n_fft: 8,
    hop: 4,
    frames: 4,
    stride: 4,
};

const ENDLESS: Allowance = Allowance {
    samples: u64::MAX,
    patience: Duration::MAX,
};

fn bounded(samples: u64, patience_s: u64) -> Allowance {
    let patience = Duration::from_secs(patience_s);
    Allowance { samples, patience }
}

fn slot() -> (Slot, Writer) {
    let fds = RingFds::create(SAMPLES_MIN).unwrap();
    let writer = Writer::attach(fds.try_clone().unwrap()).unwrap();
    let mut slot = Slot::default();
    slot.attach(Reader::attach(fds).unwrap());
    (slot, writer)
}

fn batches(max: usize) -> Batches {
    Batches {
        windows: Batch::new(SPEC, max),
        segments: SegmentBatch::new(max),
    }
}

/// Steps until there is nothing to do or the track is through.
fn run(slot: &mut Slot, batch: &mut Batches) -> Step {
    let mut scratch = vec![0.0; 100];
    loop {
        let step = slot.step(batch, &mut scratch);
        if step != Step::Worked {
            return step;
        }
    }
}

fn write(writer: &mut Writer, samples: usize) {
    let pcm: Vec<f32> = (0..samples).map(|i| (i % 7) as f32 / 8.0).collect();
    let (peer, _kept) = std::os::unix::net::UnixStream::pair().unwrap();
    writer.write(&pcm, std::os::fd::AsFd::as_fd(&peer)).unwrap();
}

#[test]
fn a_track_is_drained_when_all_announced_samples_are_read() {
    let (mut slot, mut writer) = slot();
    let mut batch = batches(100);
    assert!(slot.begin(7, ENDLESS, Pass::screen(SPEC)));
    write(&mut writer, 64);
    assert_eq!(run(&mut slot, &mut batch), Step::Nothing);
    slot.announce(7, 64);
    let Step::Drained {
        token: 7,
        sound: Some(sound),
    } = run(&mut slot, &mut batch)
    else {
        panic!("not drained")
    };
    assert_eq!((sound.samples, sound.peak), (64, 0.75));
    assert_eq!(
        batch.windows.len(),
        usize::try_from(SPEC.count(64)).unwrap()
    );
    assert!(
        slot.begin(8, ENDLESS, Pass::screen(SPEC)),
        "the slot is idle again"
    );
}

#[test]
fn a_count_that_does_not_match_the_ring_is_a_violation() {
    for (written, announced) in [(64, 65), (64, 63), (0, 1), (1, 0)] {
        let (mut slot, mut writer) = slot();
        slot.begin(7, ENDLESS, Pass::screen(SPEC));
        write(&mut writer, written);
        slot.announce(7, announced);
        let end = run(&mut slot, &mut batches(100));
        assert!(
            matches!(
                end,
                Step::Failed {
                    token: 7,
                    code: Code::RingViolation,
                    ..
                }
            ),
            "{written} {announced}"
        );
        assert!(
            !slot.begin(8, ENDLESS, Pass::screen(SPEC)),
            "the lying ring is dropped"
        );
    }
}

#[test]
fn a_ring_that_carries_more_than_any_track_may_have_ends_the_track() {
    for (samples, through) in [(64, true), (65, false)] {
        let (mut slot, mut writer) = slot();
        slot.begin(7, bounded(64, u64::MAX), Pass::screen(SPEC));
        write(&mut writer, samples);
        let end = run(&mut slot, &mut batches(100));
        let too_long = |step: &Step| {
            matches!(
                step,
                Step::Failed {
                    token: 7,
                    code: Code::TooLong,
                    ..
                }
            )
        };
        assert_eq!(!too_long(&end), through, "{samples}: {end:?}");
    }
}

#[test]
fn a_decoder_that_leaves_its_ring_empty_for_too_long_loses_its_track() {
    let (mut slot, mut writer) = slot();
    let second = Duration::from_secs(1);
    assert_eq!(
        slot.wait(second * 100),
        None,
        "an idle slot waits for nothing"
    );
    slot.begin(7, bounded(u64::MAX, 10), Pass::screen(SPEC));
    assert_eq!(slot.wait(second * 10), None);
    write(&mut writer, SAMPLES_MIN);
    assert_eq!(
        slot.wait(second * 100),
        None,
        "a full ring waits for the worker"
    );
    run(&mut slot, &mut batches(10_000));
    write(&mut writer, 1);
    assert_stalled(slot.wait(second), "a sample now and then does not help");
}

#[test]
fn sound_and_excuses_buy_a_decoder_time_and_nothing_else_does() {
    let pace = (LEAST_PACE * SPEC.rate_hz) as usize;
    let second = Duration::from_secs(1);
    for (seconds, excused, allowed) in [(0, 0, 10), (3, 0, 13), (0, 30, 40), (2, 5, 17)] {
        let (mut slot, mut writer) = slot();
        slot.begin(7, bounded(u64::MAX, 10), Pass::screen(SPEC));
        for _ in 0..seconds * pace / SAMPLES_MIN + usize::from(seconds > 0) {
            write(&mut writer, SAMPLES_MIN);
            run(&mut slot, &mut batches(1_000_000));
        }
        slot.excuse(6, second * 100);
        slot.excuse(7, second * excused);
        let what = format!("{seconds} s bought, {excused} s excused");
        assert_eq!(slot.wait(second * allowed), None, "{what}");
        assert_stalled(slot.wait(second), &what);
    }
}

#[track_caller]
fn assert_stalled(end: Option<Step>, what: &str) {
    let stalled = matches!(
        end,
        Some(Step::Failed {
            token: 7,
            code: Code::DecodeStalled,
            ..
        })
    );
    assert!(stalled, "{what}: {end:?}");
}

#[test]
fn an_aborted_track_leaves_nothing_for_the_next_one() {
    let (mut slot, mut writer) = slot();
    slot.begin(7, ENDLESS, Pass::screen(SPEC));
    write(&mut writer, 50);
    slot.abort(7);
    assert!(slot.begin(8, ENDLESS, Pass::screen(SPEC)));
    write(&mut writer, 20);
    slot.announce(8, 20);
    assert!(matches!(
        run(&mut slot, &mut batches(100)),
        Step::Drained {
            token: 8,
            sound: Some(_)
        }
    ));
}

#[test]
fn a_failed_track_is_read_to_its_end_without_windows() {
    let (mut slot, mut writer) = slot();
    let mut batch = batches(100);
    slot.begin(7, ENDLESS, Pass::screen(SPEC));
    slot.discard(7);
    write(&mut writer, 64);
    slot.announce(7, 64);
    assert_eq!(
        run(&mut slot, &mut batch),
        Step::Drained {
            token: 7,
            sound: None
        }
    );
    assert_eq!(batch.windows.len(), 0);
}

#[test]
fn a_track_for_its_residual_is_counted_in_frames_and_drained_with_its_segments() {
    let info = ResidualInfo {
        rate_hz: 8_000,
        channels: 2,
        segment: 16,
        max_batch: 4,
    };
    let scale = Scale {
        mean: 0.0,
        deviation: 1.0,
    };
    for (written, announced, through) in [(64, 32, true), (64, 33, false), (63, 32, false)] {
        let (mut slot, mut writer) = slot();
        let mut batch = batches(100);
        let cutter = SegmentCutter::new(&info, vec![0, 8, 16], scale);
        assert!(slot.begin(7, ENDLESS, Pass::residual(&info, cutter)));
        write(&mut writer, written);
        slot.announce(7, announced);
        let end = run(&mut slot, &mut batch);
        let drained = matches!(
            &end,
            Step::Drained { token: 7, sound: Some(sound) } if sound.samples == 32
        );
        assert_eq!(drained, through, "{written} {announced}: {end:?}");
        if through {
            assert_eq!((batch.segments.len(), batch.windows.len()), (3, 0));
        }
    }
}
