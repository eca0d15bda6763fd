//! Between wire messages and the core's requests, answers and views. Pure; the only place besides `proto` where wire
//! types are taken apart.

pub(crate) mod agents;
pub(crate) mod jobs;
pub(crate) mod rank;
