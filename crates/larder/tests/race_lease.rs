//! The lease is loaded before the rule is asked. The first draft of this protocol had it the other way round, and lost:
//! a reader checked an entry against the old state, another thread applied the record that named it and renewed the
//! lease, and the reader then found a lease that held and served the old value, although its write had been
//! acknowledged longer ago than the region's bound.
//!
//! Here the check is made long (patterns are matched against a long key), so that another thread renews in the middle
//! of it. With the right order no timing whatever makes this test fail; with the wrong one it fails at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::journal::MemoryJournal;
use larder::testing::{FakeJournal, ManualClock};
use larder::{Cache, Pattern, Region, Segments, Target, key};
use larder_core::port::Journal;
use rig::{NS, Origin, bounded, secs};
use std::sync::{Arc, mpsc};

/// Names that are matched against the key in each first check after a record; none matches.
const PATTERNS: usize = 40;
/// Each match walks through all of it.
const KEY_BYTES: usize = 100_000;
const ROUNDS: usize = 8;

fn long_key() -> Segments {
    key!["a".repeat(KEY_BYTES)]
}

/// An entry whose check takes long: patterns were recorded after it was born.
async fn stock(cache: &Cache, region: &Region<u64>, origin: &Origin) {
    region.get_or_load(long_key(), origin.load()).await.unwrap();
    let pattern = |n: usize| Target::pattern("slots", Pattern::new().glob(&format!("*b{n}")));
    cache.invalidate((0..PATTERNS).map(pattern)).await.unwrap();
}

#[test]
fn a_renewal_in_the_middle_of_a_check_does_not_bless_it() {
    for round in 0..ROUNDS {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (clock, origin, records) = (ManualClock::default(), Origin::default(), MemoryJournal::new());
        let journal = FakeJournal::new(records.clone());
        // Nothing renews but the reader and this test.
        journal.set_deaf(true);
        let (cache, region) = runtime.block_on(async {
            let builder = Cache::builder(NS).clock(Arc::new(clock.clone())).journal(journal);
            let cache = builder.build().await.unwrap();
            let region = cache.region::<u64>("slots", bounded()).unwrap();
            stock(&cache, &region, &origin).await;
            (cache, region)
        });
        // Another process writes, its record is acknowledged, and more time than the bound goes by.
        let version = origin.write();
        let named = [Target::key("slots", long_key())];
        runtime.block_on(records.append(NS, &named, &"booked".into())).unwrap();
        clock.advance(secs(2));

        let (begins, begun) = mpsc::channel();
        let reader = std::thread::spawn({
            let (region, loader) = (region.clone(), origin.load());
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let key = region.key(long_key()).unwrap();
                    begins.send(()).unwrap();
                    *region.get_or_load(&key, loader).await.unwrap()
                })
            }
        });
        begun.recv().unwrap();
        // At another point of the check each round.
        for _ in 0..round * 20_000 {
            std::hint::spin_loop();
        }
        runtime.block_on(cache.sync()).unwrap();
        assert_eq!(
            reader.join().unwrap(),
            version,
            "round {round}: a renewal blessed a check made before it"
        );
    }
}
