//! What every store that nodes share flights at must do, one function per behaviour; see [`crate::flights_suite`].
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc, missing_docs)]

use super::store_suite::StoreBench;
use larder_core::port::{Claim, Claimed, Holder, Left, SharedFlights};
use larder_core::{Epoch, Link, Stamp};
use std::time::Duration;

/// Makes each behaviour a test. Takes the path of a function that makes a fresh
/// [`StoreBench`](crate::testing::store_suite::StoreBench) of a store that shares flights.
#[macro_export]
macro_rules! flights_suite {
    ($make:path) => {
        $crate::flights_suite!(@each $make:
            one_of_two_leads_and_the_other_hears_who,
            whoever_leads_may_say_so_again,
            keys_are_led_apart,
            many_claims_are_answered_in_order,
            a_lead_that_is_not_prolonged_is_over,
            whoever_waits_hears_of_the_end,
            an_end_before_the_first_poll_is_heard,
            what_landed_is_remembered_until_it_is_passed_over,
            what_left_nothing_behind_is_remembered,
            an_end_is_forgotten,
            only_whoever_leads_may_leave,
            what_counts_for_nothing_is_taken_over,
            flights_are_not_entries,
        );
    };
    (@each $make:path: $($name:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::testing::flights_suite::$name($make()).await;
            }
        )*
    };
}

/// Longer than any test waits for it.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);
/// Turns a hang into a failure.
const HANG: Duration = Duration::from_secs(20);
const ONE: Holder = Holder::new(1);
const OTHER: Holder = Holder::new(u128::MAX - 1);

fn stamp(position: u64) -> Stamp {
    Link { epoch: Epoch::new(u128::MAX / 3), position, nonce: u64::MAX - position }
}

fn claim(key: &[u8], holder: Holder) -> Claim {
    let position = if holder == ONE { 1 } else { 2 };
    Claim { key: key.to_vec(), holder, stamp: stamp(position), past: None }
}

fn flights(bench: &StoreBench) -> &dyn SharedFlights {
    bench.store.flights().expect("a store that shares flights")
}

async fn ask(bench: &StoreBench, claim: Claim, lasts: Duration) -> Claimed {
    let answers = flights(bench).claim_many(&[claim], lasts).await.expect("an answer");
    assert_eq!(answers.len(), 1, "one answer for each claim");
    answers[0]
}

async fn lead(bench: &StoreBench, key: &[u8], holder: Holder, lasts: Duration) {
    assert_eq!(ask(bench, claim(key, holder), lasts).await, Claimed::Leads);
}

async fn leave(bench: &StoreBench, key: &[u8], holder: Holder, left: Left, remembered: Duration) {
    flights(bench).leave_many(&[(key.to_vec(), holder)], left, remembered).await.expect("left");
}

