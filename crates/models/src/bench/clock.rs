//! Time and processor time of a pass: medians over rounds, after one that warms caches and allocators up.

use std::time::Instant;

/// What a pass takes, seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Times {
    /// On the wall.
    pub wall: f64,
    /// Of the processor, all threads of this process.
    pub cpu: f64,
}

/// Times passes.
#[derive(Debug)]
pub(super) struct Clock {
    rounds: u32,
}

impl Clock {
    pub(super) fn new(rounds: u32) -> Self {
        Self {
            rounds: rounds.max(1),
        }
    }

    /// Runs `pass` once more than it is counted.
    pub(super) fn time<E>(&self, mut pass: impl FnMut() -> Result<(), E>) -> Result<Times, E> {
        pass()?;
        let (mut walls, mut cpus) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let (begun, before) = (Instant::now(), cpu_seconds());
            pass()?;
            walls.push(begun.elapsed().as_secs_f64());
            cpus.push(cpu_seconds() - before);
        }
        Ok(Times {
            wall: median(walls),
            cpu: median(cpus),
        })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = ((values.len() - 1) / 2, values.len() / 2);
    f64::midpoint(values[low], values[high])
}

fn cpu_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a timespec that lives for the call, and this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_middle_values() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![7.0]), 7.0);
    }

    #[test]
    fn a_pass_runs_once_more_than_it_is_counted_and_an_error_ends_it() {
        let mut runs = 0;
        let counted = || -> Result<(), ()> {
            runs += 1;
            Ok(())
        };
        assert!(Clock::new(3).time(counted).is_ok());
        assert_eq!(runs, 4);
        assert_eq!(Clock::new(3).time(|| Err("no")), Err("no"));
    }
}
