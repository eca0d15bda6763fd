//! A network in a file as the package publishes it since 4.1: safetensors whose metadata states the class and its
//! arguments as JSON. Called by whoever converts or measures, on files that an operator brings.
//!
//! Never executes what it reads, and takes nothing from defaults: what the file does not say is refused.

use super::arguments::{ArgumentError, config_of};
use bundle::separator::Config;
use bundle::{Tensors, TensorsError};
use safetensors::SafeTensors;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The class whose checkpoints are read.
pub const CLASS: &str = "HTDemucs";
/// Most characters of a class's name that a refusal repeats.
const SHOWN_MAX: usize = 60;

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It is no sound safetensors file, or its values cannot be used.
    #[error("reading the checkpoint's tensors")]
    Tensors(#[from] TensorsError),
    /// The metadata lacks something, or it is not the JSON that it should be.
    #[error("the checkpoint's metadata has no sound `{0}`")]
    Metadata(&'static str),
    /// Another class.
    #[error("the checkpoint is of class `{0}`; only {CLASS} is read")]
    Class(String),
    /// Packed integers instead of weights.
    #[error("the checkpoint is quantised")]
    Quantised,
    /// An argument that is not built here.
    #[error("reading the checkpoint's arguments")]
    Arguments(#[from] ArgumentError),
}

/// A network's configuration and weights.
#[derive(Debug)]
pub struct Checkpoint {
    /// As the file states it.
    pub config: Config,
    /// In single precision, whatever the file holds. Whether they fit is asked by [`super::load`].
    pub tensors: Tensors,
}

impl Checkpoint {
    /// Reads a whole file.
    ///
    /// # Errors
    /// [`CheckpointError`]; nothing is allocated from a claim of the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        bundle::check_header_length(bytes)?;
        let metadata = metadata(bytes)?;
        let text = |key| {
            metadata
                .get(key)
                .ok_or(CheckpointError::Metadata(key))
                .map(String::as_str)
        };
        check_class(text("klass")?)?;
        // The package describes the nesting of packed values here, and only of these.
        if metadata.contains_key("structure") {
            return Err(CheckpointError::Quantised);
        }
        let positional: Vec<Value> = json("args", text("args")?)?;
        let named: Map<String, Value> = json("kwargs", text("kwargs")?)?;
        Ok(Self {
            config: config_of(&positional, &named)?,
            tensors: Tensors::parse_widened(bytes)?,
        })
    }
}

fn metadata(bytes: &[u8]) -> Result<HashMap<String, String>, CheckpointError> {
    let Ok((_, header)) = SafeTensors::read_metadata(bytes) else {
        // What is wrong with such a file is said by the reader of its tensors.
        Tensors::parse_widened(bytes)?;
        return Err(CheckpointError::Metadata("klass"));
    };
    Ok(header.metadata().clone().unwrap_or_default())
}

/// The class is named with its module, such as `demucs.htdemucs.HTDemucs`.
fn check_class(name: &str) -> Result<(), CheckpointError> {
    match name.rsplit('.').next() {
        Some(CLASS) => Ok(()),
        Some(_) | None => Err(CheckpointError::Class(
            name.chars().take(SHOWN_MAX).collect(),
        )),
    }
}

fn json<T: serde::de::DeserializeOwned>(
    key: &'static str,
    text: &str,
) -> Result<T, CheckpointError> {
    serde_json::from_str(text).map_err(|_| CheckpointError::Metadata(key))
}
