//! The race every peer still re-fixes: the loader reads the old value, a write invalidates it, the loader returns, and
//! the old value is stored as if it were new. Here, in every path a load can take and for every kind of target, the
//! old value must never become a hit. Each test asks for it at `Eventual`, where no lease would hide the mistake.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::{Error, Outcome, Pattern, Policy, Region, Segments, Target, key, tag};
use rig::{Answer, Origin, Rig, eventual, ms, secs, settle};
use tokio::task::JoinHandle;

/// Every way to say that the value has changed.
const WRITES: [Write; 7] =
    [Write::Key, Write::Tag, Write::Prefix, Write::Pattern, Write::Region, Write::Everything, Write::Remove];

#[derive(Clone, Copy, Debug)]
enum Write {
    Key,
    Tag,
    Prefix,
    Pattern,
    Region,
    Everything,
    Remove,
}

fn slot() -> Segments {
    key![7, "2026-11-21"]
}

impl Write {
    /// Changes the origin and invalidates, as a writer does; returns the new version.
    async fn commit(self, rig: &Rig, region: &Region<u64>) -> u64 {
        let version = rig.origin.write();
        match self {
            Write::Key => drop(region.invalidate(slot()).await.unwrap()),
            Write::Tag => drop(rig.cache.invalidate([Target::tag(tag!["branch", 7])]).await.unwrap()),
            Write::Prefix => drop(region.invalidate_prefix(key![7]).await.unwrap()),
            Write::Pattern => {
                let pattern = Pattern::parse("*/2026-*").unwrap();
                region.invalidate_pattern(pattern).await.unwrap();
            }
            Write::Region => drop(region.invalidate_all().await.unwrap()),
            Write::Everything => drop(rig.cache.invalidate([Target::everything()]).await.unwrap()),
            Write::Remove => drop(region.remove(slot()).await.unwrap()),
        }
        version
    }
}

fn reader(region: &Region<u64>, origin: &Origin) -> JoinHandle<Result<Outcome<u64>, Error>> {
    let (region, loader) = (region.clone(), origin.load());
    tokio::spawn(async move { region.get_or_load(slot(), loader).await })
}

/// What is a hit now, if anything, must be this version or later.
async fn assert_no_older_hit(region: &Region<u64>, version: u64, write: Write) {
    match region.get(slot()).await {
        Ok(None) => {}
        Ok(Some(hit)) => assert!(*hit >= version, "{write:?}: version {} is a hit after {version}", *hit),
        Err(error) => panic!("{write:?}: {error}"),
    }
}

async fn rig(policy: Policy) -> (Rig, Region<u64>) {
    let rig = Rig::with_store().await;
    rig.origin.tag(tag!["branch", 7]);
    let region = rig.region(policy);
    (rig, region)
}

