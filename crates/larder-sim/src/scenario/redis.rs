//! The journal on Redis: hints that bring records, failovers, dumps, two masters.

use super::Scenario;
use super::stage::{Played, Stage, play};
use crate::fake::RowId;
use crate::options::{Capture, JournalKind, Options};
use crate::oracle::Region as Kind;
use crate::world::Service;

const ROW: RowId = RowId(1);
const OTHER: RowId = RowId(2);

pub(super) const STORIES: &[Scenario] = &[
    Scenario {
        name: "hint_after_a_gap",
        story: "A hint brings a record, and the one before it was never heard of: it must not be applied over the gap.",
        catches: &["hint_gap_not_noticed"],
        play: hint_after_a_gap,
    },
    Scenario {
        name: "hint_of_another_branch",
        story: "The journal loses a record that only one node has left to know of. A hint brings that node what follows the \
                record that took its place, of which it has not heard.",
        catches: &["hint_nonce_not_compared"],
        play: hint_of_another_branch,
    },
    Scenario {
        name: "hint_that_comes_again",
        story: "A node that cannot reach the journal hears a hint once more that it heard long before: nobody has said \
                that there is nothing newer.",
        catches: &["hint_renews_lease"],
        play: hint_that_comes_again,
    },
    Scenario {
        name: "record_that_one_node_had_heard_of",
        story: "A writer dies after its record was acknowledged, and the journal fails over without that record. One node \
                had heard of it by its hint: within the bound all nodes drop what it named.",
        catches: &["roll_not_asked"],
        play: record_that_one_node_had_heard_of,
    },
    Scenario {
        name: "lost_append_among_many",
        story: "The journal loses a record while the answer is on its way to the writer, and so many follow in its place that \
                it has dropped the place before the writer comes to it: the writer finds out all the same.",
        catches: &["append_not_expected"],
        play: lost_append_among_many,
    },
    Scenario {
        name: "back_into_a_history_that_was_left",
        story: "The journal's history was left for another because it had lost a record, and a dump brings it back, together \
                with one of the store. A node that joins then does not serve what the lost record named.",
        catches: &["left_epoch_adopted"],
        play: back_into_a_history_that_was_left,
    },
    Scenario {
        name: "back_into_a_history_that_was_never_followed",
        story: "The journal starts with nothing, takes a record, and starts with nothing once more before its writer has come \
                to follow what it was taken by. A dump of that short history comes back, together with one of the store. A \
                node that joins then does not serve what the record named: its writer lives.",
        catches: &["unfollowed_epoch_not_left"],
        play: back_into_a_history_that_was_never_followed,
    },
    Scenario {
        name: "own_write_and_a_strange_history",
        story: "Two servers are master. On one the history begins anew; a node that talks to the other writes. When its \
                server gives up, the node finds a history that it has never seen, and in the store entries that are good by \
                that history, but older than its own write.",
        catches: &["strange_history_believed"],
        play: own_write_and_a_strange_history,
    },
    Scenario {
        name: "failover_loses_a_node",
        story: "The journal fails over to a replica that had not heard of a node; that node is cut off, and a write that \
                waits for all nodes waits until no such node can have a lease.",
        catches: &["attendance_outlives_its_server", "attendance_taken_for_whole"],
        play: failover_loses_a_node,
    },
];

fn on_redis(options: &mut Options) {
    options.journal = JournalKind::Redis;
    options.capture = Capture::Direct;
}

