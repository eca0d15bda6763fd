//! What a checkpoint states about itself, whichever kind of file it came in, and the one form in which it is given on.

use crate::refusal::{Refusal, shown};
use crate::tensor::TensorIn;
use crate::{published, torch};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Longest file that is read: three times the published networks in single precision.
pub const INPUT_BYTES_MAX: u64 = 512 << 20;
/// Most values of all tensors together: in single precision they fill the largest bundle.
pub const VALUES_MAX: usize = 1 << 28;
/// Most tensors: ten times those of the published networks.
const TENSORS_MAX: usize = 8_000;
/// Longest name of a tensor; the longest known has about seventy bytes.
const NAME_BYTES_MAX: usize = 200;
/// Longest text of class or arguments; those of the published networks have about 1,500 bytes.
const TEXT_BYTES_MAX: usize = 1 << 16;
/// The header's own name for what is no tensor.
const METADATA: &str = "__metadata__";
/// Headers are filled up to a multiple of this, so that values lie where processors read them best.
const HEADER_STEP: usize = 8;

/// The kinds of files that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Safetensors with the class and its arguments in the metadata.
    Safetensors,
    /// A torch archive with a pickle.
    TorchArchive,
}

impl Format {
    /// The kind that a file's first bytes announce.
    ///
    /// # Errors
    /// [`Refusal::BarePickle`], or [`Refusal::Unknown`] where they are too few.
    pub fn of(start: &[u8]) -> Result<Self, Refusal> {
        match start {
            [b'P', b'K', 3, 4, ..] => Ok(Self::TorchArchive),
            // A safetensors header of 640 bytes begins so as well, but goes on with zeros, which no pickle does.
            [0x80, 2..=5, third, ..] if *third != 0 => Err(Refusal::BarePickle),
            [_, _, _, _, _, _, _, _, ..] => Ok(Self::Safetensors),
            _ => Err(Refusal::Unknown("it is too short".to_owned())),
        }
    }
}

/// A checkpoint's class, arguments and tensors; every tensor lies in the file's bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Stated<'a> {
    /// The class with its module.
    pub class: String,
    /// Arguments by place, as a JSON list. Of a safetensors file this is its text, whatever it is.
    pub args: String,
    /// Arguments by name, as a JSON object; as above.
    pub kwargs: String,
    pub(crate) tensors: Vec<(String, TensorIn<'a>)>,
}

impl<'a> Stated<'a> {
    /// Reads a whole file of either kind.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        if bytes.len() as u64 > INPUT_BYTES_MAX {
            return Err(Refusal::TooLarge(INPUT_BYTES_MAX));
        }
        let mut stated = match Format::of(bytes)? {
            Format::Safetensors => published::read(bytes)?,
            Format::TorchArchive => torch::read(bytes)?,
        };
        stated.tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
        stated.check()?;
        Ok(stated)
    }

    fn check(&self) -> Result<(), Refusal> {
        let too_many = |bound: usize, what: &str| Err(Refusal::TooMany(bound, what.to_owned()));
        if [&self.class, &self.args, &self.kwargs]
            .into_iter()
            .any(|text| text.len() > TEXT_BYTES_MAX)
        {
            return too_many(TEXT_BYTES_MAX, "bytes of class or arguments");
        }
        if self.tensors.len() > TENSORS_MAX {
            return too_many(TENSORS_MAX, "tensors");
        }
        let odd = |(name, _): &&(String, TensorIn<'_>)| {
            !(1..=NAME_BYTES_MAX).contains(&name.len()) || name == METADATA
        };
        if let Some((name, _)) = self.tensors.iter().find(odd) {
            return Err(Refusal::Kind(
                shown(name),
                "the name of a tensor".to_owned(),
            ));
        }
        let values = self.tensors.iter().map(|(_, tensor)| tensor.values());
        let values = values.fold(0usize, usize::saturating_add);
        if values > VALUES_MAX {
            return too_many(VALUES_MAX, "values");
        }
        Ok(())
    }

    /// Names and shapes of the tensors, in order of name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        let tensors = self.tensors.iter();
        tensors.map(|(name, tensor)| (name.as_str(), tensor.shape()))
    }

    /// Gives out a safetensors file in single precision. The same statement gives the same bytes, whatever file it came in.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let header = self.header();
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        for (_, tensor) in &self.tensors {
            tensor.write(out)?;
        }
        out.flush()
    }

    fn header(&self) -> Vec<u8> {
        let texts = [
            ("args", &self.args),
            ("klass", &self.class),
            ("kwargs", &self.kwargs),
        ];
        let mut begin = 0;
        let infos = self.tensors.iter().map(|(name, tensor)| {
            let end = begin + tensor.values() * size_of::<f32>();
            let info = Info {
                dtype: "F32",
                shape: tensor.shape(),
                data_offsets: [begin, end],
            };
            begin = end;
            (name.as_str(), info)
        });
        let header = Header {
            metadata: BTreeMap::from(texts),
            infos: infos.collect(),
        };
        let mut text = serde_json::to_vec(&header).expect("texts and numbers are JSON");
        text.resize(text.len().next_multiple_of(HEADER_STEP), b' ');
        text
    }
}

#[derive(Serialize)]
struct Header<'a> {
    #[serde(rename = "__metadata__")]
    metadata: BTreeMap<&'a str, &'a String>,
    #[serde(flatten)]
    infos: BTreeMap<&'a str, Info<'a>>,
}

#[derive(Serialize)]
struct Info<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}
