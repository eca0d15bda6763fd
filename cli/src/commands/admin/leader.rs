//! `admin leader`: who leads, and what each coordinator says of it that is named. Each is asked by itself, since calls find the leader whichever
//! address they begin at.

use crate::args::Global;
use crate::client::{check_caller, leader_at};
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

/// What every coordinator says whose address is given, and the one that leads by their word where it is none of them.
pub(crate) async fn ask(global: &Global) -> Result<Vec<Told>, Failure> {
    // What is wrong with the command is no silence of a coordinator.
    check_caller(global)?;
    let known = Coordinators::parse("address", &global.address);
    let known = known.map_err(|why| Failure::from(Problem::from(why)))?;
    let mut told = all(global, known.listed()).await?;
    if let Some(leader) = beyond(&told) {
        told.extend(all(global, &[leader]).await?);
    }
    Ok(told)
}

/// Who leads in the latest reign that any of these knows of, where it is none of them: one that was cut off may still name the leader before,
/// or take itself for it.
fn beyond(told: &[Told]) -> Option<String> {
    let known = told
        .iter()
        .filter_map(|one| Some((&one.address, one.said.as_ref().ok()?)));
    let (from, said) = known.max_by_key(|(_, said)| (said.epoch, said.here))?;
    if said.here || said.leader.is_empty() {
        return None;
    }
    let leader = pointed(from, &said.leader)?;
    let is_asked = told.iter().any(|one| one.address == leader);
    (!is_asked).then_some(leader)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proto::v1;

    fn told(address: &str, epoch: u64, leader: &str) -> Told {
        Told {
            address: address.to_owned(),
            said: Ok(v1::GetLeaderResponse {
                leader: leader.to_owned(),
                epoch,
                here: leader == address,
                ..v1::GetLeaderResponse::default()
            }),
        }
    }

    #[track_caller]
    fn check(told: &[Told], expected: Option<&str>) {
        assert_eq!(beyond(told).as_deref(), expected, "{told:?}");
    }

    #[test]
    fn the_leader_of_the_latest_reign_is_asked_too_whoever_names_it() {
        let (a, b, c) = ("http://a:1", "http://b:1", "http://c:1");
        check(&[told(a, 3, b)], Some(b));
        check(&[told(a, 3, c), told(b, 9, b)], None);
        // One was cut off since, and names who led before, or itself.
        check(&[told(a, 3, "http://old:1"), told(b, 9, c)], Some(c));
        check(&[told(a, 3, a), told(b, 9, c)], Some(c));
        check(&[told(a, 9, b), told(b, 9, b)], None);
        check(&[told(a, 9, "")], None);
        check(&[told(a, 9, "https://elsewhere:1")], None);
    }
}
