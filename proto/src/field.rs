//! How a field of a message is refused: which one, and why. Conversions from the wire return it; handlers turn it into
//! an `INVALID_REQUEST` problem. Helpers here read one field each and never guess a default.

use types::{Code, Problem};

/// A field of a message that cannot be taken into the domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field `{path}` {cause}")]
pub struct FieldError {
    /// The field from the message's root, such as `policy.stages`.
    pub path: String,
    /// What is wrong with it.
    pub cause: String,
}

impl FieldError {
    /// A refusal of one field.
    #[must_use]
    pub fn new(path: impl Into<String>, cause: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            cause: cause.into(),
        }
    }

    /// The same refusal seen from the message that holds `outer`.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        let path = if self.path.is_empty() {
            outer.to_owned()
        } else {
            format!("{outer}.{}", self.path)
        };
        Self {
            path,
            cause: self.cause,
        }
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        Self::new(Code::InvalidRequest, error.to_string())
    }
}

/// A message field that must be there.
///
/// # Errors
/// When it is absent.
pub fn required<T>(path: &str, field: Option<T>) -> Result<T, FieldError> {
    field.ok_or_else(|| FieldError::new(path, "is missing"))
}

/// A text that the domain parses: names, digests, shards, codes.
///
/// # Errors
/// When the domain refuses the text.
pub fn parsed<T>(path: &str, text: &str) -> Result<T, FieldError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error: T::Err| FieldError::new(path, format!("is invalid: {error}")))
}

/// A text where empty means absent.
///
/// # Errors
/// When there is a text and the domain refuses it.
pub fn parsed_if_any<T>(path: &str, text: &str) -> Result<Option<T>, FieldError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    if text.is_empty() {
        Ok(None)
    } else {
        parsed(path, text).map(Some)
    }
}

/// An enum field: the wire's number, through the wire's enum `W`, into the domain's `D`.
///
/// # Errors
/// When the number is `UNSPECIFIED` or one that this version does not know; both are named.
pub fn enumerated<W, D>(path: &str, number: i32) -> Result<D, FieldError>
where
    W: TryFrom<i32>,
    D: TryFrom<W, Error = FieldError>,
{
    let wire = W::try_from(number)
        .map_err(|_| FieldError::new(path, format!("has the unknown value {number}")))?;
    D::try_from(wire).map_err(|error| error.within(path))
}

/// Each element of a repeated field.
///
/// # Errors
/// When one is refused; the path names its position.
pub fn each<W, D>(path: &str, wire: Vec<W>) -> Result<Vec<D>, FieldError>
where
    D: TryFrom<W, Error = FieldError>,
{
    let one = |(at, wire): (usize, W)| {
        D::try_from(wire).map_err(|error| error.within(&format!("{path}[{at}]")))
    };
    wire.into_iter().enumerate().map(one).collect()
}

/// A message within a message.
///
/// # Errors
/// When it is absent or refused.
pub fn nested<W, D>(path: &str, wire: Option<W>) -> Result<D, FieldError>
where
    D: TryFrom<W, Error = FieldError>,
{
    D::try_from(required(path, wire)?).map_err(|error| error.within(path))
}
