//! Training, calibration and evaluation of the screen, and the making of the labelled data of the demonstration bundle.
//!
//! Called by `trackscan-worker decoders|corpus|demo-tracks|train|calibrate|evaluate` through [`command`]. Decodes and takes mel values through
//! the code that serves. Nothing here runs while a catalogue is scanned.
//!
//! The way of the demonstration bundle: [`decoder`] trains small autoencoders; [`labelled`] composes pieces, makes [`positives`] of them and
//! sends both through codecs; [`fitting`] learns from [`features`]; [`calibrate`] scores held-out tracks, asks the guards of [`report`] and
//! writes the signed folder with its model card.

pub mod calibrate;
mod card;
pub mod checkpoint;
pub mod command;
pub mod decoder;
pub mod demo;
pub mod facts;
pub mod features;
pub mod fitting;
pub mod labelled;
pub mod optimiser;
pub mod positives;
pub mod recipe;
pub mod report;
pub mod score;
pub mod tracks;
