//! What a change takes out of the cache: everything it touches, and nothing else.

use std::time::Instant;

use crate::cached::{CacheMode, Source};
use crate::domain::{AvailabilityQuery, Slot};
use crate::testing::{Demo, monday, postgres};
use crate::time::Minute;
use crate::workload::oracle::Oracle;
use crate::workload::tally::BOUND;

impl Demo {
    async fn source(&self, query: AvailabilityQuery) -> Source {
        self.service.availability(query).await.unwrap().source
    }

    async fn warm(&self, queries: &[AvailabilityQuery]) {
        for query in queries {
            self.source(*query).await;
            assert_eq!(self.source(*query).await, Source::L1, "{query:?}");
        }
    }

    /// The queries that are no longer answered from memory.
    async fn dropped(&self, queries: &[AvailabilityQuery]) -> Vec<AvailabilityQuery> {
        let mut dropped = Vec::new();
        for query in queries {
            if self.source(*query).await != Source::L1 {
                dropped.push(*query);
            }
        }
        dropped
    }

    async fn book(&self, query: AvailabilityQuery, starts: &str) -> i64 {
        let written = self.service.book(self.request(query, starts, None)).await.unwrap();
        written.appointment.id
    }
}

/// The day and every hour of it.
fn day_and_hours(query: AvailabilityQuery) -> Vec<AvailabilityQuery> {
    let hours = (0..24).map(|hour| AvailabilityQuery { hour: Some(hour), ..query });
    std::iter::once(query).chain(hours).collect()
}

fn hours(queries: &[AvailabilityQuery], day: crate::time::Day) -> Vec<Option<u8>> {
    queries.iter().filter(|query| query.day == day).map(|query| query.hour).collect()
}

#[tokio::test]
async fn a_booking_drops_its_day_and_the_hours_before_of_and_after() {
    let demo = Demo::new(CacheMode::Larder).await;
    let query = demo.query(0, 0, monday());
    let queries = day_and_hours(query);
    demo.warm(&queries).await;
    demo.book(query, "2027-03-01T10:00").await;
    let dropped = demo.dropped(&queries).await;
    assert_eq!(hours(&dropped, monday()), [None, Some(9), Some(10), Some(11)]);
}

#[tokio::test]
async fn a_booking_near_midnight_drops_the_neighbouring_day_too() {
    let demo = Demo::new(CacheMode::Larder).await;
    // Company 2 is open from 16:00 to 02:00.
    let (today, tomorrow) = (demo.query(1, 1, monday()), demo.query(1, 1, monday().plus(1)));
    let queries = [day_and_hours(today), day_and_hours(tomorrow)].concat();
    demo.warm(&queries).await;
    demo.book(today, "2027-03-01T23:30").await;
    let dropped = demo.dropped(&queries).await;
    assert_eq!(hours(&dropped, monday()), [None, Some(22), Some(23)]);
    assert_eq!(hours(&dropped, monday().plus(1)), [None, Some(0)]);

    demo.warm(&queries).await;
    demo.book(tomorrow, "2027-03-02T00:30").await;
    let dropped = demo.dropped(&queries).await;
    assert_eq!(hours(&dropped, monday()), [None, Some(23)]);
    assert_eq!(hours(&dropped, monday().plus(1)), [None, Some(0), Some(1)]);
}

#[tokio::test]
async fn a_booking_leaves_other_days_branches_and_companies_alone() {
    let demo = Demo::new(CacheMode::Larder).await;
    let query = demo.query(0, 0, monday());
    let other_branch = AvailabilityQuery { branch: demo.companies[0].branches[1].id, ..query };
    let others = [demo.query(0, 0, monday().plus(1)), other_branch, demo.query(1, 0, monday())];
    demo.warm(&others).await;
    let (mine, theirs) = (demo.companies[0].id, demo.companies[1].id);
    let branch = demo.companies[0].branches[0].id;
    for company in [mine, theirs] {
        demo.service.statistics(company).await.unwrap();
        assert_eq!(demo.service.statistics(company).await.unwrap().source, Source::L1);
    }
    demo.service.services(mine).await.unwrap();
    demo.service.staff(mine, branch).await.unwrap();

    demo.book(query, "2027-03-01T10:00").await;
    assert_eq!(demo.dropped(&others).await, []);
    assert_eq!(demo.service.statistics(theirs).await.unwrap().source, Source::L1);
    assert_eq!(demo.service.services(mine).await.unwrap().source, Source::L1);
    assert_eq!(demo.service.staff(mine, branch).await.unwrap().source, Source::L1);
    let fresh = demo.service.statistics(mine).await.unwrap();
    assert_eq!((fresh.source, fresh.booked), (Source::Origin, 1));
}

