//! Faults made on purpose between the program and its store, for tests and chaos runs: drawn from a seed, at rates that the
//! configuration names. Never on by itself, and a warning when it is.
//!
//! Called by the wire for each request. `condition-ignored` works above it, since a signed request cannot lose a header.

mod unconditional;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) use unconditional::Unconditional;

/// What is done to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It is refused with 503 and not sent.
    Unavailable,
    /// It is not sent, and there is no answer.
    LostBefore,
    /// It is carried out, and its answer is lost.
    LostAfter,
    /// A put that must create is refused with 409 and not sent.
    Conflict,
    /// A put that must create overwrites.
    ConditionIgnored,
    /// The answer's body ends early.
    Truncated,
    /// A bit of the answer's body is another.
    Flipped,
    /// The answer takes a while.
    Slow,
    /// It is refused with 403 and not sent.
    Denied,
    /// A put is refused with 507 and not sent: no room.
    Full,
}

impl Fault {
    /// Every fault, in the order in which they are drawn.
    pub const ALL: &'static [Self] = &[
        Self::Unavailable,
        Self::LostBefore,
        Self::LostAfter,
        Self::Conflict,
        Self::ConditionIgnored,
        Self::Truncated,
        Self::Flipped,
        Self::Slow,
        Self::Denied,
        Self::Full,
    ];

    /// Its name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::LostBefore => "lost-before",
            Self::LostAfter => "lost-after",
            Self::Conflict => "conflict",
            Self::ConditionIgnored => "condition-ignored",
            Self::Truncated => "truncated",
            Self::Flipped => "flipped",
            Self::Slow => "slow",
            Self::Denied => "denied",
            Self::Full => "full",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|fault| fault.as_str() == name)
    }
}

/// How long a slow answer takes: longer than any sound store takes, shorter than anybody's patience.
pub(crate) const SLOW: Duration = Duration::from_millis(700);

/// Which faults are made.
#[derive(Clone, Debug, PartialEq)]
pub enum Faults {
    /// These, from the start to the end.
    Fixed(Rates),
    /// What a file says at each moment, so that a test can begin and end a storm; nothing where it is not there.
    File(PathBuf),
}

/// How often each fault is made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    seed: u64,
    /// Chance of each fault for each request; 1 in all at most.
    rates: Vec<(Fault, f64)>,
}

impl Rates {
    /// Faults at these chances, drawn from a seed.
    ///
    /// # Errors
    /// When a chance is not between 0 and 1, or they come to more than 1.
    pub fn new(seed: u64, rates: Vec<(Fault, f64)>) -> Result<Self, String> {
        let each = rates.iter().all(|(_, chance)| (0.0..=1.0).contains(chance));
        let sum: f64 = rates.iter().map(|(_, chance)| chance).sum();
        match each && sum <= 1.0 {
            true => Ok(Self { seed, rates }),
            false => Err("faults: chances lie between 0 and 1 and come to 1 at most".to_owned()),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (mut seed, mut rates) = (0, Vec::new());
        for word in text
            .split([',', '\n'])
            .map(str::trim)
            .filter(|word| !word.is_empty())
        {
            let wrong = || format!("faults: `{word}` is not `seed:N` or `FAULT:CHANCE`");
            let (name, value) = word.split_once(':').ok_or_else(wrong)?;
            match (name, Fault::of(name)) {
                ("seed", _) => seed = value.parse().map_err(|_| wrong())?,
                (_, Some(fault)) => rates.push((fault, value.parse().map_err(|_| wrong())?)),
                (_, None) => return Err(wrong()),
            }
        }
        Self::new(seed, rates)
    }

    /// The fault that a draw between 0 and 1 means.
    fn at(&self, draw: f64) -> Option<Fault> {
        let mut end = 0.0;
        let mut found = self.rates.iter().filter(|(_, chance)| {
            end += chance;
            draw < end
        });
        found.next().map(|(fault, _)| *fault)
    }
}

impl Faults {
    /// Reads `seed:7,unavailable:0.1,lost-after:0.02`, or `file:/PATH` to a file with such a text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix("file:") {
            Some(path) if path.starts_with('/') => Ok(Self::File(path.into())),
            Some(_) => Err("faults: the path of the file is not absolute".to_owned()),
            None => Rates::parse(text).map(Self::Fixed),
        }
    }
}

/// Draws a fault for each request of one store.
pub(crate) struct Injector {
    faults: Faults,
    state: Mutex<State>,
}

struct State {
    rates: Rates,
    rng: ChaCha8Rng,
    /// When the file that they were read from was written.
    written: Option<SystemTime>,
}

impl fmt::Debug for Injector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Injector").field(&self.faults).finish()
    }
}

impl Injector {
    pub(crate) fn new(faults: Faults) -> Self {
        let rates = match &faults {
            Faults::Fixed(rates) => rates.clone(),
            Faults::File(_) => Rates::default(),
        };
        let rng = ChaCha8Rng::seed_from_u64(rates.seed);
        let state = State {
            rates,
            rng,
            written: None,
        };
        Self {
            faults,
            state: Mutex::new(state),
        }
    }

    /// The fault of the next request, if it has one.
    pub(crate) fn draw(&self) -> Option<Fault> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Faults::File(path) = &self.faults {
            state.follow(path);
        }
        let draw = state.rng.random();
        state.rates.at(draw)
    }
}

impl State {
    fn follow(&mut self, path: &Path) {
        let written = std::fs::metadata(path)
            .and_then(|found| found.modified())
            .ok();
        if written == self.written {
            return;
        }
        self.written = written;
        let text = std::fs::read_to_string(path).unwrap_or_default();
        self.rates = Rates::parse(&text).unwrap_or_else(|cause| {
            tracing::warn!(file = %path.display(), cause, "no faults are made");
            Rates::default()
        });
        self.rng = ChaCha8Rng::seed_from_u64(self.rates.seed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str, count: usize) -> Vec<Option<Fault>> {
        let injector = Injector::new(Faults::parse(text).unwrap());
        (0..count).map(|_| injector.draw()).collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_faults_at_about_the_rates_that_were_named() {
        let text = "seed:7,unavailable:0.2,lost-after:0.1";
        let faults = drawn(text, 2_000);
        assert_eq!(faults, drawn(text, 2_000));
        assert_ne!(
            faults,
            drawn("seed:8,unavailable:0.2,lost-after:0.1", 2_000)
        );
        let count = |fault| faults.iter().filter(|drawn| **drawn == fault).count();
        assert!((300..500).contains(&count(Some(Fault::Unavailable))));
        assert!((130..270).contains(&count(Some(Fault::LostAfter))));
        assert_eq!(count(Some(Fault::Denied)), 0);
    }

    #[test]
    fn every_fault_has_a_name_of_its_own_that_is_read_back() {
        for fault in Fault::ALL {
            assert_eq!(drawn(&format!("{}:1", fault.as_str()), 1), [Some(*fault)]);
        }
        for bad in [
            "storm:0.1",
            "slow",
            "slow:2",
            "slow:-1",
            "slow:0.6,full:0.6",
            "file:x",
            "slow:NaN",
        ] {
            assert!(Faults::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_begins_and_ends_a_storm() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("faults");
        let injector = Injector::new(Faults::parse(&format!("file:{}", file.display())).unwrap());
        assert_eq!(injector.draw(), None, "no file, no fault");
        std::fs::write(&file, "unavailable:1\n").unwrap();
        assert_eq!(injector.draw(), Some(Fault::Unavailable));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(injector.draw(), None);
    }
}
