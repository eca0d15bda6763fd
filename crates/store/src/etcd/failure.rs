//! What an error of the client or the server says about a call: certainly not executed, or perhaps executed.
//!
//! Every call's error passes here. What is not known to have left things as they were may have changed them: the list of what is known is
//! written down row by row, from the server's own errors, and everything else is unknown.

use std::error::Error as StdError;

use etcd_client::Error;
use tonic::Code;

/// What is known of a call that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// It was not executed, and will not be.
    NotExecuted,
    /// No room. The server says so also of a transaction that it has executed.
    NoSpace,
    /// Too many bytes; not executed.
    TooLarge,
    /// Too many operations; not executed.
    TooMany,
    /// The revision asked for is compacted away, or was never reached.
    Compacted,
    /// The answer is larger than what this client takes; ask for less.
    AnswerTooLarge,
    /// The lease is gone.
    NoLease,
    /// One side does not believe the other's certificate; not executed.
    Certificate,
    /// Another cluster answers here than the one that was opened; it executed what it was asked, and ours did not.
    Elsewhere,
    /// It may have been executed, or may still be.
    Unknown,
}

/// A call that did not succeed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) class: Class,
    pub(super) cause: String,
    /// Whether another member may do better.
    pub(super) of_member: bool,
}

impl Failure {
    pub(super) fn new(class: Class, cause: impl Into<String>) -> Self {
        Self {
            class,
            cause: cause.into(),
            of_member: true,
        }
    }

    pub(super) fn of(error: &Error) -> Self {
        let cause = cause_of(error);
        let class = match error {
            Error::GRpcStatus(status) => classify(status, &cause),
            Error::LeaseKeepAliveError(cause) if cause == "lease not found" => Class::NoLease,
            Error::InvalidArgs(_)
            | Error::InvalidUri(_)
            | Error::InvalidMetadataValue(_)
            | Error::EndpointError(_)
            | Error::EndpointsNotManaged => Class::NotExecuted,
            Error::IoError(_)
            | Error::TransportError(_)
            | Error::WatchError(_)
            | Error::Utf8Error(_)
            | Error::LeaseKeepAliveError(_)
            | Error::ElectError(_)
            | Error::Internal(_) => Class::Unknown,
        };
        let of_member = match class {
            Class::NotExecuted | Class::Certificate | Class::Elsewhere | Class::Unknown => true,
            Class::NoSpace
            | Class::TooLarge
            | Class::TooMany
            | Class::Compacted
            | Class::AnswerTooLarge
            | Class::NoLease => false,
        };
        Self {
            class,
            cause,
            of_member,
        }
    }
}

/// The client's own error does not lead on to what caused it; what it holds does.
fn cause_of(error: &Error) -> String {
    if let Error::GRpcStatus(status) = error {
        return chain(status);
    }
    if let Error::TransportError(error) = error {
        return chain(error);
    }
    chain(error)
}

/// The error with what caused it.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    // Ten are more than any chain has: the bound is against one that leads back into itself.
    for _ in 0..10 {
        let Some(error) = source else { break };
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}

fn classify(status: &tonic::Status, cause: &str) -> Class {
    if is_about_certificates(cause) {
        return Class::Certificate;
    }
    if never_connected(status) {
        return Class::NotExecuted;
    }
    of_server(status.code(), status.message())
}

/// The words of the TLS library for a certificate that it does not believe, and for the other side's refusal of ours, which ends the
/// handshake: nothing that was sent after it is read.
fn is_about_certificates(cause: &str) -> bool {
    let refused = cause.contains("fatal alert")
        && ["Certificate", "UnknownCA"]
            .iter()
            .any(|alert| cause.contains(alert));
    refused || cause.contains("invalid peer certificate")
}

/// Whether a connection was closed by the other side instead of an answer, in the words of the libraries below.
pub(super) fn closed_unanswered(cause: &str) -> bool {
    ["connection closed", "connection reset", "broken pipe"]
        .iter()
        .any(|words| cause.to_lowercase().contains(words))
}

