//! Reclaiming: a slow look through the stores that offer one, for entries that a record has named since they were born and
//! that nobody has asked for since.
//!
//! An entry that somebody asks for is replaced by what is loaded instead, and one whose time is over is the store's own
//! affair. Nothing rests on this: what is removed by mistake, or put in between, is a miss. A node that is behind finds
//! less. It looks at a bounded rate, rests between two looks, and is never waited for.

use crate::engine::Engine;
use larder_core::port::StoreError;
use larder_core::sync::AtomicU64;
use larder_core::{Envelope, Limits, Path, Segments, Verdict, seeded_bug};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Entries looked at in one go, and the time between two: a thousand a second.
const LEAF: usize = 250;
const PAUSE: Duration = Duration::from_millis(250);
/// How long one go may take.
const DEADLINE: Duration = Duration::from_secs(5);

impl Engine {
    /// Looks through the stores in the background from now on.
    pub(crate) fn start_reclaiming(self: &Arc<Self>) {
        for at in 0..self.tiers.len() {
            if let Some(rest) = self.tiers[at].reclaim_rest() {
                self.runtime.spawn(&self.tasks, reclaim(Arc::downgrade(self), at, rest, self.stop.clone()));
            }
        }
    }

    /// Removes what is dead among some entries. Where to go on; `None` when this look is over.
    async fn reclaim_some(&self, at: usize, from: u128) -> Result<Option<u128>, StoreError> {
        let tier = &self.tiers[at];
        let namespace = Segments::builder().with(&*self.namespace).finish();
        let Some(leaf) = tier.browse(namespace.as_bytes(), from, LEAF).await? else { return Ok(None) };
        let dead = leaf.entries.iter().filter(|(key, head)| self.is_dead(namespace.as_bytes(), key, head));
        let dead: Vec<Vec<u8>> = dead.map(|(key, _)| key.clone()).collect();
        if !dead.is_empty() {
            tier.forget(&dead).await?;
        }
        Ok(leaf.next)
    }

    /// Whether a record of the history followed has named this entry since it was born. What is not of this namespace, or of
    /// another history, or was fenced with everything else by this node alone (its clock was wrong, somebody came with a
    /// token that nobody knows), is left to its lifetime: to other nodes it may be as good as new.
    fn is_dead(&self, namespace: &[u8], key: &[u8], head: &[u8]) -> bool {
        let Ok((named, head)) = Envelope::peek(head, &Limits::default()) else { return false };
        let Some(Ok(path)) = key.strip_prefix(namespace).map(Path::from_encoded) else { return false };
        let Some(birth) = self.fences.locate(head.stamp).filter(|_| named == key) else { return false };
        if self.fences.is_stale_here_alone(birth) {
            return false;
        }
        // The mistake: what is not of the newest place is taken for old.
        if seeded_bug!("reclaimer_skips_the_rule") {
            return Some(head.stamp) != self.fences.birth().map(|birth| birth.stamp);
        }
        let dependencies = self.fences.dependencies(&path, &head.tags, &head.also);
        self.fences.check(birth, &dependencies, &AtomicU64::new(0), || path) == Verdict::Invalidated
    }
}

async fn reclaim(engine: Weak<Engine>, at: usize, rest: Duration, stop: CancellationToken) {
    let mut place = None;
    loop {
        let Some((runtime, jitter)) =
            engine.upgrade().map(|engine| (engine.runtime.clone(), 0.5 + engine.random() / 2.0))
        else {
            return;
        };
        let pause = if place.is_some() { PAUSE.min(rest) } else { rest.mul_f64(jitter) };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = runtime.sleep(pause) => {}
        }
        let Some(engine) = engine.upgrade() else { return };
        let some = engine.runtime.timeout(DEADLINE, engine.reclaim_some(at, place.unwrap_or(0)));
        place = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            // After a failure it begins anew, after a rest.
            next = some => next.ok().and_then(Result::ok).flatten(),
        };
    }
}
