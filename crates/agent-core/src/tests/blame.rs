//! Whose doing a worker's death is, once the tracks that were in hand have been tried, given up or taken back.

use super::*;
use crate::device::{Blame, Device};

/// A device with one death fewer of its own than it may have, and one more at which tracks 0 and 1 were in hand.
fn on_the_brink() -> Device {
    let mut device = Device::new();
    device.begin(BUNDLE);
    for _ in 1..limits::DEVICE_FAULTS_MAX {
        device.fall(Millis(0), Death::Own, Blame::Device);
    }
    let lost = vec![(key(1), 0), (key(1), 1)];
    device.fall(Millis(0), Death::Own, Blame::Open(lost));
    device
}

#[test]
fn a_death_is_the_devices_own_once_each_of_its_suspects_ran_through() {
    let mut device = on_the_brink();
    device.clear(Millis(1), &(key(1), 0), |_| true);
    assert!(device.is_in_service(), "track 1 may have done it");
    device.clear(Millis(2), &(key(2), 1), |_| true);
    assert!(
        device.is_in_service(),
        "another grant's track 1 was not there"
    );
    device.clear(Millis(3), &(key(1), 1), |_| true);
    assert!(!device.is_in_service());
}

#[test]
fn a_death_of_which_a_suspect_has_left_untried_is_laid_at_nobodys_door() {
    let mut device = on_the_brink();
    let only_first_is_here = |(_, ordinal): &(GrantKey, Ordinal)| *ordinal == 0;
    device.clear(Millis(1), &(key(2), 7), only_first_is_here);
    device.clear(Millis(2), &(key(1), 0), only_first_is_here);
    device.clear(Millis(3), &(key(1), 1), |_| true);
    assert!(device.is_in_service());
}

#[test]
fn a_track_that_is_given_up_elsewhere_answers_for_its_deaths_here() {
    let mut device = on_the_brink();
    device.acquit(&(key(1), 1));
    device.clear(Millis(1), &(key(1), 0), |_| true);
    assert!(device.is_in_service());
}
