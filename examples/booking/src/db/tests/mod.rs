//! The book's promises, on both databases: no double booking whatever writes, and every change names exactly what it
//! touches.

mod ground;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::cached::CacheMode;
use crate::db::Database;
use crate::db::seed::{BranchPlan, CompanyPlan, SeededCompany, ServicePlan};
use crate::db::sqlite::schema::REFUSAL;
use crate::db::write;
use crate::domain::{AvailabilityQuery, DayKey, OpeningHours, Slot};
use crate::error::ServiceError;
use crate::testing::{Demo, monday};
use crate::time::Day;
use ground::{Ground, OUTBOX, both, on_postgres, on_sqlite};

/// A branch that never closes, two people, services from a quarter of an hour to ten hours.
fn always_open() -> CompanyPlan {
    let service = |duration_minutes| ServicePlan {
        name: format!("{duration_minutes} minutes"),
        duration_minutes,
        price_cents: 100,
    };
    CompanyPlan {
        name: "Always Open".to_owned(),
        services: [15, 45, 180, 600].map(service).to_vec(),
        branches: vec![BranchPlan {
            name: "One".to_owned(),
            step_minutes: 15,
            staff: vec!["Ada".to_owned(), "Ben".to_owned()],
            hours: (0..7).map(|weekday| OpeningHours { weekday, opens: 0, closes: 2_880 }).collect(),
        }],
        past: Vec::new(),
    }
}

/// What is shown, by service and hour.
type Shown = BTreeMap<(i64, i64), Vec<Slot>>;

/// Everything shown for four days around the Monday, and the days' versions.
async fn shown(database: &Database, company: &SeededCompany) -> (Shown, BTreeMap<DayKey, i64>) {
    let (mut by_hour, mut versions) = (Shown::new(), BTreeMap::new());
    for &service in &company.services {
        for day in (-2..=3).map(|days| monday().plus(days)) {
            let (company, branch) = (company.id, company.branches[0].id);
            let query = AvailabilityQuery { company, branch, service, day, hour: None };
            let read = database.availability(query).await.unwrap();
            versions.insert(read.day, read.version);
            for slot in read.slots {
                by_hour.entry((service, slot.starts.hour())).or_default().push(slot);
            }
        }
    }
    (by_hour, versions)
}

/// The hours in which anything differs.
fn changed_hours(before: &Shown, after: &Shown) -> BTreeSet<i64> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    keys.into_iter().filter(|key| before.get(key) != after.get(key)).map(|(_, hour)| *hour).collect()
}

#[derive(Clone, Debug)]
enum Change {
    Book { service: usize, staff: usize, starts: i64 },
    Move { which: usize, staff: usize, starts: i64 },
    Cancel { which: usize },
}

fn change() -> impl Strategy<Value = Change> {
    // Quarters of an hour over two days, so that many are near midnight.
    let starts = (-24_i64..120).prop_map(|quarter| quarter * 15);
    prop_oneof![
        3 => (0..4_usize, 0..2_usize, starts.clone()).prop_map(|(service, staff, starts)| Change::Book { service, staff, starts }),
        2 => (0..8_usize, 0..2_usize, starts).prop_map(|(which, staff, starts)| Change::Move { which, staff, starts }),
        1 => (0..8_usize).prop_map(|which| Change::Cancel { which }),
    ]
}

