//! Clients that race while members stand still, die and come back: whatever they hear must be possible, with unknown outcomes as either.

use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::World;
use super::judge::judge;
use super::racing::{Clock, race, record};
use crate::Store;

/// Faults, one after the other: each kind several times.
const FAULTS: usize = 8;

/// How long a fault lasts: shorter and longer than a call's deadline.
const LASTS: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_millis(1_500),
    Duration::from_secs(7),
];

/// One member at a time stands still or dies, whoever it is, and comes back.
async fn storm(world: &mut World, seed: u64) {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    for fault in 0..FAULTS {
        let member = match dice.random_bool(0.5) {
            true => world.cluster.leader().await,
            false => dice.random_range(0..3),
        };
        let lasts = LASTS[dice.random_range(0..LASTS.len())];
        match fault % 2 {
            0 => {
                world.cluster.stop(member).await;
                tokio::time::sleep(lasts).await;
                world.cluster.go_on(member);
            }
            _ => {
                world.cluster.kill(member);
                tokio::time::sleep(lasts).await;
                world.cluster.restart(member).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_hear_while_members_fail_can_be_true() {
    let mut world = World::three().await;
    let store = world.open("p").await;
    let base = store.status().await.expect("the cluster serves").revision;
    let clock = Arc::new(Clock::default());
    let mut racing = Vec::new();
    for client in 0..4 {
        // Each begins at another member.
        let mut settings = world.cluster.settings("p");
        settings.endpoints.rotate_left(client as usize % 3);
        racing.push(tokio::spawn(race(settings, client, 150, clock.clone())));
    }
    storm(&mut world, 7).await;
    let mut events = Vec::new();
    for racer in racing {
        events.extend(racer.await.expect("no client panics"));
    }
    let (record, ends) = record(&store, base, &clock).await;
    events.extend(ends);
    assert_eq!(judge(base, &record, &events), Ok(()));
    assert!(record.len() > 20, "only {} writes landed", record.len());
}
