//! The journal out of reach, slow, or not what it was.

use super::Scenario;
use super::stage::{Played, Stage, play};
use crate::fake::RowId;
use crate::fault::Fault;
use crate::node::Node;
use crate::options::Options;
use crate::oracle::Region as Kind;
use crate::world::Service;
use larder::{Invalidated, Target, tag};

const ROW: RowId = RowId(1);

pub(super) const STORIES: &[Scenario] = &[
    Scenario {
        name: "positions_handed_out_again",
        story: "The journal loses its newest record, and another write's record takes its place before anybody looks.",
        catches: &["nonce_not_compared"],
        play: positions_handed_out_again,
    },
    Scenario {
        name: "lost_record_that_one_node_knew",
        story: "The journal loses a record that one node has applied: that node makes it begin another history, and all the \
                others drop what the record named.",
        catches: &["roll_not_asked"],
        play: lost_record_that_one_node_knew,
    },
    Scenario {
        name: "lost_record_that_only_its_writer_knew",
        story: "The journal loses a record while the answer is on its way to the writer, and the others have gone on with \
                another in its place: the writer finds out before it says that the write is done, and dies right after.",
        catches: &["lost_append_not_noticed"],
        play: lost_record_that_only_its_writer_knew,
    },
    Scenario {
        name: "journal_out_of_reach",
        story: "A node cannot reach the journal for longer than its lease: bounded reads go to the origin, eventual ones go on \
                being served from memory.",
        catches: &["apply_error_ignored"],
        play: journal_out_of_reach,
    },
    Scenario {
        name: "queued_invalidation",
        story: "A node that cannot reach the journal commits and invalidates; it serves the new value at once, and everybody \
                does once the journal is back, though nobody asks again.",
        catches: &["queue_never_drained", "announce_does_not_fence", "failed_drain_is_done"],
        play: queued_invalidation,
    },
    Scenario {
        name: "queue_is_full",
        story: "A node that cannot reach the journal has queued all that it keeps: the next invalidation fails and says so.",
        catches: &["queue_full_is_queued"],
        play: queue_is_full,
    },
    Scenario {
        name: "hints_lost",
        story: "No hint arrives anywhere: the lease alone keeps the bound.",
        catches: &["lease_renewed_by_silence"],
        play: hints_lost,
    },
    Scenario {
        name: "slow_answer",
        story: "The journal's answer is on its way for longer than the bound, and a write is acknowledged meanwhile.",
        catches: &["lease_from_reply"],
        play: slow_answer,
    },
    Scenario {
        name: "slow_sequencer",
        story: "A session holds the sequencer's lock for seconds; renewals that cannot have it must not pass for renewals.",
        catches: &["sequencer_skips_busy_lock"],
        play: slow_sequencer,
    },
    Scenario {
        name: "sequencer_that_looked_too_early",
        story: "While a renewal waits for the sequencer's lock, the session that holds it moves a write's record: what the \
                renewal then reads must have that record in it.",
        catches: &["sequencer_snapshot_before_lock"],
        play: sequencer_that_looked_too_early,
    },
    Scenario {
        name: "compacted_while_away",
        story: "A node is away while a write is recorded and the record is dropped again by the journal.",
        catches: &["gap_not_noticed", "adopt_keeps_floor"],
        play: compacted_while_away,
    },
    Scenario {
        name: "quiet_node_is_waited_for",
        story: "Nothing has happened for long, a node is cut off from the journal right after it renewed its lease, and a \
                write that waits for all nodes waits for that one.",
        catches: &["reads_without_attending"],
        play: quiet_node,
    },
    Scenario {
        name: "forgotten_node_is_waited_for",
        story: "The journal restarts and knows nobody; a node that it had known is cut off, and a write that waits for all \
                nodes waits until no such node can have a lease.",
        catches: &["attendance_taken_for_whole"],
        play: forgotten_node,
    },
];

fn positions_handed_out_again(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            let c = stage.node().await;
            let (lost, next) = (ROW, RowId(2));
            stage.read(&a, next).await;
            stage.cut(&c, Service::Journal, 520);
            let version = stage.commit(&b, lost).await;
            stage.invalidate(&b, lost, version).await;
            stage.pass(500).await;
            // Two nodes have applied it. Now it is gone, they cannot see that at once, and the third has never seen it.
            stage.cut(&a, Service::Journal, 200);
            stage.cut(&b, Service::Journal, 200);
            stage.world.authority().lose_tail(1);
            stage.pass(50).await;
            let version = stage.commit(&c, next).await;
            stage.invalidate(&c, next, version).await;
            stage.past_the_bound().await;
            stage.expect_newest(&a, next).await;
        },
    )
}

