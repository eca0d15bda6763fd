//! The package's newer files: safetensors whose metadata states the class and its arguments as JSON.

use crate::refusal::{Refusal, shown};
use crate::stated::Stated;
use crate::tensor::{Number, TensorIn};
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;

/// Longest accepted header: ten times that of the published networks.
const HEADER_BYTES_MAX: u64 = 1 << 20;

/// Reads a whole file.
///
/// # Errors
/// [`Refusal`].
pub(crate) fn read(bytes: &[u8]) -> Result<Stated<'_>, Refusal> {
    let unknown = |what: String| Refusal::Unknown(shown(&what));
    let claimed = bytes
        .first_chunk()
        .map(|length| u64::from_le_bytes(*length));
    if claimed.is_none_or(|claimed| claimed > HEADER_BYTES_MAX) {
        return Err(unknown("it begins with no header that fits".into()));
    }
    let read = |error: safetensors::SafeTensorError| unknown(error.to_string());
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(read)?;
    let file = SafeTensors::deserialize(bytes).map_err(read)?;
    let texts = header.metadata().clone().unwrap_or_default();
    // The package describes the nesting of packed values here, and only of these.
    if texts.contains_key("structure") {
        return Err(Refusal::Quantised);
    }
    let mut tensors = Vec::with_capacity(file.len());
    for (name, view) in file.iter() {
        let number = number(name, view.dtype())?;
        let tensor = TensorIn::whole(name, number, view.data(), view.shape())?;
        tensors.push((name.to_owned(), tensor));
    }
    Ok(Stated {
        class: text(&texts, "klass")?,
        args: text(&texts, "args")?,
        kwargs: text(&texts, "kwargs")?,
        tensors,
    })
}

fn text(texts: &HashMap<String, String>, key: &str) -> Result<String, Refusal> {
    let found = texts.get(key).cloned();
    found.ok_or_else(|| Refusal::Missing(key.to_owned()))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign enum, all of whose other variants are one refusal here"
)]
fn number(name: &str, dtype: Dtype) -> Result<Number, Refusal> {
    match dtype {
        Dtype::F32 => Ok(Number::F32),
        Dtype::F16 => Ok(Number::F16),
        Dtype::BF16 => Ok(Number::Bf16),
        other => Err(Refusal::Dtype(shown(name), format!("{other:?}"))),
    }
}
