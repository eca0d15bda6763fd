//! `scanctl up`: a coordinator and an agent for this machine in the foreground. Finds its sibling binaries, refuses other
//! versions, restarts a dead child with back-off, forwards signals, and leaves no orphan even when killed itself. It does
//! no work of its own: what it starts are the same binaries that run a cluster.

mod child;
mod keeper;
mod plan;
pub(crate) mod siblings;
mod stop;

use crate::args::Up;
use crate::failure::{Exit, Failure, problem};
use crate::output::say;
use keeper::{Event, Keeper};
use plan::Trust;
use std::net::SocketAddr;
use std::time::Duration;
use stop::Stop;
use types::Code;

/// How often whoever waits is told that the coordinator still opens its store: checking a large one takes its time, and ends.
const OPENING_SAID_EVERY: Duration = Duration::from_secs(30);

/// Runs until told to stop or until a child dies too often.
pub(crate) async fn run(mut flags: Up) -> Result<(), Failure> {
    let binaries = siblings::require_same_version()?;
    make_folder(&mut flags)?;
    let trust = Trust::of(&flags, &binaries);
    let first = plan::coordinator(&flags, flags.listen, &binaries, &trust)?;
    let mut coordinator = Keeper::start(first)?;
    let mut stop = Stop::new()?;
    let address = tokio::select! {
        ready = ready(&mut coordinator) => ready?.unwrap_or(flags.listen),
        () = stop.asked() => return shut_down([&mut coordinator], &mut stop).await,
    };
    // Where a free port was asked for, a coordinator that is started again takes the same one.
    coordinator.restart_by(plan::coordinator(&flags, address, &binaries, &trust)?);
    let mut agent = Keeper::start(plan::agent(&flags, address, &binaries, &trust)?)?;
    let ready = || say_ready(&flags, address);
    let ended = keep(&mut coordinator, &mut agent, &mut stop, ready).await;
    shut_down([&mut agent, &mut coordinator], &mut stop).await?;
    ended
}

/// Makes the data folder and its name absolute.
fn make_folder(flags: &mut Up) -> Result<(), Failure> {
    let made = std::fs::create_dir_all(&flags.data).and_then(|()| std::path::absolute(&flags.data));
    flags.data = made.map_err(|why| {
        problem(
            Code::ConfigInvalid,
            format!(
                "could not make the folder `{}`: {why}",
                flags.data.display()
            ),
        )
    })?;
    Ok(())
}

/// Waits until our own coordinator says that it is ready, and where. One that dies before is started again like any other.
async fn ready(coordinator: &mut Keeper) -> Result<Option<SocketAddr>, Failure> {
    loop {
        match tokio::time::timeout(OPENING_SAID_EVERY, coordinator.next()).await {
            Ok(Event::Ready(address)) => return Ok(address),
            Ok(Event::Died(death)) => coordinator.revive(death).await?,
            Err(_) => say("the coordinator is still opening its store"),
        }
    }
}

/// Keeps both children alive until told to stop; says once when the agent, too, is ready. An agent that says that an operator
/// drained it would be drained again, so the coordinator goes on alone.
async fn keep(
    coordinator: &mut Keeper,
    agent: &mut Keeper,
    stop: &mut Stop,
    say_ready: impl FnOnce(),
) -> Result<(), Failure> {
    let mut say_ready = Some(say_ready);
    let mut left = false;
    loop {
        let (keeper, event) = tokio::select! {
            () = stop.asked() => return Ok(()),
            event = coordinator.next() => (&mut *coordinator, event),
            event = agent.next(), if !left => {
                left = matches!(&event, Event::Died(death) if death.was_drained());
                if left {
                    say_left();
                    continue;
                }
                let first = matches!(event, Event::Ready(_)).then(|| say_ready.take());
                if let Some(say) = first.flatten() {
                    say();
                }
                (&mut *agent, event)
            }
        };
        match event {
            Event::Ready(_) => {}
            Event::Died(death) => tokio::select! {
                () = stop.asked() => return Ok(()),
                revived = keeper.revive(death) => revived?,
            },
        }
    }
}

fn say_ready(flags: &Up, address: SocketAddr) {
    say(format_args!(
        "ready: coordinator at http://{address}, node `{}`, data in {}",
        flags.node,
        flags.data.display()
    ));
}

fn say_left() {
    say(
        "the node was drained and has left; the coordinator goes on. To bring the node back, uncordon it and start `up` again",
    );
}

/// Stops children in the order given: the agent first, so that its last commits find a coordinator.
async fn shut_down<const N: usize>(
    keepers: [&mut Keeper; N],
    stop: &mut Stop,
) -> Result<(), Failure> {
    for keeper in keepers {
        keeper.end(stop).await;
    }
    if stop.interrupted {
        Err(Failure::Ended(Exit::Interrupted))
    } else {
        Ok(())
    }
}
