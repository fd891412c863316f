//! Keeps one writer and its readers together without a clock: the writer goes on when each reader has looked again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub(crate) struct Pace {
    rounds: Vec<AtomicU64>,
    over: AtomicBool,
}

/// A reader's place; left also by one that fails, so that the writer does not wait for it.
pub(crate) struct Place<'a> {
    rounds: &'a AtomicU64,
    over: &'a AtomicBool,
}

impl Pace {
    pub(crate) fn of(readers: usize) -> Self {
        Pace { rounds: (0..readers).map(|_| AtomicU64::new(0)).collect(), over: AtomicBool::new(false) }
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = Place<'_>> {
        self.rounds.iter().map(|rounds| Place { rounds, over: &self.over })
    }

    /// Returns when every reader has begun a round after this call, and ended it.
    pub(crate) fn wait(&self) {
        let goals: Vec<u64> =
            self.rounds.iter().map(|r| r.load(Ordering::Relaxed).saturating_add(2)).collect();
        while self.rounds.iter().zip(&goals).any(|(rounds, goal)| rounds.load(Ordering::Relaxed) < *goal) {
            std::thread::yield_now();
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// What tells the readers that it is over when it is dropped, by a failure too.
    pub(crate) fn writer(&self) -> Writer<'_> {
        Writer(&self.over)
    }
}

pub(crate) struct Writer<'a>(&'a AtomicBool);

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Place<'_> {
    /// Ends a round; whether there is to be another.
    pub(crate) fn again(&self) -> bool {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        !self.over.load(Ordering::Acquire)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.rounds.store(u64::MAX, Ordering::Relaxed);
    }
}
