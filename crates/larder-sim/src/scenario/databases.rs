//! The database: commits that are durable before they are visible, crashes in the middle of a write, failover.

use super::Scenario;
use super::stage::{Played, play};
use crate::fake::RowId;
use crate::fault::Fault;

const ROW: RowId = RowId(1);

pub(super) const STORIES: &[Scenario] = &[
    Scenario {
        name: "durable_before_visible",
        story: "A commit is durable but not visible yet, while another node renews its lease and loads the old value.",
        catches: &["publish_before_visible"],
        play: durable_before_visible,
    },
    Scenario {
        name: "node_joins_during_a_write",
        story: "A node starts while a write is durable but not visible, and its very first load reads the old value.",
        catches: &["publish_before_visible"],
        play: node_joins_during_a_write,
    },
    Scenario {
        name: "crash_before_invalidating",
        story: "A node dies between its commit and its invalidation: nobody was told, so nothing is owed, until the \
                application's recovery invalidates; a write with an outbox is seen by all though its writer is dead.",
        catches: &["rule_off_by_one"],
        play: crash_before_invalidating,
    },
    Scenario {
        name: "failover_with_loss",
        story: "A failover loses the newest write, and what the store holds of it must not come back.",
        catches: &["epoch_not_compared"],
        play: failover_with_loss,
    },
];

/// Every commit is visible up to 400 ms after it is durable.
fn lagging(options: &mut crate::options::Options) {
    options.faults = vec![Fault::DbCommitLag];
    options.intensity = 100.0;
}

fn durable_before_visible(seed: u64) -> Played {
    play(seed, lagging, |stage| async move {
        let [a, b] = stage.nodes().await;
        for row in (0..6).map(RowId) {
            let writing = stage.begin_write(&b, row, stage.keys_of(&b, row));
            for _ in 0..60 {
                stage.pass(10).await;
                let _ = a.cache.sync().await;
                stage.read(&a, row).await;
            }
            writing.done().await;
            stage.past_the_bound().await;
            stage.expect_newest(&a, row).await;
        }
    })
}

fn node_joins_during_a_write(seed: u64) -> Played {
    play(seed, lagging, |stage| async move {
        let [_a, b] = stage.nodes().await;
        for row in (0..6).map(RowId) {
            let writing = stage.begin_write(&b, row, stage.keys_of(&b, row));
            stage.until(|world| !world.authority().outbox_is_empty()).await;
            let joining = stage.node().await;
            stage.read(&joining, row).await;
            writing.done().await;
            stage.past_the_bound().await;
            stage.expect_newest(&joining, row).await;
        }
    })
}

fn crash_before_invalidating(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            let other = RowId(2);
            stage.read(&a, ROW).await;
            stage.read(&a, other).await;
            let version = stage.commit(&b, ROW).await;
            let _never = stage.begin_write(&b, other, stage.keys_of(&b, other));
            stage.until(move |world| world.database().primary(other) > 0).await;
            stage.kill(&b);
            stage.past_the_bound().await;
            let read = stage.read(&a, ROW).await;
            stage.expect_version(read, ROW, 0, "nobody was told of the first write");
            stage.expect(read.is_hit(), "so it is still cached");
            stage.expect_newest(&a, other).await;
            let b = stage.restart(&b).await;
            stage.invalidate(&b, ROW, version).await;
            stage.past_the_bound().await;
            stage.expect_newest(&a, ROW).await;
        },
    )
}

fn failover_with_loss(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            let kept_until = stage.world.sim().now();
            let version = stage.write(&b, ROW).await;
            stage.pass(400).await;
            let read = stage.read(&a, ROW).await;
            stage.expect_version(read, ROW, version, "the write is seen");
            stage.pass(100).await;
            stage.fail_over(kept_until);
            stage.past_the_bound().await;
            stage.expect_newest(&a, ROW).await;
            let c = stage.node().await;
            stage.expect_newest(&c, ROW).await;
        },
    )
}
