//! Where a job stands in line and what its nodes must have: out of requests, and as people see it. What a request leaves
//! open stays open here; the core has the defaults.

use proto::field::{FieldError, enumerated};
use proto::v1;
use scheduler::record::{JobRecord, Lane};
use types::{DeviceKind, Requirements, UnixMillis};

/// Lane, priority and deadline, each only where the request has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rank {
    pub(crate) lane: Option<Lane>,
    pub(crate) priority: Option<i32>,
    pub(crate) deadline: Option<UnixMillis>,
}

/// A rank. `path` is its field in the request.
pub(crate) fn rank(path: &str, wire: Option<v1::Rank>) -> Result<Rank, FieldError> {
    let wire = wire.unwrap_or_default();
    let deadline = wire.deadline_ms.map(|at| deadline(at).map(UnixMillis));
    Ok(Rank {
        lane: lane(wire.lane).map_err(|error| error.within(path))?,
        priority: wire.priority,
        deadline: deadline.transpose().map_err(|error| error.within(path))?,
    })
}

fn deadline(at: i64) -> Result<i64, FieldError> {
    match at {
        1.. => Ok(at),
        _ => Err(FieldError::new("deadline_ms", format!("is {at}, no time"))),
    }
}

fn lane(number: i32) -> Result<Option<Lane>, FieldError> {
    match v1::Lane::try_from(number) {
        Ok(v1::Lane::Unspecified) => Ok(None),
        Ok(v1::Lane::Interactive) => Ok(Some(Lane::Interactive)),
        Ok(v1::Lane::Ingest) => Ok(Some(Lane::Ingest)),
        Ok(v1::Lane::Batch) => Ok(Some(Lane::Batch)),
        Err(_) => {
            let cause = format!("has the unknown value {number}");
            Err(FieldError::new("lane", cause))
        }
    }
}

/// What a node is told of a job's place in line: deadlines are not for it.
pub(crate) const fn rank_of(lane: Lane, priority: i32) -> v1::Rank {
    let lane = match lane {
        Lane::Interactive => v1::Lane::Interactive,
        Lane::Ingest => v1::Lane::Ingest,
        Lane::Batch => v1::Lane::Batch,
    };
    v1::Rank {
        lane: lane as i32,
        priority: Some(priority),
        deadline_ms: None,
    }
}

/// Where a job stands in line.
pub(crate) const fn rank_out(record: &JobRecord) -> v1::Rank {
    v1::Rank {
        deadline_ms: match record.deadline {
            Some(at) => Some(at.0),
            None => None,
        },
        ..rank_of(record.lane, record.priority)
    }
}

/// What nodes must have. `path` is its field in the request.
pub(crate) fn requirements(
    path: &str,
    wire: Option<v1::Requirements>,
) -> Result<Requirements, FieldError> {
    let wire = wire.unwrap_or_default();
    let device = match v1::DeviceKind::try_from(wire.device) {
        Ok(v1::DeviceKind::Unspecified) => None,
        Ok(_) | Err(_) => {
            let kind = enumerated::<v1::DeviceKind, DeviceKind>("device", wire.device);
            Some(kind.map_err(|error| error.within(path))?)
        }
    };
    Ok(Requirements {
        device,
        memory_bytes: wire.memory_bytes,
        bundle_loaded: wire.bundle_loaded,
    })
}

/// What a job's nodes must have.
pub(crate) fn requirements_out(requires: &Requirements) -> v1::Requirements {
    let device = requires
        .device
        .map_or(v1::DeviceKind::Unspecified, v1::DeviceKind::from);
    v1::Requirements {
        device: device.into(),
        memory_bytes: requires.memory_bytes,
        bundle_loaded: requires.bundle_loaded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_leaves_open_stays_open() {
        assert_eq!(rank("rank", None), Ok(Rank::default()));
        assert_eq!(requirements("requires", None), Ok(Requirements::default()));
        let said = v1::Rank {
            lane: v1::Lane::Interactive.into(),
            priority: Some(-3),
            deadline_ms: Some(17),
        };
        let read = Rank {
            lane: Some(Lane::Interactive),
            priority: Some(-3),
            deadline: Some(UnixMillis(17)),
        };
        assert_eq!(rank("rank", Some(said)), Ok(read));
    }

    #[test]
    fn a_value_that_this_version_does_not_know_is_refused_by_its_field() {
        let lane = v1::Rank {
            lane: 99,
            ..v1::Rank::default()
        };
        assert_eq!(rank("rank", Some(lane)).unwrap_err().path, "rank.lane");
        let deadline = v1::Rank {
            deadline_ms: Some(0),
            ..v1::Rank::default()
        };
        let refused = rank("rank", Some(deadline)).unwrap_err();
        assert_eq!(refused.path, "rank.deadline_ms");
        let device = v1::Requirements {
            device: 99,
            ..v1::Requirements::default()
        };
        let refused = requirements("requires", Some(device)).unwrap_err();
        assert_eq!(refused.path, "requires.device");
    }
}
