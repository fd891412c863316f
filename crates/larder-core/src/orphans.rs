//! Orphans: intents whose writer has not closed them in time, for any node to close.
//!
//! Pure: the clock is an argument. Each node counts from the moment it first saw an intent, on its own clock. The writer
//! counts from before it appended the intent, which was earlier; so by the time any node finds an intent over, it has
//! long been over for its writer, who then refuses to commit, and whose requests must not outlive it.

use crate::expiry::nanos;
use crate::lease::outwait;
use crate::port::Nanos;
use crate::record::{Intent, IntentId};
use std::collections::HashMap;

/// When this node first saw each intent that is open.
#[derive(Debug, Default)]
pub struct Orphans(HashMap<IntentId, Nanos>);

impl Orphans {
    /// Takes in what is open; returns what has been for too long. `now` must have been read after `open` was: an intent
    /// counts from the first call that shows it, never from an earlier moment.
    pub fn due(&mut self, open: &[Intent], now: Nanos) -> Vec<Intent> {
        self.0.retain(|id, _| open.iter().any(|intent| intent.id == *id));
        let is_over = |intent: &&Intent| {
            let seen = *self.0.entry(intent.id).or_insert(now);
            // The mistake: an intent nobody here is waiting for is taken for an orphan.
            if crate::seeded_bug!("orphan_cleared_early") {
                return true;
            }
            now > seen.saturating_add(outwait(nanos(intent.lasts)))
        };
        open.iter().filter(is_over).cloned().collect()
    }
}
