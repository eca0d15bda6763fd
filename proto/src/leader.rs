//! Which coordinator a client calls: one of those that it was told of, or the leader that one of them pointed to. Pure:
//! whoever calls says how a call ended and asks where the next one goes. Used by the agent and by scanctl.
//!
//! A pointer is believed as far as the one who gave it: it is a plain address, of the same scheme, so that nobody leads a client from
//! a link that is encrypted to one that is not, and few are followed in a row. All else about the other end is the link's to prove.

use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::Scheme;

use crate::FieldError;

/// Addresses that a client may be told: more coordinators than any cluster has use for.
pub const ADDRESSES_MAX: usize = 16;

/// Pointers followed in a row: one leads from a follower to the leader, and a second and third where the leadership moves at that moment.
/// Beyond them those who point do not agree, and the next listed one is asked.
pub const POINTERS_MAX: u8 = 3;

/// Times that a pointer is followed to whoever gives no answer, before a rest: a connection that breaks under one call is made anew for the next,
/// and who points to a leader that is gone may do so for as long as a leadership lives.
const SILENCES_MAX: u8 = 2;

/// Longest address taken from a pointer: a name of 253 bytes, with scheme and port.
const POINTER_BYTES_MAX: usize = 280;

/// Where a client calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coordinators {
    /// As `scheme://host:port`; never empty.
    listed: Vec<String>,
    at: usize,
    /// Where one of them pointed.
    pointed: Option<String>,
    pointers: u8,
    /// Where one pointed and nobody answered, and how often since the last answer or rest.
    silent: Option<(String, u8)>,
}

impl Coordinators {
    /// Reads addresses parted by commas, such as `http://10.0.0.1:7700,10.0.0.2:7700`. One without a scheme is `http`.
    ///
    /// # Errors
    /// Names the text that is no address of a coordinator, or says that there are too many or none.
    pub fn parse(field: &str, text: &str) -> Result<Self, FieldError> {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let one = |part: &str| {
            address(part).ok_or_else(|| {
                let cause =
                    format!("has `{part}`, which is no http://HOST:PORT or https://HOST:PORT");
                FieldError::new(field, cause)
            })
        };
        let listed = parts.map(one).collect::<Result<Vec<_>, _>>()?;
        if listed.is_empty() || listed.len() > ADDRESSES_MAX {
            let cause = format!("has {} addresses; give 1 to {ADDRESSES_MAX}", listed.len());
            return Err(FieldError::new(field, cause));
        }
        Ok(Self {
            listed,
            at: 0,
            pointed: None,
            pointers: 0,
            silent: None,
        })
    }

    /// The addresses that were given, in their order.
    #[must_use]
    pub fn listed(&self) -> &[String] {
        &self.listed
    }

    /// Where the next call goes.
    #[must_use]
    pub fn current(&self) -> &str {
        self.pointed.as_ref().unwrap_or(&self.listed[self.at])
    }

    /// Addresses that are worth a try before a client rests: each listed one, and the pointers of one.
    #[must_use]
    pub fn tries(&self) -> usize {
        self.listed.len() + usize::from(POINTERS_MAX)
    }

    /// A leader answered.
    pub fn answered(&mut self) {
        self.pointers = 0;
        self.silent = None;
    }

    /// The coordinator at `from` gave no answer. Several calls may say so of one address: only the first moves on.
    pub fn failed(&mut self, from: &str) {
        if self.current() == from {
            self.note_silence();
            self.go_on();
        }
    }

    /// The coordinator at `from` does not lead, and says who does, if it knows. Whether the next call goes to another place that
    /// may lead; else everybody has been asked or nobody leads yet, and it is time to rest.
    pub fn does_not_lead(&mut self, from: &str, leader: &str) -> bool {
        if self.current() != from {
            return true;
        }
        let pointer = pointed(from, leader).filter(|to| to != from);
        let pointer = pointer.filter(|to| !self.is_silent(to));
        match pointer.filter(|_| self.pointers < POINTERS_MAX) {
            Some(to) => {
                self.pointers += 1;
                self.pointed = Some(to);
                true
            }
            None => {
                self.go_on();
                let more = self.at != 0;
                if !more {
                    self.silent = None;
                }
                more
            }
        }
    }

    /// Whoever one pointed to gave no answer.
    fn note_silence(&mut self) {
        let Some(at) = self.pointed.take() else {
            return;
        };
        let before = self.silent.take().filter(|(before, _)| *before == at);
        let times = before.map_or(0, |(_, times)| times).saturating_add(1);
        self.silent = Some((at, times));
    }

    fn is_silent(&self, to: &str) -> bool {
        let silent = self.silent.as_ref();
        silent.is_some_and(|(at, times)| at == to && *times >= SILENCES_MAX)
    }

