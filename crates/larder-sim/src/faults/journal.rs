//! What goes wrong with the journal by itself.

use super::{Bit, Cluster, every};
use crate::fake::Nodes;
use crate::fault::Fault;
use crate::sched::{MS, NodeId, SECOND};
use crate::world::World;

pub(super) fn unleash(world: &World, cluster: &Cluster) {
    every(world, cluster, Fault::JournalCompaction, 4 * SECOND, |world, _| compaction(world));
    every(world, cluster, Fault::JournalForgetsNodes, 3 * SECOND, |world, _| forget_nodes(world));
    every(world, cluster, Fault::JournalTailLoss, 5 * SECOND, |world, _| tail_loss(world));
    every(world, cluster, Fault::JournalEmptied, 9 * SECOND, |world, _| emptied(world));
    every(world, cluster, Fault::JournalRestored, 3 * SECOND, |world, _| restored(world));
    every(world, cluster, Fault::JournalSplit, 6 * SECOND, |world, _| split(world));
}

async fn compaction(world: World) -> Bit {
    let kept = world.sim().draw(|rng| rng.usize(..8));
    Bit::when(world.authority().keep(kept) > 0)
}

async fn forget_nodes(world: World) -> Bit {
    let now = world.sim().now();
    Bit::when(world.authority().forget_nodes(now) > 0)
}

async fn tail_loss(world: World) -> Bit {
    let records = world.sim().draw(|rng| rng.usize(1..6));
    let before = world.authority().before();
    let lost = world.authority().promote(records, world.sim());
    world.journal_has_changed(Some(&before));
    world.note(NodeId::WORLD, || format!("the journal lost {lost} records"));
    Bit::when(lost > 0)
}

async fn emptied(world: World) -> Bit {
    let before = world.authority().before();
    world.authority().empty(world.sim());
    world.journal_has_changed(Some(&before));
    world.note(NodeId::WORLD, || "the journal lost everything".to_owned());
    Bit::Yes
}

/// Dumps now and then, and restores one of those now and then.
async fn restored(world: World) -> Bit {
    if world.sim().chance(0.5) {
        world.authority().dump(world.sim());
        return Bit::No;
    }
    let before = world.authority().before();
    let head = world.authority().head();
    let is_restored = world.authority().restore(world.sim());
    world.journal_has_changed(Some(&before));
    let now = world.authority().head();
    world.note(NodeId::WORLD, || {
        format!("the journal lost what its dump does not have: {head} was the head, {now} is")
    });
    Bit::when(is_restored && head != now)
}

async fn split(world: World) -> Bit {
    // The world itself, and whoever it speaks for, stays with the first.
    let nodes = world.sim().draw(|rng| rng.u64(..)) & !1 as Nodes;
    let before = world.authority().before();
    let appended = world.authority().appended;
    world.authority().split(nodes, world.sim());
    world.journal_has_changed(Some(&before));
    world.note(NodeId::WORLD, || {
        format!("the journal lost its unity: nodes {:#b} talk to another", nodes & 0xfff)
    });
    let left = world.options().healed_at().saturating_sub(world.sim().now());
    world.sim().delay(MS.min(left), (4 * SECOND).min(left)).await;
    let other_wins = world.sim().chance(0.5);
    let before = world.authority().before();
    let gave_up = world.authority().heal(other_wins);
    world.journal_has_changed(Some(&before));
    world.oracle().split_is_over(gave_up, world.sim().now());
    world.note(NodeId::WORLD, || format!("the journal lost what nodes {:#b} had told it", gave_up & 0xfff));
    Bit::when(world.authority().appended > appended)
}
