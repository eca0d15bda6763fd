//! `doctor storage`: what the storage can promise and what not, as a coordinator sees it that runs, or as the coordinator's binary on this machine
//! sees the place that is named.

use super::fault_or;
use crate::args::{Global, StorageDoctor};
use crate::client::Client;
use crate::commands::sibling;
use crate::failure::{Failure, after, problem};
use crate::output::print;
use crate::view::StorageReport;
use proto::v1;
use std::ffi::OsString;
use std::time::Duration;
use types::{Code, Probed, Report};

/// How long the answer may take unless `--timeout` says otherwise: a whole probe puts a thousand objects, which a slow store takes minutes for.
const PROBE_TIMEOUT: Duration = Duration::from_secs(600);

pub(crate) async fn run(global: &Global, flags: StorageDoctor) -> Result<(), Failure> {
    let report = match flags.storage.is_some() || !flags.flags.is_empty() {
        true => here(global, flags).await?,
        false => there(global, flags.quick).await?,
    };
    let outcome = fault_or(report.is_sound());
    after(print(global, &report), outcome)
}

async fn there(global: &Global, quick: bool) -> Result<StorageReport, Failure> {
    let timeout = global.timeout.unwrap_or(PROBE_TIMEOUT);
    let client = Client::connect_within(global, timeout).await?;
    let request = v1::ProbeStorageRequest {
        caller: client.caller(),
        whole: !quick,
    };
    let answer = client.call(client.admin().probe_storage(request)).await?;
    Ok(StorageReport::from(answer))
}

async fn here(global: &Global, flags: StorageDoctor) -> Result<StorageReport, Failure> {
    let probing = sibling::report(arguments(flags), |report| match report {
        Report::Probed(probed) => Some(probed),
        Report::Ready { .. } | Report::Failed(_) | Report::Drained | Report::Rebuilt(_) => None,
    });
    let timeout = global.timeout.unwrap_or(PROBE_TIMEOUT);
    let probed: Result<Probed, _> = tokio::time::timeout(timeout, probing).await.map_err(|_| {
        problem(
            Code::DeadlineExceeded,
            format!("no answer within {timeout:?}"),
        )
    })?;
    Ok(StorageReport::from(probed?))
}

/// The word of a probe, then what this command was told, then the coordinator's further flags.
fn arguments(flags: StorageDoctor) -> Vec<OsString> {
    let mut words = vec![OsString::from("probe")];
    if flags.quick {
        words.push("--quick".into());
    }
    if let Some(storage) = flags.storage {
        words.extend(["--storage".into(), storage.into()]);
    }
    words.extend(flags.flags);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coordinator_is_told_to_probe_and_where() {
        let flags = StorageDoctor {
            quick: true,
            storage: Some("s3://b".into()),
            flags: vec!["--log".into(), "debug".into()],
        };
        let expected = ["probe", "--quick", "--storage", "s3://b", "--log", "debug"];
        assert_eq!(arguments(flags), expected.map(OsString::from));
    }
}
