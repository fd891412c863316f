//! Who leads which flight, as a fake store knows it; wrong on command.
//!
//! Time is tokio's: a test that pauses it decides when a lead lapses.

use larder_core::Stamp;
use larder_core::port::{BoxFuture, Claim, Claimed, Holder, Left};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The flights of a [`FakeStore`](super::FakeStore).
#[derive(Default)]
pub(super) struct FakeFlights {
    known: BTreeMap<Vec<u8>, Known>,
    /// Those who listen for the end of a flight, by key.
    watched: HashMap<Vec<u8>, Arc<Notify>>,
    pub(super) drops_wakes: bool,
    pub(super) grants_to_all: bool,
}

struct Known {
    holder: Holder,
    stamp: Stamp,
    /// How it ended; `None` while it runs.
    left: Option<Left>,
    until: Instant,
}

impl FakeFlights {
    pub(super) fn claim(&mut self, claim: &Claim, lasts: Duration) -> Claimed {
        let now = Instant::now();
        let known = self.known.get(&claim.key).filter(|known| {
            now < known.until
                && !(known.left.is_none() && known.holder == claim.holder)
                && claim.past != Some(known.holder)
                && !self.grants_to_all
        });
        let Some(known) = known else {
            let Claim { holder, stamp, .. } = *claim;
            self.known.insert(claim.key.clone(), Known { holder, stamp, left: None, until: now + lasts });
            return Claimed::Leads;
        };
        let Known { holder: by, stamp, left, until } = *known;
        match left {
            None => Claimed::Waits { by, stamp, left: until - now },
            Some(Left::Landed) => Claimed::Landed { by, stamp },
            Some(Left::Empty) => Claimed::Alone,
        }
    }

    pub(super) fn leave(&mut self, key: &[u8], holder: Holder, left: Left, remembered: Duration) {
        let now = Instant::now();
        let Some(known) = self.known.get_mut(key) else { return };
        if known.holder != holder || known.left.is_some() || now >= known.until {
            return;
        }
        known.left = Some(left);
        known.until = now + remembered;
        if !self.drops_wakes {
            self.wake(key);
        }
    }

    pub(super) fn watch(&mut self, key: &[u8]) -> BoxFuture<'static, ()> {
        let ended = self.watched.entry(key.to_vec()).or_default().clone();
        // Owned, and listening from now on, not from when it is first polled.
        let mut ended = Box::pin(ended.notified_owned());
        ended.as_mut().enable();
        ended
    }

    fn wake(&mut self, key: &[u8]) {
        if let Some(ended) = self.watched.remove(key) {
            ended.notify_waiters();
        }
    }

    /// Forgets who leads, and wakes nobody.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// How many flights are led.
    pub(super) fn led(&self) -> usize {
        let now = Instant::now();
        self.known.values().filter(|known| known.left.is_none() && now < known.until).count()
    }

    /// Flights somebody listens to.
    pub(super) fn watched(&self) -> usize {
        self.watched.values().filter(|ended| Arc::strong_count(ended) > 1).count()
    }
}
