//! TLS: who is believed, who is not, and that each refusal says so.

use etcd_client::{Permission, UserAddOptions};
use tempfile::TempDir;

use super::{World, applied, put};
use crate::server::{Authority, Dates, Line, Options};
use crate::{ClientCertificate, Etcd, EtcdError, EtcdSettings, Store, Txn};

async fn world(dates: Dates) -> (World, TempDir, Authority) {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let authority = Authority::new(folder.path(), "ours");
    let options = Options {
        authority: Some(authority.clone()),
        dates,
        ..Options::one(Line::V3_7)
    };
    (World::start(options).await, folder, authority)
}

async fn refused(settings: EtcdSettings, words: &str) {
    match Etcd::open(settings).await {
        Err(EtcdError::Certificate { cause }) => assert!(cause.contains(words), "{cause}"),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was believed"),
    }
}

/// The server closes the connection of whom it does not believe; its reason may come too late to be read.
async fn turned_away(settings: EtcdSettings) {
    match Etcd::open(settings).await {
        Err(EtcdError::Certificate { .. } | EtcdError::TurnedAway { .. }) => {}
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was believed"),
    }
}

fn with_client(world: &World, client: Option<ClientCertificate>) -> EtcdSettings {
    let mut settings = world.cluster.settings("p");
    if let Some(tls) = &mut settings.tls {
        tls.client = client;
    }
    settings
}

#[tokio::test]
async fn certificates_of_one_authority_are_believed_on_both_sides() {
    let (world, _folder, _) = world(Dates::Valid).await;
    let store = world.open("p").await;
    let epoch = store.lead("a").await.expect("nobody leads yet");
    applied(store.write(Txn::under(epoch).put("k", "1")).await);
    assert_eq!(store.keep(epoch).await, Ok(()));
    let mut watch = store.watch("k", crate::Revision(1)).await.unwrap();
    assert!(super::in_time("a change", watch.next()).await.is_ok());
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused() {
    let (world, folder, _) = world(Dates::Valid).await;
    let other = Authority::new(folder.path(), "other");
    let mut settings = world.cluster.settings("p");
    if let Some(tls) = &mut settings.tls {
        tls.ca = other.certificate();
    }
    refused(settings, "UnknownIssuer").await;
}

#[tokio::test]
async fn a_client_of_another_authority_or_of_none_is_refused() {
    let (world, folder, _) = world(Dates::Valid).await;
    let other = Authority::new(folder.path(), "other");
    let foreign = other.client("coordinator", Dates::Valid);
    turned_away(with_client(&world, Some(foreign))).await;
    turned_away(with_client(&world, None)).await;
}

#[tokio::test]
async fn certificates_that_have_run_out_are_refused_on_either_side() {
    let (server, _folder, _) = world(Dates::Past).await;
    refused(server.cluster.settings("p"), "Expired").await;
    let (world, _other_folder, authority) = world(Dates::Valid).await;
    let past = authority.client("coordinator", Dates::Past);
    turned_away(with_client(&world, Some(past))).await;
}

#[tokio::test]
async fn one_member_whose_certificate_has_run_out_keeps_nobody_from_the_others() {
    let (expired, _folder, authority) = world(Dates::Past).await;
    let options = Options {
        authority: Some(authority),
        ..Options::one(Line::V3_7)
    };
    let sound = World::start(options).await;
    let mut settings = sound.cluster.settings("p");
    settings.endpoints.insert(0, expired.cluster.endpoint(0));
    let store = Etcd::open(settings).await.expect("another member serves");
    put(&store, "k", "1").await;
}

#[tokio::test]
async fn a_server_with_certificates_is_not_spoken_to_without_and_the_other_way_round() {
    let (secure, _folder, authority) = world(Dates::Valid).await;
    let mut plain = secure.cluster.settings("p");
    plain.tls = None;
    plain.endpoints[0] = plain.endpoints[0].replace("https", "http");
    let opened = Etcd::open(plain).await;
    assert!(
        matches!(opened, Err(EtcdError::Unreachable { .. })),
        "{opened:?}"
    );
    let open = World::one().await;
    let mut settings = open.cluster.settings("p");
    settings.endpoints[0] = settings.endpoints[0].replace("http", "https");
    settings.tls = secure.cluster.settings("p").tls;
    let opened = Etcd::open(settings).await;
    assert!(
        matches!(opened, Err(EtcdError::Unreachable { .. })),
        "{opened:?}"
    );
    drop(authority);
}

#[tokio::test]
async fn a_certificate_file_that_is_missing_is_named() {
    let (world, folder, _) = world(Dates::Valid).await;
    let missing = folder.path().join("missing.pem");
    let mut settings = world.cluster.settings("p");
    if let Some(tls) = &mut settings.tls {
        tls.ca = missing.clone();
    }
    match Etcd::open(settings).await {
        Err(EtcdError::File { path, .. }) => assert_eq!(path, missing),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_s_name_is_identity_enough_for_leases_too() {
    let (world, _folder, _) = world(Dates::Valid).await;
    let mut client = world.cluster.client(0).await;
    let nobody = || Some(UserAddOptions::new().with_no_pwd());
    for user in ["root", "coordinator"] {
        client.user_add(user, "", nobody()).await.unwrap();
    }
    client.role_add("root").await.unwrap();
    client.role_add("ours").await.unwrap();
    let ours = Permission::read_write("p/").with_prefix();
    client.role_grant_permission("ours", ours).await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.user_grant_role("coordinator", "ours").await.unwrap();
    client.auth_enable().await.unwrap();

    let store = world.open("p").await;
    let epoch = store.lead("a").await.expect("nobody leads yet");
    applied(store.write(Txn::under(epoch).put("k", "1")).await);
    assert_eq!(store.keep(epoch).await, Ok(()));
    assert_eq!(store.resign(epoch).await, Ok(()));
    put(&store, "k", "2").await;
    let elsewhere = Etcd::open(world.cluster.settings("q")).await;
    assert!(
        matches!(elsewhere, Err(EtcdError::Unreachable { .. })),
        "{elsewhere:?}"
    );
}
