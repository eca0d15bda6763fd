//! The ring between an honest pair, and against a writer that lies.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use rustix::io::Errno;

use super::memory::{HEADER_BYTES, Mapping};
use super::*;

const LONG: Duration = Duration::from_secs(20);

fn pair(samples: usize) -> (Writer, Reader, Mapping) {
    let fds = RingFds::create(samples).unwrap();
    let map = Mapping::of(&fds.memory).unwrap();
    let writer = Writer::attach(fds.try_clone().unwrap()).unwrap();
    (writer, Reader::attach(fds).unwrap(), map)
}

/// Sets the writer's position behind the reader's back.
fn claim(map: &Mapping, head: u64) {
    map.header().head.0.store(head, Ordering::Release);
}

#[test]
fn the_memory_cannot_be_resized_by_anyone_who_holds_it() {
    let fds = RingFds::create(SAMPLES_MIN).unwrap();
    for size in [0, HEADER_BYTES as u64, 1 << 20] {
        assert_eq!(
            rustix::fs::ftruncate(&fds.memory, size),
            Err(Errno::PERM),
            "{size}"
        );
    }
    let unseal = rustix::fs::fcntl_add_seals(&fds.memory, rustix::fs::SealFlags::WRITE);
    assert_eq!(unseal, Err(Errno::PERM));
}

#[test]
fn memory_that_is_no_sealed_ring_is_refused() {
    let unsealed = |bytes: u64| {
        let fd = rustix::fs::memfd_create("t", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&fd, bytes).unwrap();
        fd
    };
    let sealed = |bytes: u64| {
        let fd = unsealed(bytes);
        rustix::fs::fcntl_add_seals(
            &fd,
            rustix::fs::SealFlags::SHRINK | rustix::fs::SealFlags::GROW,
        )
        .unwrap();
        fd
    };
    let attach = |memory| {
        let RingFds { data, space, .. } = RingFds::create(SAMPLES_MIN).unwrap();
        Reader::attach(RingFds {
            memory,
            data,
            space,
        })
        .map(drop)
    };
    let good = (HEADER_BYTES + SAMPLES_MIN * 4) as u64;
    assert!(attach(sealed(good)).is_ok());
    assert!(matches!(attach(unsealed(good)), Err(RingError::NotSealed)));
    for bytes in [0, 1, 4095, 4096, good - 4, good + 1, good + 4] {
        assert!(
            matches!(attach(sealed(bytes)), Err(RingError::Size(_))),
            "{bytes}"
        );
    }
    for samples in [0, 1, SAMPLES_MIN - 1, SAMPLES_MIN + 1, SAMPLES_MAX * 2] {
        assert!(matches!(
            RingFds::create(samples),
            Err(RingError::Capacity(_))
        ));
    }
}

#[test]
fn a_lying_position_is_a_violation_then_and_ever_after() {
    let capacity = SAMPLES_MIN as u64;
    #[rustfmt::skip]
    let rows = [
        (99, Violation::Rewound { before: 100, now: 99 }),
        (0, Violation::Rewound { before: 100, now: 0 }),
        (capacity + 51, Violation::Overrun { claimed: capacity + 1, capacity }),
        (u64::MAX, Violation::Overrun { claimed: u64::MAX - 50, capacity }),
    ];
    for (head, expected) in rows {
        let (mut writer, mut reader, map) = pair(SAMPLES_MIN);
        let peer = UnixStream::pair().unwrap();
        writer.write(&[0.5; 100], peer.0.as_fd()).unwrap();
        assert_eq!(reader.read(&mut [0.0; 50]), Ok(50));
        claim(&map, head);
        assert_eq!(reader.available(), Err(expected));
        claim(&map, 100);
        assert_eq!(
            reader.read(&mut [0.0; 10]),
            Err(expected),
            "a violation is final"
        );
        assert_eq!(reader.wait(1, LONG), Err(expected));
    }
}

#[test]
fn samples_that_no_decoder_sends_are_a_violation() {
    for bad in [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        SAMPLE_LIMIT * 1.01,
    ] {
        let (mut writer, mut reader, _) = pair(SAMPLES_MIN);
        let peer = UnixStream::pair().unwrap();
        writer.write(&[0.5, bad, 0.5], peer.0.as_fd()).unwrap();
        assert_eq!(
            reader.read(&mut [0.0; 10]),
            Err(Violation::Unusable),
            "{bad}"
        );
    }
}

