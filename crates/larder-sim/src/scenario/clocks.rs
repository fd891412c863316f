//! Clocks that go on while a process does not, and wall clocks that are wrong.

use super::Scenario;
use super::stage::{Played, play};
use crate::fake::RowId;
use crate::oracle::Region as Kind;

const ROW: RowId = RowId(1);

pub(super) const STORIES: &[Scenario] = &[
    Scenario {
        name: "process_suspended",
        story: "A process is stopped for longer than its lease while a write is acknowledged, and asked at once when it goes on.",
        catches: &["clock_stops_in_suspend"],
        play: process_suspended,
    },
    Scenario {
        name: "wall_clock_jumps",
        story: "A node's wall clock jumps ahead by an hour and it stores an entry: the others do not use it, for who knows \
                how old it is; of a second ahead they take no notice.",
        catches: &["wall_clock_prolongs_life"],
        play: wall_clock_jumps,
    },
];

fn process_suspended(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            for row in (0..8).map(RowId) {
                stage.read(&a, row).await;
                stage.stop(&a);
                stage.write(&b, row).await;
                stage.past_the_bound().await;
                let reading = stage.begin_read(&a, Kind::Bounded, row);
                stage.go_on(&a);
                let newest = stage.world.database().primary(row);
                stage.expect_version(
                    reading.done().await,
                    row,
                    newest,
                    "it has been away for longer than its lease",
                );
            }
        },
    )
}

fn wall_clock_jumps(seed: u64) -> Played {
    play(
        seed,
        |options| options.ttl_ms = 5000,
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.world.sim().set_wall_off(a.rt.node, 3_600_000);
            stage.read(&a, ROW).await;
            stage.pass(1000).await;
            let read = stage.read(&a, ROW).await;
            stage.expect(read.is_hit(), "its own entries do not expire because of it");
            let read = stage.read(&b, ROW).await;
            stage.expect(read.is_loaded(), "the other node cannot tell how old the entry in the store is");
            stage.pass(1000).await;
            stage.world.sim().set_wall_off(a.rt.node, 1000);
            let row = RowId(2);
            stage.read(&a, row).await;
            stage.pass(500).await;
            let read = stage.read(&b, row).await;
            stage.expect(read.is_from_store(), "a second ahead is no reason not to use it");
            stage.pass(6500).await;
            let read = stage.read(&b, row).await;
            stage.expect(read.is_loaded(), "until its TTL and that second are over");
        },
    )
}
