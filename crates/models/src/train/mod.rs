//! Training, calibration and evaluation of the screen, and the making of the labelled data of the demonstration bundle.
//!
//! Called by `trackscan-worker decoders|corpus|demo-tracks|train|train-separator|calibrate|evaluate|evaluate-grid` through [`command`]. Decodes and takes mel values through
//! the code that serves. Nothing here runs while a catalogue is scanned.
//!
//! The way of the demonstration bundle: [`decoder`] trains small autoencoders; [`labelled`] composes pieces, makes [`positives`] of them and
//! sends both through codecs; [`fitting`] learns from [`features`]; [`separator`] learns from stems; [`calibrate`] scores held-out tracks, asks the
//! guards of [`report`], puts in the [`second`] engine by way of [`fusion`], and writes the signed folder with its model card. [`grid`] then
//! measures what was claimed.

pub mod calibrate;
mod card;
pub mod checked;
pub mod checkpoint;
pub mod command;
mod contents;
pub mod decoder;
pub mod demo;
pub mod engines;
pub mod facts;
pub mod features;
pub mod fitting;
pub mod fusion;
pub mod grid;
pub mod judged;
pub mod labelled;
pub mod optimiser;
pub mod positives;
pub mod recipe;
pub mod report;
pub mod score;
pub mod second;
pub mod separated;
pub mod separator;
pub mod tracks;
