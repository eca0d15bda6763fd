//! Ids, units, time and the vocabulary of Trackscan.
