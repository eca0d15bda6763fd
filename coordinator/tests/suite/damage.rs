//! A store whose file was changed while nobody ran, met by processes: one that is damaged is refused with its place and its
//! remedy and left as it is, and a write that was torn is as if it had not been.

use std::path::{Path, PathBuf};

use proto::v1;
use types::{Code, Report};

use crate::people::{People, caller, submission};
use crate::world::World;

const TRACKS: usize = 4;
/// Stands in one record of the store, and in no key.
const ACTOR: &str = "somebody-in-particular";
/// What the store's file is written in.
const PAGE_BYTES: usize = 4_096;
const FLAGS: [&str; 1] = ["--folder-sources"];

fn store_file(world: &World) -> PathBuf {
    world.data().join("store/state.redb")
}

/// A job that this actor submits.
async fn submitted(people: &mut People, world: &World) -> String {
    people.imported(&world.music()).await;
    let request = v1::SubmitJobRequest {
        caller: Some(v1::Caller {
            tenant: "default".to_owned(),
            actor: ACTOR.to_owned(),
        }),
        ..submission("r-1")
    };
    let answer = people.jobs.submit_job(request).await.unwrap();
    answer.into_inner().job.unwrap().spec.unwrap().job
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_bit_of_a_record_is_refused_at_the_start_with_its_place_and_remedy_and_left() {
    let world = World::new(TRACKS);
    let process = world.spawn(&FLAGS);
    let mut people = People::new(process.channel().await);
    let job = submitted(&mut people, &world).await;
    process.kill();
    let file = store_file(&world);
    let sound = std::fs::read(&file).unwrap();
    let mut changed = sound.clone();
    let places = places(&sound, ACTOR.as_bytes());
    for at in &places {
        changed[*at] ^= 1;
    }
    std::fs::write(&file, &changed).unwrap();

    let ended = world.command(&FLAGS).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8(ended.stdout).unwrap();
    let Ok(Report::Failed(problem)) = serde_json::from_str(&said) else {
        panic!("it said `{said}`");
    };
    assert_eq!(problem.code, Code::StoreCorrupt, "{problem}");
    check_words(&problem.message, &file, &job);
    let offset = offset(&problem.message);
    let near = |at: &usize| {
        (*at)
            .checked_sub(offset)
            .is_some_and(|off| off < PAGE_BYTES)
    };
    assert!(places.iter().any(near), "{offset} of {places:?}");
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains(Code::StoreCorrupt.fix()), "{said}");
    check_words(&said, &file, &job);
    assert!(std::fs::read(&file).unwrap() == changed, "it was left");

    // The remedy: the file as it was.
    std::fs::write(&file, &sound).unwrap();
    let process = world.spawn(&FLAGS);
    let mut people = People::new(process.channel().await);
    let found = people.job(&job).await;
    assert_eq!(found.state(), v1::JobState::Running);
    assert!(process.terminate());
}

/// The file, the table, the key and what to do.
fn check_words(said: &str, file: &Path, job: &str) {
    let file = format!("`{}`", file.display());
    let key = format!("`/0000000001/default/job/{job}`");
    let remedy = "restore the folder from a copy";
    for word in [file.as_str(), "table `records`", &key, remedy] {
        assert!(said.contains(word), "no {word} in: {said}");
    }
}

/// The place in the file that a message tells.
fn offset(message: &str) -> usize {
    let (_, rest) = message.split_once(", byte ").unwrap();
    let (number, _) = rest.split_once(':').unwrap();
    number.parse().unwrap()
}

/// Where these bytes stand; they must somewhere.
fn places(bytes: &[u8], needle: &[u8]) -> Vec<usize> {
    let begins = |at: &usize| bytes[*at..].starts_with(needle);
    let found: Vec<usize> = (0..bytes.len()).filter(begins).collect();
    assert!(!found.is_empty());
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_torn_is_as_if_it_had_not_been_and_all_before_it_stands() {
    let world = World::new(TRACKS);
    let process = world.spawn(&FLAGS);
    let mut people = People::new(process.channel().await);
    let job = submitted(&mut people, &world).await;
    let file = store_file(&world);
    let before = std::fs::read(&file).unwrap();
    pause(&mut people, &job).await;
    let after = std::fs::read(&file).unwrap();
    process.kill();
    std::fs::write(&file, torn(&before, &after)).unwrap();
    // A write that was torn was never answered, nor seen by storage.
    world.forget_revisions();

    let process = world.spawn(&FLAGS);
    let mut people = People::new(process.channel().await);
    let found = people.job(&job).await;
    assert_eq!(found.state(), v1::JobState::Running, "{found:?}");
    assert!(people.submit("r-2").await.job.is_some());
    pause(&mut people, &job).await;
    process.kill();
    let process = world.spawn(&FLAGS);
    let mut people = People::new(process.channel().await);
    assert_eq!(people.job(&job).await.state(), v1::JobState::Paused);
    assert!(process.terminate());
}

async fn pause(people: &mut People, job: &str) {
    let request = v1::PauseJobRequest {
        caller: caller(),
        job: job.to_owned(),
    };
    people.jobs.pause_job(request).await.unwrap();
}

/// The file before a write with every other page that it changed, and not the first page, which is synced last and makes
/// the write count: so a power cut leaves it.
fn torn(before: &[u8], after: &[u8]) -> Vec<u8> {
    let mut torn = before.to_vec();
    torn.resize(before.len().max(after.len()), 0);
    let pages = 1..after.len() / PAGE_BYTES;
    let changed: Vec<_> = pages
        .map(|page| page * PAGE_BYTES..(page + 1) * PAGE_BYTES)
        .filter(|page| torn[page.clone()] != after[page.clone()])
        .collect();
    assert!(changed.len() > 1, "{changed:?}");
    for page in changed.into_iter().step_by(2) {
        torn[page.clone()].copy_from_slice(&after[page]);
    }
    torn
}
