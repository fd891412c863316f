//! Counters for the hit path: exact, and without an atomic read-modify-write while threads are few.
//!
//! Each thread owns a stripe's index from its first count to its end. It alone writes to the stripes of that
//! index, in every [`Striped`] there is, so it may add by a load and a store. Threads beyond [`OWNED`] share one
//! more stripe and add to it atomically.
//!
//! Why no count is lost: an index is owned by one thread at a time, so between a load and the store that
//! follows it nobody else stores. When a thread ends, its index goes back to the free list under a mutex, and
//! the next owner takes it under the same mutex: whatever the old owner stored happened before whatever the new
//! one loads. A sum read while others count may miss what they are just adding; once they have been joined, or
//! have synchronised with the reader in any other way, it is exact.

use std::array;
use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Indices that a thread can own.
const OWNED: usize = 64;
/// The index of the stripe that all other threads share.
const SHARED: usize = OWNED;
/// Not asked for one yet.
const UNKNOWN: usize = usize::MAX;

/// The indices nobody owns; the lowest are handed out first.
static FREE: Mutex<[bool; OWNED]> = Mutex::new([true; OWNED]);

thread_local! {
    /// This thread's index. A plain cell without a destructor: it can be read at any time, and reading it costs
    /// one load.
    static INDEX: Cell<usize> = const { Cell::new(UNKNOWN) };
    /// Gives the index back when the thread ends.
    static OWNER: Owner = Owner::take();
}

/// Holds an index for a thread.
struct Owner(usize);

impl Owner {
    fn take() -> Self {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let index = free.iter().position(|free| *free).unwrap_or(SHARED);
        if let Some(free) = free.get_mut(index) {
            *free = false;
        }
        Owner(index)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Destructors that run after this one may still count: they use the shared stripe.
        INDEX.set(SHARED);
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(free) = free.get_mut(self.0) {
            *free = true;
        }
    }
}

/// This thread's index, below 65.
#[inline]
pub(super) fn index() -> usize {
    match INDEX.get() {
        UNKNOWN => take_index(),
        index => index,
    }
}

#[cold]
fn take_index() -> usize {
    // Fails only when the thread is ending and its owner is gone already.
    let index = OWNER.try_with(|owner| owner.0).unwrap_or(SHARED);
    INDEX.set(index);
    index
}

/// One thread's counters. Two cache lines, since processors fetch lines in pairs.
#[repr(align(128))]
struct Stripe<const N: usize>([AtomicU64; N]);

/// `N` counters that many threads raise at little cost. Takes about 8 KiB for up to 16 counters.
pub struct Striped<const N: usize>(Box<[Stripe<N>]>);

impl<const N: usize> Striped<N> {
    /// All counters at zero.
    pub fn new() -> Self {
        Striped((0..=OWNED).map(|_| Stripe(array::from_fn(|_| AtomicU64::new(0)))).collect())
    }

    /// Adds to a counter and returns its new value in this thread's stripe: a number that goes up by one with
    /// each of the thread's own `add(counter, 1)`, good for sampling. A counter that does not exist is 0.
    #[inline]
    pub fn add(&self, counter: usize, n: u64) -> u64 {
        let index = index();
        let Some(cell) = self.0.get(index).and_then(|stripe| stripe.0.get(counter)) else { return 0 };
        if index == SHARED {
            cell.fetch_add(n, Ordering::Relaxed).wrapping_add(n)
        } else {
            let raised = cell.load(Ordering::Relaxed).wrapping_add(n);
            cell.store(raised, Ordering::Relaxed);
            raised
        }
    }

    /// A counter over all threads. A counter that does not exist is 0.
    pub fn sum(&self, counter: usize) -> u64 {
        let cells = self.0.iter().filter_map(|stripe| stripe.0.get(counter));
        cells.fold(0, |sum, cell| sum.wrapping_add(cell.load(Ordering::Relaxed)))
    }
}

impl<const N: usize> Default for Striped<N> {
    fn default() -> Self {
        Striped::new()
    }
}

impl<const N: usize> fmt::Debug for Striped<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries((0..N).map(|counter| self.sum(counter))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::thread;

    #[test]
    fn threads_that_come_and_go_lose_no_count() {
        let counts = Striped::<3>::new();
        for _ in 0..20 {
            thread::scope(|scope| {
                for n in 0..40u64 {
                    let counts = &counts;
                    scope.spawn(move || {
                        (0..500).for_each(|_| {
                            counts.add(0, 1);
                            counts.add(2, n);
                        });
                    });
                }
            });
        }
        assert_eq!(counts.sum(0), 20 * 40 * 500);
        assert_eq!(counts.sum(1), 0);
        assert_eq!(counts.sum(2), 20 * 500 * (0..40).sum::<u64>());
    }

    #[test]
    fn more_threads_than_stripes_lose_no_count() {
        let (counts, threads) = (Striped::<1>::new(), OWNED + 40);
        let all_there = Barrier::new(threads);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    counts.add(0, 1);
                    // All alive at once, so some must share.
                    all_there.wait();
                    (0..999).for_each(|_| _ = counts.add(0, 1));
                });
            }
        });
        assert_eq!(counts.sum(0), threads as u64 * 1000);
        assert!(counts.0[SHARED].0[0].load(Ordering::Relaxed) >= 40 * 1000);
    }

    #[test]
    fn a_thread_sees_its_own_counts_one_by_one() {
        let counts = Striped::<1>::new();
        thread::scope(|scope| {
            let own = scope.spawn(|| (0..5000).map(|_| counts.add(0, 1)).collect::<Vec<_>>());
            let own = own.join().unwrap();
            assert!(
                own.windows(2).all(|pair| pair[1] == pair[0] + 1) || own.len() == 5000 && index() == SHARED
            );
        });
    }

    #[test]
    fn indices_are_given_back_when_threads_end() {
        // More threads one after another than there are indices: each still gets one of its own, unless other
        // tests hold them all.
        let shared = (0..OWNED * 4).filter(|_| thread::spawn(index).join().unwrap() == SHARED).count();
        assert!(shared < OWNED * 4, "no index ever came back");
    }

    #[test]
    fn counting_while_a_thread_is_torn_down_is_counted() {
        struct CountsWhenDropped(&'static Striped<1>);
        impl Drop for CountsWhenDropped {
            fn drop(&mut self) {
                self.0.add(0, 1);
            }
        }
        thread_local!(static LATE: Cell<Option<CountsWhenDropped>> = const { Cell::new(None) });

        let counts: &'static Striped<1> = Box::leak(Box::default());
        for counts_first in [true, false] {
            thread::spawn(move || {
                if counts_first {
                    counts.add(0, 1);
                }
                LATE.set(Some(CountsWhenDropped(counts)));
                if !counts_first {
                    counts.add(0, 1);
                }
            })
            .join()
            .unwrap();
        }
        assert_eq!(counts.sum(0), 4);
    }

    #[test]
    fn a_counter_that_does_not_exist_is_zero() {
        let counts = Striped::<2>::new();
        assert_eq!((counts.add(2, 5), counts.sum(2), counts.sum(1)), (0, 0, 0));
    }
}
