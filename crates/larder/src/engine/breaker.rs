//! The circuit breaker of a store: after failures in a row it is left alone for a moment, then tried by one caller.
//!
//! What other nodes say of the same store makes it more careful or less, and decides nothing: where they fail, one failure
//! is enough; who is about to try while another does lets that one, once; where it works again, it is tried at once. A
//! store that nobody can reach carries no news, so each node tries it by itself, at intervals that differ.

use larder_core::expiry::nanos;
use larder_core::port::{Nanos, News, Told, Use};
use larder_core::seeded_bug;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Failures in a row that open the breaker.
const FAILURES_MAX: u32 = 3;
/// How long it stays open before one caller may try: doubled with each failed try, up to the most.
const OPEN_NS: Nanos = 200_000_000;
const OPEN_NS_MAX: Nanos = 10_000_000_000;
/// How long what another node said of its failures counts.
const FAILING_COUNTS: Duration = Duration::from_secs(12);
/// How long another node's try may take.
const TRYING_COUNTS: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(crate) struct Breaker {
    /// What news it is about, if other nodes are to know.
    shared: Option<Use>,
    failures: AtomicU32,
    /// Open until then; 0 when closed.
    until: AtomicU64,
    /// Whether another node was let go first since the last failure.
    yielded: AtomicBool,
    /// The last message that it heeded, or that was older than the last failure.
    heard: AtomicU64,
}

/// Whether an operation may be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    Granted,
    /// By this caller alone, to find out whether it works again.
    ToTry,
    Refused,
}

impl Breaker {
    /// One that shares what it knows with the other nodes.
    pub(crate) fn shared(of: Use) -> Self {
        Breaker { shared: Some(of), ..Breaker::default() }
    }

    /// What its news is about, if it shares any.
    pub(crate) fn subject(&self) -> Option<Use> {
        self.shared
    }

    /// Whether an operation that ends within `lasts` may be begun now. While open, one caller is let through each time the
    /// pause has passed, or another node says that it works; the next one not before that one's time is over, should it
    /// never report.
    pub(crate) fn allows(&self, now: Nanos, lasts: Duration, told: impl FnOnce() -> Option<Told>) -> Leave {
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 {
            return Leave::Granted;
        }
        let told = told();
        let is_well = told.is_some_and(|told| told.news == News::Well && self.heeds(&told));
        if now < until && !is_well {
            return Leave::Refused;
        }
        let is_tried = told.is_some_and(|told| told.news == News::Trying && told.ago < TRYING_COUNTS);
        let yields = is_tried && !is_well && !self.yielded.swap(true, Ordering::Relaxed);
        let next = now.saturating_add(if yields { OPEN_NS } else { nanos(lasts).max(OPEN_NS) });
        let next = if seeded_bug!("breaker_half_open_by_all") { until } else { next };
        let took = self.until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        // The mistake: the pause is over for all who ask.
        let took = took || seeded_bug!("breaker_half_open_by_all");
        if took && !yields { Leave::ToTry } else { Leave::Refused }
    }

    /// Each message once.
    fn heeds(&self, told: &Told) -> bool {
        self.heard.fetch_max(told.number, Ordering::Relaxed) < told.number
    }

