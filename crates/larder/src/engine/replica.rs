//! Loads from lagging replicas: what they are born with.
//!
//! A region whose loads come from a replica keeps a short memory of what this node had applied, taken in at renewals;
//! see [`HoldOff`].

use super::{Engine, LoadState, Scope};
use crate::error::Error;
use larder_core::port::JournalError;
use larder_core::{Birth, HoldOff, Link, Verdict, seeded_bug};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often the lease is renewed for one load.
const ROUNDS_MAX: usize = 3;

/// The memory of one region.
pub(crate) type SharedHoldOff = Arc<Mutex<HoldOff>>;

impl Engine {
    /// What a load of this region that begins now is born with. To be asked before the loader is called.
    pub(crate) fn birth(&self, scope: &Scope) -> Option<Birth> {
        // The mistake: a replica is taken for the origin itself.
        if seeded_bug!("replica_without_check") {
            return self.fences.birth();
        }
        match &scope.hold_off {
            None => self.fences.birth(),
            Some(held) => lock(held).birth(self.time.trusted()),
        }
    }

    /// How far an origin that may lag must have come before a load looks at it: as far as this node, which must know that
    /// nothing older than the region's bound is missing here.
    ///
    /// # Errors
    /// When it does not know that, and the journal cannot be asked.
    pub(crate) async fn must_show(self: &Arc<Self>, scope: &Scope, state: &LoadState) -> Result<Link, Error> {
        state.note_lag();
        let mut is_confirmed = true;
        // A bound may be shorter than the journal's answer takes.
        for _ in 0..ROUNDS_MAX {
            // The lease before what was applied, and the clock after both.
            let confirmed = self.fences.lease().load();
            if let Some(head) = self.fences.head()
                && scope.bound.admit(confirmed, Verdict::Fresh, self.time.now()).is_fresh()
            {
                return Ok(head);
            }
            if !is_confirmed {
                break;
            }
            is_confirmed = self.confirm_lease().await;
        }
        let why = "the journal was not reached in time: what the replica must show is not known";
        Err(JournalError::refused(why).into())
    }

    /// What a load is born with whose origin shows what the journal said, and no more: local fences have yet to be recorded.
    pub(super) fn birth_of_lagging(&self, born: Option<Birth>) -> Option<Birth> {
        self.fences.locate(born?.stamp)
    }

    /// A region whose loads come from a replica exists from now on.
    pub(crate) fn hold_off(&self, held: &SharedHoldOff) {
        self.hold_offs.lock().unwrap_or_else(PoisonError::into_inner).push(held.clone());
        self.note_birth();
    }

    /// Takes in what this node has applied.
    pub(super) fn note_birth(&self) {
        let Some(birth) = self.fences.birth() else { return };
        // After it was taken.
        let now = self.time.trusted();
        let held = self.hold_offs.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().for_each(|held| lock(held).note(birth, now));
    }
}

fn lock(held: &SharedHoldOff) -> MutexGuard<'_, HoldOff> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
