//! Clocks that go on while a process does not, and wall clocks that are wrong.

use super::Scenario;
use super::stage::{Played, play};
use crate::fake::RowId;
use crate::oracle::Region as Kind;
use crate::sched::SECOND;

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
    Scenario {
        name: "clock_jumps_while_a_load_begins",
        story: "A node's cheap clock jumps ahead, a load begins, and the clock is set right. A write is acknowledged, and long \
                after it a reader joins that load: it must not be taken for one that began after the reader came.",
        catches: &["flight_began_on_the_cheap_clock"],
        play: clock_jumps_while_a_load_begins,
    },
    Scenario {
        name: "clock_jumps_as_an_entry_is_made",
        story: "A node's cheap clock jumps ahead, an entry is made, and the clock is set right: the entry must not live for \
                longer than its time by what the clock had jumped.",
        catches: &["doubtful_clock_believed"],
        play: clock_jumps_while_an_entry_is_made,
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

fn clock_jumps_while_a_load_begins(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.hold_next_load(&a, 4000);
            stage.world.sim().jump_clock(a.rt.node, 60 * SECOND);
            let early = stage.begin_read(&a, Kind::Bounded, ROW);
            stage.held().await;
            let version = stage.write(&b, ROW).await;
            stage.past_the_bound().await;
            let late = stage.begin_read(&a, Kind::Bounded, ROW);
            stage.expect(!early.done().await.failed, "who began before the write is served");
            stage.expect_version(late.done().await, ROW, version, "who came long after it sees the write");
        },
    )
}

fn clock_jumps_while_an_entry_is_made(seed: u64) -> Played {
    play(
        seed,
        |options| options.ttl_ms = 5000,
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.world.sim().jump_clock(a.rt.node, 60 * SECOND);
            stage.read(&a, ROW).await;
            stage.pass(1000).await;
            stage.read(&a, ROW).await;
            // Nobody is told: only its time ends the entry's life.
            let version = stage.commit(&b, ROW).await;
            stage.pass(6000).await;
            let read = stage.read(&a, ROW).await;
            stage.expect_version(read, ROW, version, "it has lived for longer than its time");
        },
    )
}
