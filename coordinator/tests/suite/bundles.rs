//! Which bundle a coordinator uses where none is named: the operator's, or the one that ships.

use proto::v1;

use crate::people::{People, caller};
use crate::world::{Running, World};

/// What is registered, with a star at the default one.
async fn registered(coordinator: Running) -> Vec<String> {
    let mut people = People::new(coordinator.channel().await);
    let request = v1::ListBundlesRequest { caller: caller() };
    let answer = people.bundles.list_bundles(request).await.unwrap();
    let shown = |bundle: v1::Bundle| match bundle.default {
        true => format!("{}*", bundle.name),
        false => bundle.name,
    };
    let bundles = answer.into_inner().bundles.into_iter().map(shown).collect();
    drop(people);
    coordinator.stop().await.unwrap();
    bundles
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bundle_that_ships_counts_only_where_no_other_is() {
    let world = World::new(0);
    let sample = world.bundle();
    let mine = sample.with_file_name("mine");
    let manifest = bundle::Manifest {
        name: "mine".to_owned(),
        ..bundle::sample::manifest()
    };
    let contents = bundle::sample::contents();
    bundle::write(&mine, manifest, &contents, &bundle::sample::key()).unwrap();
    let (sample, mine) = (sample.to_str().unwrap(), mine.to_str().unwrap());
    let rows: [(&[&str], &[&str]); 4] = [
        (&["--default-bundle", mine], &["mine*"]),
        (&["--shipped-bundle", sample], &["mine*"]),
        (&["--shipped-bundle", "/nowhere/at/all"], &["mine*"]),
        (
            &["--default-bundle", sample, "--shipped-bundle", mine],
            &["mine", "sample*"],
        ),
    ];
    for (flags, expected) in rows {
        let coordinator = world.try_start_bare(flags).await.unwrap();
        assert_eq!(registered(coordinator).await, expected, "{flags:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bundle_that_ships_is_the_default_of_an_empty_shelf_and_must_be_sound_there() {
    let broken = World::new(0);
    let refused = broken.try_start_bare(&["--shipped-bundle", "/nowhere/at/all"]);
    assert_eq!(
        refused.await.err().map(|problem| problem.code),
        Some(types::Code::BundleInvalid)
    );
    let world = World::new(0);
    let sample = world.bundle();
    let flags = ["--shipped-bundle", sample.to_str().unwrap()];
    let coordinator = world.try_start_bare(&flags).await.unwrap();
    assert_eq!(registered(coordinator).await, ["sample*"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_with_weights_of_another_separator_is_not_registered() {
    let world = World::new(0);
    let folder = world.bundle().with_file_name("misfit");
    let (manifest, contents) = bundle::sample::both();
    bundle::write(&folder, manifest, &contents, &bundle::sample::key()).unwrap();
    let flags = ["--default-bundle", folder.to_str().unwrap()];
    let refused = world.try_start_bare(&flags).await.err().unwrap();
    assert_eq!(refused.code, types::Code::BundleInvalid);
    let message = refused.message;
    assert!(message.contains("do not fit its network"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_whose_screen_lacks_a_tensor_is_not_registered() {
    let world = World::new(0);
    let folder = world.bundle().with_file_name("lacking");
    let mut contents = bundle::sample::contents();
    let weights = contents.get_mut("screen.safetensors").unwrap();
    let mut tensors = bundle::Tensors::parse(weights).unwrap();
    let lacking = tensors.0.pop().unwrap().name;
    *weights = tensors.to_bytes();
    let manifest = bundle::sample::manifest();
    bundle::write(&folder, manifest, &contents, &bundle::sample::key()).unwrap();
    let flags = ["--default-bundle", folder.to_str().unwrap()];
    let refused = world.try_start_bare(&flags).await.err().unwrap();
    assert_eq!(refused.code, types::Code::BundleInvalid);
    let missing = format!("have no tensor `{lacking}`");
    assert!(refused.message.contains(&missing), "{}", refused.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tenant_can_read_and_verify_the_installations_bundles() {
    let world = World::new(0);
    let coordinator = world.start(&[]).await;
    let mut people = People::new(coordinator.channel().await);
    let caller = || {
        Some(v1::Caller {
            tenant: "another".to_owned(),
            actor: "tester".to_owned(),
        })
    };
    let bundle = String::new();
    let request = v1::GetBundleRequest {
        caller: caller(),
        bundle: bundle.clone(),
    };
    let read = people.bundles.get_bundle(request).await.unwrap();
    assert!(read.into_inner().manifest.contains("\"sample\""));
    let request = v1::VerifyBundleRequest {
        caller: caller(),
        bundle,
    };
    let verified = people.bundles.verify_bundle(request).await.unwrap();
    assert_eq!(verified.into_inner().findings, []);
    drop(people);
    coordinator.stop().await.unwrap();
}