#[tokio::test(start_paused = true)]
async fn a_value_loaded_before_an_invalidation_is_never_a_hit_after_it() {
    for write in WRITES {
        let (rig, region) = rig(eventual()).await;
        rig.origin.hold();
        let reading = reader(&region, &rig.origin);
        rig.origin.reached().await;
        let version = write.commit(&rig, &region).await;
        rig.origin.release();
        // The read began before the write: it may have the old value. Nobody after it may.
        assert_eq!(*reading.await.unwrap().unwrap(), version - 1);
        settle().await;
        assert_no_older_hit(&region, version, write).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_background_refresh_overtaken_by_an_invalidation_is_never_a_hit() {
    for write in WRITES {
        let (rig, region) = rig(eventual().stale_while_revalidate(secs(60))).await;
        reader(&region, &rig.origin).await.unwrap().unwrap();
        rig.pass(secs(61)).await;
        rig.origin.hold();
        assert!(reader(&region, &rig.origin).await.unwrap().unwrap().is_stale());
        rig.origin.reached().await;
        let version = write.commit(&rig, &region).await;
        rig.origin.release();
        settle().await;
        assert_no_older_hit(&region, version, write).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_overtaken_by_an_invalidation_leaves_no_hit_of_its_keys() {
    for write in WRITES {
        let (rig, region) = rig(eventual()).await;
        rig.origin.hold();
        let (handle, loader) = (region.clone(), rig.origin.load_many());
        let reading =
            tokio::spawn(
                async move { handle.get_many_or_load([key![7, "2026-11-20"], slot()], loader).await },
            );
        rig.origin.reached().await;
        let version = write.commit(&rig, &region).await;
        rig.origin.release();
        assert!(reading.await.unwrap().iter().all(|outcome| outcome.is_ok()));
        settle().await;
        assert_no_older_hit(&region, version, write).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_there_is_not_remembered_past_an_invalidation() {
    for write in WRITES {
        let (rig, region) = rig(eventual().negative_ttl(secs(30))).await;
        rig.origin.will(Answer::Absent);
        rig.origin.hold();
        let reading = reader(&region, &rig.origin);
        rig.origin.reached().await;
        rig.origin.will(Answer::Version);
        rig.origin.unhold();
        let version = write.commit(&rig, &region).await;
        rig.origin.release();
        assert!(reading.await.unwrap().unwrap_err().is_absent());
        settle().await;
        assert_no_older_hit(&region, version, write).await;
        assert_eq!(*reader(&region, &rig.origin).await.unwrap().unwrap(), version, "{write:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_of_a_load_that_was_overtaken_gets_the_new_value() {
    for write in WRITES {
        let (rig, region) = rig(eventual()).await;
        rig.origin.hold();
        let first = reader(&region, &rig.origin);
        rig.origin.reached().await;
        // Later than the load: what it brings is not the follower's own.
        rig.lapse(ms(1));
        let follower = reader(&region, &rig.origin);
        rig.followers(1).await;
        rig.origin.unhold();
        let version = write.commit(&rig, &region).await;
        rig.origin.release();
        assert_eq!(*first.await.unwrap().unwrap(), version - 1);
        // It could have had the old value: its read began before the write. But the rule holds for followers too,
        // and a reader that began after the write would have followed the same load.
        assert_eq!(*follower.await.unwrap().unwrap(), version, "{write:?}");
        assert_no_older_hit(&region, version, write).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_comes_after_the_invalidation_does_not_join_the_old_load() {
    for write in WRITES {
        let (rig, region) = rig(eventual()).await;
        rig.origin.hold();
        let first = reader(&region, &rig.origin);
        rig.origin.reached().await;
        let version = write.commit(&rig, &region).await;
        rig.origin.unhold();
        rig.lapse(ms(1));
        let late = reader(&region, &rig.origin);
        settle().await;
        rig.origin.release();
        assert_eq!(*late.await.unwrap().unwrap(), version, "{write:?}");
        first.await.unwrap().unwrap();
        settle().await;
        assert_eq!(
            **region.get(slot()).await.unwrap().as_ref().unwrap(),
            version,
            "{write:?}: the old load came last"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_follows_an_overtaken_load_gets_the_new_value() {
    for write in WRITES {
        let (rig, region) = rig(eventual()).await;
        rig.origin.hold();
        let first = reader(&region, &rig.origin);
        rig.origin.reached().await;
        rig.lapse(ms(1));
        let (handle, loader) = (region.clone(), rig.origin.load_many());
        let batch = tokio::spawn(async move { handle.get_many_or_load([slot()], loader).await });
        rig.followers(1).await;
        rig.origin.unhold();
        let version = write.commit(&rig, &region).await;
        rig.origin.release();
        first.await.unwrap().unwrap();
        assert_eq!(**batch.await.unwrap()[0].as_ref().unwrap(), version, "{write:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_overtaken_load_that_goes_on_without_its_reader_leaves_no_hit() {
    for write in WRITES {
        let (rig, region) = rig(eventual()).await;
        rig.origin.hold();
        let reading = reader(&region, &rig.origin);
        rig.origin.reached().await;
        reading.abort();
        let version = write.commit(&rig, &region).await;
        rig.origin.release();
        settle().await;
        assert_eq!(rig.stats().counts.loads_detached, 1);
        assert_no_older_hit(&region, version, write).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_overtaken_load_is_no_hit_after_a_restart_either() {
    for write in WRITES {
        let (rig, region) = rig(eventual()).await;
        rig.origin.hold();
        let reading = reader(&region, &rig.origin);
        rig.origin.reached().await;
        let version = write.commit(&rig, &region).await;
        rig.origin.release();
        reading.await.unwrap().unwrap();
        // Bytes that nobody may serve may well be in the store.
        settle().await;
        let restarted = rig.another().await.region("slots", eventual()).unwrap();
        assert_no_older_hit(&restarted, version, write).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_put_as_of_a_moment_before_an_invalidation_is_never_a_hit() {
    for write in WRITES {
        let (rig, region) = rig(eventual()).await;
        let snapshot = region.snapshot();
        let version = write.commit(&rig, &region).await;
        region.put_as_of(snapshot, slot(), version - 1, [tag!["branch", 7]]).unwrap();
        settle().await;
        assert_no_older_hit(&region, version, write).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_overtaken_by_a_put_does_not_replace_what_was_put() {
    let (rig, region) = rig(eventual()).await;
    rig.origin.hold();
    let reading = reader(&region, &rig.origin);
    rig.origin.reached().await;
    region.put(slot(), 99).await.unwrap();
    rig.origin.release();
    assert_eq!(*reading.await.unwrap().unwrap(), 1);
    settle().await;
    assert_eq!(**region.get(slot()).await.unwrap().as_ref().unwrap(), 99);
}
