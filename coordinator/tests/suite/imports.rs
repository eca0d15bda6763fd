//! What becomes of an import: the same rows and others, tables and playlists, folders that are away.

use proto::v1;

use crate::people::{People, caller, code, import};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_the_same_rows_changes_nothing_and_of_others_makes_the_newest_snapshot() {
    let world = World::new(3);
    std::os::unix::fs::symlink("track-0000.wav", world.music().join("link.wav")).unwrap();
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    let first = people.imported(&world.music()).await;
    assert!(!first.unchanged);
    let snapshot = first.snapshot.unwrap();
    assert_eq!((snapshot.rows, snapshot.rejected), (3, 1));
    assert_eq!(snapshot.rejected_by_code["NOT_REGULAR_FILE"], 1);
    assert!(people.imported(&world.music()).await.unchanged);
    std::fs::write(world.music().join("new.wav"), "more").unwrap();
    assert_eq!(
        people.imported(&world.music()).await.snapshot.unwrap().rows,
        4
    );

    let request = v1::GetCatalogRequest {
        caller: caller(),
        catalog: "music".to_owned(),
    };
    let catalog = people
        .catalogs
        .get_catalog(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        catalog
            .snapshots
            .iter()
            .map(|snapshot| snapshot.rows)
            .collect::<Vec<_>>(),
        [4, 3]
    );
    let request = v1::ListRejectedRequest {
        caller: caller(),
        catalog: "music".to_owned(),
        ..Default::default()
    };
    let rejected = people
        .catalogs
        .list_rejected(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(rejected.next_page, "");
    assert_eq!(
        (
            rejected.rows[0].key.as_str(),
            rejected.rows[0].code.as_str()
        ),
        ("link.wav", "NOT_REGULAR_FILE")
    );

    let request = v1::ListCatalogsRequest {
        caller: caller(),
        ..Default::default()
    };
    let catalogs = people
        .catalogs
        .list_catalogs(request)
        .await
        .unwrap()
        .into_inner()
        .catalogs;
    assert_eq!(
        (catalogs[0].name.as_str(), catalogs[0].snapshots),
        ("music", 2)
    );
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_csv_and_a_playlist_of_a_named_source_are_imported() {
    let world = World::new(3);
    std::fs::write(
        world.music().join("list.csv"),
        "key,title\ntrack-0000.wav,One\nnowhere/../x,Two\n",
    )
    .unwrap();
    std::fs::write(
        world.music().join("list.m3u8"),
        "#EXTM3U\ntrack-0001.wav\ntrack-0002.wav\n",
    )
    .unwrap();
    let source = format!("music={}", world.music().display());
    let coordinator = world.start(&["--source", &source]).await;
    let mut people = People::new(coordinator.channel().await);
    let csv = people
        .imported(&world.music().join("list.csv"))
        .await
        .snapshot
        .unwrap();
    assert_eq!(
        (
            csv.rows,
            csv.rejected,
            csv.source.as_str(),
            csv.path.as_str()
        ),
        (1, 1, "music", "list.csv")
    );
    let named = v1::ImportRequest {
        source: "music".to_owned(),
        catalog: "second".to_owned(),
        ..import("list.m3u8")
    };
    let events = people.import(named).await.unwrap();
    let Some(v1::import_event::Event::Started(started)) = &events[0].event else {
        panic!("{events:?}")
    };
    assert_eq!(
        (started.format(), started.registered_folder.as_str()),
        (v1::ImportFormat::M3u8, "")
    );
    let Some(v1::import_event::Event::Imported(done)) = &events.last().unwrap().event else {
        panic!("{events:?}")
    };
    assert_eq!(done.snapshot.as_ref().unwrap().rows, 2);
    coordinator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_csv_names_its_neighbours_whichever_source_around_it_is_known() {
    let world = World::new(2);
    let list = world.music().join("list.csv");
    std::fs::write(&list, "key\ntrack-0000.wav\ntrack-0001.wav\n").unwrap();
    let outer = format!("outer={}", world.music().parent().unwrap().display());
    for (flags, path) in [
        (&["--folder-sources"][..], "list.csv"),
        (&["--source", &outer], "music/list.csv"),
    ] {
        let coordinator = world.start(flags).await;
        let mut people = People::new(coordinator.channel().await);
        let snapshot = people.imported(&list).await.snapshot.unwrap();
        assert_eq!((snapshot.rows, snapshot.path.as_str()), (2, path));
        let storage = world.storage();
        let list = snapshot.digest.parse::<types::Digest>().unwrap();
        let rows = storage.snapshot(&types::TenantId::default(), list).await;
        let rows = rows.unwrap().read(types::Range { first: 0, end: 2 }).await;
        let folder = path.strip_suffix("list.csv").unwrap();
        let keys: Vec<_> = rows.unwrap().into_iter().map(|row| row.key).collect();
        assert_eq!(keys, [0, 1].map(|n| format!("{folder}track-000{n}.wav")));
        coordinator.stop().await.unwrap();
        // The second life knows the folder of the first no longer.
        std::fs::remove_dir_all(world.data()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_folder_that_is_away_when_the_coordinator_starts_is_known_once_it_is_back() {
    let world = World::new(2);
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    let snapshot = people.imported(&world.music()).await.snapshot.unwrap();
    coordinator.stop().await.unwrap();

    let away = world.music().with_file_name("unmounted");
    std::fs::rename(world.music(), &away).unwrap();
    let coordinator = world.start(&["--folder-sources"]).await;
    let mut people = People::new(coordinator.channel().await);
    let again = v1::ImportRequest {
        source: snapshot.source.clone(),
        ..import("")
    };
    let refused = people.import(again.clone()).await.unwrap_err();
    assert_eq!(code(&refused), "STORAGE_UNAVAILABLE");
    std::fs::rename(&away, world.music()).unwrap();
    std::fs::write(world.music().join("new.wav"), "more").unwrap();
    let events = people.import(again).await.unwrap();
    let Some(v1::import_event::Event::Imported(done)) = &events.last().unwrap().event else {
        panic!("{events:?}")
    };
    assert_eq!(done.snapshot.as_ref().unwrap().rows, 3);
    coordinator.stop().await.unwrap();
}
