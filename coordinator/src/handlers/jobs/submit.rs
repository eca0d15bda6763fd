//! Submitting a job: what it names is looked up, its specification goes to storage, then one record is written. The
//! job's name follows from the request's id, so that the same request, sent again after whatever happened, finds the
//! specification it left and makes no second job.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an answer of any other kind than was asked for is one and the same fault"
)]

use proto::field::{nested, parsed};
use proto::{Caller, v1};
use scheduler::{Answer, Request, Submission};
use storage::StorageError;
use types::{
    CatalogName, Code, Digest, JobId, JobSpec, Policy, Problem, Requirements, SHARD_TRACKS_MAX,
    ShardPlan, Stages,
};

use crate::app::{App, core_caller, storage_problem, unexpected};
use crate::bundles::check_trusted;
use crate::shelf::{BundleRecord, Gates};
use crate::wire::jobs::JobSeen;
use crate::wire::rank::{Rank, rank, requirements};
use crate::{audit, clock};

/// Longest id of a request.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Submits a job.
pub(super) async fn submit(
    app: &App,
    mut wire: v1::SubmitJobRequest,
) -> Result<v1::SubmitJobResponse, Problem> {
    let caller = proto::caller(wire.caller.take())?;
    check_request_id(&wire.request_id)?;
    let job = job_of(&caller, &wire.request_id);
    let outcome = submit_as(app, &caller, job.clone(), wire).await;
    audit::refusal(&caller, "SubmitJob", job.as_str(), &outcome);
    let existing = outcome?;
    let seen = submitted(app, &caller, &job).await?;
    Ok(v1::SubmitJobResponse {
        job: Some(app.job_out(&seen)),
        existing,
    })
}

/// The job as it stands once it was submitted, be it long ago.
pub(super) async fn submitted(app: &App, caller: &Caller, job: &JobId) -> Result<JobSeen, Problem> {
    let seen = app.find_job(caller.tenant.clone(), job.to_string()).await;
    seen.map_err(|problem| match problem.code {
        Code::NotFound => gone(job),
        _ => problem,
    })
}

async fn submit_as(
    app: &App,
    caller: &Caller,
    job: JobId,
    wire: v1::SubmitJobRequest,
) -> Result<bool, Problem> {
    let asked = Asked::check(wire)?;
    match specify(app, caller, job, &asked).await? {
        Specified::Closed => Ok(true),
        Specified::Open(spec) => hand_over(app, caller, *spec, asked.rank, asked.requires).await,
    }
}

/// What storage has of a job that is submitted.
pub(super) enum Specified {
    /// Its specification; the core may know the job or not.
    Open(Box<JobSpec>),
    /// It has ended, and the core knows it. It is not handed over again: its record may be going just now, and a new one would
    /// count attempts from one, over objects that its result names.
    Closed,
}

/// Hands a specification that storage holds to the core; whether it had it before.
pub(super) async fn hand_over(
    app: &App,
    caller: &Caller,
    spec: JobSpec,
    rank: Rank,
    requires: Requirements,
) -> Result<bool, Problem> {
    let submission = Submission {
        spec_sha256: storage::spec_sha256(&spec),
        spec,
        lane: rank.lane.unwrap_or_default(),
        priority: rank.priority.unwrap_or_default(),
        deadline: rank.deadline,
        requires,
    };
    match app
        .driver
        .call(core_caller(caller), Request::Submit(submission))
        .await?
    {
        Answer::Submitted { existing, .. } => Ok(existing),
        other => Err(unexpected("SubmitJob", &other)),
    }
}

/// A request whose fields are sound, though what they name may not be there.
struct Asked {
    catalog: CatalogName,
    snapshot: String,
    bundle: String,
    policy: Policy,
    shard_tracks: Option<u32>,
    rank: Rank,
    requires: Requirements,
}