    fn go_on(&mut self) {
        // What pointed elsewhere was in the list: after a bad pointer the one after it is asked.
        self.pointed = None;
        self.pointers = 0;
        self.at = (self.at + 1) % self.listed.len();
    }
}

/// Where the coordinator at `from` points, as far as it is believed.
#[must_use]
pub fn pointed(from: &str, to: &str) -> Option<String> {
    let scheme = |address: &str| address.split("://").next().map(str::to_owned);
    let believed = |to: &String| to.len() <= POINTER_BYTES_MAX && scheme(from) == scheme(to);
    address(to).filter(believed)
}

/// The address as `scheme://host:port`, where the text is no more than that; `http` where it has no scheme.
#[must_use]
pub fn address(text: &str) -> Option<String> {
    let url = match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    };
    let uri: Uri = url.parse().ok()?;
    let scheme = uri
        .scheme()
        .filter(|s| **s == Scheme::HTTP || **s == Scheme::HTTPS)?;
    let authority = uri.authority()?;
    let bare = uri.path() == "/" && uri.query().is_none() && !authority.as_str().contains('@');
    let whole = bare && !authority.host().is_empty();
    whole.then(|| format!("{scheme}://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Coordinators {
        Coordinators::parse("coordinator", text).unwrap()
    }

    #[test]
    fn addresses_are_hosts_with_ports_and_nothing_else() {
        let three = told("http://a:1, b:2,https://[::1]:3/");
        assert_eq!(
            three.listed,
            ["http://a:1", "http://b:2", "https://[::1]:3"]
        );
        for text in [
            "",
            " , ",
            "ftp://a:1",
            "http://u@a:1",
            "http://a:1/x",
            "http://a:1?q",
        ] {
            assert!(Coordinators::parse("coordinator", text).is_err(), "{text}");
        }
        let many = vec!["a:1"; ADDRESSES_MAX + 1].join(",");
        assert!(Coordinators::parse("coordinator", &many).is_err());
    }

    #[test]
    fn a_silent_coordinator_is_left_for_the_next_and_at_the_end_comes_the_first() {
        let mut known = told("a:1,b:1");
        known.failed("http://a:1");
        assert_eq!(known.current(), "http://b:1");
        known.failed("http://a:1");
        assert_eq!(
            known.current(),
            "http://b:1",
            "a late word of another changes nothing"
        );
        known.failed("http://b:1");
        assert_eq!(known.current(), "http://a:1");
    }

    #[test]
    fn a_pointer_is_followed_until_the_leader_is_silent() {
        let mut known = told("a:1,b:1");
        assert!(known.does_not_lead("http://a:1", "http://c:1"));
        assert_eq!(known.current(), "http://c:1");
        known.answered();
        known.failed("http://c:1");
        assert_eq!(known.current(), "http://b:1");
    }

    #[test]
    fn a_pointer_to_whoever_was_silent_is_followed_again_only_after_a_rest() {
        let mut known = told("a:1");
        for _ in 0..2 {
            for _ in 0..SILENCES_MAX {
                assert!(known.does_not_lead("http://a:1", "http://c:1"));
                known.failed("http://c:1");
                assert_eq!(known.current(), "http://a:1");
            }
            assert!(
                !known.does_not_lead("http://a:1", "http://c:1"),
                "it is time to rest"
            );
        }
    }

    #[test]
    fn those_who_point_in_circles_are_left() {
        let mut known = told("a:1");
        for n in 0..u16::from(POINTERS_MAX) {
            let from = known.current().to_owned();
            assert!(known.does_not_lead(&from, &format!("http://c:{}", n + 1)));
        }
        let from = known.current().to_owned();
        assert!(
            !known.does_not_lead(&from, "http://d:1"),
            "it is time to rest"
        );
        assert_eq!(known.current(), "http://a:1");
    }

    #[test]
    fn a_pointer_to_another_scheme_or_to_more_than_a_host_is_not_followed() {
        for (from, to) in [
            ("https://a:1", "http://b:1"),
            ("http://a:1", "https://b:1"),
            ("http://a:1", "http://b:1/x"),
            ("http://a:1", "http://u:p@b:1"),
            ("http://a:1", "file:///etc"),
            ("http://a:1", "http://a:1"),
            ("http://a:1", ""),
        ] {
            let mut known = told(from);
            assert!(!known.does_not_lead(from, to), "{to}");
            assert_eq!(known.current(), from);
        }
    }

    #[test]
    fn who_knows_no_leader_sends_to_the_next_until_all_were_asked() {
        let mut known = told("a:1,b:1");
        assert!(known.does_not_lead("http://a:1", ""));
        assert!(!known.does_not_lead("http://b:1", ""));
    }
}