#[test]
fn a_writer_that_races_its_position_and_samples_never_harms_the_reader() {
    let fds = RingFds::create(SAMPLES_MIN).unwrap();
    let map = Mapping::of(&fds.memory).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            let mut state = 7u64;
            while !stop.load(Ordering::Relaxed) {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                // Mostly plausible positions, so that the reader goes on copying while the samples change under it.
                let near = map
                    .header()
                    .tail
                    .0
                    .load(Ordering::Relaxed)
                    .wrapping_add(state >> 52);
                claim(
                    &map,
                    if state.is_multiple_of(1000) {
                        state
                    } else {
                        near
                    },
                );
                let word = map
                    .sample((state >> 33) as usize % SAMPLES_MIN)
                    .cast::<AtomicU32>();
                let bits = if state.is_multiple_of(997) {
                    f32::NAN.to_bits()
                } else {
                    (state >> 35) as u32
                };
                // SAFETY: an aligned word of the mapping, which lives as long as this thread.
                unsafe { word.as_ref() }.store(bits, Ordering::Relaxed);
            }
        });
        let mut out = [0.0; 512];
        let (mut copied, mut lies) = (0, 0);
        let mut reader = Reader::attach(fds.try_clone().unwrap()).unwrap();
        while lies < 20 || copied < 20_000 {
            match reader.read(&mut out) {
                Ok(read) => {
                    assert!(all_usable(&out[..read]));
                    copied += read;
                }
                Err(_) => {
                    lies += 1;
                    // A worker would take no more from this ring; the test goes on with a reader that trusts it anew.
                    reader = Reader::attach(fds.try_clone().unwrap()).unwrap();
                    let map = Mapping::of(&fds.memory).unwrap();
                    map.header().tail.0.store(0, Ordering::Relaxed);
                    claim(&map, 0);
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn every_sample_arrives_once_and_in_order_between_threads() {
    let (mut writer, mut reader, _) = pair(SAMPLES_MIN);
    let total = 1_000_000u32;
    let peer = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut next = 0;
            for size in (1..=7000).cycle().step_by(13) {
                let end = total.min(next + size);
                let samples: Vec<f32> = (next..end).map(|i| (i % 60_000) as f32).collect();
                writer.write(&samples, peer.0.as_fd()).unwrap();
                next = end;
                if next == total {
                    break;
                }
            }
            writer.finish();
        });
        let mut out = vec![0.0; 3000];
        let mut seen = 0;
        while seen < total {
            assert!(
                reader.wait(2500, LONG).unwrap() > 0,
                "a wake-up was lost at {seen}"
            );
            let read = reader.read(&mut out).unwrap();
            for x in &out[..read] {
                assert_eq!(*x, (seen % 60_000) as f32);
                seen += 1;
            }
        }
        assert_eq!(
            (reader.available(), reader.ended_at_hint()),
            (Ok(0), u64::from(total))
        );
    });
}

#[test]
fn a_writer_left_alone_at_a_full_ring_gives_up() {
    let (mut writer, _reader, _) = pair(SAMPLES_MIN);
    let (peer, agent) = UnixStream::pair().unwrap();
    drop(agent);
    let written = writer.write(&vec![0.0; SAMPLES_MIN + 1], peer.as_fd());
    assert!(matches!(written, Err(WriterError::Abandoned)));
}

#[test]
fn waiting_is_bounded_and_the_end_of_a_track_wakes_whoever_wants_more() {
    let (mut writer, mut reader, _) = pair(SAMPLES_MIN);
    assert_eq!(reader.wait(10, Duration::from_millis(1)), Ok(0));
    let peer = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            writer.write(&[0.25; 5], peer.0.as_fd()).unwrap();
            writer.finish();
        });
        // Five samples never meet the request for a thousand; the end of the track does.
        while reader.wait(1000, LONG).unwrap() < 5 {}
    });
    assert_eq!(reader.skip(usize::MAX), Ok(5));
}

proptest! {
    #[test]
    fn any_writes_and_reads_keep_order(steps in prop::collection::vec((1usize..5000, 0usize..5000, prop::bool::ANY), 1..40)) {
        let (mut writer, mut reader, _) = pair(SAMPLES_MIN);
        let (mut next, mut seen) = (0u32, 0u32);
        let mut out = vec![0.0; 5000];
        for (write, read, skip) in steps {
            let free = writer.free(write).unwrap();
            let length = free.len();
            free.iter_mut().for_each(|x| { *x = (next % 60_000) as f32; next += 1; });
            writer.publish(length);
            if skip {
                seen += reader.skip(read).unwrap() as u32;
            } else {
                let read = reader.read(&mut out[..read]).unwrap();
                for x in &out[..read] {
                    prop_assert_eq!(*x, (seen % 60_000) as f32);
                    seen += 1;
                }
            }
            prop_assert_eq!(reader.available().unwrap() as u32, next - seen);
        }
    }
}