impl Asked {
    fn check(wire: v1::SubmitJobRequest) -> Result<Self, Problem> {
        let policy: Policy = nested("policy", wire.policy)?;
        check_policy(&policy)?;
        Ok(Self {
            catalog: parsed("catalog", &wire.catalog)?,
            snapshot: wire.snapshot,
            bundle: wire.bundle,
            policy,
            shard_tracks: shard_tracks(wire.shard_tracks)?,
            rank: rank("rank", wire.rank)?,
            requires: requirements("requires", wire.requires)?,
        })
    }

    /// The specification that this asks for, everything in it looked up as it is now.
    async fn specification(
        &self,
        app: &App,
        caller: &Caller,
        job: JobId,
    ) -> Result<JobSpec, Problem> {
        let snapshot = app
            .shelf
            .snapshot(&caller.tenant, &self.catalog, &self.snapshot)
            .await?;
        let bundle = app.bundles.find(&self.bundle)?;
        check_trusted(&app.trust, &bundle)?;
        check_stages(&self.policy, &bundle)?;
        Ok(JobSpec {
            tenant: caller.tenant.clone(),
            actor: caller.actor.clone(),
            job,
            generation: app.shelf.generation(),
            catalog: self.catalog.clone(),
            list: snapshot.digest,
            plan: ShardPlan::new(snapshot.rows, self.shard_tracks),
            bundle: bundle.digest,
            policy: self.policy.clone(),
            submitted_at: clock::wall(),
            retry: None,
        })
    }

    /// Whether a specification may have come of this request. What the request leaves open (the newest snapshot, the
    /// default bundle) may have changed since and does not count.
    fn made(&self, app: &App, caller: &Caller, spec: &JobSpec) -> bool {
        let bundle_name = app
            .bundles
            .get(spec.bundle)
            .map(|bundle| bundle.name)
            .unwrap_or_default();
        spec.actor == caller.actor
            && spec.retry.is_none()
            && spec.catalog == self.catalog
            && spec.policy == self.policy
            && spec.list.to_string().starts_with(&self.snapshot)
            && (spec.bundle.to_string().starts_with(&self.bundle) || bundle_name == self.bundle)
            && self
                .shard_tracks
                .is_none_or(|tracks| tracks == spec.plan.shard_tracks)
    }
}

/// Finds the specification that the same request left in storage before, or puts a new one there.
async fn specify(
    app: &App,
    caller: &Caller,
    job: JobId,
    asked: &Asked,
) -> Result<Specified, Problem> {
    if let Some(found) = specified(app, caller, &job, asked).await? {
        return Ok(found);
    }
    let spec = asked.specification(app, caller, job.clone()).await?;
    match app.storage.put_spec(&spec).await {
        Ok(_) => Ok(Specified::Open(Box::new(spec))),
        // The same request came twice at once, and the other one was first.
        Err(StorageError::Corrupt { path, cause }) => {
            let found = specified(app, caller, &job, asked).await?;
            found.ok_or_else(|| {
                Problem::new(
                    Code::StorageCorrupt,
                    format!("submit job `{job}`: `{path}`: {cause}"),
                )
            })
        }
        Err(error) => Err(storage_problem(&format!("submit job `{job}`"), &error)),
    }
}

/// The specification that storage has under this job's name, which must be this request's.
async fn specified(
    app: &App,
    caller: &Caller,
    job: &JobId,
    asked: &Asked,
) -> Result<Option<Specified>, Problem> {
    left_over(app, caller, job, |spec| asked.made(app, caller, spec)).await
}

/// The specification that storage has under this job's name, where it is of the same request. A job that has closed does not begin
/// again, whether its record is still there or gone.
pub(super) async fn left_over(
    app: &App,
    caller: &Caller,
    job: &JobId,
    is_same: impl FnOnce(&JobSpec) -> bool,
) -> Result<Option<Specified>, Problem> {
    let found = app
        .storage
        .get_spec(&caller.tenant, app.shelf.generation(), job)
        .await;
    match found {
        Ok(spec) if is_same(&spec) => match has_closed(app, caller, job).await? {
            true => Ok(Some(Specified::Closed)),
            false => Ok(Some(Specified::Open(Box::new(spec)))),
        },
        Ok(_) => {
            let message =
                format!("submit job `{job}`: its `request_id` was used with other content");
            Err(Problem::new(Code::AlreadyExists, message))
        }
        Err(StorageError::NotFound { .. }) => Ok(None),
        Err(error) => Err(storage_problem(&format!("submit job `{job}`"), &error)),
    }
}

