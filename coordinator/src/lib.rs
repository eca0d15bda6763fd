//! The coordinator: a shell around the scheduler's pure core. It answers people and agents over gRPC, keeps time,
//! holds the leadership, carries out the core's reads and writes on the store, and keeps snapshots, specifications,
//! manifests and bundles in storage.
//!
//! `main` starts it; tests start it in their own process on a free port. It never reads a track's audio, never decides
//! about a grant or a commit (the core does), and lets nothing wire-shaped past its handlers.
//!
//! Where to look: `start` puts the parts together, `opening` opens the store, a `house` is what both make and `terms` says who of several leads; in a `reign` the `driver` owns the core, `effects` are its
//! hands, `journal` its diary; else a `follower` keeps a mirror. `door` finds whom a call is for, `handlers` are the ears, `handle` their way
//! to the core, `shelf` keeps what people name, `collector` removes what nothing names, `older` and `mirror` refuse a store that would make it
//! remove more, `restore` makes records anew where an operator asks for it, `probe` asks what storage can promise, `ready` says what is
//! missing, `ending` how a process that is told to end spends its time, `server` is the edge.

mod app;
mod audit;
mod bridge;
mod bundles;
mod clock;
mod collector;
mod door;
mod driver;
mod effects;
mod ending;
mod follower;
mod gauges;
mod handle;
mod handlers;
mod house;
mod journal;
mod led;
mod mirror;
mod older;
mod opening;
pub mod probe;
mod quotas;
mod ready;
mod reign;
pub mod restore;
mod rpc;
mod server;
pub mod settings;
mod shelf;
mod sources;
mod start;
mod terms;
mod turns;
mod wire;

pub use start::Coordinator;
