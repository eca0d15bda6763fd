//! `calibrate`: fits a bundle's rules on labelled tracks of a finished job, and writes them as its next version, signed. Reads no
//! audio and no network's weights, but copies them. Nothing is registered with the cluster.

use super::evaluate::{Counts, SEED, Scanned, write};
use crate::args::{Calibrate, Global};
use crate::bound::Stated;
use crate::client::Client;
use crate::commands::{interruptible, labelled_folder};
use crate::failure::{Failure, problem};
use crate::labelled::{
    self, Asked, Joined, Joiner, Judge, Remade, by_slice, card, remake, say_of_slices, tables,
};
use crate::output::print;
use crate::view::{Calibrated, Escalation, Flags, Moves, Named, SideView, TierView, Tracks};
use bundle::{Bundle, BundleError, Contents, Manifest, SecretKey, Verdicts};
use evaluation::bound::Counted;
use evaluation::split::Side;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use types::{Code, Digest, chain};

/// The table in the bundle's folder.
const TABLE: &str = "calibration.json";

/// Runs the command.
pub(super) async fn run(global: &Global, flags: Calibrate) -> Result<(), Failure> {
    let labels = labelled::read(&flags.known.labels)?;
    let key = secret_key(&flags.key)?;
    refuse_existing(&flags.out)?;
    let client = Client::connect(global).await?;
    let bundle = match &flags.known.folder {
        Some(_) => digest_in(&flags.bundle)?,
        None => String::new(),
    };
    let sides = [Side::Calibrate, Side::Test];
    let (named, labels) =
        labelled_folder::job(global, &client, &flags.known, labels, &sides, &bundle).await?;
    interruptible(async {
        let job = Scanned::fetch(&client, &named).await?;
        let base = open(&flags.bundle, &job.bundle)?;
        let mut joiner = Joiner::new(labels, job.bundle.clone());
        job.rows(&client, |row| joiner.take(row)).await?;
        let joined = joiner.finish()?;
        let asked = Asked {
            prior: flags.known.prior,
            seed: flags.known.split_seed.unwrap_or(SEED),
            likely_ai_tier: flags.likely_ai_tier.clone(),
            production: flags.production,
        };
        let remade = remake(&base.manifest, &joined, &asked)?;
        // Published rows do not change: the second reading sees what the first one saw.
        let changes = Changes::of(&job, &client, &base.manifest, &remade.manifest).await?;
        let mut view = view(&job, &base, &remade, &joined, &changes, &asked)?;
        finish(&flags, &base, remade.manifest, &key, &mut view)?;
        write(&flags.known, &view, view.page()).await?;
        print(global, &view)
    })
    .await
}

fn secret_key(path: &Path) -> Result<SecretKey, Failure> {
    let refuse = |why: String| {
        problem(
            Code::InvalidRequest,
            format!("could not read the key `{}`: {why}", path.display()),
        )
    };
    let text = fs::read_to_string(path).map_err(|why| refuse(why.to_string()))?;
    text.parse()
        .map_err(|why: bundle::KeyError| refuse(why.to_string()))
}

fn refuse_existing(out: &Path) -> Result<(), Failure> {
    if fs::symlink_metadata(out).is_err() {
        return Ok(());
    }
    let said = format!(
        "write the bundle to `{}`, where something stands",
        out.display()
    );
    Err(problem(Code::AlreadyExists, said))
}

fn digest_in(dir: &Path) -> Result<String, Failure> {
    let digest = Bundle::digest_in(dir).map_err(|refused| refused.problem())?;
    Ok(digest.to_string())
}

/// Opens the bundle that the job was scanned with. Its digest is the cluster's word, so that no key need be trusted here.
fn open(dir: &Path, digest: &str) -> Result<Bundle, Failure> {
    let pinned: Digest = digest.parse().map_err(|_| {
        let said = format!("the job names its bundle `{digest}`, which is no digest");
        problem(Code::Internal, said)
    })?;
    Bundle::open_pinned(dir, pinned).map_err(|refused| {
        if let BundleError::Digest { file, found, .. } = &refused
            && file == bundle::MANIFEST_FILE
        {
            let said = format!(
                "the job was scanned with bundle {pinned}, the folder `{}` holds {found}",
                dir.display()
            );
            return problem(Code::BundleOther, said);
        }
        refused.problem().into()
    })
}

/// What the new rules change over all tracks of the job.
#[derive(Debug, Default)]
struct Changes {
    before: Counts,
    now: Counts,
    moves: Moves,
}

impl Changes {
    async fn of(
        job: &Scanned,
        client: &Client,
        base: &Manifest,
        made: &Manifest,
    ) -> Result<Self, Failure> {
        let (old, new) = (Judge::new(base, None), Judge::new(made, None));
        let mut all = Self::default();
        job.rows(client, |row| {
            let verdicts = (all.before.take(row, &old), all.now.take(row, &new));
            if let (Some(before), Some(now)) = verdicts {
                all.moves.count(before, now);
            }
            Ok(())
        })
        .await?;
        Ok(all)
    }
}

