//! Readers and their loads, overtaken by writes at the worst of moments.

use super::Scenario;
use super::stage::{Played, play};
use crate::fake::RowId;
use crate::oracle::Region as Kind;
use crate::world::Service;
use larder::{Policy, Target, key};
use std::convert::Infallible;
use std::time::Duration;

const ROW: RowId = RowId(1);

pub(super) const STORIES: &[Scenario] = &[
    Scenario {
        name: "the_race",
        story: "A load reads the old value, a write commits and is recorded, and only then does the load store what it read.",
        catches: &["stamp_after_load", "rule_off_by_one"],
        play: the_race,
    },
    Scenario {
        name: "the_race_of_a_batch",
        story: "One call loads many rows, one of them is written and recorded, and only then is what was read kept.",
        catches: &["stamp_after_load_batch", "stamp_after_load"],
        play: the_race_of_a_batch,
    },
    Scenario {
        name: "the_race_of_absence",
        story: "A load finds that a row does not exist, the row is written and recorded, and only then is the absence kept.",
        catches: &["stamp_after_load_negative"],
        play: the_race_of_absence,
    },
    Scenario {
        name: "overtaken_follower",
        story: "A reader joins a load that began before a write it must see, since the load's tags are not known yet.",
        catches: &["follower_skips_rule"],
        play: overtaken_follower,
    },
    Scenario {
        name: "follower_without_a_lease",
        story: "A reader whose node has heard nothing for longer than the bound joins a load from before a write.",
        catches: &["follower_without_lease", "follower_skips_rule"],
        play: follower_without_a_lease,
    },
    Scenario {
        name: "overtaken_refresh",
        story: "A refresh in the background reads the old value and lands after a write was recorded.",
        catches: &["stamp_after_load_background", "stamp_after_load"],
        play: overtaken_refresh,
    },
    Scenario {
        name: "reader_between_lease_and_rule",
        story: "A reader stops at each point of a hit in turn, while its node learns of a write and renews its lapsed lease.",
        catches: &["lease_after_rule", "confirm_does_not_restart"],
        play: reader_between_lease_and_rule,
    },
    Scenario {
        name: "check_remembered_too_late",
        story: "A reader is overtaken right after it found an entry fresh; the next reader must not take its word for it.",
        catches: &["checked_as_of_its_end"],
        play: check_remembered_too_late,
    },
    Scenario {
        name: "a_neighbour_by_its_name",
        story: "Everything under the word 7 is invalidated, and what is under the word 71 is left alone.",
        catches: &["prefix_by_text"],
        play: neighbour_by_name,
    },
];

fn the_race(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.hold_next_load(&a, 800);
            let reading = stage.begin_read(&a, Kind::Bounded, ROW);
            stage.held().await;
            stage.write(&b, ROW).await;
            stage.expect_version(reading.done().await, ROW, 0, "the load began before the write");
            stage.past_the_bound().await;
            stage.expect_newest(&a, ROW).await;
        },
    )
}

fn the_race_of_a_batch(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.hold_next_load(&a, 800);
            let reading = stage.begin_batch(&a, ROW);
            stage.held().await;
            stage.write(&b, ROW).await;
            reading.done().await;
            stage.past_the_bound().await;
            stage.expect_newest(&a, ROW).await;
        },
    )
}

fn the_race_of_absence(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.write_until(&b, ROW, true).await;
            stage.past_the_bound().await;
            stage.hold_next_load(&a, 800);
            let reading = stage.begin_read(&a, Kind::Bounded, ROW);
            stage.held().await;
            stage.write_until(&b, ROW, false).await;
            let read = reading.done().await;
            stage.expect(read.version.is_none() && !read.failed, "the load began when the row did not exist");
            stage.past_the_bound().await;
            stage.expect_newest(&a, ROW).await;
        },
    )
}

fn overtaken_follower(seed: u64) -> Played {
    play(
        seed,
        |options| options.bound_ms = 300,
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.hold_next_load(&a, 1500);
            let leading = stage.begin_read(&a, Kind::Bounded, ROW);
            stage.held().await;
            let version = stage.write_by_tag(&b, ROW).await;
            stage.past_the_bound().await;
            let following = stage.begin_read(&a, Kind::Bounded, ROW);
            stage.expect_version(leading.done().await, ROW, 0, "the load began before the write");
            stage.expect_version(following.done().await, ROW, version, "the follower's read began after it");
        },
    )
}

