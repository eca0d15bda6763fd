//! Scanning the unscannable tracks of a published result again.

use std::collections::BTreeMap;

use proto::v1;

use crate::agent::Agent;
use crate::people::{People, caller, code};
use crate::world::{Running, World};

/// Tracks that can be scanned at once; the broken ones come besides.
const SOUND: usize = 40;
const BROKEN: [&str; 2] = ["broken-1.wav", "broken-2.wav"];

fn retry(job: &str, request_id: &str) -> v1::RetryJobRequest {
    v1::RetryJobRequest {
        caller: caller(),
        request_id: request_id.to_owned(),
        job: job.to_owned(),
        rank: None,
    }
}

async fn scanned(world: &World, coordinator: &Running) -> (People, Agent, String) {
    for name in BROKEN {
        std::fs::write(world.music().join(name), format!("audio of {name}")).unwrap();
    }
    let mut people = People::new(coordinator.channel().await);
    people.imported(&world.music()).await;
    let job = people.submit("r-1").await.job.unwrap().spec.unwrap().job;
    let mut agent = Agent::new(coordinator.channel().await, world.storage(), "n1");
    agent.join().await.unwrap();
    agent.work().await;
    people.watch(&job).await;
    (people, agent, job)
}

/// The verdict of each track of a result by its key, with its ordinal.
async fn verdicts(people: &mut People, job: &str) -> BTreeMap<String, (u64, String)> {
    let text = people.export(job, v1::ExportFormat::JsonLines).await;
    let text = String::from_utf8(text).unwrap();
    let rows = text.lines().map(|line| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        (
            text("key"),
            (row["ordinal"].as_u64().unwrap(), text("verdict")),
        )
    });
    rows.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_the_whole_result_with_new_rows_for_what_failed_and_the_first_one_stays() {
    let world = World::new(SOUND);
    let coordinator = world.start(&["--folder-sources"]).await;
    let (mut people, mut agent, first) = scanned(&world, &coordinator).await;
    let before = verdicts(&mut people, &first).await;
    assert_eq!(before["broken-1.wav"].1, "unscannable");

    let submitted = people.jobs.retry_job(retry(&first, "again")).await.unwrap();
    let submitted = submitted.into_inner();
    let spec = submitted.job.unwrap().spec.unwrap();
    assert_eq!((spec.rows, submitted.existing), (2, false));
    assert_eq!(spec.retry.unwrap().job, first);
    let repeated = people.jobs.retry_job(retry(&first, "again")).await.unwrap();
    assert!(repeated.into_inner().existing);
    assert_eq!(agent.work().await, 1);
    people.watch(&spec.job).await;

    let after = verdicts(&mut people, &spec.job).await;
    assert_eq!(after.len(), SOUND + 2);
    for (key, (ordinal, verdict)) in &after {
        let (was_at, was) = &before[key];
        assert_eq!(ordinal, was_at, "{key}");
        match key.starts_with("broken") {
            true => assert_ne!(verdict, "unscannable", "{key}"),
            false => assert_eq!(verdict, was, "{key}"),
        }
    }
    for job in [&first, &spec.job] {
        let (findings, done) = people.verify(job).await;
        assert_eq!(
            (findings, done.rows_found),
            (vec![], SOUND as u64 + 2),
            "{job}"
        );
    }
    assert_eq!(verdicts(&mut people, &first).await, before);
    let manifest = people.job(&spec.job).await.manifest.unwrap();
    assert_eq!(manifest.version, 2);

    let nothing = people.jobs.retry_job(retry(&spec.job, "once-more")).await;
    assert_eq!(code(&nothing.unwrap_err()), "NOTHING_TO_RETRY");
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_a_retry_is_found_by_ordinal_and_by_key_like_any_other() {
    let world = World::new(SOUND);
    let coordinator = world.start(&["--folder-sources"]).await;
    let (mut people, mut agent, first) = scanned(&world, &coordinator).await;
    let submitted = people.jobs.retry_job(retry(&first, "again")).await.unwrap();
    let job = submitted.into_inner().job.unwrap().spec.unwrap().job;
    agent.work().await;
    people.watch(&job).await;
    let mut row = async |track| {
        let request = v1::GetRowRequest {
            caller: caller(),
            job: job.clone(),
            track: Some(track),
        };
        let found = people.results.get_row(request).await.unwrap();
        found.into_inner().row.unwrap()
    };
    let by_key = row(v1::get_row_request::Track::Key("broken-2.wav".to_owned())).await;
    let by_ordinal = row(v1::get_row_request::Track::Ordinal(by_key.ordinal)).await;
    assert_eq!(by_key, by_ordinal);
    assert_ne!(by_key.verdict(), v1::Verdict::Unscannable);
    let request = v1::SummarizeRequest {
        caller: caller(),
        job: job.clone(),
    };
    let summary = people.results.summarize(request).await.unwrap();
    let used = summary.into_inner().stages[0].r#use.clone().unwrap();
    assert_eq!(used.tracks, 2, "only what the retry itself cost");
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_published_result_is_retried_and_a_used_request_id_names_no_other_job() {
    let world = World::new(SOUND);
    let coordinator = world.start(&["--folder-sources"]).await;
    let (mut people, _agent, first) = scanned(&world, &coordinator).await;
    let open = people.submit("r-2").await.job.unwrap().spec.unwrap().job;
    let refused = people.jobs.retry_job(retry(&open, "early")).await;
    assert_eq!(code(&refused.unwrap_err()), "RESULT_NOT_PUBLISHED");
    let refused = people.jobs.retry_job(retry(&first, "r-2")).await;
    assert_eq!(code(&refused.unwrap_err()), "ALREADY_EXISTS");
    let refused = people.jobs.retry_job(retry("nothing", "r-3")).await;
    assert_eq!(code(&refused.unwrap_err()), "NOT_FOUND");
    coordinator.stop().await.unwrap();
}
