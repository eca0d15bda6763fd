//! Who leads, where several coordinators share one store: this process follows until the store gives it an epoch, leads until the
//! epoch ends or the process does, and follows again. Nothing of a reign outlives it but what `start` keeps.
//!
//! A candidate waits at the store for the leader to go, and asks for the leadership at that moment; it asks no earlier and at no
//! interval.

use std::sync::Arc;
use std::time::Duration;

use runtime::shutdown::Shutdown;
use scheduler::StepDown;
use store::LeadError;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use types::{Code, Epoch, Generation, Problem};

use crate::app::App;
use crate::door::Inside;
use crate::driver::End;
use crate::follower::Follower;
use crate::handlers::note_default;
use crate::mirror;
use crate::reign::{Begun, Reign, app, ended, ends_reign_alone, lost, routes};
use crate::shelf::Shelf;
use crate::sources::Sources;
use crate::start::House;

/// Wait before a store is asked again that did not answer: far below the leadership time, and nothing to a store that is back.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Leads and follows by turns until `closing` is asked for.
///
/// # Errors
/// What keeps the process from going on: its own store's leadership ended, records cannot be read, it may not lead.
pub(crate) async fn run(
    house: Arc<House>,
    first: Option<Reign>,
    door: watch::Sender<Inside>,
    closing: Shutdown,
) -> Result<(), Problem> {
    let mut reign = first;
    loop {
        let leading = match reign.take() {
            Some(leading) => leading,
            None => match follow(&house, &door, &closing).await? {
                Some(leading) => leading,
                None => return Ok(()),
            },
        };
        let end = leading.last(&house, &closing).await?;
        if !(house.shares && ends_reign_alone(&end)) {
            return ended(&end);
        }
        tracing::warn!("the epoch ended; this coordinator follows");
    }
}

/// Follows until this process leads; none where the end was asked for.
async fn follow(
    house: &House,
    door: &watch::Sender<Inside>,
    closing: &Shutdown,
) -> Result<Option<Reign>, Problem> {
    let mut mirror = None;
    door.send_replace(Inside::Nobody);
    // Waited for across turns of the loop: a leadership that is given must not be dropped unseen.
    let mut turning = Box::pin(turn(house, None));
    loop {
        let turned = tokio::select! {
            () = closing.asked() => return Ok(None),
            end = gone(&mut mirror) => return Err(end),
            turned = &mut turning => turned,
            // The store did not answer, or its first leader has not given it a generation yet.
            () = tokio::time::sleep(ASK_AGAIN), if mirror.is_none() => {
                renew(house, door, &mut mirror).await?;
                continue;
            }
        };
        let known = match turned {
            Turn::Led(known) => {
                renew(house, door, &mut mirror).await?;
                known
            }
            Turn::Leads(epoch) => {
                if let Some(reign) = lead(house, epoch).await? {
                    door.send_replace(Inside::Leads(routes(&reign.app).await?));
                    return Ok(Some(reign));
                }
                None
            }
            Turn::Unfit(problem) => return Err(problem),
        };
        turning = Box::pin(turn(house, known));
    }
}

/// Takes up a leadership that was given; none where it was over before, or could not be taken up for a reason that passes.
async fn lead(house: &House, epoch: (Epoch, Instant)) -> Result<Option<Reign>, Problem> {
    match Reign::begin(house, epoch).await {
        Ok(Begun::Leads(reign)) => return Ok(Some(reign)),
        Ok(Begun::Over(end)) => {
            tracing::warn!(?end, "the reign was over before it began");
            ended_early(&end)?;
        }
        Err(problem) => give_up(house, epoch.0, problem).await?,
    }
    Ok(None)
}

/// Passes over the end of a reign where only that is over.
fn ended_early(end: &End) -> Result<(), Problem> {
    match ends_reign_alone(end) {
        true => Ok(()),
        false => ended(end),
    }
}

/// Gives the leadership up that could not be taken up. What passes by itself is tried again; anything else ends the process.
async fn give_up(house: &House, epoch: Epoch, problem: Problem) -> Result<(), Problem> {
    if let Err(error) = house.store.resign(epoch).await {
        tracing::debug!(%epoch, %error, "the leadership runs out by itself");
    }
    if !passes(problem.code) {
        return Err(problem);
    }
    tracing::warn!(%epoch, %problem, "this coordinator could not lead; it follows");
    tokio::time::sleep(ASK_AGAIN).await;
    Ok(())
}

/// Whether a fault with this code ends by itself, so that a process that waits is of more use than one that ends.
const fn passes(code: Code) -> bool {
    matches!(
        code,
        Code::NotLeader
            | Code::StoreUnavailable
            | Code::StoreFull
            | Code::StorageUnavailable
            | Code::StorageFull
            | Code::StorageDenied
            | Code::StorageMissing
            | Code::Overloaded
            | Code::DeadlineExceeded
    )
}

