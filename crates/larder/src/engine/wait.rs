//! Waiting until no node can serve what it served before.
//!
//! Without knowing who the other nodes are: a node that has not applied a record was last confirmed before that record
//! was appended, and no region trusts a confirmation for longer than the namespace's largest bound. Membership would
//! only make it shorter. Rests on the clock that counts suspend, never on a timer having run for long enough.

use super::Engine;
use crate::error::Error;
use larder_core::port::Nanos;
use larder_core::{outwait, seeded_bug};
use std::time::Duration;

impl Engine {
    /// How long it takes until every node has applied a record or trusts its state no more.
    pub(crate) fn leases_last(&self) -> Nanos {
        outwait(self.bound_max)
    }

    /// Waits until every node has applied what was appended before `since`, or its lease has lapsed in every region that
    /// has a bound. Dropped, nothing is left behind.
    ///
    /// # Errors
    /// When the cache is closed meanwhile.
    pub(crate) async fn outwait_leases(&self, since: Nanos) -> Result<(), Error> {
        // The mistake: an appended record is taken for an applied one.
        if seeded_bug!("intent_not_waited_for") {
            return Ok(());
        }
        let until = since.saturating_add(self.leases_last());
        loop {
            let now = self.time.trusted();
            // Strictly: a lease may hold up to the last moment of its bound.
            if now > until {
                return Ok(());
            }
            let pause = Duration::from_nanos((until - now).saturating_add(1));
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Error::closed()),
                () = self.runtime.sleep(pause) => {}
            }
        }
    }
}
