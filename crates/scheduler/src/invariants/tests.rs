//! One record that breaks each rule.

use super::*;
use crate::NodeKey;
use crate::record::{Closing, JobRecord, JobState, Lane, Made, ManifestName, Progress};
use types::{
    ActorId, Attempt, CatalogName, Digest, Generation, JobId, JobSpec, Ledger, NodeId, Policy,
    PullNo, Range, Requirements, Session, ShardPlan, Stage, TenantId, UnixMillis,
};

fn grant(tenant: &str, first: u32, end: u32) -> ShardRecord {
    let grant = Grant {
        attempt: Attempt(1),
        tenant: TenantId::new(tenant).unwrap(),
        node: NodeId::new("n").unwrap(),
        session: Session(1),
        pull: PullNo(1),
        range: Range { first, end },
        care: Care::Normal,
        apart: None,
    };
    ShardRecord {
        last_attempt: Attempt(1),
        grants: [grant].into(),
        ..ShardRecord::default()
    }
}

fn part(tracks: TrackSet) -> Part {
    let at = UnixMillis(5);
    let made = Made {
        stage: Stage::Screen,
        device: "cpu:0".to_string(),
        from: at,
        to: at,
    };
    Part {
        attempt: Attempt(1),
        kind: PartKind::Escalation,
        rows: u32::try_from(tracks.len()).unwrap(),
        tracks,
        sha256: Digest::of(b"part"),
        bytes: 1,
        verdicts: Default::default(),
        ledger: Ledger::default(),
        node: NodeId::new("n").unwrap(),
        epoch: Epoch(1),
        made: [made].into(),
    }
}

fn job(state: JobState) -> JobRecord {
    let spec = JobSpec {
        tenant: TenantId::default(),
        actor: ActorId::default(),
        job: JobId::new("j").unwrap(),
        generation: Generation(1),
        catalog: CatalogName::new("c").unwrap(),
        list: Digest::of(b"list"),
        plan: ShardPlan {
            rows: 1,
            shard_tracks: 1,
        },
        bundle: Digest::of(b"bundle"),
        policy: Policy::default(),
        submitted_at: UnixMillis(1),
        retry: None,
    };
    JobRecord {
        spec,
        spec_sha256: Digest::of(b"spec"),
        state,
        lane: Lane::default(),
        priority: 0,
        changed_by: ActorId::default(),
        changed_at: UnixMillis(1),
        totals: None,
        deadline: None,
        requires: Requirements::default(),
    }
}

#[test]
fn a_job_that_publishes_or_is_closed_is_not_written_again_even_as_it_is() {
    let name = ManifestName {
        version: 1,
        generation: Generation(1),
        sha256: Digest::of(b"manifest"),
    };
    let closing = Closing {
        by: ActorId::default(),
        at: UnixMillis(1),
        reason: String::new(),
    };
    let states = [
        JobState::Running,
        JobState::Paused,
        JobState::Publishing,
        JobState::Published(name),
        JobState::Cancelled(closing),
    ];
    let may = [
        [true, true, true, false, true],
        [true, true, false, false, true],
        [false, false, false, true, false],
        [false; 5],
        [false; 5],
    ];
    for (before, may) in states.iter().zip(may) {
        for (after, may) in states.iter().zip(may) {
            let (before, after) = (job(before.clone()), job(after.clone()));
            let judged = job_change(Some(&before), &after);
            assert_eq!(judged.is_ok(), may, "{:?} {:?}", before.state, after.state);
        }
    }
}

fn revocation(node: &str) -> RevocationRecord {
    RevocationRecord {
        node: NodeKey {
            tenant: TenantId::default(),
            node: NodeId::new(node).unwrap(),
        },
        device: None,
        from: UnixMillis(0),
        to: UnixMillis(9),
        jobs: Vec::new(),
        progress: Progress::Open,
        by: ActorId::default(),
        at: UnixMillis(0),
        reason: String::new(),
    }
}

#[track_caller]
fn check(found: Result<(), Violation>, expected: Option<Invariant>) {
    assert_eq!(found.err().map(|violation| violation.invariant), expected);
}

#[test]
fn a_grant_lies_in_its_shard() {
    let extent: TrackSet = [10, 11, 19].into_iter().collect();
    for (first, end, inside) in [
        (10, 20, true),
        (11, 15, true),
        (12, 20, false),
        (10, 21, false),
    ] {
        let expected = (!inside).then_some(Invariant::I8);
        check(
            grants_lie_inside(&grant("default", first, end), &extent),
            expected,
        );
    }
}

#[test]
fn a_shard_is_worked_on_by_nodes_of_its_tenant_and_of_the_fleet() {
    let job = JobKey {
        tenant: TenantId::new("a").unwrap(),
        job: JobId::new("j").unwrap(),
    };
    for (tenant, expected) in [("a", None), ("default", None), ("b", Some(Invariant::I10))] {
        check(grants_are_in_house(&job, &grant(tenant, 0, 4)), expected);
    }
}

#[test]
fn an_escalation_shard_falls_only_where_its_own_part_is_revoked() {
    let fallen = ShardRecord {
        standing: Standing::Tombstone,
        ..ShardRecord::default()
    };
    let made_of = part((0..4).collect());
    let (mine, other) = (revocation("n"), revocation("other"));
    for (by, expected) in [(&mine, None), (&other, Some(Invariant::I1))] {
        let found = tombstone_is_revoked(None, &fallen, Some(&made_of), &[by]);
        check(found, expected);
    }
    let unknown = tombstone_is_revoked(None, &fallen, None, &[&mine]);
    check(unknown, Some(Invariant::I1));
    check(
        tombstone_is_revoked(Some(&fallen), &fallen, None, &[]),
        None,
    );
}

#[test]
fn a_part_covers_what_fits_one_shard() {
    let wide: TrackSet = (0..4_096).step_by(2).collect();
    for (tracks, expected) in [((0..1_024).collect(), None), (wide, Some(Invariant::I18))] {
        let after = ShardRecord {
            parts: [part(tracks)].into(),
            ..ShardRecord::default()
        };
        check(
            coverage_is_bounded(&ShardRecord::default(), &after),
            expected,
        );
    }
}
