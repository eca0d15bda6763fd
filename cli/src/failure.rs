//! How a command ends: the exit codes, and the one place where a failure is printed, as code, cause and fix on stderr.

use crate::args::misuse;
use crate::output::{plain_lines, say};
use std::process::ExitCode;
use types::{Code, Problem};

/// Why a command did not end with 0. The numbers are stable and documented in `docs/reference/scanctl.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Something went wrong that has no number of its own.
    General = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// What was asked for stood already; nothing was stored.
    Unchanged = 3,
    /// There is no such thing.
    NotFound = 5,
    /// The thing stands in the way of the request.
    Conflict = 6,
    /// No answer; trying again may help.
    Unavailable = 7,
    /// The scan ended; some tracks are unscannable.
    FailedTracks = 8,
    /// The scan's result does not stand.
    ScanFailed = 9,
    /// The scan was cancelled.
    Cancelled = 10,
    /// The doctor found a fault.
    Fault = 11,
    /// The time given for waiting is over.
    WaitTimedOut = 124,
    /// Its terminal went away.
    HungUp = 129,
    /// Interrupted from the keyboard.
    Interrupted = 130,
    /// Told to end.
    Terminated = 143,
}

/// A failure on its way to `main`.
#[derive(Debug)]
pub(crate) enum Failure {
    /// To be printed as code, cause and fix.
    Problem {
        /// The stable code, as text: a newer coordinator may send one that this version does not know.
        code: String,
        /// What was attempted on which thing.
        cause: String,
        /// What to do.
        fix: String,
        /// The exit code.
        exit: Exit,
    },
    /// All has been said; only the exit code remains.
    Ended(Exit),
    /// The reader of stdout went away, as `head` does: no error.
    PipeClosed,
}

impl Failure {
    /// Code and cause in one line, for a failure that is part of what is shown.
    pub(crate) fn said(&self) -> String {
        match self {
            Self::Problem { code, cause, .. } => format!("{code}: {cause}"),
            Self::Ended(_) | Self::PipeClosed => "no answer".to_owned(),
        }
    }

    /// What to do about a failure that is part of what is shown.
    pub(crate) fn fix(&self) -> &str {
        match self {
            Self::Problem { fix, .. } => fix,
            Self::Ended(_) | Self::PipeClosed => Code::CoordinatorUnreachable.fix(),
        }
    }

    /// Whether trying again may help.
    pub(crate) fn is_away(&self) -> bool {
        matches!(
            self,
            Self::Problem {
                exit: Exit::Unavailable,
                ..
            }
        )
    }

    /// Whether no coordinator answers at all.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Problem { code, .. } if code == Code::CoordinatorUnreachable.as_str())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Problem {
                code, cause, fix, ..
            } => {
                // They may be of another machine, and quote what a stranger wrote.
                let [code, cause, fix] = [code, cause, fix].map(|text| plain_lines(text));
                write!(f, "error {code}: {cause}\n  fix: {fix}")
            }
            Self::Ended(_) | Self::PipeClosed => Ok(()),
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let (code, exit) = (problem.code.to_string(), exit_of(problem.code));
        Self::Problem {
            code,
            cause: problem.message,
            fix: problem.code.fix().to_owned(),
            exit,
        }
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        if broken_off(&status) {
            return problem(
                Code::CoordinatorUnreachable,
                "the connection ended before the answer",
            );
        }
        let stated = proto::problem::problem(&status);
        let exit = match proto::problem::leader(&status) {
            // Somebody leads elsewhere, or will.
            Some(_) => Exit::Unavailable,
            None => stated.code.parse().map_or(Exit::General, exit_of),
        };
        Self::Problem {
            code: stated.code,
            cause: stated.cause,
            fix: stated.fix,
            exit,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::PipeClosed;
        }
        Problem::new(
            Code::OutputUnwritable,
            format!("could not write the output: {error}"),
        )
        .into()
    }
}

/// Whether the connection ended under the call: tonic says so with a code of no meaning and the transport's error as its
/// source. A coordinator that is started again takes the call up anew.
fn broken_off(status: &tonic::Status) -> bool {
    let transport = std::error::Error::source(status).is_some();
    transport
        && matches!(
            status.code(),
            tonic::Code::Unknown | tonic::Code::Internal | tonic::Code::Cancelled
        )
}

/// A problem of our own making.
pub(crate) fn problem(code: Code, message: impl Into<String>) -> Failure {
    Problem::new(code, message).into()
}

