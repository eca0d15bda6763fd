//! Whether the parts that a commit names are in storage, looked up before the core hears of them: a part counts for ever, and
//! a manifest that names an object which is not there cannot be mended. Called by the agents' service. Never reads a part:
//! its maker has, and its name holds its digest.

use scheduler::{Caller, Commit, PartClaim};
use storage::ObjectPath;
use types::{Code, Problem, TenantId};

use crate::app::App;

/// Refuses a commit that could count and names a part which storage does not hold as it is described. What cannot count is
/// left to the core, which knows what to answer: the objects of a dead attempt may be collected already.
///
/// # Errors
/// `COMMIT_INVALID`, or what kept storage from answering.
pub(crate) async fn check(app: &App, caller: &Caller, commit: &Commit) -> Result<(), Problem> {
    let (asker, asked) = (caller.clone(), commit.clone());
    let holder = app
        .driver
        .look(move |core, _| core.committing(&asker, &asked).cloned());
    let Some(tenant) = holder.await? else {
        return Ok(());
    };
    for part in &commit.parts {
        check_part(app, &place(&tenant, commit, part), part).await?;
    }
    Ok(())
}

async fn check_part(app: &App, path: &ObjectPath, part: &PartClaim) -> Result<(), Problem> {
    let found = app.storage.part_bytes(path).await;
    match found.map_err(|error| Problem::of(error.code(), &error))? {
        Some(bytes) if bytes == part.bytes => Ok(()),
        Some(bytes) => Err(invalid(
            path,
            &format!("has {bytes} bytes, not {}", part.bytes),
        )),
        None => Err(invalid(path, "is not in storage")),
    }
}

fn invalid(path: &ObjectPath, what: &str) -> Problem {
    Problem::new(
        Code::CommitInvalid,
        format!("commit part `{path}`: it {what}"),
    )
}

/// Where the part must be. A part without tracks is nowhere; the core refuses it by its own rule.
fn place(tenant: &TenantId, commit: &Commit, part: &PartClaim) -> ObjectPath {
    storage::paths::part(
        tenant,
        commit.generation,
        &commit.job,
        commit.shard,
        commit.attempt,
        part.tracks.first().unwrap_or_default(),
        part.sha256,
    )
}
