//! The coordinator as others meet it: over real gRPC, on a real store and storage in a folder of its own, in this
//! process or as a process that is killed. The agent is played by the test; its parts are real.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is a failure message of a test, in its helpers too"
)]

mod agent;
mod begun;
mod bundles;
mod crash;
mod damage;
mod drill;
mod edge;
mod etcd;
mod full;
mod gone;
mod held;
mod imports;
mod journal;
mod lost;
mod misuse;
mod odd;
mod offered;
mod older;
mod path;
mod people;
mod probed;
mod reasons;
mod refusals;
mod restore;
mod retry;
mod scene;
mod several;
mod steer;
mod still;
mod unready;
mod upkeep;
mod world;
