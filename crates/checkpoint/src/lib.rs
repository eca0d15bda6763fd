//! The files in which a separator is published, as plain data: the package's safetensors, its older torch archives, and the
//! bag that names one of them. Called inside the converter's sandbox, on bytes of unknown origin; it opens no file.
//!
//! Never executes what it reads: a pickle's operations build values here, its names of Python's objects are compared with a
//! closed list and otherwise refused. Nothing is allocated from a claim of a file, and every loop has a bound.
//!
//! - [`Stated::read`] understands a file of either kind and checks every claim.
//! - [`Stated::write`] gives it out in one form, safetensors in single precision with the class and its arguments as JSON in
//!   the metadata, whatever it came from.
//! - [`Bag::parse`] says which file a name stands for.

mod archive;
mod bag;
mod pickle;
mod published;
mod refusal;
mod stated;
mod tensor;
mod torch;

pub use bag::{Bag, BagError};
pub use refusal::Refusal;
pub use stated::{Format, INPUT_BYTES_MAX, Stated, VALUES_MAX};
