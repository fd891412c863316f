//! A session: a user sees something on one node and comes to another, with a token.

use super::read::{fetch, judge};
use crate::fake::RowId;
use crate::faults::Cluster;
use crate::node::Node;
use crate::oracle::Region as Kind;

/// Another node, to go on at.
pub(super) fn other(cluster: &Cluster, than: &Node) -> Option<Node> {
    let others: Vec<Node> = cluster.lives().into_iter().filter(|node| node.rt.node != than.rt.node).collect();
    let at = than.world.sim().draw(|rng| rng.usize(..others.len().max(1)));
    others.get(at).cloned()
}

/// Reads here, takes a token, and reads there.
pub(super) async fn session(here: &Node, there: &Node, row: RowId) {
    let world = &here.world;
    let begun = world.sim().now();
    let outcome = fetch(here, Kind::Bounded, row).await;
    let seen = match &outcome {
        Ok(Some(seen)) => seen.version,
        Ok(None) | Err(_) => 0,
    };
    judge(here, Kind::Bounded, row, begun, outcome, None);
    let covered = world.oracle().covered(&world.database(), row, seen, world.sim().now());
    let Ok(token) = here.cache.token().await else { return };
    let text = token.to_string();
    world.note(here.rt.node, || format!("session: row {} up to version {covered}, token {text}", row.0));
    let there = there.clone();
    there.rt.clone().spawn(async move {
        let Ok(token) = text.parse() else { return };
        if there.cache.reach(&token).await.is_err() {
            return;
        }
        let begun = there.world.sim().now();
        let outcome = fetch(&there, Kind::Bounded, row).await;
        // A failover, or a journal that lost its records, may have undone what the token stood for.
        let is_there = there.world.database().is_visible(row, covered);
        let loses = there.world.options().has(crate::fault::Fault::JournalTailLoss);
        judge(&there, Kind::Bounded, row, begun, outcome, (is_there && !loses).then_some(covered));
    });
}
