//! `evaluate --folder` and `calibrate --folder`: has the cluster import a small folder of labelled tracks and separate each of them, and
//! gives the published job. Reads no audio. Labels that no scan can make enough are refused before one; what they say of each track is
//! looked at once the job has ended.

use super::catalog::{absolute, import_folder};
use super::evaluate::bundle_of;
use super::follow::{Show, follow};
use super::interruptible;
use super::steer::wire_rank;
use crate::args::{Global, Known, Rank};
use crate::client::Client;
use crate::failure::{Failure, problem};
use crate::labelled::Labels;
use crate::output::say;
use crate::progress::Progress;
use crate::view::JobView;
use bundle::Manifest;
use evaluation::split::Side;
use proto::v1;
use std::path::Path;
use types::{Code, Digest};

/// Hexadecimal digits of a digest in the names made here: a million folders hardly ever share them.
const NAME_DIGITS: usize = 16;

/// The job that is judged: the one that was named, or that of the folder with `bundle`, the default one where it is empty. Tracks are
/// needed on these sides. The labels come back with the keys that the job has.
pub(super) async fn job(
    global: &Global,
    client: &Client,
    known: &Known,
    labels: Labels,
    sides: &[Side],
    bundle: &str,
) -> Result<(String, Labels), Failure> {
    match (&known.job, &known.folder) {
        (Some(job), _) => Ok((job.clone(), labels)),
        (None, Some(folder)) => {
            labels.before_a_scan(folder, sides)?;
            let (job, path) = scan(global, client, folder, bundle).await?;
            Ok((job, labels.below(&path)))
        }
        (None, None) => Err(problem(
            Code::InvalidRequest,
            "neither a job nor a folder is named",
        )),
    }
}

/// The finished job, and the folder's path within its source.
async fn scan(
    global: &Global,
    client: &Client,
    folder: &Path,
    bundle: &str,
) -> Result<(String, String), Failure> {
    let (job, path) = interruptible(submit(global, client, folder, bundle)).await?;
    let mut status = JobView::from(job);
    if !global.quiet {
        say(format_args!(
            "job {} scans `{}`",
            status.job,
            folder.display()
        ));
    }
    let mut show = Show::Progress(Progress::new(global));
    follow(global, client, &mut status, &mut show).await?;
    Ok((status.job, path))
}

/// Submits the job. Its request is named by what is scanned and with what, so that asking again finds the job that was.
async fn submit(
    global: &Global,
    client: &Client,
    folder: &Path,
    bundle: &str,
) -> Result<(v1::Job, String), Failure> {
    let (digest, manifest) = bundle_of(client, bundle).await?;
    let catalog = catalog_of(folder)?;
    let imported = import_folder(global, client, catalog.clone(), folder).await?;
    let (snapshot, path) = (imported.snapshot.digest, imported.snapshot.path);
    let request = v1::SubmitJobRequest {
        caller: client.caller(),
        request_id: format!(
            "{catalog}-{}-{}",
            first_digits(&snapshot),
            first_digits(&digest)
        ),
        catalog,
        snapshot,
        bundle: digest,
        policy: Some(policy(&manifest)),
        shard_tracks: 0,
        rank: Some(wire_rank(&Rank::default())),
        requires: Some(v1::Requirements::default()),
    };
    let answer = client.call(client.jobs().submit_job(request)).await?;
    let job = answer.job;
    let job =
        job.ok_or_else(|| problem(Code::Internal, "the coordinator answered without a job"))?;
    Ok((job, path))
}

/// The name of a folder's catalogue: by where it lies, whichever way it was typed. A folder that is not on this machine goes by its
/// absolute form, under which the coordinator may see it.
fn catalog_of(folder: &Path) -> Result<String, Failure> {
    let real = folder.canonicalize();
    let path = absolute(real.as_deref().unwrap_or(folder))?;
    let digest = Digest::of(path.as_bytes()).to_string();
    Ok(format!("known-{}", first_digits(&digest)))
}

/// Every track through every engine that the bundle has: those that a gate chose would say nothing of the others.
fn policy(manifest: &Manifest) -> v1::Policy {
    let (stages, gate) = match manifest.residual {
        Some(_) => (v1::Stages::Both, Some(v1::Gate::All.into())),
        None => (v1::Stages::Screen, None),
    };
    v1::Policy {
        stages: stages.into(),
        gate,
        accept_demonstration: true,
        ..v1::Policy::default()
    }
}

fn first_digits(digest: &str) -> &str {
    digest.get(..NAME_DIGITS).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(folder: &Path) -> String {
        catalog_of(folder).unwrap()
    }

    #[test]
    fn a_folder_has_one_catalogue_whichever_way_it_is_typed() {
        let here = std::env::current_dir().unwrap();
        let source = here.join("src");
        for typed in ["src", "./src/", "src/../src", "src/args/.."] {
            assert_eq!(named(Path::new(typed)), named(&source), "{typed}");
        }
        assert_eq!(named(Path::new(".")), named(&here));
        assert_ne!(named(&here), named(&source));
    }

    #[test]
    fn a_folder_that_only_the_coordinator_sees_goes_by_its_absolute_form() {
        let here = std::env::current_dir().unwrap();
        let nowhere = Path::new("no-such-folder");
        assert!(!nowhere.exists());
        assert_eq!(named(nowhere), named(&here.join(nowhere)));
        assert_ne!(named(nowhere), named(Path::new("another-such-folder")));
    }

    #[test]
    fn a_path_that_names_nothing_is_refused_as_an_import_of_it_is() {
        let Err(Failure::Problem { code, .. }) = catalog_of(Path::new("")) else {
            panic!("it names a folder");
        };
        assert_eq!(code, "INVALID_REQUEST");
    }
}
