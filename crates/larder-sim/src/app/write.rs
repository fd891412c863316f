//! Writing: a transaction, and the invalidation it owes.

use crate::fake::{Failed, RowId, Transaction};
use crate::node::Node;
use crate::options::Capture;
use crate::oracle::Region as Kind;
use crate::sched::SECOND;
use larder::{Cause, Invalidated, Target, Token, tag};
use larder_core::seeded_bug;
use std::time::Duration;

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
    if world.database().is_guarded(row) {
        return write_guarded(node, row).await;
    }
    let snapshot = node.region_of(row, Kind::Bounded).snapshot();
    let transaction = Transaction::begin(world, &node.rt, row).await?;
    let (replaced, owner, was_safe) = transaction.replaces;
    let was_safe = was_safe && !world.oracle().is_missing(row, replaced);
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
        acknowledge(node, row, version, None);
        return Ok(());
    }
    transaction.commit(None).await?;
    if covers_all && world.sim().chance(0.1) {
        return wait_for_all(node, row, version, targets).await;
    }
    // Three tries, then the row is left to the application's recovery.
    for _ in 0..3 {
        let invalidated = node.cache.invalidate(targets.clone()).await;
        world.note(node.rt.node, || {
            let says = match &invalidated {
                Ok(Invalidated::Applied { position, .. }) => format!("recorded at {position}"),
                Ok(Invalidated::Queued) => "queued".to_owned(),
                Err(error) => error.to_string(),
            };
            format!("row {} version {version}: invalidate says {says}", row.0)
        });
        match invalidated {
            // What was replaced may still be cached somewhere, and whatever came before that too.
            Ok(Invalidated::Applied { .. }) if !covers_all && world.oracle().is_missing(row, replaced) => {
                return Err(Failed::Unknown);
            }
            Ok(Invalidated::Applied { token, .. }) => {
                announced(node, row, version, covers_all);
                acknowledge(node, row, version, Some(token));
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

/// Announces, and returns when no node serves anything older.
async fn wait_for_all(node: &Node, row: RowId, version: u64, targets: Vec<Target>) -> Result<(), Failed> {
    let world = &node.world;
    match node.cache.invalidate_and_wait(targets).await {
        Ok(Invalidated::Applied { token, .. }) => {
            announced(node, row, version, true);
            acknowledge(node, row, version, Some(token));
            let visible = world.database().is_visible(row, version);
            if visible {
                world.oracle().everywhere(row, version, world.sim().now());
            }
            world.note(node.rt.node, || format!("row {} version {version} is everywhere", row.0));
            Ok(())
        }
        _ => Err(Failed::Unknown),
    }
}

/// Writes under a guard: nobody ever sees the old value after somebody has seen the new one.
async fn write_guarded(node: &Node, row: RowId) -> Result<(), Failed> {
    let world = &node.world;
    let (targets, _) = node.targets_of(row, None);
    let write = node.cache.write(targets).lasting(Duration::from_secs(6));
    let guard = write.await.map_err(|_| Failed::Aborted)?;
    world.note(node.rt.node, || format!("row {} is guarded", row.0));
    let Ok(transaction) = Transaction::begin(world, &node.rt, row).await else {
        let _ = guard.cancel().await;
        return Err(Failed::Aborted);
    };
    let version = transaction.version;
    // The database gives up the transaction after a second; a commit may take half a second to become visible.
    let (now, enough) = (world.sim().now(), guard.remaining() > Duration::from_secs(2));
    if !enough {
        return Err(Failed::Aborted);
    }
    match transaction.commit_until(None, now + SECOND).await {
        Ok(()) => {}
        Err(Failed::Aborted) => {
            let _ = guard.cancel().await;
            return Err(Failed::Aborted);
        }
        // It may land yet: the guard is dropped, and expires.
        Err(Failed::Unknown) => return Err(Failed::Unknown),
    }
    guard.commit().await.map_err(|_| Failed::Unknown)?;
    acknowledge(node, row, version, None);
    if world.database().is_visible(row, version) {
        world.oracle().everywhere(row, version, world.sim().now());
    }
    world.note(node.rt.node, || format!("row {} version {version}: guard committed", row.0));
    Ok(())
}

fn acknowledge(node: &Node, row: RowId, version: u64, token: Option<Token>) {
    let world = &node.world;
    world.acknowledge(node.rt.node, row, version, token);
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
