//! Who leads, where several coordinators share one store: this process follows until the store gives it an epoch, leads until the
//! epoch ends or the process does, and follows again. Nothing of a reign outlives it but what `start` keeps.
//!
//! A candidate waits at the store for the leader to go, and asks for the leadership at that moment; it asks no earlier and at no
//! interval. One that was given it and could not begin to lead leaves it to others for a while.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use runtime::shutdown::Shutdown;
use store::LeadError;
use tokio::sync::watch;
use tokio::time::Instant;
use types::{Code, Epoch, Problem};

use crate::door::Inside;
use crate::house::House;
use crate::led::lead_problem;
use crate::mirror;
use crate::reign::{Begun, Reign, ended, ends_reign_alone, routes};
use crate::shelf::read_problem;

mod mirroring;
mod tries;

use mirroring::Mirroring;
pub(crate) use tries::Tries;

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
    let (mut reign, mut tries) = (first, Tries::new(house.candidate()));
    loop {
        let leading = match reign.take() {
            Some(leading) => leading,
            None => match follow(&house, &door, &mut tries, &closing).await? {
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
    tries: &mut Tries,
    closing: &Shutdown,
) -> Result<Option<Reign>, Problem> {
    door.send_replace(Inside::Nobody);
    let mut mirroring = Mirroring::new(house, door);
    // Waited for across turns of the loop: a leadership that is given must not be dropped unseen.
    let mut turning = Box::pin(turn(house, None, tries.due()));
    loop {
        let turned = tokio::select! {
            biased;
            () = closing.asked() => return Ok(None),
            turned = &mut turning => turned,
            end = mirroring.ends() => return Err(end),
        };
        let known = match turned {
            Turn::Led(known) => known,
            Turn::Leads(epoch) => {
                if let Some(reign) = lead(house, epoch, tries, closing).await? {
                    door.send_replace(Inside::Leads(routes(&reign.app).await?));
                    return Ok(Some(reign));
                }
                None
            }
            Turn::Waits(problem) => {
                let again_in = tries.went_wrong();
                house.ready.lacks(&problem);
                house.led.hindered(&problem);
                tracing::warn!(%problem, ?again_in, "storage does not say whose it is; it is asked again after a while");
                None
            }
            Turn::Unfit(problem) => return Err(problem),
        };
        mirroring.look();
        turning = Box::pin(turn(house, known, tries.due()));
    }
}

/// Takes up a leadership that was given. Where that cannot be done for a reason that passes, it is given back and left to others for a
/// while; none then, and where the end was asked for.
async fn lead(
    house: &House,
    epoch: (Epoch, Instant),
    tries: &mut Tries,
    closing: &Shutdown,
) -> Result<Option<Reign>, Problem> {
    let problem = match Reign::begin(house, epoch, closing).await {
        Ok(Begun::Leads(reign)) => {
            tries.went_well();
            return Ok(Some(reign));
        }
        Ok(Begun::Over(end)) => match ended(&end) {
            Ok(()) => return Ok(None),
            Err(problem) => problem,
        },
        Err(problem) => problem,
    };
    give_back(house, epoch.0).await;
    if !passes(problem.code) {
        return Err(problem);
    }
    house.led.nobody(&problem);
    let again_in = tries.went_wrong();
    let (epoch, failed) = (epoch.0, tries.failed());
    tracing::warn!(%epoch, %problem, failed, ?again_in, "this coordinator could not begin to lead and has given the leadership back; it follows, and asks again after a while");
    Ok(None)
}

async fn give_back(house: &House, epoch: Epoch) {
    if let Err(error) = house.store.resign(epoch).await {
        tracing::debug!(%epoch, %error, "the leadership is over already, or runs out by itself");
    }
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

/// Whether it is storage that does not serve.
const fn is_of_storage(code: Code) -> bool {
    matches!(
        code,
        Code::StorageUnavailable | Code::StorageFull | Code::StorageDenied | Code::StorageMissing
    )
}

/// What became of one try to lead.
enum Turn {
    /// Another leads, or nobody is known to.
    Led(Option<Epoch>),
    /// This process leads, and asked for it at that moment.
    Leads((Epoch, Instant)),
    /// Storage does not say whether this process may lead.
    Waits(Problem),
    /// Nobody may lead this store.
    Unfit(Problem),
}

/// Waits while another leads, and asks for the leadership where nobody does, though not before it is due.
async fn turn(house: &House, known: Option<Epoch>, due: Option<Instant>) -> Turn {
    if known.is_some() {
        match house.store.leader_other_than(known).await {
            Ok(Some(leader)) => {
                house.led.told(Some(&leader));
                return Turn::Led(Some(leader.epoch));
            }
            Ok(None) => house.led.told(None),
            // Whoever led may lead on: it is named until the store has been asked once more.
            Err(error) => return rest(&error.to_string()).await,
        }
    }
    if let Some(turned) = wait_until(house, due).await {
        return turned;
    }
    // Before each reign and not at the start alone: a store may be put back while coordinators run.
    match mirror::check(house.store.as_ref(), &house.storage).await {
        Ok(()) => {
            house.ready.is_well();
            house.checked.store(true, Ordering::Relaxed);
        }
        Err(problem) if is_of_storage(problem.code) => return Turn::Waits(problem),
        Err(problem) if passes(problem.code) => {
            house.ready.lacks(&problem);
            return nobody(house, &problem).await;
        }
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
        Err(error @ (LeadError::Lost | LeadError::Unavailable { .. } | LeadError::Full { .. })) => {
            nobody(house, &lead_problem(&error)).await
        }
    }
}

/// Waits until the leadership may be asked for; what is to be done instead, where somebody took it meanwhile. One that has never held its
/// storage against the store does that first, whoever leads: it may be another storage than the store's.
async fn wait_until(house: &House, due: Option<Instant>) -> Option<Turn> {
    let due = due?;
    if house.checked.load(Ordering::Relaxed) {
        return leave_to_others(house, due).await;
    }
    house.led.ask(house.store.as_ref()).await;
    tokio::time::sleep_until(due).await;
    None
}

/// Leaves the leadership to others until it is due; who took it meanwhile, where somebody did.
async fn leave_to_others(house: &House, due: Instant) -> Option<Turn> {
    let taken = house.store.leader_other_than(None);
    match tokio::time::timeout_at(due, taken).await {
        Ok(Ok(leader)) => {
            house.led.told(leader.as_ref());
            if leader.is_some() {
                // What it lacked it needs no more: it does not lead.
                house.ready.is_well();
            }
            Some(Turn::Led(leader.map(|leader| leader.epoch)))
        }
        Ok(Err(error)) => Some(nobody(house, &read_problem("who leads", &error)).await),
        Err(_) => None,
    }
}

/// Rests where nobody is known to lead, and passes on why.
async fn nobody(house: &House, problem: &Problem) -> Turn {
    house.led.nobody(problem);
    rest(&problem.to_string()).await
}

async fn rest(cause: &str) -> Turn {
    tracing::warn!(
        cause,
        "who leads, or whether this process may, is not known; asked again"
    );
    tokio::time::sleep(ASK_AGAIN).await;
    Turn::Led(None)
}
