//! What threads share: the machine's atomics, locks and swaps, and in builds of their own those of an explorer.
//!
//! Built with `--cfg larder_shuttle` or `--cfg larder_loom`, every use of what is named here is a point at which the
//! explorer may let another thread go on; loom also lets loads return what an older store left, as a machine may.
//! For code whose order of loads and stores is part of the proof, here and in the engine. Never holds a decision: in
//! what ships these are plain re-exports.

#[cfg(not(any(larder_shuttle, larder_loom)))]
pub use {
    arc_swap::ArcSwap,
    std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize},
    std::sync::{Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

#[cfg(larder_shuttle)]
pub use shuttle::sync::{
    Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, AtomicU64, AtomicUsize},
};

#[cfg(larder_loom)]
pub use loom::sync::{
    Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, AtomicU64, AtomicUsize},
};

#[cfg(any(larder_shuttle, larder_loom))]
pub use explored::{ArcSwap, OnceLock};

/// A size, and the one that stands for it where schedules are explored: there tables must overflow within three records.
#[inline(always)]
pub(crate) const fn scaled(size: usize, explored: usize) -> usize {
    if cfg!(any(larder_shuttle, larder_loom)) { explored } else { size }
}

/// Stand-ins that are no stronger than what they stand for. What they keep in a lock of the machine's own, which no
/// explorer sees, is reached only through an index that it does see.
#[cfg(any(larder_shuttle, larder_loom))]
mod explored {
    use super::AtomicUsize;
    use std::sync::atomic::Ordering;
    use std::sync::{Arc, PoisonError};

    /// `arc_swap::ArcSwap` with one writer at a time: a store releases, a load acquires.
    #[derive(Debug)]
    pub struct ArcSwap<T> {
        versions: std::sync::Mutex<Vec<Arc<T>>>,
        newest: AtomicUsize,
    }

    impl<T> ArcSwap<T> {
        /// Holds a value.
        pub fn from_pointee(value: T) -> Self {
            ArcSwap { versions: std::sync::Mutex::new(vec![Arc::new(value)]), newest: AtomicUsize::new(0) }
        }

        /// What it holds.
        pub fn load(&self) -> Arc<T> {
            let at = self.newest.load(Ordering::Acquire);
            self.versions.lock().unwrap_or_else(PoisonError::into_inner)[at].clone()
        }

        /// Holds another.
        pub fn store(&self, value: Arc<T>) {
            let at = {
                let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
                versions.push(value);
                versions.len() - 1
            };
            self.newest.store(at, Ordering::Release);
        }
    }

    impl<T: Default> Default for ArcSwap<T> {
        fn default() -> Self {
            ArcSwap::from_pointee(T::default())
        }
    }

    /// `std::sync::OnceLock`: the first value stays.
    #[derive(Debug)]
    pub struct OnceLock<T> {
        value: std::sync::OnceLock<T>,
        /// 1 once the value may be seen.
        set: AtomicUsize,
    }

    impl<T> OnceLock<T> {
        /// Empty.
        pub fn new() -> Self {
            OnceLock { value: std::sync::OnceLock::new(), set: AtomicUsize::new(0) }
        }

        /// What was set.
        pub fn get(&self) -> Option<&T> {
            (self.set.load(Ordering::Acquire) == 1).then(|| self.value.get()).flatten()
        }

        /// Sets it, unless it is.
        ///
        /// # Errors
        /// The value, when there is one already.
        pub fn set(&self, value: T) -> Result<(), T> {
            self.value.set(value)?;
            self.set.store(1, Ordering::Release);
            Ok(())
        }
    }

    impl<T> Default for OnceLock<T> {
        fn default() -> Self {
            OnceLock::new()
        }
    }
}
