//! What is said of a track, by which stage, on which device, and with which reservations. The texts here are the
//! stable names in parts, messages, flags and metrics. Nothing here decides: the bundle's rule does.

use crate::code::coded_enum;
use core::fmt;
use serde::{Deserialize, Serialize};

/// A closed set of names, each with one stable text used in every output.
macro_rules! named_enum {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal @ $n:literal,)+ }) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            minicbor::Encode, minicbor::Decode,
        )]
        #[cbor(index_only)]
        pub enum $name {
            $($(#[$vdoc])* #[n($n)] #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl core::str::FromStr for $name {
            type Err = crate::verdict::UnknownName;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.iter().find(|value| value.as_str() == text);
                found.copied().ok_or_else(|| crate::verdict::UnknownName {
                    what: $what,
                    name: text.chars().take(64).collect(),
                })
            }
        }
    };
}
pub(crate) use named_enum;

/// A text that names no value of a closed set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no {what}")]
pub struct UnknownName {
    /// The closed set.
    pub what: &'static str,
    /// The text as given, shortened.
    pub name: String,
}

named_enum! {
    /// What a row says of its track. Never "proof".
    Verdict, "verdict" {
        /// Evidence of machine generation was observed at the bundle's threshold.
        LikelyAi = "likely_ai" @ 0,
        /// No such evidence was observed; says nothing of absence.
        NoEvidence = "no_evidence" @ 1,
        /// No statement; the reason stands beside it.
        Inconclusive = "inconclusive" @ 2,
        /// The track could not be scanned; the code stands beside it.
        Unscannable = "unscannable" @ 3,
    }
}

coded_enum! {
    /// Why a verdict is inconclusive.
    InconclusiveReason, "inconclusive reason" {
        DemonstrationBundle = "DEMONSTRATION_BUNDLE" @ 0, cause: "The bundle's purpose is demonstration and the operator did not accept that by flag.", fix: "Scan with a production bundle, or submit with `--accept-demonstration` to see what this one says.";
        ResidualNotRun = "RESIDUAL_NOT_RUN" @ 1, cause: "The gate asks for the residual stage, which did not run.", fix: "Submit again with `--stages both` and a bundle that has a residual.";
        TooShort = "TOO_SHORT" @ 2, cause: "The track is shorter than the least duration the bundle was calibrated on.", fix: "Nothing, unless a longer recording of the track exists.";
        Silent = "SILENT" @ 3, cause: "The track has nothing audible to judge.", fix: "Nothing, if the track is meant to be silent; else replace the file.";
        EscalationBudget = "ESCALATION_BUDGET" @ 4, cause: "The escalation budget of the job was used up before this track.", fix: "Submit again with a larger budget.";
        BetweenThresholds = "BETWEEN_THRESHOLDS" @ 5, cause: "The score lies between the bundle's lower and upper threshold.", fix: "Nothing: the evidence suffices for neither verdict.";
    }
}

coded_enum! {
    /// A reservation about a scanned track.
    Warning, "warning" {
        Truncated = "TRUNCATED" @ 0, cause: "The file ends before its own header says it should.", fix: "Replace the file if it should be whole; what is there was scanned.";
        FramesLost = "FRAMES_LOST" @ 1, cause: "Some frames did not decode and were left out or replaced by silence.", fix: "Replace the file if it should be sound; the other frames were scanned.";
        NonFinite = "NON_FINITE" @ 2, cause: "Samples that are no finite numbers were replaced by zero.", fix: "Export the recording again; the other samples were scanned.";
        FormatChanged = "FORMAT_CHANGED" @ 3, cause: "The format changes inside the file; what follows the change was not scanned.", fix: "Split the file where its format changes.";
        WrongExtension = "WRONG_EXTENSION" @ 4, cause: "The file's name suffix and its content disagree; the content was believed.", fix: "Rename the file if the name misleads others too.";
        TagsSkipped = "TAGS_SKIPPED" @ 5, cause: "Tags beyond the limit were skipped.", fix: "Nothing: tags do not enter the verdict.";
        Clipped = "CLIPPED" @ 6, cause: "Samples beyond full scale were scanned as they are.", fix: "Nothing, unless the master is meant to stay within full scale.";
        JunkSkipped = "JUNK_SKIPPED" @ 7, cause: "Bytes before the first frame or after the last were skipped.", fix: "Nothing, unless audio is missing; then replace the file.";
        LengthDisagrees = "LENGTH_DISAGREES" @ 8, cause: "The header's length and the decoded length disagree.", fix: "Check the file if the difference matters; what decodes was scanned.";
        Silent = "SILENT" @ 9, cause: "Every window of the track, as one channel, lies below the level that the bundle hears: silence, a very faint recording, or channels that cancel each other out.", fix: "Nothing, if the track is meant to be silent; else replace the file, for cancelling channels by one with the polarity of one of them turned.";
        ShorterThanWindow = "SHORTER_THAN_WINDOW" @ 10, cause: "The track is shorter than one window of the bundle.", fix: "Nothing: what is there was scanned.";
        ChainedStreams = "CHAINED_STREAMS" @ 11, cause: "More audio follows in chained streams that were not scanned.", fix: "Split the file into its streams and import them as tracks.";
        TrailingData = "TRAILING_DATA" @ 12, cause: "Behind the end of the recording stands more than tags and padding; it was not scanned.", fix: "Split the file if what follows is a recording; else nothing.";
    }
}

named_enum! {
    /// A step of the scan that is paid for.
    Stage, "stage" {
        /// Reading and decoding on the CPU.
        Decode = "decode" @ 0,
        /// Stage 1: the CNN on the mel-spectrogram, over every track.
        Screen = "screen" @ 1,
        /// Stage 2: Demucs; sum of stems against the mix.
        Residual = "residual" @ 2,
    }
}

named_enum! {
    /// What a bundle may be used for.
    Purpose, "purpose" {
        /// Shows the product; has never heard real music.
        Demonstration = "demonstration" @ 0,
        /// Fitted and measured for production use.
        Production = "production" @ 1,
    }
}

named_enum! {
    /// A kind of compute device.
    DeviceKind, "device kind" {
        /// The processor.
        Cpu = "cpu" @ 0,
        /// An NVIDIA GPU.
        Cuda = "cuda" @ 1,
    }
}

named_enum! {
    /// The number format of inference.
    Dtype, "dtype" {
        /// 32-bit float, TensorFloat-32 off.
        F32 = "f32" @ 0,
        /// 32-bit float with TensorFloat-32 products.
        Tf32 = "tf32" @ 1,
        /// bfloat16.
        Bf16 = "bf16" @ 2,
        /// 16-bit float.
        F16 = "f16" @ 3,
    }
}

/// One compute device of a node.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    minicbor::Encode,
    minicbor::Decode,
)]
pub struct Device {
    /// CPU or CUDA.
    #[n(0)]
    pub kind: DeviceKind,
    /// Position among the node's devices of that kind.
    #[n(1)]
    pub index: u32,
    /// Model name as the driver gives it, for people.
    #[n(2)]
    pub name: String,
    /// Memory in bytes; for the CPU the machine's.
    #[n(3)]
    pub memory_bytes: u64,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_reads_back_as_its_value() {
        for verdict in Verdict::ALL {
            assert_eq!(verdict.as_str().parse(), Ok(*verdict));
        }
        for warning in Warning::ALL {
            assert_eq!(warning.as_str().parse(), Ok(*warning));
        }
        assert!("proof".parse::<Verdict>().is_err());
    }
}
