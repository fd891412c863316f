//! The lease: strict at its end, never shortened, gone when revoked; and what a hit makes of it. That the engine
//! keeps the order of a hit is pinned where the engine is; here, that the order is enough.

#![allow(clippy::unwrap_used, reason = "in a test, it fails the test")]

use larder_core::{
    Act, Bound, Cause, Confirmed, Epoch, Fences, Lease, Level, Link, Path, Record, Target, Tenant, Verdict,
    key,
};
use proptest::prelude::*;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

fn bounded(nanos: u64) -> Bound {
    Bound::from(Level::Bounded(Duration::from_nanos(nanos)))
}

fn extended(t0: u64) -> Confirmed {
    let lease = Lease::default();
    lease.extend(t0);
    lease.load()
}

#[test]
fn a_lease_ends_strictly_before_its_bound() {
    let confirmed = extended(1000);
    assert!(confirmed.holds(1000, 300));
    assert!(confirmed.holds(1299, 300));
    assert!(!confirmed.holds(1300, 300));
    assert!(!confirmed.holds(1000, 0), "a bound of nothing is never held");
}

#[test]
fn a_lease_never_extended_or_revoked_holds_at_no_time() {
    let lease = Lease::default();
    for now in [0, 1, u64::MAX] {
        assert!(!lease.load().holds(now, u64::MAX));
    }
    assert_eq!(lease.load().since(), None);
    lease.extend(1000);
    lease.revoke();
    for now in [0, 1, 1000, u64::MAX] {
        assert!(!lease.load().holds(now, u64::MAX - 1));
    }
    assert_eq!(lease.load().since(), None);
    lease.extend(7);
    assert_eq!(lease.load().since(), Some(7), "after a revocation, what counts is the next renewal");
}

#[test]
fn the_lease_of_a_hit_is_the_one_it_loaded_whatever_comes_after() {
    let lease = Lease::default();
    lease.extend(1000);
    let confirmed = lease.load();
    lease.extend(5000);
    assert!(!confirmed.holds(1300, 300));
    assert!(lease.load().holds(1300, 4000));
}

#[test]
fn eventual_needs_no_lease_and_every_bound_does() {
    let never = Lease::default().load();
    assert!(!Bound::from(Level::Eventual).needs_lease());
    assert_eq!(Bound::from(Level::Eventual).admit(never, Verdict::Fresh, 5), Verdict::Fresh);
    for bound in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(1), Duration::MAX] {
        let bound = Bound::from(Level::Bounded(bound));
        assert!(bound.needs_lease(), "{bound:?}");
        assert_eq!(bound.admit(never, Verdict::Fresh, 5), Verdict::Unconfirmed);
    }
    assert_eq!(Level::default(), Level::Bounded(Duration::from_secs(1)));
}

#[test]
fn the_longest_bound_outlives_any_clock_that_is_not_at_its_end() {
    let bound = Bound::from(Level::Bounded(Duration::MAX));
    assert_eq!(bound.admit(extended(10), Verdict::Fresh, u64::MAX - 1), Verdict::Fresh);
}

proptest! {
    #[test]
    fn renewals_in_any_order_leave_the_latest(t0s in prop::collection::vec(1u64..1000, 1..10)) {
        let lease = Lease::default();
        let mut latest = 0;
        for t0 in t0s {
            lease.extend(t0);
            latest = latest.max(t0);
            prop_assert_eq!(lease.load().since(), Some(latest));
        }
    }

    #[test]
    fn a_lease_only_ever_withholds(t0 in 1u64..100, bound in 0u64..100, now in 0u64..300) {
        for verdict in Verdict::ALL {
            let admitted = bounded(bound).admit(extended(t0), verdict, now);
            match verdict {
                Verdict::Fresh if now < t0 + bound => prop_assert_eq!(admitted, Verdict::Fresh),
                Verdict::Fresh => prop_assert_eq!(admitted, Verdict::Unconfirmed),
                refused => prop_assert_eq!(admitted, refused, "a lease never makes a refused entry fresh"),
            }
            prop_assert_eq!(Bound::from(Level::Eventual).admit(extended(t0), verdict, now), verdict);
        }
    }
}

/// What a hit does, one after the other.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Lease,
    Rule,
    Clock,
}

/// A record that names the entry was acknowledged at 1000, the bound is 300, and the read begins at 1300. The node
/// renewed at 900; it renews once more, having asked at 1290, before this part of the hit.
fn hit(order: [Part; 3], renewed_before: usize) -> Verdict {
    let start = Link { epoch: Epoch::new(1), position: 0, nonce: 0 };
    let key = Path::of_region(&Tenant::common(), "r").below(&key![1u8]);
    let node = Fences::new(1, 512);
    node.adopt(start, &[]);
    let (born, dependencies) = (node.birth().unwrap(), node.dependencies(&key, &[], &[]));
    node.lease().extend(900);
    let record = Record {
        link: Link { position: 1, nonce: 5, ..start },
        act: Act::Invalidate,
        targets: vec![Target::key("r", key![1u8])],
        cause: Cause::default(),
    };
    let (mut confirmed, mut verdict, mut now) = (None, None, 0);
    for (at, part) in order.into_iter().enumerate() {
        if at == renewed_before {
            node.apply(&record).unwrap();
            node.lease().extend(1290);
        }
        match part {
            Part::Lease => confirmed = Some(node.lease().load()),
            Part::Rule => verdict = Some(node.check(born, &dependencies, &AtomicU64::new(0), || key.clone())),
            Part::Clock => now = 1300,
        }
    }
    bounded(300).admit(confirmed.unwrap(), verdict.unwrap(), now)
}

/// The worst bug of the first draft: the rule said fresh of an entry, a renewal applied the record that named it,
/// and the lease, loaded only then, blessed what had been said before. The user kept a slot that was taken.
#[test]
fn a_renewal_at_any_point_of_a_hit_never_blesses_an_old_check() {
    for renewed_before in 0..4 {
        let verdict = hit([Part::Lease, Part::Rule, Part::Clock], renewed_before);
        assert!(!verdict.is_fresh(), "renewed before part {renewed_before}: {verdict:?}");
    }
    // The same harness sees what the wrong order does.
    assert_eq!(hit([Part::Rule, Part::Lease, Part::Clock], 1), Verdict::Fresh);
}