fn lost_record_that_one_node_knew(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.read(&a, ROW).await;
            stage.pass(100).await;
            stage.cut(&a, Service::Journal, 300);
            let version = stage.commit(&b, ROW).await;
            stage.invalidate(&b, ROW, version).await;
            stage.world.authority().lose_tail(1);
            stage.past_the_bound().await;
            stage.expect_newest(&a, ROW).await;
        },
    )
}

fn lost_record_that_only_its_writer_knew(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            let c = stage.node().await;
            stage.read(&a, ROW).await;
            let version = stage.commit(&b, ROW).await;
            // Nobody but the writer hears of the record.
            stage.cut(&a, Service::Journal, 100);
            stage.cut(&c, Service::Journal, 100);
            let appended = stage.world.authority().appended;
            let invalidating = stage.begin_invalidation(&b, ROW, version);
            stage.until(move |world| world.authority().appended > appended).await;
            stage.hang(&b, Service::Journal, 300);
            stage.world.authority().lose_tail(1);
            stage.pass(150).await;
            let other = stage.commit(&c, RowId(2)).await;
            stage.invalidate(&c, RowId(2), other).await;
            invalidating.done().await;
            // What it was to find out, it has found out by now, or nobody ever will.
            stage.kill(&b);
            stage.past_the_bound().await;
            stage.expect_newest(&a, ROW).await;
        },
    )
}

fn journal_out_of_reach(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.read(&a, ROW).await;
            stage.read_in(&a, Kind::Eventual, ROW).await;
            stage.cut(&a, Service::Journal, 10_000);
            let version = stage.write(&b, ROW).await;
            stage.past_the_bound().await;
            let read = stage.read(&a, ROW).await;
            stage.expect_version(read, ROW, version, "bounded reads go to the origin");
            stage.expect(read.is_loaded() || read.version.is_none(), "and are loaded");
            let read = stage.read_in(&a, Kind::Eventual, ROW).await;
            stage.expect_version(read, ROW, 0, "eventual reads are served what there is");
            stage.expect(read.is_hit(), "from memory");
            stage.pass(12_000).await;
            let read = stage.read_in(&a, Kind::Eventual, ROW).await;
            stage.expect_version(read, ROW, version, "until the journal is back");
        },
    )
}

fn queued_invalidation(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.read(&a, ROW).await;
            stage.read_in(&b, Kind::Eventual, ROW).await;
            stage.cut(&b, Service::Journal, 3000);
            let version = stage.commit(&b, ROW).await;
            let invalidated = stage.invalidate(&b, ROW, version).await;
            stage.expect(invalidated == Invalidated::Queued, "it is queued");
            let read = stage.read_in(&b, Kind::Eventual, ROW).await;
            stage.expect_version(read, ROW, version, "the writer's own node sees the write");
            stage.pass(3000).await;
            // Tried again with the next renewal or the one after a pause, then learnt of by the others.
            stage.pass(2500).await;
            let read = stage.read(&a, ROW).await;
            stage.expect_version(read, ROW, version, "everybody sees it once the journal is back");
        },
    )
}

fn queue_is_full(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.read(&a, ROW).await;
            stage.cut(&b, Service::Journal, 3000);
            let cache = b.cache.clone();
            let filled = stage.on(&b, async move {
                let mut filled = Ok(Invalidated::Queued);
                for n in 0..10_u64 {
                    let targets: Vec<_> =
                        (0..1000).map(|m| Target::tag(tag!["filling", n * 1000 + m])).collect();
                    filled = filled.and(cache.invalidate(targets).await);
                }
                filled
            });
            let filled = filled.await;
            stage.expect(matches!(filled, Ok(Invalidated::Queued)), &format!("all is queued: {filled:?}"));
            stage.commit(&b, ROW).await;
            let (cache, targets) = (b.cache.clone(), stage.keys_of(&b, ROW));
            let refused = stage.on(&b, async move { cache.invalidate(targets).await }).await;
            stage.expect(refused.is_err(), &format!("and one more is refused: {refused:?}"));
        },
    )
}

