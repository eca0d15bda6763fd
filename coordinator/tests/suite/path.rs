//! The way of a catalog: a folder in, rows out, each track once, and what people see on the way.

use proto::v1;
use tonic::Code;

use crate::agent::{Agent, verdict};
use crate::people::{People, caller, submission};
use crate::world::World;

const TRACKS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_imported_scanned_published_exported_and_verified() {
    let world = World::new(TRACKS);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    let imported = people.imported(&world.music()).await;
    assert_eq!(imported.snapshot.unwrap().rows, TRACKS as u64);
    let job = people.submit("r-1").await.job.unwrap().spec.unwrap().job;

    let mut agent = Agent::new(coordinator.channel().await, world.storage(), "n1");
    agent.join().await.unwrap();
    assert_eq!(agent.work().await, 3, "40 tracks in shards of 16");
    agent.leave().await.unwrap();

    let told = people.watch(&job).await;
    let last = told.last().unwrap();
    assert_eq!(last.state(), v1::JobState::Published);
    assert_eq!((last.tracks_done, last.shards_done), (TRACKS as u64, 3));
    assert_eq!(
        (last.bundle_name.as_str(), last.purpose()),
        ("sample", v1::Purpose::Production)
    );

    let csv = String::from_utf8(people.export(&job, v1::ExportFormat::Csv).await).unwrap();
    assert_eq!(csv.lines().count(), TRACKS + 1);
    let json = String::from_utf8(people.export(&job, v1::ExportFormat::JsonLines).await).unwrap();
    for (ordinal, line) in json.lines().enumerate() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(row["ordinal"], ordinal);
        assert_eq!(
            row["verdict"],
            verdict(u32::try_from(ordinal).unwrap()).as_str()
        );
    }
    assert!(
        people
            .export(&job, v1::ExportFormat::Parquet)
            .await
            .starts_with(b"PAR1")
    );

    let (findings, done) = people.verify(&job).await;
    assert_eq!(findings, []);
    assert_eq!(
        (done.rows_expected, done.rows_found, done.findings),
        (TRACKS as u64, TRACKS as u64, 0)
    );
    assert_eq!(done.verdicts.unwrap().likely_ai, 14);
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_in_pages_by_verdict_and_one_by_one() {
    let world = World::new(TRACKS);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    let job = scan(&world, &coordinator, &mut people).await;
    let mut request = v1::ListRowsRequest {
        caller: caller(),
        job: "last".to_owned(),
        page_size: 9,
        verdicts: vec![v1::Verdict::LikelyAi.into()],
        timeline: true,
        ..v1::ListRowsRequest::default()
    };
    let mut ordinals = Vec::new();
    loop {
        let page = people
            .results
            .list_rows(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert!(page.rows.len() <= 9);
        assert!(page.rows.iter().all(|row| row.timeline.len() == 2));
        ordinals.extend(page.rows.iter().map(|row| row.ordinal));
        if page.next_page.is_empty() {
            break;
        }
        request.page = page.next_page;
    }
    assert_eq!(ordinals, (0..40).step_by(3).collect::<Vec<u32>>());

    let by = |track| v1::GetRowRequest {
        caller: caller(),
        job: job.clone(),
        track: Some(track),
    };
    let row = people
        .results
        .get_row(by(v1::get_row_request::Track::Ordinal(7)))
        .await
        .unwrap()
        .into_inner()
        .row
        .unwrap();
    assert_eq!(
        (row.key.as_str(), row.features.len()),
        ("track-0007.wav", 2)
    );
    let key = v1::get_row_request::Track::Key("track-0012.wav".to_owned());
    assert_eq!(
        people
            .results
            .get_row(by(key))
            .await
            .unwrap()
            .into_inner()
            .row
            .unwrap()
            .ordinal,
        12
    );
    let nobody = v1::get_row_request::Track::TrackId("nobody".to_owned());
    assert_eq!(
        people.results.get_row(by(nobody)).await.unwrap_err().code(),
        Code::NotFound
    );
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_says_what_each_device_did_and_what_binds() {
    let world = World::new(TRACKS);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    let job = scan(&world, &coordinator, &mut people).await;
    let request = v1::SummarizeRequest {
        caller: caller(),
        job,
    };
    let summary = people
        .results
        .summarize(request)
        .await
        .unwrap()
        .into_inner();
    let decode = &summary.stages[0];
    let used = decode.r#use.as_ref().unwrap();
    assert_eq!(
        (decode.node.as_str(), used.device.as_str(), used.tracks),
        ("n1", "cpu:0", TRACKS as u64)
    );
    assert_eq!(decode.tracks_per_second, 1_000.0);
    assert_eq!(summary.binding(), v1::Stage::Decode);
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_of_a_result_whose_kept_totals_are_damaged_or_gone_is_made_from_its_parts() {
    let world = World::new(TRACKS);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    let job = scan(&world, &coordinator, &mut people).await;
    let kept = kept_totals(&world, &job);
    let text = std::fs::read_to_string(&kept).unwrap();
    assert!(text.contains("\"uses\":["), "{text}");
    let mut summary = async || {
        let request = v1::SummarizeRequest {
            caller: caller(),
            job: job.clone(),
        };
        let summary = people.results.summarize(request).await.unwrap();
        summary.into_inner().stages
    };
    let whole = summary().await;
    assert_eq!(whole.len(), 2, "decoding and screen");
    // An object is never written in place.
    std::fs::remove_file(&kept).unwrap();
    assert_eq!(summary().await, whole);
    std::fs::write(&kept, "half").unwrap();
    assert_eq!(summary().await, whole);
    std::fs::write(&kept, text.replace("\"n1\"", "\"n2\"")).unwrap();
    assert!(summary().await.iter().all(|line| line.node == "n2"));
    coordinator.stop().await.unwrap();
}

/// What is kept beside the manifest of a job.
fn kept_totals(world: &World, job: &str) -> std::path::PathBuf {
    let folder = world.storage_folder().join("default/1").join(job);
    let mut found = std::fs::read_dir(folder).unwrap();
    let kept = found.find_map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        name.starts_with("totals-").then(|| entry.path())
    });
    kept.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_each_change_and_resumes_after_the_last_one_seen() {
    let world = World::new(TRACKS);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    people.imported(&world.music()).await;
    let submitted = people.submit("r-1").await.job.unwrap();
    let job = submitted.spec.unwrap().job;
    let watching = tokio::spawn({
        let (mut people, job) = (people.clone(), job.clone());
        async move { people.watch(&job).await }
    });
    let mut agent = Agent::new(coordinator.channel().await, world.storage(), "n1");
    agent.join().await.unwrap();
    agent.work().await;
    let told = watching.await.unwrap();
    assert!(
        told.is_sorted_by(|one, next| one.revision < next.revision),
        "{told:?}"
    );
    let last = told.last().unwrap().revision;
    let request = v1::WatchJobRequest {
        caller: caller(),
        job,
        after_revision: last,
    };
    let mut stream = people.jobs.watch_job(request).await.unwrap().into_inner();
    assert_eq!(
        stream.message().await.unwrap(),
        None,
        "nothing is newer, and the job has ended"
    );
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_takes_no_commit_and_says_who_ended_it() {
    let world = World::new(TRACKS);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    people.imported(&world.music()).await;
    let job = people.submit("r-1").await.job.unwrap().spec.unwrap().job;
    let mut agent = Agent::new(coordinator.channel().await, world.storage(), "n1");
    agent.join().await.unwrap();
    let pulled = agent.pull(16).await.unwrap();
    let request = agent.make(&pulled.jobs[0], &pulled.grants[0]).await;
    let cancel = v1::CancelJobRequest {
        caller: caller(),
        job: job.clone(),
        reason: "wrong bundle".to_owned(),
    };
    let answer = people
        .jobs
        .cancel_job(cancel.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(!answer.existing);
    assert!(
        people
            .jobs
            .cancel_job(cancel)
            .await
            .unwrap()
            .into_inner()
            .existing
    );
    assert_eq!(
        agent.commit(request).await.unwrap().outcome(),
        v1::CommitOutcome::Superseded
    );
    let job = people.job(&job).await;
    assert_eq!(
        (job.state(), job.cancel_reason.as_str()),
        (v1::JobState::Cancelled, "wrong bundle")
    );
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_bundles_and_reasons_are_shown_as_they_are() {
    let world = World::new(TRACKS);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    people.imported(&world.music()).await;
    let job = people.submit("r-1").await.job.unwrap().spec.unwrap().job;
    let explain = v1::ExplainJobRequest {
        caller: caller(),
        job: job.clone(),
        shard: String::new(),
    };
    let reasons = people
        .jobs
        .explain_job(explain.clone())
        .await
        .unwrap()
        .into_inner()
        .reasons;
    assert_eq!(reasons[0].code, "NO_NODE");
    let mut agent = Agent::new(coordinator.channel().await, world.storage(), "n1");
    agent.join().await.unwrap();
    let pulled = agent.pull(16).await.unwrap();
    agent.beat(&pulled.grants).await.unwrap();
    let request = v1::GetNodeRequest {
        caller: caller(),
        node: "n1".to_owned(),
    };
    let node = people.nodes.get_node(request).await.unwrap().into_inner();
    assert_eq!(node.grants.len(), 1);
    let node = node.node.unwrap();
    assert_eq!(
        (node.state(), node.tracks_granted, node.tracks_in_hand),
        (v1::NodeState::Ready, 16, 16)
    );
    let shard = v1::ExplainJobRequest {
        shard: pulled.grants[0].shard.clone(),
        ..explain
    };
    let explained = people.jobs.explain_job(shard).await.unwrap().into_inner();
    assert_eq!(
        (
            explained.reasons[0].code.as_str(),
            explained.shards[0].grants[0].node.as_str()
        ),
        ("IN_HAND", "n1")
    );
    let request = v1::VerifyBundleRequest {
        caller: caller(),
        bundle: "sample".to_owned(),
    };
    let verified = people
        .bundles
        .verify_bundle(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(verified.findings, []);
    let bundle = verified.bundle.unwrap();
    assert!(bundle.default);
    assert_eq!(bundle.signed_by, bundle::sample::key().public().to_string());
    let request = v1::GetBundleRequest {
        caller: caller(),
        bundle: bundle.digest[..12].to_owned(),
    };
    assert!(
        people
            .bundles
            .get_bundle(request)
            .await
            .unwrap()
            .into_inner()
            .card
            .starts_with("# Sample")
    );
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_makes_one_job_even_after_another_import() {
    let world = World::new(3);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    people.imported(&world.music()).await;
    let twice = [people.clone(), people.clone()].map(|mut people| {
        tokio::spawn(async move { people.jobs.submit_job(submission("r-1")).await.unwrap() })
    });
    let [one, other] = twice;
    let (one, other) = (one.await, other.await);
    let (one, other) = (one.unwrap().into_inner(), other.unwrap().into_inner());
    assert_eq!(one.job.unwrap().spec, other.job.unwrap().spec);
    std::fs::write(world.music().join("new.wav"), "more").unwrap();
    people.imported(&world.music()).await;
    let again = people.submit("r-1").await;
    assert!(again.existing);
    assert_eq!(again.job.unwrap().spec.unwrap().rows, 3);
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
            .jobs
            .len(),
        1
    );
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_carry_the_credits_of_the_snapshot_where_they_are_asked_for() {
    let world = World::new(2);
    let list = world.music().join("list.csv");
    let text = "key,artist,label,genre\ntrack-0000.wav,Ann,Blue,folk\ntrack-0001.wav,,,\n";
    std::fs::write(&list, text).unwrap();
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    scan_list(&world, &coordinator, &mut people, &list).await;
    let mut request = v1::ListRowsRequest {
        caller: caller(),
        job: "last".to_owned(),
        credits: true,
        ..v1::ListRowsRequest::default()
    };
    let asked = people.results.list_rows(request.clone()).await.unwrap();
    let credits = |row: v1::Row| row.credits;
    let asked: Vec<_> = asked.into_inner().rows.into_iter().map(credits).collect();
    let known = v1::Credits {
        artist: "Ann".to_owned(),
        label: "Blue".to_owned(),
        genre: "folk".to_owned(),
    };
    assert_eq!(asked, [Some(known), Some(v1::Credits::default())]);
    request.credits = false;
    let plain = people.results.list_rows(request).await.unwrap();
    let plain = plain.into_inner().rows;
    assert!(plain.iter().all(|row| row.credits.is_none()));
    coordinator.stop().await.unwrap();
}

/// Imports, submits and scans to the end.
async fn scan(world: &World, coordinator: &crate::world::Running, people: &mut People) -> String {
    scan_list(world, coordinator, people, &world.music()).await
}

/// Imports a folder or a list, scans it and gives the published job.
async fn scan_list(
    world: &World,
    coordinator: &crate::world::Running,
    people: &mut People,
    list: &std::path::Path,
) -> String {
    people.imported(list).await;
    let job = people.submit("r-1").await.job.unwrap().spec.unwrap().job;
    let mut agent = Agent::new(coordinator.channel().await, world.storage(), "n1");
    agent.join().await.unwrap();
    agent.work().await;
    people.watch(&job).await;
    job
}