    /// An operation that had this leave ended. Operations refused by the breaker are not reported. Returns what other nodes
    /// should know. `jitter`, from 0 to 1, sets nodes apart.
    pub(crate) fn record(
        &self,
        leave: Leave,
        succeeded: bool,
        now: Nanos,
        jitter: f64,
        told: impl FnOnce() -> Option<Told>,
    ) -> Option<News> {
        if succeeded {
            self.failures.store(0, Ordering::Relaxed);
            return (self.until.swap(0, Ordering::Relaxed) != 0).then_some(News::Well);
        }
        // Of many that were under way when it opened, each that fails tells nothing new: only who tries does.
        if leave != Leave::ToTry && self.is_open() {
            return None;
        }
        let told = told();
        let counts = |told: Told| told.ago < FAILING_COUNTS || seeded_bug!("breaker_word_never_fades");
        let others_fail = told.is_some_and(|told| told.news != News::Well && counts(told));
        if let Some(told) = told {
            self.heard.fetch_max(told.number, Ordering::Relaxed);
        }
        let enough = if others_fail { 1 } else { FAILURES_MAX };
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < enough {
            return None;
        }
        let doublings = failures.saturating_sub(FAILURES_MAX).min(6);
        let pause = (OPEN_NS << doublings).min(OPEN_NS_MAX);
        // Between three quarters of the pause and all of it.
        let pause = pause - (pause as f64 / 4.0 * jitter.clamp(0.0, 1.0)) as u64;
        self.yielded.store(false, Ordering::Relaxed);
        self.until.store(now.saturating_add(pause), Ordering::Relaxed);
        Some(News::Failing)
    }