fn follower_without_a_lease(seed: u64) -> Played {
    play(
        seed,
        |options| options.bound_ms = 300,
        |stage| async move {
            let [a, b] = stage.nodes().await;
            stage.hold_next_load(&a, 1500);
            let leading = stage.begin_read(&a, Kind::Bounded, ROW);
            stage.held().await;
            stage.cut(&a, Service::Journal, 5000);
            let version = stage.write(&b, ROW).await;
            stage.past_the_bound().await;
            let following = stage.begin_read(&a, Kind::Bounded, ROW);
            stage.expect_version(leading.done().await, ROW, 0, "the load began before the write");
            stage.expect_version(following.done().await, ROW, version, "the follower's read began after it");
        },
    )
}

fn overtaken_refresh(seed: u64) -> Played {
    let set = |options: &mut crate::options::Options| {
        options.bound_ms = 300;
        options.ttl_ms = 4000;
    };
    play(seed, set, |stage| async move {
        let [a, b] = stage.nodes().await;
        stage.read_in(&a, Kind::Safe, ROW).await;
        // Refreshed ahead from half of its life on.
        stage.pass(2500).await;
        stage.hold_next_load(&a, 500);
        let read = stage.read_in(&a, Kind::Safe, ROW).await;
        stage.expect(read.is_hit(), "a refresh keeps nobody waiting");
        stage.held().await;
        let version = stage.write(&b, ROW).await;
        stage.pass(1100).await;
        let read = stage.read_in(&a, Kind::Safe, ROW).await;
        stage.expect_version(read, ROW, version, "what the refresh brought is older than the write");
    })
}

fn reader_between_lease_and_rule(seed: u64) -> Played {
    play(
        seed,
        |options| options.bound_ms = 300,
        |stage| async move {
            let [a, b] = stage.nodes().await;
            let mut overtaken = 0;
            for point in 0..8 {
                let row = RowId(point);
                stage.read(&a, row).await;
                // Cut off, the node does not learn of the write, and its lease lapses.
                stage.pass(200).await;
                stage.cut(&a, Service::Journal, 600);
                let version = stage.write(&b, row).await;
                stage.past_the_bound().await;
                stage.overtake_next_reader(&a, point, 2000);
                let read = stage.read(&a, row).await;
                overtaken += u32::from(stage.was_overtaken());
                stage.expect_version(
                    read,
                    row,
                    version,
                    "the read began later than the bound after the write",
                );
            }
            stage.expect(overtaken >= 3, "the reader is overtaken between its steps");
        },
    )
}

fn check_remembered_too_late(seed: u64) -> Played {
    play(
        seed,
        |options| options.bound_ms = 300,
        |stage| async move {
            let [a, b] = stage.nodes().await;
            for point in 0..6 {
                let (row, other) = (RowId(point), RowId(20));
                stage.read(&a, row).await;
                // Something else is recorded, so that the next hit looks at the rule again.
                stage.write(&b, other).await;
                stage.past_the_bound().await;
                stage.overtake_next_reader(&a, point, 1000);
                let reading = stage.begin_read(&a, Kind::Bounded, row);
                stage.pass(1).await;
                stage.write(&b, row).await;
                reading.done().await;
                stage.past_the_bound().await;
                stage.expect_newest(&a, row).await;
            }
        },
    )
}

fn neighbour_by_name(seed: u64) -> Played {
    play(
        seed,
        |_| {},
        |stage| async move {
            let node = stage.node().await;
            let cache = node.tenant_of(ROW).cache.clone();
            let found = stage.on(&node, async move {
                let words = cache.region::<u8>("words", Policy::ttl(Duration::from_secs(60)))?;
                for word in ["7", "71"] {
                    words.get_or_load(key![word, 1], async |_load| Ok::<_, Infallible>(1)).await?;
                }
                cache.invalidate([Target::prefix("words", key!["7"])]).await?;
                let [below, beside] = [words.get(key!["7", 1]).await?, words.get(key!["71", 1]).await?];
                Ok::<_, larder::Error>((below.is_some(), beside.is_some()))
            });
            let found = found.await;
            let told = format!("what is below is gone and what is beside is not: {found:?}");
            stage.expect(matches!(found, Ok((false, true))), &told);
        },
    )
}
