//! What happened to one track while it was tried, and when that is enough to give it up. Plain counting; whom a death is
//! laid at is decided elsewhere.

use crate::event::Death;
use crate::limits::{
    DECODER_DEATHS_MAX, DECODER_KILLS_MAX, LONE_DEATHS_MAX, LONE_KILLS_MAX, UNREACHABLE_MAX,
};

/// What a track has been through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trials {
    unreachable: u8,
    unreadable: u8,
    lone_deaths: u8,
    lone_kills: u8,
    decoder_deaths: u8,
    decoder_kills: u8,
}

impl Trials {
    /// Counts the death of a worker that had nothing but this track in hand on a proven device. True if that convicts it.
    pub(crate) fn died_alone(&mut self, death: Death) -> bool {
        count(death, &mut self.lone_deaths, &mut self.lone_kills);
        self.lone_deaths >= LONE_DEATHS_MAX || self.lone_kills >= LONE_KILLS_MAX
    }

    /// Counts the death of its decoder. True if that convicts it.
    pub(crate) fn decoder_died(&mut self, death: Death) -> bool {
        count(death, &mut self.decoder_deaths, &mut self.decoder_kills);
        self.decoder_deaths >= DECODER_DEATHS_MAX || self.decoder_kills >= DECODER_KILLS_MAX
    }

    /// Counts a failure to get at its bytes while its neighbours' can be had, and says how many there were.
    pub(crate) fn unreadable(&mut self) -> u8 {
        self.unreadable = self.unreadable.saturating_add(1);
        self.unreadable
    }

    /// Counts a failure to get at its bytes. True if that is enough.
    pub(crate) fn out_of_reach(&mut self) -> bool {
        self.unreachable = self.unreachable.saturating_add(1);
        self.unreachable >= UNREACHABLE_MAX
    }
}

fn count(death: Death, deaths: &mut u8, kills: &mut u8) {
    let counter = match death {
        Death::Own | Death::Hung => deaths,
        Death::Killed => kills,
    };
    *counter = counter.saturating_add(1);
}
