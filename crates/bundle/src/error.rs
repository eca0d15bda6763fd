//! Why a bundle is refused. Each refusal has a stable code; a refused bundle is never loaded, whoever asks.

use crate::separator::Misfit;
use crate::tensors::TensorsError;
use types::{Code, Digest, Problem};

/// Why a bundle is refused.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file could not be read.
    #[error("reading `{file}` of the bundle")]
    Read {
        /// The file, or the folder itself.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something that the folder must have is not there.
    #[error("the bundle has no `{file}`")]
    Missing {
        /// Its name.
        file: String,
    },
    /// The folder holds what the manifest does not list.
    #[error("the bundle holds `{file}`, which its manifest does not list")]
    Unlisted {
        /// Its name.
        file: String,
    },
    /// A link, folder or special file where a plain file belongs, or a name that leaves the folder.
    #[error("`{file}` of the bundle is not a plain file with a plain name")]
    NotPlain {
        /// Its name.
        file: String,
    },
    /// A file or the whole exceeds its bound.
    #[error("`{file}` of the bundle is larger than {max} bytes")]
    TooLarge {
        /// Its name.
        file: String,
        /// The bound in bytes.
        max: u64,
    },
    /// The bundle carries no signature.
    #[error("the bundle is not signed: it has no `{file}`")]
    Unsigned {
        /// The signature's file name.
        file: &'static str,
    },
    /// The signature's text is not one.
    #[error("the bundle's signature is not `ed25519 KEY SIGNATURE` in hexadecimal digits")]
    SignatureFormat,
    /// The key that signed is not among the trusted ones.
    #[error("the bundle is signed by the key {key}, which is not trusted here")]
    UntrustedKey {
        /// The key, in hexadecimal digits.
        key: String,
    },
    /// The signature does not belong to these bytes.
    #[error("the signature does not match the bundle's manifest")]
    BadSignature,
    /// The manifest is not JSON of the known form.
    #[error("the bundle's manifest does not parse: {detail}")]
    Manifest {
        /// Where and what.
        detail: String,
    },
    /// Another format than this code knows.
    #[error("the bundle has format {found}; this version reads formats 1 to {known}")]
    Format {
        /// As found.
        found: u64,
        /// The highest that is known.
        known: u32,
    },
    /// An architecture or rule that this version does not have.
    #[error("the bundle's {what} `{name}` is unknown to this version")]
    Unsupported {
        /// What it names.
        what: &'static str,
        /// The unknown name.
        name: String,
    },
    /// A field breaks its rule.
    #[error("`{field}` of the bundle's manifest breaks its rule: {rule}")]
    Value {
        /// The field.
        field: &'static str,
        /// The rule, as the end of a sentence.
        rule: String,
    },
    /// A file is not what the manifest says.
    #[error("`{file}` of the bundle has digest {found}, not {listed}")]
    Digest {
        /// Its name.
        file: String,
        /// What the manifest lists.
        listed: Digest,
        /// What is there.
        found: Digest,
    },
    /// Older than the lowest version that is accepted.
    #[error("bundle `{name}` has version {version}; the lowest accepted here is {lowest}")]
    Rollback {
        /// The bundle's name.
        name: String,
        /// Its version.
        version: u64,
        /// The configured bound.
        lowest: u64,
    },
    /// A pickle: a program, not weights.
    #[error(
        "`{file}` of the bundle is a pickle, which is a program; only safetensors are read, \
         which `trackscan-worker bundle convert` makes of it"
    )]
    Pickle {
        /// Its name.
        file: String,
    },
    /// A TorchScript or `torch.save` archive: a program, not weights.
    #[error(
        "`{file}` of the bundle is a TorchScript or torch archive, which is a program; only safetensors are read, \
         which `trackscan-worker bundle convert` makes of a separator's"
    )]
    TorchArchive {
        /// Its name.
        file: String,
    },
    /// The weights are not a sound safetensors file.
    #[error("the weights `{file}` of the bundle are refused")]
    Tensors {
        /// Its name.
        file: String,
        /// Why.
        source: TensorsError,
    },
    /// The weights are those of another network than the manifest describes.
    #[error("the weights `{file}` of the bundle do not fit its network")]
    Misfit {
        /// Its name.
        file: String,
        /// What does not fit.
        source: Misfit,
    },
    /// The canary clip does not fit the scores that the manifest lists.
    #[error("the canary clip has {found} windows, the manifest lists {listed} scores")]
    CanaryLength {
        /// Windows that the clip gives.
        found: u64,
        /// Scores that the manifest lists.
        listed: u64,
    },
}

impl BundleError {
    /// The stable code of the refusal.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Read { .. } | Self::Missing { .. } => Code::BundleInvalid,
            Self::Unlisted { .. } | Self::NotPlain { .. } | Self::TooLarge { .. } => {
                Code::BundleInvalid
            }
            Self::Unsigned { .. } => Code::BundleUnsigned,
            Self::SignatureFormat | Self::UntrustedKey { .. } | Self::BadSignature => {
                Code::BundleUntrusted
            }
            Self::Manifest { .. } | Self::Value { .. } => Code::BundleInvalid,
            Self::Format { .. } | Self::Unsupported { .. } => Code::BundleUnsupported,
            Self::Digest { .. } => Code::BundleDigestMismatch,
            Self::Rollback { .. } => Code::BundleRollback,
            Self::Pickle { .. } | Self::TorchArchive { .. } => Code::BundleForbiddenFormat,
            Self::Tensors { .. } | Self::Misfit { .. } | Self::CanaryLength { .. } => {
                Code::BundleInvalid
            }
        }
    }

    /// The refusal with its whole chain of causes in one line, for people.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let mut message = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        Problem::new(self.code(), message)
    }
}