#[tokio::test]
async fn moving_drops_the_old_and_the_new_slot() {
    let demo = Demo::new(CacheMode::Larder).await;
    let (today, later) = (demo.query(0, 0, monday()), demo.query(0, 0, monday().plus(2)));
    let id = demo.book(today, "2027-03-01T10:00").await;
    let queries = [day_and_hours(today), day_and_hours(later)].concat();
    demo.warm(&queries).await;
    demo.service.reschedule(id, None, Minute::parse("2027-03-03T15:00").unwrap()).await.unwrap();
    let dropped = demo.dropped(&queries).await;
    assert_eq!(hours(&dropped, monday()), [None, Some(9), Some(10), Some(11)]);
    assert_eq!(hours(&dropped, monday().plus(2)), [None, Some(14), Some(15), Some(16)]);
}

#[tokio::test]
async fn cancelling_drops_the_slot_it_gives_back() {
    let demo = Demo::new(CacheMode::Larder).await;
    let query = demo.query(0, 0, monday());
    let id = demo.book(query, "2027-03-01T10:00").await;
    let queries = day_and_hours(query);
    demo.warm(&queries).await;
    demo.service.cancel(id).await.unwrap();
    let dropped = demo.dropped(&queries).await;
    assert_eq!(hours(&dropped, monday()), [None, Some(9), Some(10), Some(11)]);
}

#[tokio::test]
async fn a_refused_booking_drops_nothing() {
    let demo = Demo::new(CacheMode::Larder).await;
    let query = demo.query(0, 0, monday());
    let slot = demo.slots(query).await[0];
    let starts = slot.starts.to_string();
    demo.service.book(demo.request(query, &starts, Some(slot.staff))).await.unwrap();
    let queries = day_and_hours(query);
    demo.warm(&queries).await;
    let refused = demo.service.book(demo.request(query, &starts, Some(slot.staff))).await.unwrap_err();
    assert!(refused.is_refusal(), "{refused}");
    assert_eq!(demo.dropped(&queries).await, []);
}

/// Books the first slot shown and looks again: what is shown, and what the oracle says of it.
async fn look_after_booking(mode: CacheMode) -> (Demo, Slot, Vec<Slot>, bool) {
    let demo = Demo::new(mode).await;
    let oracle = Oracle::new();
    let query = demo.query(0, 0, monday());
    let slot = demo.slots(query).await[0];
    let new = demo.request(query, &slot.starts.to_string(), Some(slot.staff));
    oracle.acknowledged(&demo.service.book(new).await.unwrap());
    let began = Instant::now();
    let read = demo.service.availability(query).await.unwrap();
    let verdict = oracle.judge_availability(None, &read, began);
    assert_eq!(verdict.stale_for.is_some(), verdict.offered_taken);
    let slots = read.slots.clone();
    drop(read);
    (demo, slot, slots, verdict.offered_taken)
}

#[tokio::test]
async fn with_expiry_only_a_taken_slot_is_offered_again_and_the_oracle_sees_it() {
    let (_demo, slot, slots, offered_taken) = look_after_booking(CacheMode::Ttl).await;
    assert!(slots.contains(&slot) && offered_taken);
}

#[tokio::test]
async fn with_larder_or_no_cache_a_taken_slot_is_gone_and_the_oracle_agrees() {
    for mode in [CacheMode::Larder, CacheMode::None] {
        let (_demo, slot, slots, offered_taken) = look_after_booking(mode).await;
        assert!(!slots.contains(&slot) && !offered_taken, "{mode:?}");
    }
}

