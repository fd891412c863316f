//! Writing: a transaction, and the invalidation it owes.

use crate::fake::{Failed, RowId, Transaction};
use crate::node::Node;
use crate::options::Capture;
use crate::oracle::Region as Kind;
use larder::{Cause, Invalidated, tag};
use larder_core::seeded_bug;

/// One write by one user.
pub(super) async fn write(node: &Node, row: RowId) {
    let done = write_row(node, row).await;
    let mut oracle = node.world.oracle();
    match done {
        Ok(()) => oracle.witnessed.writes += 1,
        Err(_) => oracle.witnessed.failed_writes += 1,
    }
}

async fn write_row(node: &Node, row: RowId) -> Result<(), Failed> {
    let world = &node.world;
    let snapshot = node.region_of(row, Kind::Bounded).snapshot();
    let transaction = Transaction::begin(world, &node.rt, row).await?;
    let (_, owner, was_safe) = transaction.replaces;
    let version = transaction.version;
    // The owner's tag covers only what was cached of the version replaced, so all before it must be dead already.
    let (targets, covers_all) = node.targets_of(row, was_safe.then_some(owner));
    world.note(node.rt.node, || format!("row {} version {version}: {targets:?}", row.0));
    if seeded_bug!("fill_inside_transaction") {
        let seen = transaction.sight();
        let tags = [tag!["row", row.0]];
        let _ = node.region_of(row, Kind::Bounded).put_as_of(snapshot, node.key_of(row), seen, tags);
    }
    let by_outbox = match world.options().capture {
        Capture::Outbox => true,
        Capture::Direct => false,
        Capture::Both => world.sim().chance(0.5),
    };
    if by_outbox {
        transaction.commit(Some((targets, Cause::new("outbox")))).await?;
        acknowledge(node, row, version);
        return Ok(());
    }
    transaction.commit(None).await?;
    // Three tries, then the row is left to the application's recovery.
    for _ in 0..3 {
        let invalidated = node.cache.invalidate(targets.clone()).await;
        world.note(node.rt.node, || {
            format!("row {} version {version}: invalidate says {invalidated:?}", row.0)
        });
        match invalidated {
            Ok(Invalidated::Applied { .. }) => {
                announced(node, row, version, covers_all);
                acknowledge(node, row, version);
                return Ok(());
            }
            Ok(Invalidated::Queued) => {
                announced(node, row, version, covers_all);
                return Err(Failed::Unknown);
            }
            Err(_) => {}
        }
    }
    Err(Failed::Unknown)
}

fn acknowledge(node: &Node, row: RowId, version: u64) {
    let world = &node.world;
    let now = world.sim().now();
    world.oracle().acknowledged(&mut world.database(), row, version, now);
    world.note(node.rt.node, || format!("row {} version {version} acknowledged", row.0));
}

/// What an owner's tag names, this node may hold older versions than: those it learns of within the bound.
fn announced(node: &Node, row: RowId, version: u64, covers_all: bool) {
    let world = &node.world;
    if !covers_all {
        return;
    }
    world.oracle().announced(&world.database(), node.rt.node, row, version, world.sim().now());
}