/// Whether the connection was never made, so that nothing can have been sent.
fn never_connected(status: &tonic::Status) -> bool {
    let mut source = StdError::source(status);
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// What a server says before it hands a transaction to the cluster, or when it refuses to execute it: by code, and by words of the message
/// where one code has several meanings.
const KNOWN: [(Code, &str, Class); 17] = [
    (
        Code::InvalidArgument,
        "request is too large",
        Class::TooLarge,
    ),
    (Code::InvalidArgument, "too many operations", Class::TooMany),
    (Code::InvalidArgument, "", Class::NotExecuted),
    (Code::OutOfRange, "compacted", Class::Compacted),
    (Code::OutOfRange, "future revision", Class::Compacted),
    (
        Code::OutOfRange,
        "message length too large",
        Class::AnswerTooLarge,
    ),
    (Code::ResourceExhausted, "space exceeded", Class::NoSpace),
    (
        Code::ResourceExhausted,
        "too many requests",
        Class::NotExecuted,
    ),
    (Code::ResourceExhausted, "larger than max", Class::TooLarge),
    (Code::NotFound, "lease not found", Class::NoLease),
    // Without words: authentication, roles, a learner, a member that lacks the call.
    (Code::Unauthenticated, "", Class::NotExecuted),
    (Code::PermissionDenied, "", Class::NotExecuted),
    (Code::Unimplemented, "", Class::NotExecuted),
    (Code::FailedPrecondition, "not capable", Class::NotExecuted),
    (
        Code::FailedPrecondition,
        "not supported for learner",
        Class::NotExecuted,
    ),
    // The member knows no leader and was told to refuse without one.
    (
        Code::Unavailable,
        "etcdserver: no leader",
        Class::NotExecuted,
    ),
    (Code::DataLoss, "corrupt cluster", Class::NotExecuted),
];

fn of_server(code: Code, message: &str) -> Class {
    let known = KNOWN
        .iter()
        .find(|(known, words, _)| *known == code && message.contains(words));
    known.map_or(Class::Unknown, |(_, _, class)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: Code, message: &str, class: Class) {
        assert_eq!(of_server(code, message), class, "{code:?} {message}");
    }

    #[test]
    fn what_may_have_been_executed_is_never_taken_for_what_was_not() {
        for message in [
            "etcdserver: request timed out",
            "etcdserver: request timed out, possibly due to previous leader failure",
            "etcdserver: request timed out, possibly due to connection lost",
            "etcdserver: server stopped",
            "etcdserver: leader changed",
            "transport is closing",
            "",
        ] {
            check(Code::Unavailable, message, Class::Unknown);
        }
        for code in [
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::Unknown,
            Code::Internal,
            Code::Aborted,
        ] {
            check(code, "etcdserver: anything", Class::Unknown);
        }
    }

    #[test]
    fn what_a_server_refuses_to_execute_is_known_by_its_words() {
        use Class::{Compacted, NoLease, NoSpace, NotExecuted, TooLarge, TooMany};
        let invalid = Code::InvalidArgument;
        check(invalid, "etcdserver: request is too large", TooLarge);
        check(
            invalid,
            "etcdserver: too many operations in txn request",
            TooMany,
        );
        check(invalid, "etcdserver: user name is empty", NotExecuted);
        check(
            Code::OutOfRange,
            "etcdserver: mvcc: required revision has been compacted",
            Compacted,
        );
        check(
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
            Compacted,
        );
        let full = Code::ResourceExhausted;
        check(full, "etcdserver: mvcc: database space exceeded", NoSpace);
        check(full, "etcdserver: too many requests", NotExecuted);
        check(
            Code::NotFound,
            "etcdserver: requested lease not found",
            NoLease,
        );
        check(Code::Unavailable, "etcdserver: no leader", NotExecuted);
        check(
            Code::PermissionDenied,
            "etcdserver: permission denied",
            NotExecuted,
        );
    }
}
