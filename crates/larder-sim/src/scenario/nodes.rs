//! Loads among nodes: a key is loaded once for all, by whoever is there to do it, and nobody is served what was overtaken.

use super::Scenario;
use super::stage::{Played, Stage, play};
use crate::fake::RowId;
use crate::node::Node;
use crate::oracle::Region as Kind;
use crate::sched::MS;
use crate::world::Service;

const ROW: RowId = RowId(1);

pub(super) const STORIES: &[Scenario] = &[
    Scenario {
        name: "herd_of_nodes",
        story: "Everybody on five nodes asks for the same cold rows at once: each row is loaded once for all of them, and \
                whoever waited is told as soon as it is there.",
        catches: &["woken_before_stored", "watch_after_claim"],
        play: herd_of_nodes,
    },
    Scenario {
        name: "slow_load_among_nodes",
        story: "A load takes longer than its node may lead it without saying so again; the other nodes go on waiting.",
        catches: &["shared_flight_not_prolonged"],
        play: slow_load,
    },
    Scenario {
        name: "loading_node_dies",
        story: "The node that loads is killed; one of those that wait for it takes over, and the others wait for that one.",
        catches: &["shared_flight_not_prolonged"],
        play: loading_node_dies,
    },
    Scenario {
        name: "brought_too_late",
        story: "A node that hears nothing from the journal loads a row for all, and while its load is under way the row is \
                written; what it brings into the store is not for those who read after that.",
        catches: &["landed_elsewhere_skips_rule"],
        play: brought_too_late,
    },
];

async fn nodes(stage: &Stage, n: usize) -> Vec<Node> {
    let mut nodes = Vec::new();
    for _ in 0..n {
        nodes.push(stage.node().await);
    }
    nodes
}

fn herd_of_nodes(seed: u64) -> Played {
    let set = |options: &mut crate::options::Options| {
        options.rows = 100;
        options.group = 10;
        options.loads_max = 100;
    };
    play(seed, set, |stage| async move {
        let nodes = nodes(&stage, 5).await;
        let before = stage.world.database().reads;
        let began = stage.world.sim().now();
        let readers: Vec<_> = (0..1500)
            .map(|n| stage.begin_read(&nodes[n as usize % 5], Kind::Bounded, RowId(n / 5 % 100)))
            .collect();
        for reader in readers {
            stage.expect(!reader.done().await.failed, "every reader is served");
        }
        let took = (stage.world.sim().now() - began) / MS;
        let loads = stage.world.database().reads - before;
        stage.expect(loads == 100, &format!("each row is loaded once: {loads} loads of 100 rows"));
        stage.expect(took < 500, &format!("nobody waits for long: {took} ms"));
    })
}

fn slow_load(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            let before = stage.world.database().reads;
            stage.hold_next_load(&a, 4000);
            let loading = stage.begin_read(&a, Kind::Bounded, ROW);
            stage.held().await;
            let waiting = stage.begin_read(&b, Kind::Bounded, ROW);
            for reader in [loading, waiting] {
                stage.expect(!reader.done().await.failed, "both are served");
            }
            let loads = stage.world.database().reads - before;
            stage.expect(loads == 1, &format!("the row is loaded once, not {loads} times"));
        },
    )
}

fn loading_node_dies(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let nodes = nodes(&stage, 4).await;
            let before = stage.world.database().reads;
            stage.hold_next_load(&nodes[0], 3000);
            let _dies = stage.begin_read(&nodes[0], Kind::Bounded, ROW);
            stage.held().await;
            let waiting: Vec<_> =
                nodes[1..].iter().map(|node| stage.begin_read(node, Kind::Bounded, ROW)).collect();
            stage.pass(100).await;
            stage.kill(&nodes[0]);
            let killed = stage.world.sim().now();
            // Who takes over is slow as well.
            let survivors = nodes[1..].to_vec();
            let (world, told) = (stage.world.clone(), before + 1);
            stage.world.sim().spawn_world(async move {
                while world.database().reads <= told {
                    world.sim().delay(3000, 10_000).await;
                }
                let until = world.sim().now() + 2000 * MS;
                survivors.iter().for_each(|node| world.cut(node.rt.node, Service::Database, until, true));
            });
            for reader in waiting {
                stage.expect(!reader.done().await.failed, "those who waited are served");
            }
            let took = (stage.world.sim().now() - killed) / MS;
            let loads = stage.world.database().reads - before;
            stage.expect(loads == 2, &format!("the row is loaded once more, not {} times", loads - 1));
            stage.expect(took < 4000, &format!("the death is noticed within a second: {took} ms"));
        },
    )
}

fn brought_too_late(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.hold_next_load(&a, 4000);
            let loading = stage.begin_read(&a, Kind::Bounded, ROW);
            stage.held().await;
            stage.hang(&a, Service::Journal, 8000);
            // By a tag, which nobody knows of a load that has not ended.
            let version = stage.write_by_tag(&b, ROW).await;
            stage.past_the_bound().await;
            let read = stage.read(&b, ROW).await;
            stage.expect_version(read, ROW, version, "read long after the write");
            let _ = loading.done().await;
            stage.expect_newest(&b, ROW).await;
        },
    )
}