/// The exit code of a problem: that of its gRPC code, unless an operator's scripts tell it apart from others of its kind.
const fn exit_of(code: Code) -> Exit {
    use tonic::Code as Grpc;
    if matches!(code, Code::NodeUnknown) {
        return Exit::NotFound;
    }
    if matches!(
        code,
        Code::JobClosed
            | Code::ResultNotPublished
            | Code::NothingToRetry
            | Code::DataLocked
            | Code::AddressInUse
    ) {
        return Exit::Conflict;
    }
    match proto::problem::grpc_code(code) {
        Grpc::InvalidArgument | Grpc::OutOfRange => Exit::Usage,
        Grpc::NotFound => Exit::NotFound,
        Grpc::AlreadyExists => Exit::Conflict,
        Grpc::Unavailable | Grpc::ResourceExhausted | Grpc::DeadlineExceeded => Exit::Unavailable,
        Grpc::Ok
        | Grpc::Cancelled
        | Grpc::Unknown
        | Grpc::PermissionDenied
        | Grpc::FailedPrecondition
        | Grpc::Aborted
        | Grpc::Unimplemented
        | Grpc::Internal
        | Grpc::DataLoss
        | Grpc::Unauthenticated => Exit::General,
    }
}

/// How a command ends that has printed: what it found out stands also where nobody read it, as behind `| head`, and whoever was
/// ended by a signal was, also where its terminal is gone.
pub(crate) fn after(
    printed: Result<(), Failure>,
    outcome: Result<(), Failure>,
) -> Result<(), Failure> {
    match printed {
        Ok(()) | Err(Failure::PipeClosed) => outcome,
        Err(other) => match outcome {
            Err(Failure::Ended(Exit::Interrupted | Exit::HungUp | Exit::Terminated)) => outcome,
            Ok(()) | Err(_) => Err(other),
        },
    }
}

/// Prints help or the version where that was asked for, as clap wants it; what makes no sense is a problem like any other.
pub(crate) fn usage(said: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    let helped = matches!(
        said.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            | ErrorKind::DisplayVersion
    );
    if !helped {
        return exit(Err(misuse(said)));
    }
    match said.print() {
        Ok(()) => ExitCode::from(u8::try_from(said.exit_code()).unwrap_or(1)),
        Err(unread) => exit(Err(unread.into())),
    }
}

/// Prints a failure, if any, and gives the process's exit code.
pub(crate) fn exit(ended: Result<(), Failure>) -> ExitCode {
    let exit = match ended {
        Ok(()) | Err(Failure::PipeClosed) => return ExitCode::SUCCESS,
        Err(Failure::Ended(exit)) => exit,
        Err(failure @ Failure::Problem { exit, .. }) => {
            say(&failure);
            exit
        }
    };
    ExitCode::from(exit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(codes: &[Code], expected: Exit) {
        for code in codes {
            assert_eq!(exit_of(*code), expected, "{code}");
        }
    }

    #[test]
    fn exit_codes_are_those_of_the_reference() {
        check(
            &[Code::NotFound, Code::SourceMissing, Code::BundleUnknown],
            Exit::NotFound,
        );
        check(&[Code::SourceUnknown, Code::NodeUnknown], Exit::NotFound);
        check(&[Code::ManifestUnknown, Code::CatalogEmpty], Exit::Usage);
        check(
            &[Code::KeyInvalid, Code::ColumnMissing, Code::ConfigInvalid],
            Exit::Usage,
        );
        check(
            &[Code::InvalidRequest, Code::StagesUnavailable],
            Exit::Usage,
        );
        check(
            &[
                Code::AlreadyExists,
                Code::JobClosed,
                Code::ResultNotPublished,
            ],
            Exit::Conflict,
        );
        check(
            &[Code::DataLocked, Code::AddressInUse, Code::IdentityInUse],
            Exit::Conflict,
        );
        check(
            &[
                Code::CoordinatorUnreachable,
                Code::StoreFull,
                Code::Overloaded,
            ],
            Exit::Unavailable,
        );
        check(
            &[Code::NotLeader, Code::DeadlineExceeded],
            Exit::Unavailable,
        );
        check(
            &[Code::Internal, Code::StoreCorrupt, Code::BundleUntrusted],
            Exit::General,
        );
    }

    #[test]
    fn where_nobody_leads_trying_again_may_help_whatever_keeps_them_from_it() {
        let denied = Problem::new(Code::StorageDenied, "lead");
        let told = Failure::from(proto::problem::nobody_leads(&denied));
        assert!(told.is_away() && told.said().starts_with("STORAGE_DENIED"));
        assert!(!Failure::from(proto::problem::status(&denied)).is_away());
    }

    #[test]
    fn an_outcome_stands_where_nobody_reads_what_was_printed() {
        let ended = after(
            Err(Failure::PipeClosed),
            Err(Failure::Ended(Exit::Cancelled)),
        );
        assert!(matches!(ended, Err(Failure::Ended(Exit::Cancelled))));
        assert!(after(Err(Failure::PipeClosed), Ok(())).is_ok());
        let unwritten = || Err(problem(Code::OutputUnwritable, "the terminal is gone"));
        let hung_up = after(unwritten(), Err(Failure::Ended(Exit::HungUp)));
        assert!(matches!(hung_up, Err(Failure::Ended(Exit::HungUp))));
        let ended = after(unwritten(), Err(Failure::Ended(Exit::Cancelled)));
        assert!(matches!(ended, Err(Failure::Problem { .. })));
    }
}
