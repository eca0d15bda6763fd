//! Why a checkpoint is refused. Plain data, since it travels from the sandboxed reader to the converter as JSON; texts from
//! the file are cut short and escaped, because they end on somebody's terminal.

use serde::{Deserialize, Serialize};

/// Most characters of a text from the file that a refusal repeats.
const SHOWN_MAX: usize = 80;

/// Why a checkpoint is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Larger than any separator that fits a bundle.
    #[error("the checkpoint has more than {0} bytes")]
    TooLarge(u64),
    /// Neither safetensors nor a torch archive.
    #[error("the file is neither safetensors nor a torch archive: {0}")]
    Unknown(String),
    /// A pickle without an archive around it, as torch wrote until version 1.6.
    #[error(
        "the file is a bare pickle, as torch wrote before its archives; save it again with a torch of version 1.6 or later"
    )]
    BarePickle,
    /// The archive cannot be read.
    #[error("the archive is damaged: {0}")]
    Archive(String),
    /// The archive has more entries than any network has tensors.
    #[error("the archive has more than {0} entries")]
    Entries(usize),
    /// A name that leads elsewhere, is not text, or stands there twice.
    #[error("the archive's entry `{0}` has a name that is refused")]
    EntryName(String),
    /// Torch stores tensors as they are; what is compressed could be endless.
    #[error(
        "the archive's entry `{0}` is compressed or encrypted; torch stores its entries as they are"
    )]
    Compressed(String),
    /// An entry's bytes are not those that were written.
    #[error("the archive's entry `{0}` does not have its checksum")]
    Checksum(String),
    /// An entry that must be there is not.
    #[error("the archive has no entry `{0}`")]
    EntryMissing(String),
    /// Numbers in the other byte order.
    #[error("the archive's numbers are not little-endian")]
    ByteOrder,
    /// The pickle is longer than any network's.
    #[error("the pickle has {0} bytes; the bound is {1}")]
    PickleBytes(usize, usize),
    /// Another protocol than torch writes.
    #[error("the pickle is of protocol {0}; torch writes 2")]
    Protocol(u8),
    /// An operation that no checkpoint needs.
    #[error("the pickle has operation {operation:#04x} at byte {at}, which is not read")]
    Operation {
        /// Its byte.
        operation: u8,
        /// Where.
        at: usize,
    },
    /// The pickle ends within an operation or without its end.
    #[error("the pickle is cut off")]
    CutOff,
    /// More operations, values or notes than any network needs.
    #[error("the pickle has more than {0} {1}")]
    TooMany(usize, String),
    /// An operation finds other values than it needs.
    #[error("the pickle contradicts itself at byte {at}: {what}")]
    Malformed {
        /// What was expected.
        what: String,
        /// Where.
        at: usize,
    },
    /// A name of something in Python that no checkpoint needs, such as a function that starts programs.
    #[error("the pickle names `{0}`, which is not read; nothing of it was run")]
    Global(String),
    /// A call of something that is no constructor known here.
    #[error("the pickle calls {0}, which is not read; nothing of it was run")]
    Call(String),
    /// Values within values, deeper than arguments are, or within themselves.
    #[error("`{0}` of the checkpoint nests too deeply")]
    Depth(String),
    /// A part of the checkpoint is absent.
    #[error("the checkpoint has no `{0}`")]
    Missing(String),
    /// A part of the checkpoint is of another kind.
    #[error("`{0}` of the checkpoint is not {1}")]
    Kind(String, String),
    /// A key stands in a dictionary twice.
    #[error("`{0}` stands in the checkpoint twice")]
    Twice(String),
    /// Packed integers instead of weights.
    #[error("the checkpoint is quantised")]
    Quantised,
    /// Numbers of a kind that no separator has.
    #[error("`{0}` holds {1}; single precision, half precision and bfloat16 are read")]
    Dtype(String, String),
    /// A tensor that does not lie in its storage.
    #[error("tensor `{0}` does not lie in its storage: {1}")]
    Tensor(String, String),
}

impl Refusal {
    /// An operation that finds other values than it needs.
    pub(crate) fn malformed(at: usize, what: &str) -> Self {
        Self::Malformed {
            what: what.to_owned(),
            at,
        }
    }
}

/// A text of the file as a refusal repeats it: short, on one line, without control characters.
pub(crate) fn shown(text: &str) -> String {
    let escaped = |letter: char| match letter.is_control() {
        true => letter.escape_default().collect::<String>(),
        false => letter.to_string(),
    };
    text.chars().take(SHOWN_MAX).map(escaped).collect()
}