fn view(
    job: &Scanned,
    base: &Bundle,
    remade: &Remade,
    joined: &Joined,
    changes: &Changes,
    asked: &Asked,
) -> Result<Calibrated, Failure> {
    let made = &remade.manifest;
    let judge = Judge::new(made, None);
    let side = |side| joined.only(&remade.sides, side);
    let (fit, held) = (side(Side::Calibrate), side(Side::Test));
    let (report, verdicts) = tables(&judge, &held, asked.seed)
        .ok_or_else(|| problem(Code::Internal, "no table of tracks of both classes"))?;
    let told = joined.tracks.iter().any(|track| track.side.is_some());
    let stated = Stated::of(&base.manifest, job.by_own_gate());
    let screened = changes.now.screened;
    let slice_thresholds = by_slice(joined, &remade.sides, &remade.scored);
    let mut notes = remade.notes.clone();
    say_of_slices(&slice_thresholds, &mut notes);
    // The new bound is that of the verdicts as the gate leads to them, counted at once on the tracks that set nothing.
    let humans = verdicts.humans;
    Ok(Calibrated {
        job: job.job.clone(),
        base: Named::of(&base.manifest, base.digest.to_string()),
        made: Named::of(made, String::new()),
        folder: String::new(),
        signed_by: String::new(),
        prior: made.screen.calibration.prior,
        tracks: Tracks::of(joined, changes.now.rows, screened),
        split_seed: (!told).then_some(asked.seed),
        calibrate: counts(&fit),
        test: counts(&held),
        tiers: tiers(made),
        flags_before: Flags::new(
            changes.before.flagged,
            screened,
            stated.fpr_95(),
            stated.counted(),
        ),
        flags: Flags::new(
            changes.now.flagged,
            screened,
            humans.bound_95,
            humans.text(),
        ),
        escalation_before: Escalation::of(&base.manifest, changes.before.escalated, screened),
        escalation: Escalation::of(made, changes.now.escalated, screened),
        changed: changes.moves.flags_changed(),
        moved: changes.moves.moved(),
        moves: changes.moves.each(),
        verdicts,
        report,
        slice_thresholds,
        notes,
    })
}

fn counts(side: &Joined) -> SideView {
    let positives = side.tracks.iter().filter(|track| track.ai).count() as u64;
    let clusters: BTreeSet<&u32> = side.clusters.iter().collect();
    SideView {
        humans: side.tracks.len() as u64 - positives,
        positives,
        clusters: clusters.len() as u64,
    }
}

fn tiers(made: &Manifest) -> Vec<TierView> {
    let of = |stage: &str, verdicts: &Verdicts| -> Vec<TierView> {
        let each = verdicts.tiers.iter();
        each.map(|tier| TierView {
            stage: stage.to_owned(),
            name: tier.name.clone(),
            score: tier.score,
            likely_ai: tier.name == verdicts.likely_ai_tier,
            counted: Counted {
                hits: tier.false_positives,
                trials: tier.humans,
                bound_95: tier.fpr_bound_95,
            },
        })
        .collect()
    };
    let residual = made.residual.as_ref();
    let both = residual.and_then(|residual| residual.calibration.as_ref());
    let mut tiers = of("screen", &made.verdicts);
    tiers.extend(both.iter().flat_map(|both| of("both", &both.verdicts)));
    tiers
}

/// Writes the bundle and says where it stands.
fn finish(
    flags: &Calibrate,
    base: &Bundle,
    made: Manifest,
    key: &SecretKey,
    view: &mut Calibrated,
) -> Result<(), Failure> {
    let mut contents = copied(base)?;
    let old = contents
        .get(&base.manifest.model_card)
        .map_or_else(String::new, |bytes| {
            String::from_utf8_lossy(bytes).into_owned()
        });
    let text = card(
        &base.manifest,
        &made,
        &base.digest.to_string(),
        &view.summary(),
        &old,
    );
    contents.insert(made.model_card.clone(), text.into_bytes());
    let table = serde_json::to_vec_pretty(&view.report)
        .map_err(|why| problem(Code::Internal, format!("could not write JSON: {why}")))?;
    contents.insert(TABLE.to_owned(), table);
    let digest = place(&flags.out, made, &contents, key)?;
    view.made.digest = digest.to_string();
    view.folder = flags.out.display().to_string();
    view.signed_by = key.public().to_string();
    Ok(())
}

/// The base's files, as it lists them.
fn copied(base: &Bundle) -> Result<Contents, Failure> {
    let mut contents = Contents::new();
    for entry in &base.manifest.files {
        let path = base.dir.join(&entry.name);
        let bytes = fs::read(&path).map_err(|why| {
            let said = format!("could not read `{}`: {why}", path.display());
            problem(Code::BundleInvalid, said)
        })?;
        if Digest::of(&bytes) != entry.sha256 {
            let said = format!("`{}` changed while it was copied", path.display());
            return Err(problem(Code::BundleDigestMismatch, said));
        }
        contents.insert(entry.name.clone(), bytes);
    }
    Ok(contents)
}

/// A folder that is removed unless it got its name.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Nothing depends on it: what cannot be removed is left beside the name, as after a power cut.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes the folder beside its name and gives it the name once it is whole.
fn place(
    out: &Path,
    made: Manifest,
    contents: &Contents,
    key: &SecretKey,
) -> Result<Digest, Failure> {
    let unwritable = |why: String| {
        let said = format!("write the bundle to `{}`: {why}", out.display());
        problem(Code::OutputUnwritable, said)
    };
    let name = out
        .file_name()
        .ok_or_else(|| unwritable("it names no folder".to_owned()))?;
    let beside = format!(".{}.{}", name.to_string_lossy(), std::process::id());
    let fresh = Unfinished(out.with_file_name(beside));
    let digest = bundle::write(&fresh.0, made, contents, key).map_err(|why| match &why {
        bundle::WriteError::Refused(refused) => Failure::from(refused.problem()),
        bundle::WriteError::Io { .. } => unwritable(chain(&why)),
    })?;
    refuse_existing(out)?;
    fs::rename(&fresh.0, out).map_err(|why| unwritable(why.to_string()))?;
    Ok(digest)
}