#[tokio::test]
async fn what_does_not_exist_stays_an_error_of_its_kind_through_the_cache() {
    for mode in [CacheMode::None, CacheMode::Ttl, CacheMode::Larder] {
        let demo = Demo::new(mode).await;
        let error = demo.service.services(99).await.unwrap_err();
        assert_eq!(error.to_string(), "there is no company 99", "{mode:?}");
    }
}

#[tokio::test]
async fn a_restarted_service_starts_warm_and_without_what_was_written_meanwhile() {
    let demo = Demo::new(CacheMode::Larder).await;
    let (today, tomorrow) = (demo.query(0, 0, monday()), demo.query(0, 0, monday().plus(1)));
    let slot = demo.slots(today).await[0];
    demo.slots(tomorrow).await;
    demo.service.close().await;

    // Someone books while this service is down, through the outbox as always.
    let other = demo.reopened(CacheMode::Larder, "other.cache.db").await;
    let new = demo.request(today, &slot.starts.to_string(), Some(slot.staff));
    other.book(new).await.unwrap();
    other.close().await;

    let again = demo.reopened(CacheMode::Larder, "cache.db").await;
    let unchanged = again.availability(tomorrow).await.unwrap();
    assert_eq!(unchanged.source, Source::L2, "warm");
    let changed = again.availability(today).await.unwrap();
    assert!(changed.source == Source::Origin && !changed.slots.contains(&slot), "not stale");
    again.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_service_on_the_file_sees_a_booking_within_the_bound() {
    let demo = Demo::new(CacheMode::Larder).await;
    let other = demo.reopened(CacheMode::Larder, "other.cache.db").await;
    let oracle = Oracle::new();
    let query = demo.query(0, 0, monday());
    let slot = other.availability(query).await.unwrap().slots[0];
    assert_eq!(other.availability(query).await.unwrap().source, Source::L1);
    let new = demo.request(query, &slot.starts.to_string(), Some(slot.staff));
    oracle.acknowledged(&demo.service.book(new).await.unwrap());
    loop {
        let began = Instant::now();
        let read = other.availability(query).await.unwrap();
        match oracle.judge_availability(None, &read, began).stale_for {
            Some(staleness) => assert!(staleness < BOUND, "{staleness:?}"),
            None => break,
        }
        tokio::task::yield_now().await;
    }
    assert!(!other.availability(query).await.unwrap().slots.contains(&slot));
    other.close().await;
}

/// Two services on each database that there is.
async fn pairs() -> Vec<(Demo, std::sync::Arc<crate::service::BookingService>)> {
    let mut demos = vec![Demo::new(CacheMode::Larder).await];
    if let Some(place) = postgres().await {
        demos.push(Demo::on(place, tempfile::tempdir().unwrap(), CacheMode::Larder).await);
    }
    let mut pairs = Vec::new();
    for demo in demos {
        let other = demo.reopened(CacheMode::Larder, "other.cache.db").await;
        pairs.push((demo, other));
    }
    pairs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_brings_the_token_of_a_booking_to_another_service_sees_the_booking_there() {
    for (demo, other) in pairs().await {
        let query = demo.query(0, 0, monday());
        for slot in demo.slots(query).await.into_iter().take(20) {
            assert!(other.availability(query).await.unwrap().slots.contains(&slot));
            let new = demo.request(query, &slot.starts.to_string(), Some(slot.staff));
            let written = demo.service.book(new).await.unwrap();
            other.reach(&written.token.unwrap()).await.unwrap();
            assert!(!other.availability(query).await.unwrap().slots.contains(&slot), "{slot:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_another_service_for_the_newest_sees_a_booking_that_was_answered() {
    for (demo, other) in pairs().await {
        let query = demo.query(0, 0, monday());
        for slot in demo.slots(query).await.into_iter().take(20) {
            assert!(other.availability(query).await.unwrap().slots.contains(&slot));
            let new = demo.request(query, &slot.starts.to_string(), Some(slot.staff));
            demo.service.book(new).await.unwrap();
            assert!(!other.availability_now(query).await.unwrap().slots.contains(&slot), "{slot:?}");
        }
    }
}
