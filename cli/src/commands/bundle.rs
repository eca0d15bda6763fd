//! `bundle ls|get|verify`.

use crate::args::Global;
use crate::client::Client;
use crate::failure::{Exit, Failure, after, problem};
use crate::output::print;
use crate::view::{BundleDetail, BundleList, BundleVerified};
use proto::v1;
use types::Code;

pub(super) async fn ls(global: &Global, client: &Client) -> Result<(), Failure> {
    let request = v1::ListBundlesRequest {
        caller: client.caller(),
    };
    let answer = client.call(client.bundles().list_bundles(request)).await?;
    print(
        global,
        &BundleList {
            bundles: answer.bundles.into_iter().map(Into::into).collect(),
        },
    )
}

pub(super) async fn get(global: &Global, client: &Client, bundle: String) -> Result<(), Failure> {
    let request = v1::GetBundleRequest {
        caller: client.caller(),
        bundle,
    };
    let answer = client.call(client.bundles().get_bundle(request)).await?;
    let manifest = serde_json::from_str(&answer.manifest).map_err(|why| {
        problem(
            Code::BundleInvalid,
            format!("the bundle's manifest is no JSON: {why}"),
        )
    })?;
    print(
        global,
        &BundleDetail {
            bundle: answer.bundle.unwrap_or_default().into(),
            card: answer.card,
            manifest,
        },
    )
}

pub(super) async fn verify(
    global: &Global,
    client: &Client,
    bundle: String,
) -> Result<(), Failure> {
    let request = v1::VerifyBundleRequest {
        caller: client.caller(),
        bundle,
    };
    let answer = client.call(client.bundles().verify_bundle(request)).await?;
    let findings: Vec<String> = answer
        .findings
        .into_iter()
        .map(|f| format!("{}: {}", f.code, f.cause))
        .collect();
    let outcome = if findings.is_empty() {
        Ok(())
    } else {
        Err(Failure::Ended(Exit::Fault))
    };
    let view = BundleVerified {
        bundle: answer.bundle.unwrap_or_default().into(),
        findings,
    };
    after(print(global, &view), outcome)
}
