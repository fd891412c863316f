//! The counters: whatever a read goes through, it counts as exactly one hit or one miss, and stale answers are flagged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::{Outcome, Region, key};
use rig::{Answer, Rig, TTL, bounded, eventual, ms, secs, settle};

/// Counts what was asked of the region.
struct Asked<'a> {
    rig: &'a Rig,
    region: Region<u64>,
    reads: u64,
}

impl Asked<'_> {
    async fn load(&mut self, n: u64) -> Result<Outcome<u64>, larder::Error> {
        self.reads += 1;
        let read = self.region.get_or_load(key![n], self.rig.origin.load()).await;
        self.agree("get_or_load");
        read
    }

    async fn get(&mut self, n: u64) -> Option<Outcome<u64>> {
        self.reads += 1;
        let read = self.region.get(key![n]).await.ok().flatten();
        self.agree("get");
        read
    }

    async fn many(&mut self, keys: std::ops::Range<u64>) {
        self.reads += keys.end - keys.start;
        let keys = keys.map(|n| key![n]);
        self.region.get_many_or_load(keys, self.rig.origin.load_many()).await;
        self.agree("get_many_or_load");
    }

    fn agree(&self, what: &str) {
        let stats = self.rig.stats();
        assert_eq!(stats.hits() + stats.misses(), self.reads, "after {what}: {:?}", stats.counts);
    }
}

#[tokio::test(start_paused = true)]
async fn every_read_is_one_hit_or_one_miss_whatever_it_goes_through() {
    let rig = Rig::with_store().await;
    rig.journal.set_deaf(true);
    let policy = bounded().stale_while_revalidate(secs(20)).fail_safe(secs(3600), secs(10));
    let region = rig.region(policy.negative_ttl(secs(5)).soft_timeout(ms(50)).refresh_ahead(0.9));
    let mut asked = Asked { rig: &rig, region: region.clone(), reads: 0 };
    asked.get(1).await;
    asked.load(1).await.unwrap();
    asked.load(1).await.unwrap();
    asked.get(1).await.unwrap();
    asked.many(0..5).await;
    // A lapsed lease, renewed on the spot: once, for one read and for a batch.
    rig.lapse(secs(2));
    asked.get(1).await.unwrap();
    rig.lapse(secs(2));
    asked.many(0..6).await;
    // Due, stale, over; then a failing origin, with and without the throttle.
    for time in [secs(52), secs(10), secs(20)] {
        rig.pass(time).await;
        asked.load(1).await.unwrap();
        asked.many(0..6).await;
        settle().await;
    }
    rig.pass(TTL + secs(30)).await;
    rig.origin.will(Answer::Error);
    asked.load(1).await.unwrap();
    asked.load(1).await.unwrap();
    asked.many(0..8).await;
    // Nothing there, remembered and not.
    rig.origin.will(Answer::Absent);
    asked.load(20).await.unwrap_err();
    asked.load(20).await.unwrap_err();
    asked.get(20).await;
    asked.many(20..22).await;
    // Invalidated; in the store only; damaged in the store; the store failing.
    rig.origin.will(Answer::Version);
    asked.load(30).await.unwrap();
    region.invalidate(key![30]).await.unwrap();
    asked.load(30).await.unwrap();
    rig.store.corrupt_all(|bytes| bytes.truncate(3));
    asked.get(31).await;
    rig.store.set_failing(true);
    asked.many(30..40).await;
    rig.store.set_failing(false);
    // No journal.
    rig.journal.set_unreachable(true);
    rig.lapse(secs(5));
    asked.load(30).await.unwrap();
    asked.many(30..32).await;
    asked.get(30).await;
    rig.journal.set_unreachable(false);
    asked.get(30).await;
    let stats = rig.stats();
    assert!(stats.hits() > 10 && stats.misses() > 10);
    assert_eq!(stats.stale_served(), stats.counts.served_revalidating + stats.counts.served_fallback);
    assert!(stats.counts.served_revalidating > 0 && stats.counts.served_fallback > 0);
}

#[tokio::test(start_paused = true)]
async fn latencies_are_recorded_for_reads_beyond_memory_and_for_loads() {
    let rig = Rig::new().await;
    let region = rig.region(bounded());
    let (clock, pause) = (rig.clock.clone(), ms(20));
    let slow = async move |_load: larder::Load<u64>| {
        clock.advance(pause);
        Ok::<_, rig::Down>(1)
    };
    region.get_or_load(key![1], slow).await.unwrap();
    let stats = rig.stats();
    assert!(stats.loads.p99 >= pause && stats.loads.p99 < pause * 2, "{:?}", stats.loads);
    assert!(stats.reads.p50 >= pause, "{:?}", stats.reads);
}

#[tokio::test(start_paused = true)]
async fn a_store_is_asked_now_and_then_what_it_holds() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    region.get_or_load(key![1], rig.origin.load()).await.unwrap();
    rig.stored(1).await;
    for _ in 0..6 {
        rig.pass(secs(5)).await;
    }
    let store = &rig.cache.stats().stores[0];
    assert_eq!(store.entries, 1);
    assert!(store.bytes > 0);
}
