//! The stable codes of refusals: those that `scanctl evaluate` and `calibrate` have for labels, and a bundle's own. Asked by the worker's
//! `main`, which prints them before the words; refuses nothing itself.

use std::io;

use corpus::manifest::ManifestError;
use types::Code;

use super::CommandError;
use crate::train::calibrate::CalibrateError;
use crate::train::checked::CheckedError;
use crate::train::fitting::TrainError;
use crate::train::fusion::FusionError;
use crate::train::separator::SeparatorError;

impl CommandError {
    /// The code of a refused bundle, or of a refusal that labelled tracks are the cause of; none of what went wrong otherwise.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Manifest(error) => Some(of_files(error)),
            Self::Train(error) => of_training(error),
            Self::Separator(error) => of_separator(error),
            Self::Calibrate(error) => of_calibrating(error),
            Self::Bundle(error) => Some(error.code()),
            Self::Fit(_)
            | Self::Labelled(_)
            | Self::Score(_)
            | Self::Grid(_)
            | Self::Key { .. }
            | Self::Weights { .. }
            | Self::Recipe { .. }
            | Self::Guards
            | Self::UnknownDecoder(_)
            | Self::Prior(_)
            | Self::File { .. } => None,
        }
    }
}

fn of_files(error: &CheckedError) -> Code {
    match error {
        CheckedError::Manifest(error) => of_manifest(error),
        CheckedError::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Code::LabelsUnmatched
        }
        CheckedError::File { .. } => Code::SourceUnreadable,
        CheckedError::SameBytes { .. } => Code::LabelsLeak,
    }
}

fn of_manifest(error: &ManifestError) -> Code {
    match error {
        ManifestError::Csv { .. } | ManifestError::TooLong { .. } => Code::InvalidRequest,
        ManifestError::Leak { .. } | ManifestError::SameFile { .. } => Code::LabelsLeak,
    }
}

fn of_training(error: &TrainError) -> Option<Code> {
    match error {
        TrainError::Nothing => Some(Code::LabelsTooFew),
        TrainError::Empty(_) => Some(Code::LabelsOneClass),
        TrainError::Features(_)
        | TrainError::Checkpoint(_)
        | TrainError::Mel(_)
        | TrainError::Torch(_)
        | TrainError::NotFinite { .. } => None,
    }
}

fn of_separator(error: &SeparatorError) -> Option<Code> {
    match error {
        SeparatorError::Manifest(error) => Some(of_manifest(error)),
        SeparatorError::Unlabelled => Some(Code::LabelsTooFew),
        SeparatorError::Unfit(_)
        | SeparatorError::Recipe { .. }
        | SeparatorError::Stems { .. }
        | SeparatorError::Checkpoint(_)
        | SeparatorError::Labelled { .. }
        | SeparatorError::Track(_)
        | SeparatorError::Decoder(_)
        | SeparatorError::Params(_)
        | SeparatorError::Torch(_)
        | SeparatorError::NotFinite { .. } => None,
    }
}

fn of_calibrating(error: &CalibrateError) -> Option<Code> {
    match error {
        CalibrateError::Nothing { .. } | CalibrateError::TooFew { .. } => Some(Code::LabelsTooFew),
        CalibrateError::Empty { .. } => Some(Code::LabelsOneClass),
        CalibrateError::Flat(_) => Some(Code::ScoresTellNothing),
        CalibrateError::Fusion(error) => Some(of_fusion(error)),
        CalibrateError::Separator(error) => of_separator(error),
        CalibrateError::Score(_)
        | CalibrateError::Guards { .. }
        | CalibrateError::Decoder(_)
        | CalibrateError::Canary(_)
        | CalibrateError::Separate(_)
        | CalibrateError::Grid(_)
        | CalibrateError::Write(_)
        | CalibrateError::Replace { .. } => None,
    }
}

fn of_fusion(error: &FusionError) -> Code {
    match error {
        FusionError::Empty => Code::LabelsOneClass,
        FusionError::TooFew { .. } => Code::LabelsTooFew,
        FusionError::Flat(_) => Code::ScoresTellNothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corpus::manifest::{Label, Split};
    use evaluation::platt::Flat;

    #[track_caller]
    fn check(error: impl Into<CommandError>, expected: Option<Code>) {
        let error = error.into();
        assert_eq!(error.code(), expected, "{error}");
    }

    fn unread(kind: io::ErrorKind) -> CheckedError {
        CheckedError::File {
            path: "labels.csv".into(),
            row: "row 1".into(),
            source: kind.into(),
        }
    }

    #[test]
    fn what_is_wrong_with_labels_has_the_code_that_scanctl_has_for_it() {
        let leak = ManifestError::SameFile {
            path: "labels.csv".into(),
            rows: "row 1 and row 2".into(),
        };
        check(CheckedError::Manifest(leak), Some(Code::LabelsLeak));
        let gone = unread(io::ErrorKind::NotFound);
        check(gone, Some(Code::LabelsUnmatched));
        let denied = unread(io::ErrorKind::PermissionDenied);
        check(denied, Some(Code::SourceUnreadable));
        check(TrainError::Nothing, Some(Code::LabelsTooFew));
        check(TrainError::Empty(Label::Ai), Some(Code::LabelsOneClass));
        let flat = Flat { slope: -1.0 };
        check(CalibrateError::Flat(flat), Some(Code::ScoresTellNothing));
        let few = FusionError::TooFew { found: 3 };
        check(CalibrateError::Fusion(few), Some(Code::LabelsTooFew));
        let class = CalibrateError::Empty {
            split: Split::Test,
            label: Label::Human,
        };
        check(class, Some(Code::LabelsOneClass));
    }

    #[test]
    fn a_table_that_is_not_to_be_believed_has_no_code_of_labels() {
        let table = String::new();
        check(CalibrateError::Guards { table }, None);
        check(CommandError::Guards, None);
        check(SeparatorError::NotFinite { round: 3 }, None);
    }
}
