//! The names of Python's objects that a checkpoint may hold. A closed list: whatever is not on it is refused by its name.

use crate::refusal::{Refusal, shown};
use crate::tensor::Number;

/// The package whose classes a checkpoint names. They are never built here, only compared.
const PACKAGE: &str = "demucs.";
/// The library of packed weights.
const QUANTISER: &str = "diffq";

/// A name that is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Global<'a> {
    /// Puts a tensor together from its storage.
    RebuildTensor,
    /// A dictionary.
    OrderedDict,
    /// A fraction of whole numbers.
    Fraction,
    /// The kind of numbers of a storage.
    Storage(Number),
    /// A class of the package: its module and name, which only stand for the checkpoint's class.
    Class { module: &'a str, name: &'a str },
}

impl<'a> Global<'a> {
    /// What a name stands for.
    ///
    /// # Errors
    /// [`Refusal::Global`] for all that are not on the list.
    pub(crate) fn of(module: &'a str, name: &'a str) -> Result<Self, Refusal> {
        let full = || shown(&format!("{module}.{name}"));
        match (module, name) {
            ("torch._utils", "_rebuild_tensor_v2") => Ok(Self::RebuildTensor),
            ("collections", "OrderedDict") => Ok(Self::OrderedDict),
            ("fractions", "Fraction") => Ok(Self::Fraction),
            ("torch", "FloatStorage") => Ok(Self::Storage(Number::F32)),
            ("torch", "HalfStorage") => Ok(Self::Storage(Number::F16)),
            ("torch", "BFloat16Storage") => Ok(Self::Storage(Number::Bf16)),
            ("torch", other) if other.ends_with("Storage") => {
                Err(Refusal::Dtype("a storage".to_owned(), shown(other)))
            }
            (module, name) if module.starts_with(PACKAGE) => Ok(Self::Class { module, name }),
            (module, _) if module.split('.').next() == Some(QUANTISER) => Err(Refusal::Quantised),
            (_, _) => Err(Refusal::Global(full())),
        }
    }

    /// As a refusal names it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::RebuildTensor => "`torch._utils._rebuild_tensor_v2`".to_owned(),
            Self::OrderedDict => "`collections.OrderedDict`".to_owned(),
            Self::Fraction => "`fractions.Fraction`".to_owned(),
            Self::Storage(_) => "a kind of storage".to_owned(),
            Self::Class { module, name } => shown(&format!("`{module}.{name}`")),
        }
    }
}