fn play_on_redis<Fut>(seed: u64, story: impl FnOnce(Stage) -> Fut + Send + 'static) -> Played
where
    Fut: Future<Output = ()> + Send + 'static,
{
    play(seed, on_redis, story)
}

fn hint_after_a_gap(seed: u64) -> Played {
    play_on_redis(seed, |stage| async move {
        let [a, b] = stage.nodes().await;
        for row in (1..=4).map(RowId) {
            stage.read(&a, row).await;
            stage.cut(&a, Service::Journal, 20);
            stage.write_direct(&b, row).await;
            stage.pass(21).await;
            stage.write_direct(&b, RowId(9)).await;
            stage.past_the_bound().await;
            stage.expect_newest(&a, row).await;
        }
    })
}

fn hint_of_another_branch(seed: u64) -> Played {
    play_on_redis(seed, |stage| async move {
        let [a, b] = stage.nodes().await;
        stage.read(&a, OTHER).await;
        stage.write_direct(&b, ROW).await;
        stage.pass(20).await;
        stage.kill(&b);
        stage.promote_journal(1);
        stage.cut(&a, Service::Journal, 60);
        let c = stage.node().await;
        stage.write_direct(&c, OTHER).await;
        stage.pass(61).await;
        stage.write_direct(&c, RowId(9)).await;
        stage.past_the_bound().await;
        stage.expect_newest(&a, OTHER).await;
        stage.expect_newest(&c, ROW).await;
    })
}

fn hint_that_comes_again(seed: u64) -> Played {
    play_on_redis(seed, |stage| async move {
        let [a, b] = stage.nodes().await;
        stage.read(&a, ROW).await;
        stage.write_direct(&b, OTHER).await;
        stage.pass(20).await;
        stage.cut(&a, Service::Journal, 10_000);
        stage.write_direct(&b, ROW).await;
        stage.past_the_bound().await;
        stage.world.repeat_hint(a.rt.node);
        // Between two tries to reach the journal it listens.
        stage.pass(500).await;
        stage.expect_newest(&a, ROW).await;
    })
}

fn record_that_one_node_had_heard_of(seed: u64) -> Played {
    play_on_redis(seed, |stage| async move {
        let [a, b] = stage.nodes().await;
        let c = stage.node().await;
        stage.read(&c, ROW).await;
        stage.cut(&c, Service::Journal, 30);
        stage.write_direct(&b, ROW).await;
        stage.pass(10).await;
        stage.kill(&b);
        stage.promote_journal(1);
        let heard = a.cache.stats().journal.position;
        stage.expect(heard > stage.world.authority().head().position, "one node has heard of it");
        // A third of the bound until that node asks, and the bound for leases from before that.
        stage.past_the_bound().await;
        stage.pass(400).await;
        stage.expect_newest(&c, ROW).await;
        stage.expect_newest(&a, ROW).await;
    })
}

fn lost_append_among_many(seed: u64) -> Played {
    play_on_redis(seed, |stage| async move {
        let [a, b] = stage.nodes().await;
        let c = stage.node().await;
        stage.read(&a, ROW).await;
        let version = stage.commit(&b, ROW).await;
        // Nobody but the writer hears of the record.
        stage.cut(&a, Service::Journal, 30);
        stage.cut(&c, Service::Journal, 30);
        let appended = stage.world.authority().appended;
        let invalidating = stage.begin_invalidation(&b, ROW, version);
        stage.until(move |world| world.authority().appended > appended).await;
        stage.hang(&b, Service::Journal, 1000);
        stage.promote_journal(1);
        stage.pass(60).await;
        for row in (4..12).map(RowId) {
            stage.write_direct(&c, row).await;
        }
        // The others have applied all of it; now it is dropped.
        stage.pass(400).await;
        stage.world.authority().keep(2);
        invalidating.done().await;
        stage.kill(&b);
        stage.past_the_bound().await;
        stage.expect_newest(&a, ROW).await;
    })
}

fn back_into_a_history_that_was_left(seed: u64) -> Played {
    play_on_redis(seed, |stage| async move {
        let [a, b] = stage.nodes().await;
        stage.read(&a, ROW).await;
        stage.pass(100).await;
        stage.world.authority().dump(stage.world.sim());
        let dumped = stage.world.sim().now();
        stage.write_direct(&b, ROW).await;
        stage.pass(20).await;
        stage.promote_journal(1);
        stage.past_the_bound().await;
        stage.pass(400).await;
        stage.expect_newest(&a, ROW).await;
        stage.restore_journal();
        stage.past_the_bound().await;
        stage.world.payloads().roll_back(dumped);
        let c = stage.node().await;
        stage.expect_newest(&c, ROW).await;
    })
}

fn back_into_a_history_that_was_never_followed(seed: u64) -> Played {
    play_on_redis(seed, |stage| async move {
        let [a, b] = stage.nodes().await;
        // Its tries to renew fall into that, and the next comes too late.
        stage.cut(&b, Service::Journal, 1800);
        stage.empty_journal();
        stage.pass(1000).await;
        stage.world.authority().dump(stage.world.sim());
        stage.read(&a, ROW).await;
        stage.pass(100).await;
        let dumped = stage.world.sim().now();
        let version = stage.commit(&b, ROW).await;
        stage.pass(700).await;
        let appended = stage.world.authority().appended;
        let invalidating = stage.begin_invalidation(&b, ROW, version);
        stage.until(move |world| world.authority().appended > appended).await;
        stage.empty_journal();
        invalidating.done().await;
        stage.past_the_bound().await;
        stage.kill(&a);
        stage.restore_journal();
        stage.past_the_bound().await;
        stage.world.payloads().roll_back(dumped);
        let c = stage.node().await;
        stage.expect_newest(&c, ROW).await;
    })
}

fn own_write_and_a_strange_history(seed: u64) -> Played {
    play_on_redis(seed, |stage| async move {
        let [a, b] = stage.nodes().await;
        let c = stage.node().await;
        stage.write_direct(&c, OTHER).await;
        stage.pass(400).await;
        stage.split_journal(&[&b]);
        // What the other server lost makes its nodes begin another history.
        stage.promote_journal(1);
        stage.pass(1500).await;
        stage.read(&a, ROW).await;
        stage.read_in(&a, Kind::Eventual, ROW).await;
        stage.pass(100).await;
        stage.write_direct(&b, ROW).await;
        stage.heal_journal();
        stage.pass(1500).await;
        stage.expect_newest(&b, ROW).await;
        let read = stage.read_in(&b, Kind::Eventual, ROW).await;
        let newest = stage.world.database().primary(ROW);
        stage.expect_version(read, ROW, newest, "its own write, at every level");
    })
}

fn failover_loses_a_node(seed: u64) -> Played {
    play_on_redis(seed, |stage| async move {
        let [a, b] = stage.nodes().await;
        stage.pass(5000).await;
        stage.read(&a, ROW).await;
        stage.cut(&a, Service::Journal, 10_000);
        for _ in 0..6 {
            stage.promote_journal(0);
        }
        stage.write_and_wait(&b, ROW).await;
        let newest = stage.world.database().primary(ROW);
        let read = stage.read(&a, ROW).await;
        stage.expect_version(read, ROW, newest, "who waited for all nodes was told that all have it");
    })
}
