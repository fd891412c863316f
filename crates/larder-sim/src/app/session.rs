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
    judge(here, Kind::Bounded, row, begun, &outcome, None);
    let covered = world.oracle().covered(&world.database(), row, seen, world.sim().now());
    // A token is a place in the history of the server that is asked for it, and stands for no record that is not there.
    let stands = !world.oracle().is_missing_for(here.rt.node, row, covered);
    let Ok(token) = here.cache.token().await else { return };
    let text = token.to_string();
    world.note(here.rt.node, || format!("session: row {} up to version {covered}, token {text}", row.0));
    // One master of two cannot tell a place of the other's from a place of its own that it has long passed.
    let is_apart = !world.authority().are_together(here.rt.node, there.rt.node);
    let there = there.clone();
    there.rt.clone().spawn(async move {
        let Ok(token) = text.parse() else { return };
        if there.cache.reach(&token).await.is_err() {
            return;
        }
        let begun = there.world.sim().now();
        let outcome = fetch(&there, Kind::Bounded, row).await;
        // A failover may have undone what the token stood for.
        let is_there = there.world.database().is_visible(row, covered);
        let is_excused = is_apart
            && there.world.oracle().excuses(there.rt.node, row, covered, begun, there.world.sim().now());
        let binds = is_there && stands && !is_excused;
        judge(&there, Kind::Bounded, row, begun, &outcome, binds.then_some(covered));
    });
}
