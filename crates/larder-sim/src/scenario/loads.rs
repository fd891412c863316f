//! Loads: how many there are at once, and which server answers them.

use super::Scenario;
use super::stage::{Played, Stage, play};
use crate::fake::RowId;
use crate::fault::Fault;
use crate::options::REPLICA_LAG_MAX;
use crate::oracle::Region as Kind;
use crate::sched::MS;

const ROW: RowId = RowId(1);

pub(super) const STORIES: &[Scenario] = &[
    Scenario {
        name: "thundering_herd",
        story: "A node restarts with nothing in memory and nothing in the store, and everybody asks at once: each row is \
                loaded once, and never more of them at a time than the source allows.",
        catches: &["load_without_place"],
        play: thundering_herd,
    },
    Scenario {
        name: "lagging_replica",
        story: "Loads may go to a replica that has not replayed the newest write; they must not.",
        catches: &["replica_without_check"],
        play: lagging_replica,
    },
    Scenario {
        name: "joining_a_load_from_a_replica",
        story: "A reader joins a load that was begun before a write and whose answer, from a replica, is on its way for longer \
                than any replica lags.",
        catches: &["replica_load_shared"],
        play: joining_a_load,
    },
];

fn thundering_herd(seed: u64) -> Played {
    let set = |options: &mut crate::options::Options| {
        options.rows = 60;
        options.loads_max = 4;
    };
    play(seed, set, |stage| async move {
        let [a, _b] = stage.nodes().await;
        for row in 0..60 {
            stage.read(&a, RowId(row)).await;
        }
        stage.world.payloads().wipe();
        let a = stage.restart(&a).await;
        let before = stage.world.database().reads;
        let readers: Vec<_> = (0..600).map(|n| stage.begin_read(&a, Kind::Bounded, RowId(n % 60))).collect();
        for reader in readers {
            stage.expect(!reader.done().await.failed, "every reader is served");
        }
        let database = stage.world.database();
        let (loads, most) = (database.reads - before, database.loading.values().map(|(_, most)| *most).max());
        drop(database);
        stage.expect(loads == 60, &format!("each row is loaded once: {loads} loads of 60 rows"));
        stage.expect(
            most.is_some_and(|most| (1..=4).contains(&most)),
            &format!("at most 4 loads at once: {most:?}"),
        );
    })
}

fn lagging_replica(seed: u64) -> Played {
    // The fault makes loads ask a replica; nothing in this story lets it catch up.
    play(
        seed,
        |options| options.faults = vec![Fault::DbReplicaLag],
        |stage| async move {
            let [a, b] = stage.nodes().await;
            for row in (0..8).map(RowId) {
                stage.read(&a, row).await;
                stage.write(&b, row).await;
                stage.past_the_bound().await;
                stage.expect_newest(&a, row).await;
            }
        },
    )
}

fn joining_a_load(seed: u64) -> Played {
    play(
        seed,
        |options| options.faults = vec![Fault::DbReplicaLag],
        |stage| async move {
            let [a, b] = stage.nodes().await;
            let replayed = |stage: &Stage| {
                let now = stage.world.sim().now();
                stage.world.database().replica_at = now;
            };
            replayed(&stage);
            stage.hold_next_load(&a, 2 * REPLICA_LAG_MAX / MS);
            let early = stage.begin_read(&a, Kind::Lagging, ROW);
            stage.held().await;
            let version = stage.write(&b, ROW).await;
            stage.pass(REPLICA_LAG_MAX / MS + 1000).await;
            replayed(&stage);
            let late = stage.begin_read(&a, Kind::Lagging, ROW);
            stage.expect(!early.done().await.failed, "who began before the write is served");
            stage.expect_version(late.done().await, ROW, version, "who came long after it sees the write");
        },
    )
}