fn hints_lost(seed: u64) -> Played {
    let set = |options: &mut Options| {
        options.faults = vec![Fault::HintDrop];
        options.intensity = 100.0;
    };
    play(seed, set, |stage| async move {
        let [a, b] = stage.nodes().await;
        for row in (0..8).map(RowId) {
            stage.read(&a, row).await;
            stage.write(&b, row).await;
            stage.past_the_bound().await;
            stage.expect_newest(&a, row).await;
        }
        let hit = stage.read(&a, RowId(7)).await;
        stage.expect(hit.is_hit() || hit.version.is_none(), "memory still serves");
    })
}

fn slow_answer(seed: u64) -> Played {
    // Without hints, the next question comes a third of the bound later.
    let set = |options: &mut Options| {
        options.bound_ms = 300;
        options.faults = vec![Fault::HintDrop];
        options.intensity = 100.0;
    };
    play(seed, set, |stage| async move {
        let [a, b] = stage.nodes().await;
        stage.read(&a, ROW).await;
        stage.stop(&b);
        let pages = stage.world.authority().pages;
        stage.until(move |world| world.authority().pages > pages).await;
        // The page for a has been read; on its way to a it takes a second or more.
        stage.hang(&a, Service::Journal, 1000);
        stage.go_on(&b);
        stage.write(&b, ROW).await;
        let renewals = || a.cache.stats().journal.renewals;
        let before = renewals();
        // Statistics are long: asked for every few microseconds they were most of what all stories take.
        for _ in 0..5000 {
            if renewals() > before {
                break;
            }
            stage.pass(1).await;
        }
        stage.expect(renewals() > before, "the answer comes");
        // What it says was true a second ago.
        stage.expect_newest(&a, ROW).await;
    })
}

fn slow_sequencer(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.read(&a, ROW).await;
            stage.hold_sequencer();
            stage.write(&b, ROW).await;
            stage.past_the_bound().await;
            stage.expect_newest(&a, ROW).await;
            stage.release_sequencer();
            stage.past_the_bound().await;
            stage.expect_newest(&a, ROW).await;
        },
    )
}

fn sequencer_that_looked_too_early(seed: u64) -> Played {
    // Without hints, so that the renewal begins well after the write was acknowledged.
    let set = |options: &mut Options| {
        options.faults = vec![Fault::HintDrop];
        options.intensity = 100.0;
    };
    play(seed, set, |stage| async move {
        let [a, b] = stage.nodes().await;
        stage.read(&a, ROW).await;
        stage.hold_sequencer();
        stage.write(&b, ROW).await;
        stage.pass(400).await;
        // By now a's renewal, begun after the write was acknowledged, waits for the lock.
        stage.release_sequencer();
        stage.pass(20).await;
        stage.cut(&a, Service::Journal, 5000);
        for _ in 0..100 {
            stage.pass(10).await;
            // The oracle knows since when the newest must be seen.
            stage.read(&a, ROW).await;
        }
        stage.expect_newest(&a, ROW).await;
    })
}

fn compacted_while_away(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.read(&a, ROW).await;
            stage.cut(&a, Service::Journal, 500);
            stage.write(&b, ROW).await;
            stage.write(&b, RowId(2)).await;
            // The writes' records are in the journal once b has applied them.
            stage.until(|world| world.authority().appended >= 2).await;
            stage.world.authority().keep(1);
            stage.past_the_bound().await;
            stage.expect_newest(&a, ROW).await;
        },
    )
}

/// Writes, waits for all nodes, and then asks the one that is cut off.
async fn write_and_wait(stage: &Stage, writer: &Node, cut_off: &Node) {
    stage.cut(cut_off, Service::Journal, 10_000);
    let version = stage.write_and_wait(writer, ROW).await;
    let read = stage.read(cut_off, ROW).await;
    stage.expect_version(read, ROW, version, "who waited for all nodes was told that all have it");
}

fn quiet_node(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.read(&a, ROW).await;
            // Whoever says that it is there only when it has something to say has been forgotten by then.
            stage.pass(10_000).await;
            stage.read(&a, ROW).await;
            write_and_wait(&stage, &b, &a).await;
        },
    )
}

fn forgotten_node(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.pass(5000).await;
            stage.read(&a, ROW).await;
            let now = stage.world.sim().now();
            stage.world.authority().forget_nodes(now);
            write_and_wait(&stage, &b, &a).await;
        },
    )
}
