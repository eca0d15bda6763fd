//! Problems on the wire: a domain [`Problem`] becomes a gRPC status whose details carry `trackscan.v1.Problem`, and any
//! status becomes a problem again. The only place where our codes meet gRPC's. Servers call [`status`], clients
//! [`problem`]; neither ever drops the code.

use prost::Message;
use tonic::{Status, metadata::MetadataMap};
use types::{Code, Problem};

use crate::v1;

/// Name under which our details are found among others, as `google.protobuf.Any` wants it.
const TYPE_URL: &str = "type.googleapis.com/trackscan.v1.Problem";

/// `google.rpc.Status`, the message that clients expect in a status's details.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

impl From<Problem> for v1::Problem {
    fn from(problem: Problem) -> Self {
        Self {
            code: problem.code.to_string(),
            cause: problem.message,
            fix: problem.code.fix().to_owned(),
            leader: String::new(),
            follows: false,
        }
    }
}

/// The status that tells a client of a problem.
#[must_use]
pub fn status(problem: &Problem) -> Status {
    let wire = v1::Problem::from(problem.clone());
    status_of(grpc_code(problem.code), problem, wire)
}

/// The status that points a client to the coordinator that leads, where one is known to.
#[must_use]
pub fn not_leader(what: &str, leader: Option<&str>) -> Status {
    let problem = Problem::new(Code::NotLeader, what);
    let wire = v1::Problem {
        leader: leader.unwrap_or_default().to_owned(),
        follows: true,
        ..problem.clone().into()
    };
    status_of(tonic::Code::Unavailable, &problem, wire)
}

/// The status of a coordinator that does not lead and knows of nobody who does, with what keeps anybody from it. Clients ask another one, and
/// this one again: whatever the code means elsewhere, here it passes.
#[must_use]
pub fn nobody_leads(why: &Problem) -> Status {
    let wire = v1::Problem {
        follows: true,
        ..why.clone().into()
    };
    status_of(tonic::Code::Unavailable, why, wire)
}

/// Where the leader is, by the word of a coordinator that does not lead: `None` where the status says anything else, and an empty
/// text where nobody is known to lead.
#[must_use]
pub fn leader(status: &Status) -> Option<String> {
    let stated = stated(status)?;
    let follows = stated.follows || stated.code == Code::NotLeader.as_str();
    follows.then_some(stated.leader)
}

fn status_of(grpc: tonic::Code, problem: &Problem, wire: v1::Problem) -> Status {
    let message = problem.to_string();
    let value = wire.encode_to_vec();
    let details = vec![Any {
        type_url: TYPE_URL.to_owned(),
        value,
    }];
    let rpc = RpcStatus {
        code: grpc as i32,
        message: message.clone(),
        details,
    };
    Status::with_details_and_metadata(
        grpc,
        message,
        rpc.encode_to_vec().into(),
        MetadataMap::new(),
    )
}

/// The problem that a status tells of. A status without our details, as a proxy or the transport makes it, becomes the
/// code that fits its gRPC code, so that every failure has a code, a cause and a fix.
#[must_use]
pub fn problem(status: &Status) -> v1::Problem {
    stated(status).unwrap_or_else(|| {
        let cause = status.message();
        Problem::new(
            code_of_bare(status.code()),
            if cause.is_empty() {
                "no cause given"
            } else {
                cause
            },
        )
        .into()
    })
}

/// The code of a status where this version knows it.
#[must_use]
pub fn code(status: &Status) -> Option<Code> {
    problem(status).code.parse().ok()
}

fn stated(status: &Status) -> Option<v1::Problem> {
    let rpc = RpcStatus::decode(status.details()).ok()?;
    let ours = rpc
        .details
        .into_iter()
        .find(|any| any.type_url == TYPE_URL)?;
    let problem = v1::Problem::decode(ours.value.as_slice()).ok()?;
    (!problem.code.is_empty()).then_some(problem)
}

const fn code_of_bare(grpc: tonic::Code) -> Code {
    match grpc {
        tonic::Code::Unavailable => Code::CoordinatorUnreachable,
        tonic::Code::DeadlineExceeded | tonic::Code::Cancelled => Code::DeadlineExceeded,
        tonic::Code::ResourceExhausted => Code::Overloaded,
        tonic::Code::InvalidArgument | tonic::Code::OutOfRange => Code::InvalidRequest,
        tonic::Code::NotFound => Code::NotFound,
        tonic::Code::AlreadyExists => Code::AlreadyExists,
        tonic::Code::Unimplemented => Code::VersionMismatch,
        tonic::Code::Ok
        | tonic::Code::Unknown
        | tonic::Code::PermissionDenied
        | tonic::Code::FailedPrecondition
        | tonic::Code::Aborted
        | tonic::Code::Internal
        | tonic::Code::DataLoss
        | tonic::Code::Unauthenticated => Code::Internal,
    }
}