async fn names_what_it_touches(ground: Ground, changes: Vec<Change>) -> Result<(), TestCaseError> {
    let Ground { database, company, .. } = &ground;
    let staff = &company.branches[0].staff;
    let mut made = Vec::new();
    let mut before = shown(database, company).await;
    for change in changes {
        let change = match change {
            Change::Book { service, staff: who, starts } => {
                write::Change::Book(ground.request(service, Some(staff[who]), starts))
            }
            Change::Move { which, staff: who, starts } => match made.get(which) {
                Some(&id) => write::Change::Move { id, staff: Some(staff[who]), starts: monday().at(starts) },
                None => continue,
            },
            Change::Cancel { which } => match made.get(which) {
                Some(&id) => write::Change::Cancel(id),
                None => continue,
            },
        };
        let written = database.change(change, Some(OUTBOX)).await;
        let after = shown(database, company).await;
        match written {
            Ok(written) => {
                let named = &written.touched;
                let changed = changed_hours(&before.0, &after.0);
                prop_assert!(changed.is_subset(&named.hours), "{:?} beyond {:?}", changed, named.hours);
                let raised = after.1.iter().filter(|(day, version)| before.1.get(day) != Some(version));
                let raised: BTreeSet<DayKey> = raised.map(|(day, _)| *day).collect();
                let shown_days = |day: &DayKey| after.1.contains_key(day);
                prop_assert_eq!(raised, named.days().into_iter().filter(shown_days).collect());
                made.push(written.appointment.id);
            }
            Err(ServiceError::Taken { .. } | ServiceError::Cancelled(_)) => {
                prop_assert_eq!(&before, &after);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
        before = after;
    }
    Ok(())
}

#[test]
fn a_change_alters_availability_only_in_the_hours_it_names_and_raises_exactly_their_days() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let changes = || proptest::collection::vec(change(), 1..10);
    let config = |cases| Config { failure_persistence: None, ..Config::with_cases(cases) };
    let on_files = TestRunner::new(config(24)).run(&changes(), |changes| {
        runtime.block_on(async { names_what_it_touches(on_sqlite().await, changes).await })
    });
    on_files.unwrap();
    let on_a_server = TestRunner::new(config(4)).run(&changes(), |changes| {
        runtime.block_on(async {
            match on_postgres().await {
                Some(ground) => names_what_it_touches(ground, changes).await,
                None => Ok(()),
            }
        })
    });
    on_a_server.unwrap();
}

fn insert(verb: &str, ground: &Ground, from: i64, to: i64) -> String {
    let branch = &ground.company.branches[0];
    format!(
        "{verb} INTO appointment (company_id, branch_id, service_id, staff_id, customer, starts, ends, status, \
         booked_at, price_cents) VALUES ({}, {}, {}, {}, 'x', {}, {}, 'booked', 0, 0)",
        ground.company.id,
        branch.id,
        ground.company.services[0],
        branch.staff[0],
        monday().at(from).0,
        monday().at(to).0
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_of_any_program_can_make_two_appointments_overlap() {
    for ground in both().await {
        let staff = Some(ground.company.branches[0].staff[0]);
        let first = ground.book(2, staff, 600).await.unwrap().appointment;
        let other = ground.book(0, staff, 900).await.unwrap().appointment;
        let refusal = if ground.is_postgres() { "appointment_no_overlap" } else { REFUSAL };
        let of_sqlite = ["INSERT", "INSERT OR REPLACE", "INSERT OR IGNORE", "INSERT OR ROLLBACK"];
        let verbs = if ground.is_postgres() { &of_sqlite[..1] } else { &of_sqlite[..] };
        for verb in verbs {
            // Within, around, equal, overlapping either end, and just one minute.
            for (from, to) in [(630, 660), (500, 900), (600, 780), (590, 601), (779, 800), (650, 651)] {
                let error = ground.raw(&insert(verb, &ground, from, to)).await.unwrap_err();
                assert!(error.contains(refusal), "{verb} {from}..{to}: {error}");
            }
        }
        let moved = format!(
            "appointment SET starts = {}, ends = {} WHERE id = {}",
            first.starts.0 + 5,
            first.ends.0 + 5,
            other.id
        );
        let back = format!("appointment SET starts = {} WHERE id = {}", other.starts.0 - 150, other.id);
        let all = "appointment SET starts = 0, ends = 60";
        for update in [moved.as_str(), &back, all] {
            assert!(ground.raw(&format!("UPDATE {update}")).await.is_err(), "{update}");
        }
        if !ground.is_postgres() {
            for update in [format!("UPDATE OR REPLACE {back}"), format!("UPDATE OR IGNORE {all}")] {
                assert!(ground.raw(&update).await.is_err(), "{update}");
            }
        }
        // What touches without overlapping is fine, and so is a cancelled appointment's time.
        ground.raw(&insert("INSERT", &ground, 780, 800)).await.unwrap();
        ground.raw(&insert("INSERT", &ground, 590, 600)).await.unwrap();
        let set = |status| format!("UPDATE appointment SET status = '{status}' WHERE id = {}", first.id);
        ground.raw(&set("cancelled")).await.unwrap();
        ground.raw(&insert("INSERT", &ground, 620, 650)).await.unwrap();
        let back = ground.raw(&set("booked")).await.unwrap_err();
        assert!(back.contains(refusal), "nor can a cancelled one come back over it: {back}");
    }
}

/// Writers of other programs, who neither look before they write nor wait for each other: what the book's own lock on the
/// person would hide.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_overlapping_inserts_at_once_exactly_one_remains() {
    for ground in both().await {
        let ground = Arc::new(ground);
        let tasks: Vec<_> = (0..8)
            .map(|n| {
                let ground = Arc::clone(&ground);
                // Different starts and lengths, all over 10:40.
                tokio::spawn(
                    async move { ground.raw(&insert("INSERT", &ground, 600 + n * 5, 641 + n)).await },
                )
            })
            .collect();
        let mut won = 0;
        for task in tasks {
            won += i64::from(task.await.unwrap().is_ok());
        }
        assert_eq!(won, 1);
        assert_eq!(ground.number("SELECT count(*) FROM appointment").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_count_of_overlaps_finds_one_when_the_guard_is_taken_away() {
    for ground in both().await {
        ground
            .raw(if ground.is_postgres() {
                "ALTER TABLE appointment DROP CONSTRAINT appointment_no_overlap"
            } else {
                "DROP TRIGGER appointment_no_overlap_insert"
            })
            .await
            .unwrap();
        let staff = Some(ground.company.branches[0].staff[0]);
        ground.book(2, staff, 600).await.unwrap();
        assert_eq!(ground.database.overlaps().await.unwrap(), 0);
        ground.book(0, staff, 615).await.unwrap();
        assert_eq!(ground.database.overlaps().await.unwrap(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_of_one_branch_cannot_be_booked_at_another() {
    for ground in both().await {
        let stranger = ground.book(0, Some(99), 600).await.unwrap_err();
        assert!(matches!(stranger, ServiceError::NotFound { id: 99, .. }), "{stranger}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_that_fails_leaves_no_booking_behind() {
    for ground in both().await {
        ground.book(0, None, 600).await.unwrap();
        ground
            .raw(if ground.is_postgres() {
                "DROP FUNCTION larder.outbox_add"
            } else {
                "CREATE TRIGGER full BEFORE INSERT ON larder_journal BEGIN SELECT RAISE(ABORT, 'full'); END"
            })
            .await
            .unwrap();
        let failed = ground.book(0, None, 705).await.unwrap_err();
        assert!(matches!(failed, ServiceError::Cache(_)), "{failed}");
        assert_eq!(ground.number("SELECT count(*) FROM appointment").await, 1);
        assert_eq!(ground.number("SELECT max(version) FROM day_version").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_appointment_across_midnight_raises_both_days() {
    for ground in both().await {
        let written = ground.book(1, None, 1_425).await.unwrap();
        let days: Vec<Day> = written.days.iter().map(|(key, _)| key.day).collect();
        assert_eq!(days, [monday(), monday().plus(1)]);
        assert_eq!((written.days[0].1, written.company_version), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_databases_compute_the_same_figures() {
    let mut all = Vec::new();
    for ground in both().await {
        for (service, starts) in [(0, 600), (1, 705), (2, 1_425), (3, 3_000)] {
            ground.book(service, None, starts).await.unwrap();
        }
        ground.database.change(write::Change::Cancel(2), None).await.unwrap();
        let moved = write::Change::Move { id: 1, staff: None, starts: monday().at(630) };
        ground.database.change(moved, None).await.unwrap();
        all.push(ground.database.statistics(ground.company.id).await.unwrap());
    }
    let first = all[0].clone();
    assert_eq!((first.appointments, first.booked, first.moved, first.customers), (4, 3, 1, 1));
    assert_eq!((first.revenue_cents, first.weekdays.iter().sum::<i64>()), (300, 3));
    assert!(first.lead_days_mean > 0.5 && first.busiest.len() == 2, "{first:?}");
    assert!(all.iter().all(|figures| *figures == first), "{all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_want_one_slot_at_once_exactly_one_gets_it() {
    let demo = Arc::new(Demo::new(CacheMode::None).await);
    let query = demo.query(0, 0, monday());
    let slot = demo.slots(query).await[0];
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let (service, new) =
                (demo.service.clone(), demo.request(query, &slot.starts.to_string(), Some(slot.staff)));
            tokio::spawn(async move { service.book(new).await })
        })
        .collect();
    let (mut won, mut refused) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) if error.is_refusal() => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((won, refused), (1, 31));
    assert!(!demo.slots(query).await.contains(&slot));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_side_by_side_cannot_book_the_same_time() {
    for ground in both().await {
        let ground = Arc::new(ground);
        // Two of each: on SQLite processes are told apart by their connections.
        let mut attempts = Vec::new();
        for program in 0..4 {
            let database = Database::open(&ground.place, 1).await.unwrap();
            let ground = Arc::clone(&ground);
            attempts.push(tokio::spawn(async move {
                let staff = Some(ground.company.branches[0].staff[0]);
                let mut won = 0;
                for slot in 0..40 {
                    // Different lengths and starts, so that they overlap without being equal.
                    let new = ground.request(1, staff, slot * 45 + program % 3 * 15);
                    match database.change(write::Change::Book(new), Some(OUTBOX)).await {
                        Ok(_) => won += 1,
                        Err(ServiceError::Taken { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                won
            }));
        }
        let mut won = 0;
        for attempt in attempts {
            won += attempt.await.unwrap();
        }
        assert_eq!(ground.number("SELECT count(*) FROM appointment").await, won);
        assert_eq!(ground.database.overlaps().await.unwrap(), 0);
        assert!(won >= 20, "{won}");
    }
}