    /// Whether the last operation failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failures.load(Ordering::Relaxed) != 0
    }

    /// Whether nothing has failed since the last success: then neither the clock nor others need be asked.
    pub(crate) fn is_clear(&self) -> bool {
        self.failures.load(Ordering::Relaxed) == 0 && !self.is_open()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.until.load(Ordering::Relaxed) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_millis(500);

    fn told(news: News, number: u64) -> impl Fn() -> Option<Told> {
        move || Some(Told { news, number, ago: Duration::from_millis(10) })
    }

    fn nobody() -> Option<Told> {
        None
    }

    fn open(breaker: &Breaker, now: Nanos) {
        for _ in 0..FAILURES_MAX {
            breaker.record(Leave::Granted, false, now, 0.0, nobody);
        }
        assert!(breaker.is_open());
    }

    #[test]
    fn it_opens_after_failures_in_a_row_lets_one_try_and_closes_on_success() {
        let breaker = Breaker::default();
        let said: Vec<_> = (0..FAILURES_MAX)
            .map(|_| {
                assert_eq!(breaker.allows(1, LASTS, nobody), Leave::Granted);
                breaker.record(Leave::Granted, false, 1, 0.0, nobody)
            })
            .collect();
        assert_eq!(said, [None, None, Some(News::Failing)]);
        assert!(breaker.is_open());
        assert_eq!(breaker.allows(OPEN_NS, LASTS, nobody), Leave::Refused);
        assert_eq!(breaker.allows(OPEN_NS + 1, LASTS, nobody), Leave::ToTry, "one caller tries");
        assert_eq!(breaker.allows(OPEN_NS + 1, LASTS, nobody), Leave::Refused, "and only one");
        assert_eq!(breaker.record(Leave::Granted, true, OPEN_NS + 2, 0.0, nobody), Some(News::Well));
        assert_eq!(breaker.allows(OPEN_NS + 2, LASTS, nobody), Leave::Granted);
        assert_eq!(breaker.record(Leave::Granted, true, OPEN_NS + 3, 0.0, nobody), None, "said once");
    }

    #[test]
    fn a_success_in_between_starts_the_count_anew() {
        let breaker = Breaker::default();
        for _ in 0..10 {
            breaker.record(Leave::Granted, false, 1, 0.0, nobody);
            breaker.record(Leave::Granted, true, 1, 0.0, nobody);
        }
        assert_eq!(breaker.allows(1, LASTS, nobody), Leave::Granted);
    }

    #[test]
    fn where_others_fail_one_failure_is_enough_and_none_is_not() {
        let breaker = Breaker::default();
        assert_eq!(
            breaker.allows(1, LASTS, told(News::Failing, 1)),
            Leave::Granted,
            "it works for this node"
        );
        assert_eq!(
            breaker.record(Leave::Granted, false, 1, 0.0, told(News::Failing, 1)),
            Some(News::Failing)
        );
        assert!(breaker.is_open());
    }

    #[test]
    fn what_was_said_long_ago_does_not_count() {
        let breaker = Breaker::default();
        let long_ago = || Some(Told { news: News::Failing, number: 1, ago: FAILING_COUNTS });
        assert_eq!(breaker.record(Leave::Granted, false, 1, 0.0, long_ago), None);
        assert!(!breaker.is_open());
    }

    #[test]
    fn who_would_try_while_another_does_lets_it_once() {
        let breaker = Breaker::default();
        open(&breaker, 1);
        let due = OPEN_NS + 1;
        assert_eq!(breaker.allows(due, LASTS, told(News::Trying, 5)), Leave::Refused);
        assert_eq!(
            breaker.allows(due + OPEN_NS - 1, LASTS, told(News::Trying, 6)),
            Leave::Refused,
            "a pause later"
        );
        assert_eq!(
            breaker.allows(due + OPEN_NS, LASTS, told(News::Trying, 6)),
            Leave::ToTry,
            "and no longer"
        );
    }

    #[test]
    fn where_it_works_again_one_caller_tries_at_once() {
        let breaker = Breaker::default();
        open(&breaker, 1);
        assert_eq!(breaker.allows(2, LASTS, told(News::Well, 7)), Leave::ToTry);
        assert_eq!(
            breaker.allows(2, LASTS, told(News::Well, 7)),
            Leave::Refused,
            "one caller for one message"
        );
        breaker.record(Leave::ToTry, false, 3, 0.0, told(News::Well, 8));
        assert_eq!(
            breaker.allows(4, LASTS, told(News::Well, 8)),
            Leave::Refused,
            "said before the last failure"
        );
        assert_eq!(breaker.allows(4, LASTS, told(News::Well, 9)), Leave::ToTry);
    }

    /// A store that stalls fails all that is under way at once: each of sixty-four doubled the pause, up to its most.
    #[test]
    fn what_was_under_way_when_it_opened_neither_lengthens_the_pause_nor_is_news() {
        let breaker = Breaker::default();
        let said = (0..64).filter_map(|_| breaker.record(Leave::Granted, false, 1, 0.0, nobody)).count();
        assert_eq!(said, 1);
        assert_eq!(breaker.allows(OPEN_NS + 1, LASTS, nobody), Leave::ToTry);
        assert_eq!(breaker.record(Leave::ToTry, false, OPEN_NS + 2, 0.0, nobody), Some(News::Failing));
        assert_eq!(breaker.allows(OPEN_NS + 2 + 2 * OPEN_NS - 1, LASTS, nobody), Leave::Refused, "doubled");
        assert_eq!(breaker.allows(OPEN_NS + 2 + 2 * OPEN_NS, LASTS, nobody), Leave::ToTry);
    }

    #[test]
    fn the_next_tries_only_when_the_time_of_the_one_before_is_over() {
        let breaker = Breaker::default();
        open(&breaker, 1);
        let (due, lasts) = (OPEN_NS + 1, nanos(LASTS));
        assert_eq!(breaker.allows(due, LASTS, nobody), Leave::ToTry);
        assert_eq!(
            breaker.allows(due + lasts - 1, LASTS, nobody),
            Leave::Refused,
            "it has until then to answer"
        );
        assert_eq!(
            breaker.allows(due + lasts, LASTS, nobody),
            Leave::ToTry,
            "it was given up, and says nothing"
        );
    }

    #[test]
    fn nodes_try_at_different_times() {
        let (early, late) = (Breaker::default(), Breaker::default());
        for _ in 0..FAILURES_MAX {
            early.record(Leave::Granted, false, 0, 1.0, nobody);
            late.record(Leave::Granted, false, 0, 0.0, nobody);
        }
        let between = OPEN_NS * 7 / 8;
        assert_eq!(
            (early.allows(between, LASTS, nobody), late.allows(between, LASTS, nobody)),
            (Leave::ToTry, Leave::Refused)
        );
    }
}
