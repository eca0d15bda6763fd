//! What is refused, by which code, and that nothing came of it.

use proto::v1;
use tonic::Code;

use crate::agent::Agent;
use crate::people::{People, caller, code, import, submission};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_in_no_source_is_unknown_unless_folders_may_become_sources() {
    let world = World::new(1);
    let coordinator = world.start(&[]).await;
    let mut people = People::new(coordinator.channel().await);
    let refused = people
        .import(import(world.music().to_str().unwrap()))
        .await
        .unwrap_err();
    assert_eq!(code(&refused), "SOURCE_UNKNOWN");
    let problem = proto::problem::problem(&refused);
    assert!(
        problem.cause.contains("/music") && problem.fix.contains("--source"),
        "{problem:?}"
    );
    let named = v1::ImportRequest {
        source: "nowhere".to_owned(),
        ..import("a")
    };
    assert_eq!(
        code(&people.import(named).await.unwrap_err()),
        "SOURCE_UNKNOWN"
    );
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_imported_is_refused_by_its_own_code() {
    let world = World::new(1);
    std::fs::create_dir(world.music().join("empty")).unwrap();
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    let music = world.music();
    for (path, expected) in [
        ("relative/path".to_owned(), "INVALID_REQUEST"),
        (
            music.join("nothing").display().to_string(),
            "SOURCE_MISSING",
        ),
        (music.join("empty").display().to_string(), "CATALOG_EMPTY"),
        (
            music.join("track-0000.wav").display().to_string(),
            "MANIFEST_UNKNOWN",
        ),
        ("/".repeat(5_000), "INVALID_REQUEST"),
    ] {
        assert_eq!(
            code(&people.import(import(&path)).await.unwrap_err()),
            expected,
            "{path:.80}"
        );
    }
    let unspecified = v1::ImportRequest {
        format: 0,
        ..import(music.to_str().unwrap())
    };
    let problem = proto::problem::problem(&people.import(unspecified).await.unwrap_err());
    assert!(
        problem.cause.contains("IMPORT_FORMAT_UNSPECIFIED"),
        "{problem:?}"
    );
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_that_cannot_be_carried_out_makes_no_job() {
    let world = World::new(1);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    assert_eq!(
        code(&people.jobs.submit_job(submission("r-1")).await.unwrap_err()),
        "NOT_FOUND",
        "no catalog yet"
    );
    people.imported(&world.music()).await;
    let both = Some(v1::Policy {
        stages: v1::Stages::Both.into(),
        ..v1::Policy::default()
    });
    let unspecified = Some(v1::Policy::default());
    for (change, expected) in [
        (
            v1::SubmitJobRequest {
                policy: both,
                ..submission("r-2")
            },
            "STAGES_UNAVAILABLE",
        ),
        (
            v1::SubmitJobRequest {
                policy: unspecified,
                ..submission("r-2")
            },
            "INVALID_REQUEST",
        ),
        (
            v1::SubmitJobRequest {
                policy: None,
                ..submission("r-2")
            },
            "INVALID_REQUEST",
        ),
        (
            v1::SubmitJobRequest {
                bundle: "nobody".to_owned(),
                ..submission("r-2")
            },
            "BUNDLE_UNKNOWN",
        ),
        (
            v1::SubmitJobRequest {
                snapshot: "abcdef".to_owned(),
                ..submission("r-2")
            },
            "NOT_FOUND",
        ),
        (
            v1::SubmitJobRequest {
                snapshot: "ab".to_owned(),
                ..submission("r-2")
            },
            "INVALID_REQUEST",
        ),
        (
            v1::SubmitJobRequest {
                shard_tracks: 5_000,
                ..submission("r-2")
            },
            "INVALID_REQUEST",
        ),
        (
            v1::SubmitJobRequest {
                request_id: String::new(),
                ..submission("r-2")
            },
            "INVALID_REQUEST",
        ),
        (
            v1::SubmitJobRequest {
                caller: None,
                ..submission("r-2")
            },
            "INVALID_REQUEST",
        ),
    ] {
        let shown = format!("{change:?}");
        assert_eq!(
            code(&people.jobs.submit_job(change).await.unwrap_err()),
            expected,
            "{shown}"
        );
    }
    let request = v1::ListJobsRequest {
        caller: caller(),
        ..Default::default()
    };
    assert_eq!(
        people
            .jobs
            .list_jobs(request)
            .await
            .unwrap()
            .into_inner()
            .jobs,
        []
    );
    people.submit("r-1").await;
    let other = v1::SubmitJobRequest {
        shard_tracks: 17,
        ..submission("r-1")
    };
    assert_eq!(
        code(&people.jobs.submit_job(other).await.unwrap_err()),
        "ALREADY_EXISTS"
    );
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenant_does_not_see_what_another_has() {
    let world = World::new(1);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    people.imported(&world.music()).await;
    let job = people.submit("r-1").await.job.unwrap().spec.unwrap().job;
    let other = Some(v1::Caller {
        tenant: "other".to_owned(),
        actor: "tester".to_owned(),
    });
    let request = v1::GetJobRequest {
        caller: other.clone(),
        job,
    };
    assert_eq!(
        people.jobs.get_job(request).await.unwrap_err().code(),
        Code::NotFound
    );
    let request = v1::ListCatalogsRequest {
        caller: other,
        ..Default::default()
    };
    assert_eq!(
        people
            .catalogs
            .list_catalogs(request)
            .await
            .unwrap()
            .into_inner()
            .catalogs,
        []
    );
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_another_join_ended_is_refused_everywhere() {
    let world = World::new(40);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    people.imported(&world.music()).await;
    people.submit("r-1").await;
    let mut agent = Agent::new(coordinator.channel().await, world.storage(), "n1");
    assert_eq!(
        code(&agent.pull(16).await.unwrap_err()),
        "NODE_UNKNOWN",
        "before any join"
    );
    agent.join().await.unwrap();
    let old = agent.session;
    agent.leave().await.unwrap();
    agent.nonce += 1;
    agent.join().await.unwrap();
    let pulled = agent.pull(16).await.unwrap();
    let commit = agent.make(&pulled.jobs[0], &pulled.grants[0]).await;
    agent.session = old;
    for refused in [
        agent.pull(16).await.map(drop).unwrap_err(),
        agent.beat(&pulled.grants).await.map(drop).unwrap_err(),
        agent.leave().await.unwrap_err(),
    ] {
        assert_eq!(code(&refused), "SESSION_OLD", "{refused:?}");
    }
    let late = v1::CommitRequest {
        session: old,
        ..commit.clone()
    };
    assert_eq!(code(&agent.commit(late).await.unwrap_err()), "SESSION_OLD");
    for outcome in [v1::CommitOutcome::Counted, v1::CommitOutcome::DoneAlready] {
        assert_eq!(
            agent.commit(commit.clone()).await.unwrap().outcome(),
            outcome
        );
    }
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_storage_does_not_hold_as_it_is_named_never_counts() {
    let world = World::new(40);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    people.imported(&world.music()).await;
    people.submit("r-1").await;
    let mut agent = Agent::new(coordinator.channel().await, world.storage(), "n1");
    agent.join().await.unwrap();
    let pulled = agent.pull(16).await.unwrap();
    let sound = agent.make(&pulled.jobs[0], &pulled.grants[0]).await;
    let change = |change: fn(&mut v1::Part)| {
        let mut changed = sound.clone();
        change(&mut changed.parts[0]);
        changed
    };
    let wrong = [
        change(|part| part.sha256 = types::Digest::of(b"another").to_string()),
        change(|part| part.bytes += 1),
        change(|part| part.tracks[0].first += 1),
    ];
    for commit in wrong {
        let refused = agent.commit(commit).await.unwrap_err();
        assert_eq!(code(&refused), "COMMIT_INVALID", "{refused:?}");
    }
    let counted = agent.commit(sound).await.unwrap();
    assert_eq!(
        counted.outcome(),
        v1::CommitOutcome::Counted,
        "nothing was lost by it"
    );
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_shard_that_another_node_holds_does_not_count_and_the_holder_s_own_does() {
    let world = World::new(40);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    people.imported(&world.music()).await;
    let job = people.submit("r-1").await.job.unwrap().spec.unwrap().job;
    let mut holder = Agent::new(coordinator.channel().await, world.storage(), "n1");
    holder.join().await.unwrap();
    let mut other = Agent::new(coordinator.channel().await, world.storage(), "n2");
    other.join().await.unwrap();
    let pulled = holder.pull(16).await.unwrap();
    let sound = holder.make(&pulled.jobs[0], &pulled.grants[0]).await;
    let tracks = u64::from(sound.parts[0].rows);
    // By another node; by its own node under an attempt that was never given out.
    let stolen = v1::CommitRequest {
        node: other.node.clone(),
        session: other.session,
        ..sound.clone()
    };
    let forgotten = other.commit(stolen).await.unwrap();
    assert_eq!(forgotten.outcome(), v1::CommitOutcome::Superseded);
    let mut invented = pulled.grants[0].clone();
    invented.attempt += 1;
    let invented = holder.make(&pulled.jobs[0], &invented).await;
    let forgotten = holder.commit(invented).await.unwrap();
    assert_eq!(forgotten.outcome(), v1::CommitOutcome::Superseded);
    assert_eq!(people.job(&job).await.tracks_done, 0);

    let counted = holder.commit(sound).await.unwrap();
    assert_eq!(counted.outcome(), v1::CommitOutcome::Counted);
    assert_eq!(people.job(&job).await.tracks_done, tracks);
    other.work().await;
    holder.work().await;
    people.watch(&job).await;
    let (findings, done) = people.verify(&job).await;
    assert_eq!((findings, done.rows_found), (vec![], 40));
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_over_tracks_that_count_already_is_refused_and_one_over_the_rest_counts() {
    let world = World::new(40);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    people.imported(&world.music()).await;
    let job = people.submit("r-1").await.job.unwrap().spec.unwrap().job;
    let mut agent = Agent::new(coordinator.channel().await, world.storage(), "n1");
    agent.join().await.unwrap();
    let pulled = agent.pull(16).await.unwrap();
    let over = async |agent: &Agent, first, end| {
        let tracks = vec![v1::OrdinalRange { first, end }];
        let grant = v1::Grant {
            tracks,
            ..pulled.grants[0].clone()
        };
        agent.make(&pulled.jobs[0], &grant).await
    };
    let half = over(&agent, 0, 8).await;
    let counted = agent.commit(half).await.unwrap();
    assert_eq!(counted.outcome(), v1::CommitOutcome::Counted);
    for (first, end) in [(0, 4), (7, 9), (0, 16)] {
        let again = over(&agent, first, end).await;
        let refused = agent.commit(again).await.unwrap_err();
        assert_eq!(
            code(&refused),
            "COMMIT_INVALID",
            "{first}..{end}: {refused:?}"
        );
        let cause = proto::problem::problem(&refused).cause;
        assert!(cause.contains("another part covers"), "{cause}");
    }
    assert_eq!(people.job(&job).await.tracks_done, 8);
    let rest = over(&agent, 8, 16).await;
    let counted = agent.commit(rest).await.unwrap();
    assert_eq!(counted.outcome(), v1::CommitOutcome::Counted);
    agent.work().await;
    people.watch(&job).await;
    let (findings, done) = people.verify(&job).await;
    assert_eq!((findings, done.rows_found), (vec![], 40));
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_pull_gets_the_same_grants_and_an_identity_in_use_is_refused() {
    let world = World::new(40);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    people.imported(&world.music()).await;
    people.submit("r-1").await;
    let mut agent = Agent::new(coordinator.channel().await, world.storage(), "n1");
    agent.join().await.unwrap();
    let first = agent.pull(16).await.unwrap();
    assert_eq!(agent.pull_again(16).await.unwrap().grants, first.grants);
    assert_eq!(
        first.sources.len(),
        1,
        "the folder that the import registered"
    );
    let mut twin = Agent::new(coordinator.channel().await, world.storage(), "n1");
    twin.nonce = 8;
    assert_eq!(code(&twin.join().await.unwrap_err()), "IDENTITY_IN_USE");
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_not_published_cannot_be_read() {
    let world = World::new(1);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    people.imported(&world.music()).await;
    let job = people.submit("r-1").await.job.unwrap().spec.unwrap().job;
    let request = v1::ListRowsRequest {
        caller: caller(),
        job: job.clone(),
        ..Default::default()
    };
    assert_eq!(
        code(&people.results.list_rows(request).await.unwrap_err()),
        "RESULT_NOT_PUBLISHED"
    );
    let request = v1::ExportRequest {
        caller: caller(),
        job,
        format: v1::ExportFormat::Csv.into(),
    };
    let mut stream = people.results.export(request).await.unwrap().into_inner();
    assert_eq!(
        code(&stream.message().await.unwrap_err()),
        "RESULT_NOT_PUBLISHED"
    );
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_is_not_trusted_keeps_the_coordinator_from_starting() {
    let world = World::new(0);
    let manifest = world.bundle().join(bundle::MANIFEST_FILE);
    let text = std::fs::read_to_string(&manifest)
        .unwrap()
        .replace("\"version\"", " \"version\"");
    std::fs::write(&manifest, text).unwrap();
    let problem = world.try_start(&[]).await.err().unwrap();
    assert_eq!(problem.code, types::Code::BundleUntrusted, "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_coordinators_do_not_share_a_data_folder() {
    let world = World::new(0);
    let coordinator = world.start(&[]).await;
    let problem = world.try_start(&[]).await.err().unwrap();
    assert_eq!(problem.code, types::Code::DataLocked, "{problem}");
    coordinator.stop().await.unwrap();
    world.start(&[]).await.stop().await.unwrap();
}
