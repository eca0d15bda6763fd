//! Many hosts on one machine, and what goes wrong on them: network namespaces with addresses of their own, links that are cut or lose,
//! relays that delay, programs that are killed or stopped, slow disks, stepped clocks; a drawn schedule of such faults with its
//! executor; the judge and report of a chaos run; and how the product's own programs are started among all that.
//!
//! Suites make a [`World`], start [`Program`]s on its hosts, and hold the [`Process`]es. It works as root and, where the kernel gives
//! user namespaces, as anybody. Nothing of it is visible outside, and nothing outlives the suite, however that ends. The product
//! never uses it.

mod clock;
mod disk;
pub mod etcd;
mod fault;
mod host;
pub mod http;
pub mod keeper;
mod life;
mod links;
mod operator;
pub mod oracle;
mod place;
mod process;
pub mod product;
pub mod relay;
pub mod report;
mod run;
mod schedule;
mod spawn;
mod stage;
mod syncs;
mod wait;
mod world;

pub use clock::Clock;
pub use disk::Disk;
pub use fault::{Aim, Fault, Kind, Target, Usual};
pub use host::{Host, Shell};
pub use links::Link;
pub use operator::{Ended, Operator};
pub use process::{Process, Program};
pub use relay::{Pass, Relay, Shape};
pub use run::{Beginning, Hands, Record, run};
pub use rustix::process::Signal;
pub use schedule::{Lone, Member, Plan, Step, steps};
pub use spawn::program;
pub use stage::{Cluster, Stage, Weather};
pub use wait::wait_for;
pub use world::World;