/// Whether the job has ended, as storage says and the core too. One that storage alone knows has ended long ago.
async fn has_closed(app: &App, caller: &Caller, job: &JobId) -> Result<bool, Problem> {
    let (tenant, generation) = (&caller.tenant, app.shelf.generation());
    let closed = app.storage.has_closed(tenant, generation, job).await;
    let closed = closed.map_err(|error| storage_problem(&format!("submit job `{job}`"), &error))?;
    if !closed {
        return Ok(false);
    }
    let seen = submitted(app, caller, job).await?;
    // A manifest and a mark are written before the record says so: until then the core answers for the job.
    Ok(seen.record.state.is_closed())
}

fn gone(job: &JobId) -> Problem {
    let said = format!(
        "submit job `{job}`: a job of this `request_id` has ended, so long ago that its record is gone"
    );
    Problem::new(Code::JobClosed, said)
}

/// The job's name: a digest of tenant and request id, so that it can be found again without a record.
pub(super) fn job_of(caller: &Caller, request_id: &str) -> JobId {
    let digest = Digest::of(format!("{}/{request_id}", caller.tenant).as_bytes());
    JobId::new(format!("j{}", digest.short())).expect("a letter and hexadecimal digits are a name")
}

pub(super) fn check_request_id(id: &str) -> Result<(), Problem> {
    let spelt = id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if spelt && (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) {
        return Ok(());
    }
    let cause =
        format!("field `request_id` is not 1 to {REQUEST_ID_BYTES_MAX} of a-z A-Z 0-9 . _ -");
    Err(Problem::new(Code::InvalidRequest, cause))
}

/// What rules the way to the residual means nothing where no track goes there.
fn check_policy(policy: &Policy) -> Result<(), Problem> {
    let ruled = [
        ("policy.gate", policy.gate.is_some()),
        ("policy.max_escalation_ppm", policy.max_escalation.is_some()),
    ];
    match (policy.stages, ruled.iter().find(|(_, given)| *given)) {
        (Stages::Screen, Some((field, _))) => Err(Problem::new(
            Code::InvalidRequest,
            format!("field `{field}` is for jobs that run both stages"),
        )),
        (Stages::Screen, None) | (Stages::Both, _) => Ok(()),
    }
}

/// Both stages need a bundle with a residual, and a gate that sends any track there.
fn check_stages(policy: &Policy, bundle: &BundleRecord) -> Result<(), Problem> {
    let named = format!("bundle `{}` version {}", bundle.name, bundle.version);
    let takes_any = |gates: Gates| gates.take_any(policy.gate);
    match policy.stages {
        Stages::Both if !bundle.residual => Err(Problem::new(
            Code::StagesUnavailable,
            format!("submit a job of both stages with {named}"),
        )),
        Stages::Both if !bundle.gates.is_none_or(takes_any) => {
            let gate = match policy.gate {
                Some(choice) => format!("is `{choice}`, of which {named} has no edge"),
                None => format!("is not given, and {named} has no gate of its own"),
            };
            let said = format!("field `policy.gate` {gate}: no track would go on to the residual");
            Err(Problem::new(Code::InvalidRequest, said))
        }
        Stages::Screen | Stages::Both => Ok(()),
    }
}