/// Asks until it leads.
async fn until_leads(bench: &StoreBench, key: &[u8], holder: Holder) {
    let asking = async {
        while ask(bench, claim(key, holder), LONG).await != Claimed::Leads {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, asking).await.expect("the flight is over at some time");
}

pub async fn one_of_two_leads_and_the_other_hears_who(bench: StoreBench) {
    lead(&bench, b"k", ONE, LONG).await;
    match ask(&bench, claim(b"k", OTHER), LONG).await {
        Claimed::Waits { by, stamp: born, left } => {
            assert_eq!((by, born), (ONE, stamp(1)));
            assert!(left <= LONG && left > LONG / 2, "{left:?}");
        }
        other => panic!("{other:?}"),
    }
}

pub async fn whoever_leads_may_say_so_again(bench: StoreBench) {
    lead(&bench, b"k", ONE, SHORT).await;
    assert!(matches!(ask(&bench, claim(b"k", OTHER), LONG).await, Claimed::Waits { .. }));
    lead(&bench, b"k", ONE, LONG).await;
    match ask(&bench, claim(b"k", OTHER), LONG).await {
        Claimed::Waits { by, left, .. } => assert!(by == ONE && left > SHORT, "{left:?}"),
        other => panic!("{other:?}"),
    }
}

pub async fn keys_are_led_apart(bench: StoreBench) {
    lead(&bench, b"k", ONE, LONG).await;
    lead(&bench, b"kk", OTHER, LONG).await;
    lead(&bench, b"", OTHER, LONG).await;
    lead(&bench, &[0, 255, b'\r', b'\n'], OTHER, LONG).await;
}

pub async fn many_claims_are_answered_in_order(bench: StoreBench) {
    lead(&bench, &[3], ONE, LONG).await;
    lead(&bench, &[77], ONE, LONG).await;
    let claims: Vec<Claim> = (0..100).map(|n| claim(&[n], OTHER)).collect();
    let answers = flights(&bench).claim_many(&claims, LONG).await.unwrap();
    assert_eq!(answers.len(), 100);
    for (n, answer) in answers.iter().enumerate() {
        let led = n == 3 || n == 77;
        assert!(matches!(answer, Claimed::Waits { by, .. } if *by == ONE) == led, "{n}: {answer:?}");
        assert!(led || *answer == Claimed::Leads, "{n}: {answer:?}");
    }
    assert!(flights(&bench).claim_many(&[], LONG).await.unwrap().is_empty());
}

pub async fn a_lead_that_is_not_prolonged_is_over(bench: StoreBench) {
    lead(&bench, b"k", ONE, SHORT).await;
    until_leads(&bench, b"k", OTHER).await;
}

pub async fn whoever_waits_hears_of_the_end(bench: StoreBench) {
    // Heard again and again, if it takes that: a subscription may still be in the making.
    for _ in 0..20 {
        until_leads(&bench, b"k", ONE).await;
        let ended = flights(&bench).watch(b"k");
        assert!(matches!(ask(&bench, claim(b"k", OTHER), LONG).await, Claimed::Waits { .. }));
        leave(&bench, b"k", ONE, Left::Landed, SHORT).await;
        tokio::time::timeout(HANG, ended).await.expect("woken");
    }
}

pub async fn an_end_before_the_first_poll_is_heard(bench: StoreBench) {
    for _ in 0..20 {
        until_leads(&bench, b"k", ONE).await;
        let (one, other) = (flights(&bench).watch(b"k"), flights(&bench).watch(b"k"));
        drop(flights(&bench).watch(b"k"));
        assert!(matches!(ask(&bench, claim(b"k", OTHER), LONG).await, Claimed::Waits { .. }));
        leave(&bench, b"k", ONE, Left::Empty, SHORT).await;
        tokio::task::yield_now().await;
        tokio::time::timeout(HANG, one).await.expect("woken");
        tokio::time::timeout(HANG, other).await.expect("woken too");
    }
}

pub async fn what_landed_is_remembered_until_it_is_passed_over(bench: StoreBench) {
    lead(&bench, b"k", ONE, LONG).await;
    leave(&bench, b"k", ONE, Left::Landed, LONG).await;
    for holder in [OTHER, ONE, OTHER] {
        assert_eq!(
            ask(&bench, claim(b"k", holder), LONG).await,
            Claimed::Landed { by: ONE, stamp: stamp(1) }
        );
    }
    let past = |holder| Claim { past: Some(holder), ..claim(b"k", OTHER) };
    assert!(matches!(ask(&bench, past(Holder::new(3)), LONG).await, Claimed::Landed { .. }));
    assert_eq!(ask(&bench, past(ONE), LONG).await, Claimed::Leads);
    assert!(matches!(ask(&bench, claim(b"k", ONE), LONG).await, Claimed::Waits { by: OTHER, .. }));
}

pub async fn what_left_nothing_behind_is_remembered(bench: StoreBench) {
    lead(&bench, b"k", ONE, LONG).await;
    leave(&bench, b"k", ONE, Left::Empty, LONG).await;
    assert_eq!(ask(&bench, claim(b"k", OTHER), LONG).await, Claimed::Alone);
    assert_eq!(ask(&bench, claim(b"k", OTHER), LONG).await, Claimed::Alone);
}

pub async fn an_end_is_forgotten(bench: StoreBench) {
    lead(&bench, b"k", ONE, LONG).await;
    leave(&bench, b"k", ONE, Left::Landed, SHORT).await;
    until_leads(&bench, b"k", OTHER).await;
}

pub async fn only_whoever_leads_may_leave(bench: StoreBench) {
    leave(&bench, b"k", ONE, Left::Landed, LONG).await;
    lead(&bench, b"k", ONE, LONG).await;
    leave(&bench, b"k", OTHER, Left::Landed, LONG).await;
    assert!(matches!(ask(&bench, claim(b"k", OTHER), LONG).await, Claimed::Waits { by: ONE, .. }));
    leave(&bench, b"k", ONE, Left::Empty, LONG).await;
    leave(&bench, b"k", ONE, Left::Landed, LONG).await;
    assert_eq!(ask(&bench, claim(b"k", OTHER), LONG).await, Claimed::Alone, "left once");
}

pub async fn what_counts_for_nothing_is_taken_over(bench: StoreBench) {
    lead(&bench, b"k", ONE, LONG).await;
    let over = Claim { past: Some(ONE), ..claim(b"k", OTHER) };
    assert_eq!(ask(&bench, over, LONG).await, Claimed::Leads);
    assert!(
        matches!(ask(&bench, claim(b"k", ONE), LONG).await, Claimed::Waits { by: OTHER, .. }),
        "it does not get it back by saying so"
    );
    leave(&bench, b"k", ONE, Left::Landed, LONG).await;
    assert!(matches!(ask(&bench, claim(b"k", Holder::new(3)), LONG).await, Claimed::Waits { by: OTHER, .. }));
}

pub async fn flights_are_not_entries(bench: StoreBench) {
    lead(&bench, b"k", ONE, LONG).await;
    leave(&bench, b"k", ONE, Left::Landed, LONG).await;
    assert_eq!(bench.store.get_many(&[b"k".to_vec()]).await.unwrap(), [None]);
    bench.store.remove_many(&[b"k".to_vec()]).await.unwrap();
    assert!(matches!(ask(&bench, claim(b"k", OTHER), LONG).await, Claimed::Landed { .. }));
}
