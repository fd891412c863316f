//! The store that all nodes share, at its worst: whatever it does, it costs no more than a miss.

use super::Scenario;
use super::stage::{Played, play};
use crate::fake::RowId;
use crate::fault::Fault;
use crate::oracle::Region as Kind;
use crate::world::Service;

const ROW: RowId = RowId(1);

pub(super) const STORIES: &[Scenario] = &[
    Scenario {
        name: "payload_without_a_stamp",
        story: "Another writer, who did not know when its entries were born, filled the store at the very beginning of a \
                history.",
        catches: &["absent_stamp_is_zero"],
        play: payload_without_a_stamp,
    },
    Scenario {
        name: "store_from_an_old_dump",
        story: "The store is restored from a dump made before a write, and a node that was not there then joins.",
        catches: &["promotion_restamps"],
        play: old_dump,
    },
    Scenario {
        name: "store_from_before_the_oldest_record",
        story: "The store is restored from a dump made before a write whose record the journal has dropped since.",
        catches: &["old_stamp_is_oldest", "promotion_restamps"],
        play: before_the_oldest_record,
    },
    Scenario {
        name: "split_store",
        story: "The store splits, a write is seen by one half only, and the other half wins.",
        catches: &["promotion_restamps"],
        play: split_store,
    },
    Scenario {
        name: "reclaimed_and_kept",
        story: "The nodes look through the store for what is dead: an entry that a record has named goes, and those that \
                none has named stay and are found by whoever joins.",
        catches: &["reclaimer_skips_the_rule"],
        play: reclaimed_and_kept,
    },
    Scenario {
        name: "one_tries_for_all",
        story: "A store has failed for a while. When it is to be tried again, one of those who ask for something tries it, \
                and all others go to the origin at once.",
        catches: &["breaker_half_open_by_all"],
        play: one_tries_for_all,
    },
    Scenario {
        name: "a_word_that_has_faded",
        story: "A node once said that the store fails it. Long after that, one failure is no reason for another node to \
                leave the store alone.",
        catches: &["breaker_word_never_fades"],
        play: a_word_that_has_faded,
    },
    Scenario {
        name: "swapped_payloads",
        story: "The store answers with the bytes of other keys.",
        catches: &["key_not_verified"],
        play: swapped_payloads,
    },
];

fn old_dump(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.read(&a, ROW).await;
            stage.pass(100).await;
            let dumped = stage.world.sim().now();
            stage.write(&b, ROW).await;
            stage.past_the_bound().await;
            stage.expect_newest(&a, ROW).await;
            stage.pass(100).await;
            stage.world.payloads().roll_back(dumped);
            let c = stage.node().await;
            stage.expect_newest(&c, ROW).await;
            // What the dump holds of a row nobody has written is still good.
            stage.expect(stage.world.payloads().len() > 0, "the dump is not empty");
        },
    )
}

fn before_the_oldest_record(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.read(&a, ROW).await;
            stage.pass(100).await;
            let dumped = stage.world.sim().now();
            stage.write(&b, ROW).await;
            stage.write(&b, RowId(2)).await;
            stage.past_the_bound().await;
            stage.world.authority().keep(0);
            stage.world.payloads().roll_back(dumped);
            let c = stage.node().await;
            stage.expect_newest(&c, ROW).await;
        },
    )
}

fn split_store(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.read(&a, ROW).await;
            stage.pass(100).await;
            stage.world.payloads().split();
            let version = stage.write(&b, ROW).await;
            stage.past_the_bound().await;
            let read = stage.read(&b, ROW).await;
            stage.expect_version(read, ROW, version, "the half of its writer holds the write");
            stage.pass(100).await;
            // The half of the node that did not write wins.
            stage.world.payloads().join(a.rt.node.index() % 2);
            let c = stage.node().await;
            stage.expect_newest(&c, ROW).await;
        },
    )
}

fn swapped_payloads(seed: u64) -> Played {
    let set = |options: &mut crate::options::Options| {
        options.faults = vec![Fault::StoreSwap];
        options.intensity = 1000.0;
    };
    play(seed, set, |stage| async move {
        let [a, _b] = stage.nodes().await;
        for row in (0..24).map(RowId) {
            stage.read(&a, row).await;
        }
        stage.pass(100).await;
        let c = stage.node().await;
        for row in (0..24).map(RowId) {
            // The oracle compares the row in the value with the row asked for.
            stage.expect_newest(&c, row).await;
        }
    })
}

fn payload_without_a_stamp(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let a = stage.node().await;
            stage.read(&a, ROW).await;
            stage.pass(100).await;
            let b = stage.node().await;
            let read = stage.read(&b, ROW).await;
            stage.expect(read.is_from_store(), "with its stamp it is served from the store");
            stage.world.payloads().forget_stamps();
            let c = stage.node().await;
            let read = stage.read(&c, ROW).await;
            stage.expect(read.is_loaded(), "without one it is a miss");
        },
    )
}

fn reclaimed_and_kept(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            for row in (0..20).map(RowId) {
                stage.read(&a, row).await;
            }
            stage.pass(100).await;
            let kept = stage.world.payloads().len();
            stage.write(&b, ROW).await;
            // A look begins every three to six seconds.
            stage.pass(14_000).await;
            let left = stage.world.payloads().len();
            stage.expect(left + 1 == kept, &format!("one of {kept} entries is dead, and {left} are left"));
            let c = stage.node().await;
            for row in (2..20).map(RowId) {
                let read = stage.read(&c, row).await;
                stage.expect(read.is_from_store(), "nobody has named it");
            }
        },
    )
}

fn one_tries_for_all(seed: u64) -> Played {
    play(
        seed,
        |options| options.rows = 200,
        |stage| async move {
            let a = stage.node().await;
            stage.cut(&a, Service::Store, 60_000);
            for row in (0..10).map(RowId) {
                stage.read(&a, row).await;
            }
            stage.expect(a.cache.stats().stores[0].degraded, "the store is left alone");
            // Longer than any pause there can be.
            stage.pass(11_000).await;
            let asked = stage.world.payloads().asked;
            let readers: Vec<_> =
                (20..120).map(|row| stage.begin_read(&a, Kind::Bounded, RowId(row))).collect();
            for reader in readers {
                stage.expect(!reader.done().await.failed, "the origin is well");
            }
            let asked = stage.world.payloads().asked - asked;
            stage.expect(asked <= 4, &format!("one reader and one writer try it, not {asked}"));
        },
    )
}

fn a_word_that_has_faded(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            for row in (0..12).map(RowId) {
                stage.read(&b, row).await;
            }
            stage.world.payloads().said_long_ago(b.rt.node, stage.world.sim().now());
            stage.pass(60_000).await;
            stage.cut(&a, Service::Store, 5);
            stage.read(&a, RowId(20)).await;
            stage.pass(6).await;
            let degraded = a.cache.stats().stores[0].degraded;
            stage.expect(!degraded, "it failed once, and nobody has said anything for a minute");
        },
    )
}
