//! How decoding a track ends without a result: a stable code and what happened this time.

use types::Code;

/// Why a track was not decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Fault {
    /// The code that the track's row carries.
    pub code: Code,
    /// The particulars, for people: lower case, no full stop.
    pub detail: String,
}

impl Fault {
    /// A fault with its particulars.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }
}