fn shard_tracks(wire: u32) -> Result<Option<u32>, Problem> {
    match wire {
        0 => Ok(None),
        1..=SHARD_TRACKS_MAX => Ok(Some(wire)),
        _ => {
            let cause = format!("field `shard_tracks` is {wire}, more than {SHARD_TRACKS_MAX}");
            Err(Problem::new(Code::InvalidRequest, cause))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(tenant: &str) -> Caller {
        Caller {
            tenant: tenant.parse().unwrap(),
            actor: "someone".parse().unwrap(),
        }
    }

    #[test]
    fn a_request_always_names_the_same_job_and_another_request_another() {
        assert_eq!(job_of(&caller("a"), "r-1"), job_of(&caller("a"), "r-1"));
        assert_ne!(job_of(&caller("a"), "r-1"), job_of(&caller("a"), "r-2"));
        assert_ne!(job_of(&caller("a"), "r-1"), job_of(&caller("b"), "r-1"));
    }

    #[test]
    fn a_request_id_is_a_short_plain_word() {
        for good in ["1", "a-b_c.d", &"x".repeat(64)] {
            assert!(check_request_id(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "ü", "a/b", &"x".repeat(65)] {
            assert_eq!(
                check_request_id(bad).unwrap_err().code,
                Code::InvalidRequest,
                "{bad}"
            );
        }
    }

    fn bundle(residual: bool, gates: Option<Gates>) -> BundleRecord {
        BundleRecord {
            digest: Digest::of(b"bundle"),
            name: "some".to_owned(),
            version: 1,
            purpose: types::Purpose::Production,
            signed_by: String::new(),
            files: Vec::new(),
            bytes: 0,
            registered_at: types::UnixMillis(0),
            residual,
            gates,
        }
    }

    fn by(stages: Stages, gate: Option<types::GateChoice>) -> Policy {
        Policy {
            stages,
            gate,
            ..Policy::default()
        }
    }

    #[test]
    fn both_stages_need_a_bundle_that_has_both() {
        let refused = check_stages(&by(Stages::Both, None), &bundle(false, None)).unwrap_err();
        assert_eq!(refused.code, Code::StagesUnavailable);
        assert!(check_stages(&by(Stages::Both, None), &bundle(true, None)).is_ok());
        assert!(check_stages(&by(Stages::Screen, None), &bundle(false, None)).is_ok());
    }

    #[test]
    fn a_gate_that_sends_no_track_on_is_refused_by_name() {
        use types::GateChoice::{All, Both, Positives, Unsure};
        let positives_alone = Gates {
            own: false,
            unsure: false,
            positives: true,
        };
        let check = |gate, sound: bool| {
            let outcome = check_stages(
                &by(Stages::Both, gate),
                &bundle(true, Some(positives_alone)),
            );
            assert_eq!(outcome.is_ok(), sound, "{gate:?}");
            if let Err(problem) = outcome {
                assert_eq!(problem.code, Code::InvalidRequest);
                assert!(problem.message.contains("policy.gate"), "{problem}");
            }
        };
        check(None, false);
        check(Some(Unsure), false);
        check(Some(Positives), true);
        check(Some(Both), true);
        check(Some(All), true);
        let screened = check_stages(
            &by(Stages::Screen, None),
            &bundle(true, Some(positives_alone)),
        );
        assert!(screened.is_ok());
    }

    #[test]
    fn gate_and_budget_are_refused_by_name_where_the_residual_does_not_run() {
        let policy = |stages, gate, max_escalation| Policy {
            stages,
            accept_demonstration: false,
            thumbnails: true,
            embeddings: false,
            max_escalation,
            gate,
        };
        let (gate, share) = (Some(types::GateChoice::All), types::Share::new(1).ok());
        let refused = |policy: Policy| check_policy(&policy).unwrap_err().message;
        assert!(refused(policy(Stages::Screen, gate, None)).contains("policy.gate"));
        assert!(refused(policy(Stages::Screen, None, share)).contains("max_escalation_ppm"));
        assert!(check_policy(&policy(Stages::Both, gate, share)).is_ok());
        assert!(check_policy(&policy(Stages::Screen, None, None)).is_ok());
    }

    #[test]
    fn a_shard_has_a_bounded_number_of_tracks() {
        assert_eq!(shard_tracks(0), Ok(None));
        assert_eq!(shard_tracks(1024), Ok(Some(1024)));
        assert_eq!(shard_tracks(1025).unwrap_err().code, Code::InvalidRequest);
    }
}
