//! Who leads, as far as this process knows, and else what keeps anybody from it: told by the store and by `terms`, passed on to callers that
//! came to the wrong one. What the store holds of a leader is a text of ours, the candidate's name, which begins with its address. It decides
//! nothing.

use store::{LeadError, Store};
use tokio::sync::watch;
use types::{Code, Epoch, Problem};

/// Longest candidate's name that is looked at: an address is far shorter.
const NAME_BYTES_MAX: usize = 512;

/// A coordinator that leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    /// Its reign.
    pub(crate) epoch: Epoch,
    /// Where clients reach it, as a URL.
    pub(crate) address: String,
}

/// The last word on who leads. Copies are one and the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Led {
    known: watch::Sender<Known>,
}

/// What is known.
#[derive(Debug, Default)]
struct Known {
    leader: Option<Leader>,
    /// What kept somebody from leading last; none since somebody has led.
    why: Option<Problem>,
}

/// What a candidate is called in the store: where it is reached, and which process of that machine it is.
pub(crate) fn candidate(address: &str) -> String {
    format!("{address} coordinator {}", std::process::id())
}

impl Leader {
    fn named(leader: &store::Leader) -> Self {
        let name = leader.name.get(..NAME_BYTES_MAX).unwrap_or(&leader.name);
        // A restore has no address: nobody reaches it.
        let first = name.split_ascii_whitespace().next();
        let address = first
            .filter(|word| word.contains("://"))
            .unwrap_or_default();
        Self {
            epoch: leader.epoch,
            address: address.to_owned(),
        }
    }
}

impl Led {
    /// This process leads from now on.
    pub(crate) fn here(&self, epoch: Epoch, address: &str) {
        let address = address.to_owned();
        self.leads(Leader { epoch, address });
    }

    /// The reign of this epoch is over.
    pub(crate) fn ended(&self, epoch: Epoch) {
        self.known.send_if_modified(|known| {
            let ended = known.leader.take_if(|leader| leader.epoch == epoch);
            ended.is_some()
        });
    }

    /// What the store says.
    pub(crate) fn told(&self, leader: Option<&store::Leader>) {
        match leader {
            Some(leader) => self.leads(Leader::named(leader)),
            None => self.known.send_modify(|known| known.leader = None),
        }
    }

    /// This keeps this process from leading; another one may.
    pub(crate) fn hindered(&self, why: &Problem) {
        self.known
            .send_modify(|known| known.why = Some(why.clone()));
    }

    /// Nobody is known to lead, for this reason.
    pub(crate) fn nobody(&self, why: &Problem) {
        let (leader, why) = (None, Some(why.clone()));
        self.known.send_replace(Known { leader, why });
    }

    /// Asks the store. Where it does not answer, nobody is known to lead.
    pub(crate) async fn ask(&self, store: &dyn Store) -> Option<Epoch> {
        let leader = store.led_by().await.ok().flatten();
        self.told(leader.as_ref());
        leader.map(|leader| leader.epoch)
    }

    /// Who leads, as far as is known.
    #[must_use]
    pub(crate) fn leader(&self) -> Option<Leader> {
        self.known.borrow().leader.clone()
    }

    /// What keeps anybody from leading, where that is known and nobody is known to lead.
    #[must_use]
    pub(crate) fn why(&self) -> Option<Problem> {
        let known = self.known.borrow();
        known.why.clone().filter(|_| known.leader.is_none())
    }

    fn leads(&self, leader: Leader) {
        let (leader, why) = (Some(leader), None);
        self.known.send_replace(Known { leader, why });
    }
}

/// Why the leadership was not given, with its code.
pub(crate) fn lead_problem(error: &LeadError) -> Problem {
    let code = match error {
        LeadError::Held { .. } | LeadError::Lost => Code::NotLeader,
        LeadError::Unavailable { .. } => Code::StoreUnavailable,
        LeadError::Full { .. } => Code::StoreFull,
    };
    Problem::new(code, format!("lead: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leader(epoch: u64, name: &str) -> store::Leader {
        store::Leader {
            epoch: Epoch(epoch),
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_candidate_is_reached_where_its_name_says() {
        let led = Led::default();
        led.told(Some(&leader(7, &candidate("http://10.0.0.2:7700"))));
        let known = led.leader().unwrap();
        assert_eq!(
            (known.epoch, &*known.address),
            (Epoch(7), "http://10.0.0.2:7700")
        );
        for nowhere in ["", "restore 12 at 1767225600000"] {
            led.told(Some(&leader(8, nowhere)));
            assert_eq!(led.leader().unwrap().address, "", "{nowhere}");
        }
    }

    #[test]
    fn the_end_of_an_earlier_reign_makes_nobody_forget_a_later_one() {
        let led = Led::default();
        led.here(Epoch(7), "http://a:1");
        led.ended(Epoch(6));
        assert!(led.leader().is_some());
        led.ended(Epoch(7));
        assert_eq!(led.leader(), None);
    }

    #[test]
    fn what_keeps_anybody_from_leading_is_said_until_somebody_leads() {
        let led = Led::default();
        let full = lead_problem(&LeadError::Full {
            cause: "no space".to_owned(),
        });
        assert_eq!(full.code, Code::StoreFull);
        led.nobody(&full);
        led.told(None);
        assert_eq!(led.why(), Some(full.clone()));
        led.told(Some(&leader(7, "http://10.0.0.2:7700")));
        assert_eq!(led.why(), None);
        led.told(None);
        assert_eq!(led.why(), None, "it is over");
        led.here(Epoch(8), "http://a:1");
        led.hindered(&full);
        assert_eq!(led.why(), None, "another one leads all the same");
        led.ended(Epoch(8));
        assert_eq!(led.why(), Some(full));
    }
}