/// The gRPC code that a generic client sees. `Unavailable` is what clients retry by themselves.
#[must_use]
pub const fn grpc_code(code: Code) -> tonic::Code {
    match code {
        Code::InvalidRequest
        | Code::KeyInvalid
        | Code::RawUrl
        | Code::FieldTooLong
        | Code::FieldInvalid
        | Code::EncodingInvalid
        | Code::ColumnMissing
        | Code::RowMalformed
        | Code::ManifestUnknown
        | Code::CatalogTooLarge
        | Code::CatalogEmpty
        | Code::DuplicateTrackId
        | Code::DuplicateKey
        | Code::NotRegularFile
        | Code::CommitInvalid
        | Code::StagesUnavailable
        | Code::LabelsOneClass
        | Code::LabelsTooFew
        | Code::LabelsLeak
        | Code::LabelsUnmatched
        | Code::LabelsContradict
        | Code::BundleOther
        | Code::ResidualPartial
        | Code::ConfigInvalid => tonic::Code::InvalidArgument,
        Code::NotFound | Code::SourceUnknown | Code::SourceMissing | Code::BundleUnknown => {
            tonic::Code::NotFound
        }
        Code::AlreadyExists | Code::IdentityInUse => tonic::Code::AlreadyExists,
        Code::NotLeader
        | Code::StoreUnavailable
        | Code::StorageUnavailable
        | Code::StorageMissing
        | Code::CoordinatorUnreachable => tonic::Code::Unavailable,
        Code::Overloaded | Code::StoreFull | Code::StorageFull => tonic::Code::ResourceExhausted,
        Code::DeadlineExceeded => tonic::Code::DeadlineExceeded,
        Code::Internal => tonic::Code::Internal,
        Code::StoreCorrupt | Code::StorageCorrupt => tonic::Code::DataLoss,
        Code::SourceDenied | Code::StorageDenied => tonic::Code::PermissionDenied,
        Code::JobClosed
        | Code::ResultNotPublished
        | Code::NothingToRetry
        | Code::VersionMismatch
        | Code::SessionOld
        | Code::NodeUnknown
        | Code::GenerationOld
        | Code::CanaryFailed
        | Code::DeviceFaulty
        | Code::BeatUnknownGrant
        | Code::BundleUnsigned
        | Code::BundleUntrusted
        | Code::BundleDigestMismatch
        | Code::BundleRollback
        | Code::BundleInvalid
        | Code::BundleForbiddenFormat
        | Code::BundleUnsupported
        | Code::ScoresTellNothing
        | Code::DataLocked
        | Code::StoreOlder
        | Code::StorageForeign
        | Code::StorageOther
        | Code::StoreCertificate
        | Code::ConfigDiffers
        | Code::RestoreUnfinished
        | Code::BackupDamaged
        | Code::StoreNotEmpty
        | Code::ChildDied
        | Code::BinaryMissing
        | Code::AddressInUse
        | Code::OutputUnwritable
        | Code::DeviceAbsent
        | Code::SandboxUnavailable
        | Code::UnsupportedCodec
        | Code::NotAudio
        | Code::Empty
        | Code::Damaged
        | Code::NoSamples
        | Code::TooManyBytes
        | Code::TooLong
        | Code::TooManySamples
        | Code::SampleRateLimit
        | Code::ChannelLimit
        | Code::DecodeCpuLimit
        | Code::DecodeStalled
        | Code::DecodeErrors
        | Code::DecodeCrash
        | Code::RingViolation
        | Code::WorkerDied
        | Code::DeviceOutOfMemory
        | Code::SourceChanged
        | Code::SourceRefused
        | Code::SourceUnreadable
        | Code::NonFiniteSamples
        | Code::ScoreNotFinite
        | Code::Encrypted => tonic::Code::FailedPrecondition,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_crosses_the_wire_with_its_cause_and_fix() {
        for known in Code::ALL {
            let sent = Problem::new(*known, "import `music`: it is so");
            let status = status(&sent);
            assert_ne!(status.code(), tonic::Code::Ok, "{known}");
            assert_eq!(code(&status), Some(*known));
            let received = problem(&status);
            assert_eq!(
                (received.cause.as_str(), received.fix.as_str()),
                ("import `music`: it is so", known.fix())
            );
        }
    }

    #[test]
    fn who_does_not_lead_says_who_does_and_nothing_else_says_so() {
        let at = "http://10.0.0.2:7700";
        let pointed = not_leader("submit a job here", Some(at));
        assert_eq!(code(&pointed), Some(Code::NotLeader));
        assert_eq!(leader(&pointed).as_deref(), Some(at));
        assert_eq!(leader(&not_leader("x", None)).as_deref(), Some(""));
        let other = status(&Problem::new(Code::Overloaded, "x"));
        assert_eq!(leader(&other), None);
        assert_eq!(leader(&Status::unavailable("x")), None);
    }

    #[test]
    fn what_keeps_anybody_from_leading_is_said_by_its_code_and_sends_clients_elsewhere() {
        let why = Problem::new(Code::StoreUnavailable, "ask: nobody leads");
        let told = nobody_leads(&why);
        assert_eq!(code(&told), Some(Code::StoreUnavailable));
        assert_eq!(leader(&told).as_deref(), Some(""));
        assert_eq!(leader(&status(&why)), None, "a leader says it of its store");
        let denied = nobody_leads(&Problem::new(Code::StorageDenied, "lead"));
        assert_eq!(denied.code(), tonic::Code::Unavailable);
    }

    #[test]
    fn a_status_without_our_details_still_has_a_code() {
        for (grpc, expected) in [
            (tonic::Code::Unavailable, "COORDINATOR_UNREACHABLE"),
            (tonic::Code::ResourceExhausted, "OVERLOADED"),
            (tonic::Code::Unimplemented, "VERSION_MISMATCH"),
            (tonic::Code::Unknown, "INTERNAL"),
        ] {
            assert_eq!(problem(&Status::new(grpc, "")).code, expected);
        }
    }

    #[test]
    fn details_that_are_not_ours_are_no_problem_of_ours() {
        let foreign =
            Status::with_details(tonic::Code::NotFound, "x", vec![0xff, 0x01, 0x02].into());
        assert_eq!(problem(&foreign).code, "NOT_FOUND");
    }
}
