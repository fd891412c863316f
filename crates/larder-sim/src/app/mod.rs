//! The simulated application: users who read and write through the nodes' caches, and tell the oracle.

mod read;
mod session;
mod write;

pub(crate) use read::{Swept, is_in_loader, read_many, read_row, sweep};

use crate::fake::RowId;
use crate::fault::Fault;
use crate::faults::Cluster;
use crate::node::Node;
use crate::sched::{MS, SECOND};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Operations of one node under way at once; more wait outside.
const UNDER_WAY_MAX: u64 = 200;

/// Users of one node: operations arrive at a steady mean rate, whatever becomes of those before.
pub(crate) async fn users(node: Node, cluster: Cluster) {
    let world = node.world.clone();
    let options = world.options().clone();
    let mean = SECOND * u64::from(options.nodes) / options.ops_per_s.max(1);
    let under_way = Arc::new(AtomicU64::new(0));
    // Writes stop soon after the faults: then everybody must come to agree.
    let last_write = options.healed_at() + SECOND;
    loop {
        world.sim().delay(1000, 2 * mean).await;
        if under_way.load(Ordering::Relaxed) >= UNDER_WAY_MAX {
            continue;
        }
        let writes = world.sim().chance(options.write_share) && world.sim().now() < last_write;
        let row = pick_row(&node);
        let cancel = world.strikes(Fault::ReaderCancelled, 0.01);
        let (working, under_way) = (node.clone(), Counted::begin(&under_way));
        let elsewhere = if world.sim().chance(0.03) { session::other(&cluster, &node) } else { None };
        node.rt.spawn(async move {
            let _under_way = under_way;
            if writes {
                write::write(&working, row).await;
            } else if let Some(other) = elsewhere {
                session::session(&working, &other, row).await;
            } else if cancel {
                let patience = working.world.sim().delay(1000, 20 * MS);
                tokio::select! {
                    biased;
                    () = read::read(&working, row) => {}
                    () = patience => {}
                }
            } else {
                read::read(&working, row).await;
            }
        });
    }
}

/// Some rows are asked for much more often than others.
fn pick_row(node: &Node) -> RowId {
    let rows = node.world.options().rows;
    node.world.sim().draw(|rng| {
        let (a, b) = (rng.u32(..rows), rng.u32(..rows));
        RowId(a.min(b))
    })
}

struct Counted(Arc<AtomicU64>);

impl Counted {
    fn begin(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
