//! What the machine of `machine_map` found, each as the shortest history that shows it.

#![allow(clippy::unwrap_used, reason = "in a test, it fails the test")]

mod rig;

use larder::key;
use rig::{Answer, Rig, eventual, secs};

/// A region that refreshes ahead remembered an absence for ten seconds, and another process found it in the store. Past
/// half of its time it asked the origin again behind each reader's back, which memory does not do with an absence: its
/// life has no part in which a refresh is due. What a store hands back now has none either.
#[tokio::test(start_paused = true)]
async fn a_remembered_absence_found_in_a_store_is_not_refreshed_ahead() {
    let rig = Rig::with_store().await;
    let policy = eventual().refresh_ahead(0.5).negative_ttl(secs(10));
    rig.origin.will(Answer::Absent);
    let here = rig.region(policy.clone());
    assert!(here.get_or_load(key![1], rig.origin.load()).await.unwrap_err().is_absent());
    rig.stored(1).await;
    rig.pass(secs(6)).await;
    let there = rig.another().await.region("slots", policy).unwrap();
    for region in [&there, &here] {
        assert!(region.get_or_load(key![1], rig.origin.load()).await.unwrap_err().is_absent());
        rig::settle().await;
        assert_eq!(rig.origin.loads(), 1);
    }
    rig.pass(secs(4)).await;
    assert!(there.get_or_load(key![1], rig.origin.load()).await.unwrap_err().is_absent());
    assert_eq!(rig.origin.loads(), 2, "it is forgotten when its time is up");
}