/// What became of one try to lead.
enum Turn {
    /// Another leads, or nobody is known to.
    Led(Option<Epoch>),
    /// This process leads, and asked for it at that moment.
    Leads((Epoch, Instant)),
    /// Nobody may lead this store.
    Unfit(Problem),
}

/// Waits while another leads, and asks for the leadership where nobody does.
async fn turn(house: &House, known: Option<Epoch>) -> Turn {
    if known.is_some() {
        match house.store.leader_other_than(known).await {
            Ok(Some(leader)) => {
                house.led.told(Some(&leader));
                return Turn::Led(Some(leader.epoch));
            }
            Ok(None) => house.led.told(None),
            Err(error) => return rest(&error.to_string()).await,
        }
    }
    // Before each reign and not at the start alone: a store may be put back while coordinators run.
    match mirror::check(house.store.as_ref(), &house.storage).await {
        Ok(()) => {}
        Err(problem) if passes(problem.code) => return rest(&problem.to_string()).await,
        Err(problem) => return Turn::Unfit(problem),
    }
    let begun = Instant::now();
    match house.store.lead(&house.candidate()).await {
        Ok(epoch) => {
            tracing::info!(%epoch, "this coordinator leads");
            Turn::Leads((epoch, begun))
        }
        Err(LeadError::Held { .. }) => match house.led.ask(house.store.as_ref()).await {
            Some(known) => Turn::Led(Some(known)),
            None => rest("who leads could not be read").await,
        },
        Err(LeadError::Lost) => rest("the leadership was lost as it was given").await,
        Err(LeadError::Unavailable { cause }) => rest(&cause).await,
    }
}

async fn rest(cause: &str) -> Turn {
    tracing::warn!(
        cause,
        "who leads, or whether this process may, is not known; asked again"
    );
    tokio::time::sleep(ASK_AGAIN).await;
    Turn::Led(None)
}

/// A mirror that is kept up.
struct Following {
    generation: Generation,
    task: JoinHandle<Result<(), StepDown>>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins a mirror where there is none, or none of the generation that the store is in. What keeps it from that for a while is logged.
async fn renew(
    house: &House,
    door: &watch::Sender<Inside>,
    mirror: &mut Option<Following>,
) -> Result<(), Problem> {
    let begun = match Shelf::of_follower(house.store.clone()).await {
        Ok(None) => return Ok(()),
        Ok(Some(shelf)) => {
            let same = |following: &Following| following.generation == shelf.generation();
            if mirror.as_ref().is_some_and(same) {
                return Ok(());
            }
            begin(house, door, shelf).await
        }
        Err(problem) => Err(problem),
    };
    match begun {
        Ok(following) => *mirror = Some(following),
        Err(problem) if passes(problem.code) => {
            tracing::warn!(%problem, "the store's records could not be followed");
        }
        Err(problem) => return Err(problem),
    }
    Ok(())
}

async fn begin(
    house: &House,
    door: &watch::Sender<Inside>,
    shelf: Shelf,
) -> Result<Following, Problem> {
    let (generation, policy) = (shelf.generation(), house.settings.policy.clone());
    let sources = Sources::new(&house.settings.sources)?;
    let (follower, handle, shelved) = Follower::new(house.store.clone(), generation, policy);
    let app = Arc::new(App {
        shelved: Some(Mutex::new(shelved)),
        ..app(house, handle, shelf, sources)
    });
    let differs = app.differs().await;
    if !differs.is_empty() {
        let (code, settings) = (Code::ConfigDiffers.as_str(), differs.join(", "));
        tracing::warn!(code, settings, "the leader is configured otherwise");
    }
    if let Some(folder) = &house.settings.default_bundle {
        note_default(&app, folder).await?;
    }
    let routes = routes(&app).await?;
    let task = tokio::spawn(follower.run());
    door.send_replace(Inside::Follows(routes, app));
    Ok(Following { generation, task })
}

/// Waits for a mirror that cannot go on, and says why; for ever where there is none.
async fn gone(mirror: &mut Option<Following>) -> Problem {
    let Some(following) = mirror else {
        return std::future::pending().await;
    };
    match (&mut following.task).await {
        Ok(Err(reason)) => {
            let end = ended(&End::SteppedDown(reason));
            end.err().unwrap_or_else(unreadable)
        }
        // It holds a handle itself.
        Ok(Ok(())) => unreadable(),
        Err(error) => lost(&error),
    }
}

fn unreadable() -> Problem {
    Problem::new(Code::Internal, "follow the records: it ended")
}
