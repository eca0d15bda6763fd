//! `admin leader`: who leads, and what each coordinator says of it that is named. Each is asked by itself, since calls find the leader whichever
//! address they begin at.

use crate::args::Global;
use crate::client::leader_at;
use crate::failure::{Exit, Failure, after, problem};
use crate::output::print;
use crate::view::{Leadership, Told};
use proto::leader::{Coordinators, pointed};
use types::{Code, Problem};

pub(crate) async fn leader(global: &Global) -> Result<(), Failure> {
    let found = Leadership::of(ask(global).await?);
    let outcome = match found.is_led() {
        true => Ok(()),
        false => Err(Failure::Ended(Exit::Unavailable)),
    };
    after(print(global, &found), outcome)
}

/// What every coordinator says whose address is given, and the one that they say leads where it is none of them.
pub(crate) async fn ask(global: &Global) -> Result<Vec<Told>, Failure> {
    let known = Coordinators::parse("address", &global.address);
    let known = known.map_err(|why| Failure::from(Problem::from(why)))?;
    let mut told = all(global, known.listed()).await?;
    let named = told.iter().find_map(Told::points_to);
    let leader = named.and_then(|(from, to)| pointed(from, to));
    if !told.iter().any(Told::leads)
        && let Some(leader) = leader.filter(|leader| told.iter().all(|one| one.address != *leader))
    {
        told.extend(all(global, &[leader]).await?);
    }
    Ok(told)
}

/// Asks all at once: those that do not answer take as long as the slowest of them.
async fn all(global: &Global, addresses: &[String]) -> Result<Vec<Told>, Failure> {
    let ask = |address: &String| {
        let asking = tokio::spawn(leader_at(global.clone(), address.clone()));
        (address.clone(), asking)
    };
    let asked: Vec<_> = addresses.iter().map(ask).collect();
    let mut told = Vec::new();
    for (address, asking) in asked {
        let said = asking.await;
        let said = said.map_err(|why| problem(Code::Internal, format!("ask who leads: {why}")))?;
        told.push(Told { address, said });
    }
    Ok(told)
}
