//! Loads from lagging replicas: what they are born with.
//!
//! A region whose loads come from a replica keeps a short memory of what this node had applied, taken in at renewals;
//! see [`HoldOff`].

use super::{Engine, Scope};
use larder_core::{Birth, HoldOff, seeded_bug};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
