//! Names and numbers that identify things. Names are checked once, at the door; inside they are trusted, and a copy of
//! one shares its text: a scheduler's state names the same few nodes and tenants in every record.
//! Nothing here generates an id: generators live with whoever issues them.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing was given.
    #[error("{what} is empty")]
    Empty {
        /// Which kind of name.
        what: &'static str,
    },
    /// Longer than the kind allows.
    #[error("{what} `{start}…` is longer than {max} bytes")]
    TooLong {
        /// Which kind of name.
        what: &'static str,
        /// The first characters, for the message.
        start: String,
        /// The bound.
        max: usize,
    },
    /// A character outside the kind's alphabet.
    #[error(
        "{what} `{name}` has the character {found:?}; allowed are a-z A-Z 0-9 . _ - and a letter or digit first"
    )]
    Character {
        /// Which kind of name.
        what: &'static str,
        /// The name as given.
        name: String,
        /// The first offender.
        found: char,
    },
}

fn check_name(what: &'static str, name: &str, max: usize) -> Result<(), IdError> {
    if name.is_empty() {
        return Err(IdError::Empty { what });
    }
    if name.len() > max {
        let start = name.chars().take(16).collect();
        return Err(IdError::TooLong { what, start, max });
    }
    let allowed = |(at, c): (usize, char)| {
        c.is_ascii_alphanumeric() || (at > 0 && matches!(c, '.' | '_' | '-'))
    };
    match name.char_indices().find(|pair| !allowed(*pair)) {
        Some((_, found)) => Err(IdError::Character {
            what,
            name: name.to_owned(),
            found,
        }),
        None => Ok(()),
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Longest accepted name in bytes; names stand in store keys and object paths, which are bounded.
            pub const MAX_BYTES: usize = $max;

            /// Checks and wraps a name.
            ///
            /// # Errors
            /// When the name is empty, too long, or has a character outside `a-z A-Z 0-9 . _ -`.
            pub fn new(name: impl Into<String>) -> Result<Self, IdError> {
                let name = name.into();
                check_name($what, &name, $max)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl core::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.str(&self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                Self::new(d.str()?).map_err(minicbor::decode::Error::message)
            }
        }
    };
}

name_type!(/** Whose data it is; part of every key, path, message and event. */ TenantId, "tenant", 64);
name_type!(/** Who did it; written into every change. */ ActorId, "actor", 128);
name_type!(/** The name an operator gave a list of tracks. */ CatalogName, "catalog", 64);
name_type!(/** The name of a storage root in the configuration. */ SourceName, "source", 64);
name_type!(/** A machine that runs a node agent. */ NodeId, "node", 64);
name_type!(/** One scan of one list with one bundle and one policy. Issued by the coordinator. */ JobId, "job", 64);
name_type!(/** One revocation of what a device made in a span of time. Issued by whoever asks for it. */ RevocationId, "revocation", 64);

impl Default for TenantId {
    /// The tenant of an installation that has only one.
    fn default() -> Self {
        Self("default".into())
    }
}

impl Default for ActorId {
    /// The actor of an installation without accounts: whoever sits at this machine.
    fn default() -> Self {
        Self("local".into())
    }
}

/// A track's name within its catalog: any non-empty text of at most [`TrackId::MAX_BYTES`] bytes without
/// control characters, since agencies bring their own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrackId(String);

impl TrackId {
    /// Longest accepted id in bytes: agencies' internal ids stay far below.
    pub const MAX_BYTES: usize = 256;

    /// Checks and wraps an id.
    ///
    /// # Errors
    /// When it is empty, too long, or holds a control character.
    pub fn new(id: impl Into<String>) -> Result<Self, IdError> {
        let id = id.into();
        let what = "track_id";
        if id.is_empty() {
            return Err(IdError::Empty { what });
        }
        if id.len() > Self::MAX_BYTES {
            let start = id.chars().take(16).collect();
            return Err(IdError::TooLong {
                what,
                start,
                max: Self::MAX_BYTES,
            });
        }
        match id.chars().find(|c| c.is_control()) {
            Some(found) => Err(IdError::Character {
                what,
                name: id.escape_default().to_string(),
                found,
            }),
            None => Ok(Self(id)),
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl core::fmt::Display for TrackId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TrackId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl From<TrackId> for String {
    fn from(id: TrackId) -> String {
        id.0
    }
}

macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
            minicbor::Encode, minicbor::Decode,
        )]
        #[serde(transparent)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] pub $int);

        impl $name {
            /// The number after this one.
            ///
            /// # Panics
            /// When the numbers are used up, which no installation can reach; reuse would break fencing.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("the numbers that fence are never used up"))
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_type!(/** A shard's grant number: the fence. Starts at 1, is never lowered and never used twice. */ Attempt, u32);
number_type!(/** The reign of one leading coordinator. */ Epoch, u64);
number_type!(/** Raised by each restore; part of every store prefix, attempt path and part path. */ Generation, u32);
number_type!(/** One life of a node's agent; older ones are refused. */ Session, u64);
number_type!(/** The number of a pull within a session; a repeated number gets the same answer. */ PullNo, u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_letters_digits_dots_dashes_and_underscores() {
        for good in ["a", "node-1", "Big_Catalog.2024", "0"] {
            assert!(NodeId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a/b", "a b", "ü", "a\0", &"x".repeat(65)] {
            assert!(NodeId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn track_ids_are_any_text_without_control_characters() {
        assert!(TrackId::new("ISRC: ÅB-12 / 7").is_ok());
        for bad in ["", "a\nb", "a\u{0}", &"x".repeat(257)] {
            assert!(TrackId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_survives_its_stored_form_and_a_bad_one_does_not_enter_through_it() {
        let name = JobId::new("job-7").unwrap();
        let bytes = minicbor::to_vec(&name).unwrap();
        assert_eq!(minicbor::decode::<JobId>(&bytes).unwrap(), name);
        let bad = minicbor::to_vec("a/b").unwrap();
        assert!(minicbor::decode::<JobId>(&bad).is_err());
    }
}
