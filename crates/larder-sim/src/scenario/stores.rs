//! The store that all nodes share, at its worst: whatever it does, it costs no more than a miss.

use super::Scenario;
use super::stage::{Played, play};
use crate::fake::RowId;
use crate::fault::Fault;

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
