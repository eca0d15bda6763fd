//! A pickle as plain values: the operations that torch writes, over values that lie side by side in one list and name each
//! other by their place. Called for the pickle of an archive; knows nothing of checkpoints.
//!
//! A pickle is a program for a machine that can call anything in Python. This machine can call four constructors of plain
//! values; there is no operation here by which a file could reach anything else. Values never hold each other, so a value
//! within itself, or one that is named a million times over, costs no more than its operation.

mod globals;
mod machine;

pub(crate) use globals::Global;
pub(crate) use machine::run;

use crate::refusal::{Refusal, shown};
use crate::tensor::Number;

/// The place of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(pub(crate) usize);

/// One value; texts are those of the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    None,
    Flag(bool),
    Whole(i64),
    Real(f64),
    Text(&'a str),
    List(Vec<Place>),
    Tuple(Vec<Place>),
    /// Keys and values in the order in which they were set.
    Dict(Vec<(Place, Place)>),
    Fraction {
        above: i64,
        below: i64,
    },
    /// The name of something in Python.
    Global(Global<'a>),
    /// Bytes elsewhere in the archive.
    Storage(Storage<'a>),
    Tensor(Box<Tensor<'a>>),
}

/// Bytes elsewhere in the archive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Storage<'a> {
    pub(crate) number: Number,
    pub(crate) key: &'a str,
    pub(crate) values: u64,
}

/// A tensor as the pickle describes it; whether it lies in its storage is not asked here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tensor<'a> {
    pub(crate) storage: Storage<'a>,
    pub(crate) offset: u64,
    pub(crate) shape: Vec<u64>,
    pub(crate) strides: Vec<u64>,
}

/// All values of a pickle, and which of them it stands for.
#[derive(Debug)]
pub(crate) struct Values<'a> {
    pub(crate) all: Vec<Value<'a>>,
    pub(crate) root: Place,
}

impl<'a> Values<'a> {
    pub(crate) fn at(&self, place: Place) -> &Value<'a> {
        self.all
            .get(place.0)
            .expect("places are handed out for values that are there, and none is removed")
    }

    /// The entries of a dictionary whose keys are texts, in order.
    ///
    /// # Errors
    /// [`Refusal::Kind`] where it is none, [`Refusal::Twice`] where a key stands in it twice.
    pub(crate) fn entries(
        &self,
        place: Place,
        name: &str,
    ) -> Result<Vec<(&'a str, Place)>, Refusal> {
        let kind = || Refusal::Kind(shown(name), "a dictionary by names".to_owned());
        let Value::Dict(pairs) = self.at(place) else {
            return Err(kind());
        };
        let mut entries = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let Value::Text(key) = self.at(*key) else {
                return Err(kind());
            };
            entries.push((*key, *value));
        }
        let mut names: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Refusal::Twice(shown(pair[0]))),
            None => Ok(entries),
        }
    }
}
