//! The journal of a real run, fed to a core again.

use proto::v1;
use proto::v1::admin_client::AdminClient;
use scheduler::journal::{JournalError, Replay, Replayed};
use tonic::Status;
use tonic::transport::Channel;

use crate::agent::Agent;
use crate::people::{People, caller, code};
use crate::world::World;

fn replayed(text: &str) -> Result<Replayed, JournalError> {
    let mut replay = Replay::new();
    for line in text.lines() {
        replay.line(line)?;
    }
    Ok(replay.end())
}

/// What `scanctl admin journal export` fetches.
async fn exported(channel: Channel) -> Result<String, Status> {
    let (text, ended) = told(channel).await;
    ended.map(|()| text)
}

/// What is sent of the journal, and how that ended.
async fn told(channel: Channel) -> (String, Result<(), Status>) {
    let mut bytes = Vec::new();
    let ended = receive(channel, &mut bytes).await;
    (String::from_utf8(bytes).unwrap(), ended)
}

async fn receive(channel: Channel, bytes: &mut Vec<u8>) -> Result<(), Status> {
    let request = v1::ExportJournalRequest { caller: caller() };
    let mut admin = AdminClient::new(channel);
    let mut chunks = admin.export_journal(request).await?.into_inner();
    while let Some(chunk) = chunks.message().await? {
        bytes.extend(chunk.data);
        if chunk.last {
            return Ok(());
        }
    }
    panic!("the stream ended before the journal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_without_a_journal_says_how_to_have_one() {
    let world = World::new(0);
    let coordinator = world.start(&[]).await;
    let refused = exported(coordinator.channel().await).await.unwrap_err();
    assert_eq!(code(&refused), "NOT_FOUND");
    assert!(refused.message().contains("--journal DIR"), "{refused:?}");
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_could_not_be_written_on_is_exported_to_its_end_and_not_as_a_whole_one() {
    let world = World::new(0);
    let journals = world.data().with_file_name("journals");
    let coordinator = world.spawn(&["--journal", journals.to_str().unwrap()]);
    let mut agent = Agent::new(coordinator.channel().await, world.storage(), "n1");
    agent.join().await.unwrap();
    let whole = exported(coordinator.channel().await).await.unwrap();
    coordinator.limit_files(Some(whole.len() as u64));
    agent.beat(&[]).await.unwrap();
    coordinator.limit_files(None);
    agent.beat(&[]).await.unwrap();
    let (text, ended) = told(coordinator.channel().await).await;
    let ended = ended.unwrap_err();
    assert_eq!(code(&ended), "OUTPUT_UNWRITABLE", "{ended}");
    assert!(ended.message().contains("reign-"), "it is named: {ended}");
    assert!(text.starts_with(&whole), "what there is is sent");
    assert!(replayed(&text).is_ok());
    assert!(coordinator.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_of_a_real_run_leads_a_core_to_the_same_records_and_a_changed_one_is_refused() {
    let world = World::new(40);
    let journals = world.storage_folder().with_file_name("journals");
    let flags = ["--folder-sources", "--journal", journals.to_str().unwrap()];
    let coordinator = world.start(&flags).await;
    let mut people = People::new(coordinator.channel().await);
    people.imported(&world.music()).await;
    let job = people.submit("r-1").await.job.unwrap().spec.unwrap().job;
    let mut agent = Agent::new(coordinator.channel().await, world.storage(), "n1");
    agent.join().await.unwrap();
    agent.work().await;
    let told = people.watch(&job).await;
    assert_eq!(told.last().unwrap().state(), v1::JobState::Published);
    let exported = exported(coordinator.channel().await).await.unwrap();
    let so_far = replayed(&exported).unwrap();
    assert_eq!((so_far.states, so_far.torn), (1, false));
    assert!(
        so_far.records > 0,
        "it ends with what the core knows: {so_far:?}"
    );
    coordinator.stop().await.unwrap();

    let files: Vec<_> = std::fs::read_dir(&journals).unwrap().collect();
    assert_eq!(files.len(), 1, "one reign");
    let text = std::fs::read_to_string(files[0].as_ref().unwrap().path()).unwrap();
    let again = replayed(&text).unwrap();
    assert_eq!((again.cores, again.states, again.torn), (1, 2, false));
    assert!(text.starts_with(&exported), "the export is its beginning");
    assert!(again.events > 10 && again.records > 0, "{again:?}");

    // One digit of one event is another: the line is named.
    let at = text.find("\"node\":\"n1\"").unwrap();
    let changed = format!("{}n2{}", &text[..at + 8], &text[at + 10..]);
    assert!(matches!(
        replayed(&changed),
        Err(JournalError::Damaged { .. })
    ));
    // A coordinator that was killed in the middle of a line.
    let torn = replayed(&text[..text.len() - 40]).unwrap();
    assert!(torn.torn);
}
