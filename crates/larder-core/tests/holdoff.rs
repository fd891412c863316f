//! Order 9. What is loaded from a replica is born with what the node had applied as long ago as the replica may lag.
//!
//! A replica that is exactly as far behind as it may be, against a node that loads at every moment: an entry the rule
//! would serve never lacks a write that was recorded before it was born.

#![allow(clippy::unwrap_used, reason = "in a test, it fails the test")]

use larder_core::{Birth, Epoch, HoldOff, Link, outwait};

const LAG: u64 = 640;

fn birth(n: u64) -> Birth {
    Birth { stamp: Link { epoch: Epoch::new(1), position: n, nonce: n }, local: n + 1 }
}

#[test]
fn a_load_is_born_with_what_had_been_applied_when_the_replica_was_where_it_may_be_now() {
    let mut held = HoldOff::new(LAG);
    held.note(birth(1), 1_000);
    assert_eq!(held.birth(1_000), None);
    assert_eq!(held.birth(1_000 + outwait(LAG)), None, "strictly after");
    assert_eq!(held.birth(1_001 + outwait(LAG)), Some(birth(1)));
    held.note(birth(2), 2_000);
    assert_eq!(held.birth(2_000), Some(birth(1)));
    assert_eq!(held.birth(2_001 + outwait(LAG)), Some(birth(2)));
}

/// Records are appended at every `every`-th moment, the node looks at every `look`-th. Whatever is born with a record
/// must have been loaded when the replica already showed it: not before its moment plus the lag.
#[test]
fn nothing_is_ever_born_with_a_record_the_replica_may_not_show_yet() {
    for every in [1, 7, 50, 700] {
        for look in [1, 3, 40, 900] {
            let mut held = HoldOff::new(LAG);
            let mut kept = 0;
            for now in 1..10_000u64 {
                let appended = now / every;
                if now % look == 0 {
                    held.note(birth(appended), now);
                }
                let Some(born) = held.birth(now) else { continue };
                kept += 1;
                let shown = (now - LAG) / every;
                assert!(
                    born.stamp.position <= shown,
                    "at {now}: born with {}, shown {shown}",
                    born.stamp.position
                );
                // And not needlessly older: by a sample or two.
                let slack = (LAG / 16 + look + every * 2 + 16) / every + 1;
                assert!(
                    born.stamp.position + slack * 2 >= shown,
                    "at {now}: {} of {shown}",
                    born.stamp.position
                );
            }
            assert!(kept > 5_000, "{every}, {look}: {kept} loads could be kept");
        }
    }
}
