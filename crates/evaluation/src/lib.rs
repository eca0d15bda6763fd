//! What labelled scores say: areas and rates with their intervals, thresholds with their bounds, calibrations, and splits
//! that do not leak. Scores and labels in, numbers out.
//!
//! Called by scanctl's `evaluate` and `calibrate`, over the rows of a finished job, and by `models` over labelled audio. It
//! reads no file and no clock, knows neither bundle nor row, and draws chance from seeds alone: the same tracks give the
//! same numbers, to the bit.
//!
//! - [`split`] says which tracks belong together, puts them on two sides, and finds what stands on both.
//! - [`tiers`] fits thresholds on known-human tracks and counts them on others, with the bound of [`bound`].
//! - [`platt`], [`terms`] and [`fusion`] turn scores and features into probabilities at a stated prior.
//! - [`report()`] makes the tables: areas and rates ([`curve`]) with intervals ([`bootstrap`]), calibration ([`reliability`]),
//!   by bucket, label and genre, and how far probabilities drift between buckets.
//! - [`thresholds`] says what threshold each of these slices would set by its own human tracks, and where the common one does not hold.

pub mod auc;
pub mod bootstrap;
pub mod bound;
pub mod bucket;
pub mod curve;
pub mod dice;
pub mod fusion;
pub mod logistic;
pub mod platt;
pub mod reliability;
mod report;
mod sliced;
mod slicing;
pub mod split;
pub mod terms;
pub mod thresholds;
pub mod tiers;

pub use report::{
    Drift, Escalated, FEW, Flagged, Heard, Labelled, Options, Rate, Report, System, report,
};
pub use sliced::{Found, Slice, Sliced};
pub use slicing::{Place, SLICES_MAX};
