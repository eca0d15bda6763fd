//! The bytes and names of manifests and of a job's other objects.

use types::{ActorId, Policy, ShardPlan, UnixMillis};

use super::*;
use crate::parts::samples::manifest_of;
use crate::{Cancelled, Put};

fn part(first: u32, shard: u32) -> ManifestPart {
    ManifestPart {
        key: format!("default/1/job-1/{first}").parse().unwrap(),
        shard: ShardId::Root(shard),
        attempt: Attempt(1),
        tracks: [first, first + 2].into_iter().collect(),
        rows: 2,
        sha256: Digest::of(&first.to_le_bytes()),
        origin: None,
    }
}

fn manifest(parts: Vec<ManifestPart>) -> Manifest {
    Manifest::new(
        manifest_of(Digest::of(b"list"), 8),
        parts,
        Ledger::default(),
    )
}

#[test]
fn the_bytes_do_not_depend_on_the_order_in_which_parts_were_committed() {
    let (a, b) = (
        manifest(vec![part(0, 0), part(1, 0), part(4, 1)]),
        manifest(vec![part(4, 1), part(1, 0), part(0, 0)]),
    );
    assert_eq!(a.to_bytes(), b.to_bytes());
    assert_eq!(a.path(), b.path());
    assert_ne!(a.path(), manifest(vec![part(0, 0)]).path());
}

#[test]
fn the_form_of_a_manifest_is_the_published_one() {
    let text = String::from_utf8(manifest(vec![part(0, 0)]).to_bytes()).unwrap();
    let list = Digest::of(b"list");
    let (bundle, sha256) = (Digest::of(b"bundle"), Digest::of(&0u32.to_le_bytes()));
    let use_ =
        r#"{"device_us":0,"energy_mj":0,"tracks":0,"audio_ms":0,"bytes":0,"cpu_us":0,"wait_us":0}"#;
    let expected = format!(
        concat!(
            r#"{{"format":1,"tenant":"default","generation":1,"job":"job-1","version":1,"catalog":"demo","list":"{}","#,
            r#""rows":8,"bundle":"{}","policy":{{"stages":"screen","accept_demonstration":false,"thumbnails":true,"#,
            r#""embeddings":false}},"parts":[{{"key":"default/1/job-1/0","shard":"0","attempt":1,"tracks":"0..1,2..3","#,
            r#""rows":2,"sha256":"{}"}}],"ledger":{{"decode":{u},"screen":{u},"residual":{u}}}}}"#,
            "\n"
        ),
        list,
        bundle,
        sha256,
        u = use_
    );
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_manifest_is_read_only_under_the_name_that_it_leads_to() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_folder(folder.path()).unwrap();
    let manifest = manifest(vec![part(0, 0)]);
    let (path, put) = storage.put_manifest(&manifest).await.unwrap();
    assert_eq!((path.clone(), put), (manifest.path().0, Put::Written));
    assert_eq!(
        storage.put_manifest(&manifest).await.unwrap(),
        (path.clone(), Put::AlreadyThere)
    );
    assert_eq!(storage.get_manifest(&path).await.unwrap(), manifest);
    let elsewhere = "default/2/job-1/manifest".parse().unwrap();
    storage
        .put(&elsewhere, manifest.to_bytes().into())
        .await
        .unwrap();
    assert!(matches!(
        storage.get_manifest(&elsewhere).await,
        Err(StorageError::Corrupt { .. })
    ));
}

#[tokio::test]
async fn a_specification_is_put_once_and_another_under_its_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_folder(folder.path()).unwrap();
    let of = manifest_of(Digest::of(b"list"), 8);
    let mut spec = types::JobSpec {
        tenant: of.tenant.clone(),
        actor: ActorId::default(),
        job: of.job.clone(),
        generation: of.generation,
        catalog: of.catalog,
        list: of.list,
        plan: ShardPlan::new(8, None),
        bundle: of.bundle,
        policy: Policy::default(),
        submitted_at: UnixMillis(7),
        retry: None,
    };
    assert_eq!(storage.put_spec(&spec).await.unwrap(), Put::Written);
    assert_eq!(storage.put_spec(&spec).await.unwrap(), Put::AlreadyThere);
    assert_eq!(
        storage
            .get_spec(&of.tenant, of.generation, &of.job)
            .await
            .unwrap(),
        spec
    );
    spec.list = Digest::of(b"other");
    assert!(matches!(
        storage.put_spec(&spec).await,
        Err(StorageError::Corrupt { .. })
    ));
}

#[tokio::test]
async fn the_first_mark_of_a_cancelled_job_stands() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_folder(folder.path()).unwrap();
    let of = manifest_of(Digest::of(b"list"), 8);
    assert_eq!(
        storage
            .get_cancelled(&of.tenant, of.generation, &of.job)
            .await
            .unwrap(),
        None
    );
    let mark = |at| Cancelled {
        tenant: of.tenant.clone(),
        generation: of.generation,
        job: of.job.clone(),
        actor: ActorId::default(),
        at: UnixMillis(at),
    };
    assert_eq!(storage.put_cancelled(&mark(1)).await.unwrap(), Put::Written);
    assert_eq!(
        storage.put_cancelled(&mark(2)).await.unwrap(),
        Put::AlreadyThere
    );
    let stands = storage
        .get_cancelled(&of.tenant, of.generation, &of.job)
        .await
        .unwrap();
    assert_eq!(stands, Some(mark(1)));
}
