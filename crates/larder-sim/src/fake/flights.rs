//! Who leads which flight at the simulated store, as badly as a store may keep that.
//!
//! May: forget who leads, grant one flight twice, wake nobody, or late; each half of a split store has its own leaders.
//! Never: make up a leader, or let one lead without end.

use super::StorePort;
use crate::fault::Fault;
use crate::sched::{MS, SECOND, Time};
use crate::world::World;
use larder_core::Stamp;
use larder_core::expiry::nanos;
use larder_core::port::{BoxFuture, Claim, Claimed, Holder, Left, SharedFlights, StoreError};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// The flights of one half of the store.
#[derive(Clone, Default)]
pub(crate) struct Leaders {
    known: BTreeMap<Vec<u8>, Known>,
    listening: BTreeMap<Vec<u8>, Vec<Weak<Notify>>>,
}

#[derive(Clone, Copy)]
struct Known {
    holder: Holder,
    stamp: Stamp,
    /// How it ended; `None` while it runs.
    left: Option<Left>,
    until: Time,
}

impl Leaders {
    pub(crate) fn forget(&mut self) {
        self.known.clear();
    }

    fn claim(&mut self, world: &World, claim: &Claim, lasts: Duration) -> Claimed {
        let now = world.sim().now();
        let known = self.known.get(&claim.key).copied().filter(|known| {
            let own = known.left.is_none() && known.holder == claim.holder;
            now < known.until && !own && claim.past != Some(known.holder)
        });
        let lost = known.is_some() && world.strikes(Fault::FlightLost, 0.05);
        let twice = known.is_some() && world.strikes(Fault::FlightTwice, 0.05);
        let Some(Known { holder: by, stamp, left, until }) = known.filter(|_| !lost) else {
            let until = now + nanos(lasts);
            let Claim { holder, stamp, .. } = *claim;
            self.known.insert(claim.key.clone(), Known { holder, stamp, left: None, until });
            return Claimed::Leads;
        };
        match left {
            _ if twice => Claimed::Leads,
            None => Claimed::Waits { by, stamp, left: Duration::from_nanos(until - now) },
            Some(Left::Landed) => Claimed::Landed { by, stamp },
            Some(Left::Empty) => Claimed::Alone,
        }
    }

    fn leave(&mut self, world: &World, key: &[u8], holder: Holder, left: Left, remembered: Duration) {
        let now = world.sim().now();
        let Some(known) = self.known.get_mut(key) else { return };
        if known.holder != holder || known.left.is_some() || now >= known.until {
            return;
        }
        known.left = Some(left);
        known.until = now + nanos(remembered);
        for listener in self.listening.remove(key).into_iter().flatten() {
            if world.strikes(Fault::WakeDrop, 0.3) {
                continue;
            }
            let late = world.strikes(Fault::WakeDrop, 0.05);
            let world = world.clone();
            world.clone().sim().spawn_world(async move {
                world.sim().delay(20_000, if late { 5 * SECOND } else { MS }).await;
                if let Some(listener) = listener.upgrade() {
                    listener.notify_one();
                }
            });
        }
    }

    fn watch(&mut self, key: &[u8]) -> Arc<Notify> {
        let listener = Arc::new(Notify::new());
        let listening = self.listening.entry(key.to_vec()).or_default();
        listening.retain(|listener| listener.strong_count() > 0);
        listening.push(Arc::downgrade(&listener));
        listener
    }
}

impl SharedFlights for StorePort {
    fn claim_many<'a>(
        &'a self,
        claims: &'a [Claim],
        lasts: Duration,
    ) -> BoxFuture<'a, Result<Vec<Claimed>, StoreError>> {
        Box::pin(async move {
            self.ask().await?;
            let answers = claims
                .iter()
                .map(|claim| self.world.payloads().leaders(self.side()).claim(&self.world, claim, lasts));
            let answers = answers.collect();
            self.answer().await?;
            Ok(answers)
        })
    }

    fn leave_many<'a>(
        &'a self,
        flights: &'a [(Vec<u8>, Holder)],
        left: Left,
        remembered: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.ask().await?;
            for (key, holder) in flights {
                let mut payloads = self.world.payloads();
                payloads.leaders(self.side()).leave(&self.world, key, *holder, left, remembered);
            }
            Ok(())
        })
    }

    fn watch(&self, key: &[u8]) -> BoxFuture<'static, ()> {
        let listener = self.world.payloads().leaders(self.side()).watch(key);
        Box::pin(async move { listener.notified().await })
    }
}
