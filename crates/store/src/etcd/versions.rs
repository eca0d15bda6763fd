//! Which versions of the server are known to be safe, and a warning for every other.
//!
//! Called once when a store is opened, and by each watch of the member that it is made at. A version is never refused: an operator may have
//! reasons, and is told what is known.

use etcd_client::Client;

use super::EtcdError;
use super::failure::{Class, Failure};
use super::members::Members;
use super::settings::READ_DEADLINE;

/// The oldest safe patch of each line that is still mended. Older ones have known stale reads after a pause, ways around authentication and a
/// crash before it.
const SAFE: [((u64, u64), u64); 2] = [((3, 6), 14), ((3, 7), 1)];

/// From which patch of which line on a server answers the question how far a watch has come after everything before it. An older one answers
/// at once, ahead of changes that it has not sent.
const ORDERED_PROGRESS: [((u64, u64), u64); 2] = [((3, 4), 25), ((3, 5), 8)];

/// Asks each member for its version, and logs it, as a warning where it is not safe. A member that does not answer is passed over, one of
/// another cluster is refused.
pub(super) async fn check(members: &Members) -> Result<(), EtcdError> {
    for member in 0..members.settings().endpoints.len() {
        let ask = |mut client: Client| async move { client.status().await };
        match members.call_at(member, READ_DEADLINE, ask).await {
            Ok(status) => log(members.endpoint(member), status.version()),
            Err(failure) if failure.class == Class::Elsewhere => return Err(failure.into()),
            Err(failure) => {
                tracing::warn!(cause = %failure.cause, "an etcd member did not say its version")
            }
        }
    }
    Ok(())
}

/// Whether a member answers for its watches in order. Asked for each stream: members come back, and are
/// replaced by newer ones, while a coordinator runs.
pub(super) async fn has_ordered_progress(
    members: &Members,
    member: usize,
) -> Result<bool, Failure> {
    let ask = |mut client: Client| async move { client.status().await };
    let status = members.call_at(member, READ_DEADLINE, ask).await?;
    Ok(is_at_least(status.version(), &ORDERED_PROGRESS))
}

fn log(endpoint: &str, version: &str) {
    match is_safe(version) {
        true => tracing::info!(%endpoint, %version, "etcd member"),
        false => tracing::warn!(
            %endpoint,
            %version,
            "this version of etcd has known faults that can lose or reveal state; use 3.6.14, 3.7.1 or later"
        ),
    }
}

fn is_safe(version: &str) -> bool {
    is_at_least(version, &SAFE)
}

/// Whether a version is at or above the floor of its line, or of a later line than any that has a floor.
fn is_at_least(version: &str, floors: &[((u64, u64), u64)]) -> bool {
    let Some((line, patch)) = parse(version) else {
        return false;
    };
    let newest = floors.iter().map(|(line, _)| *line).max();
    let floor = floors.iter().find(|(known, _)| *known == line);
    floor.map_or(Some(line) > newest, |(_, floor)| patch >= *floor)
}

/// `3.6.14` as line and patch; what follows a `-` is an unfinished version, which is below the finished one.
fn parse(version: &str) -> Option<((u64, u64), u64)> {
    let (finished, unfinished) = match version.split_once('-') {
        Some((finished, _)) => (finished, 1),
        None => (version, 0),
    };
    let mut numbers = finished.split('.').map(|number| number.parse::<u64>().ok());
    let (major, minor, patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some(((major, minor), patch.checked_sub(unfinished)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_below_the_floor_of_their_line_are_not_safe() {
        for safe in ["3.6.14", "3.6.16", "3.7.1", "3.7.3", "3.8.0", "4.0.0"] {
            assert!(is_safe(safe), "{safe}");
        }
        for unsafe_ in [
            "3.4.23",
            "3.5.30",
            "3.6.13",
            "3.6.14-rc.0",
            "3.7.0",
            "3.7.0-rc.0",
            "3.7",
            "",
            "new",
        ] {
            assert!(!is_safe(unsafe_), "{unsafe_}");
        }
    }

    #[test]
    fn progress_is_believed_only_of_servers_that_say_it_in_order() {
        let ordered = |version| is_at_least(version, &ORDERED_PROGRESS);
        assert!(
            ["3.4.25", "3.5.8", "3.6.0", "3.7.3"]
                .into_iter()
                .all(ordered)
        );
        assert!(!["3.4.23", "3.5.7", "3.3.27", ""].into_iter().any(ordered));
    }
}
