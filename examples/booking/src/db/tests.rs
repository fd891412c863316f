//! The book's promises: no double booking whatever writes, and every change names exactly what it touches.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Barrier};

use proptest::prelude::*;
use rusqlite::{Connection, Transaction};

use crate::cached::CacheMode;
use crate::db::seed::{BranchPlan, CompanyPlan, SeededCompany, ServicePlan, seed};
use crate::db::write::{book, cancel, reschedule};
use crate::db::{Durability, OriginCounts, read, schema};
use crate::domain::{AvailabilityQuery, NewAppointment, OpeningHours, Slot, Touched};
use crate::error::ServiceError;
use crate::testing::{Demo, monday};
use crate::time::Day;

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

fn always_open_book() -> (tempfile::TempDir, Connection, SeededCompany) {
    let directory = tempfile::tempdir().unwrap();
    let mut connection = schema::open_writer(&directory.path().join("app.db"), Durability::Process).unwrap();
    let tx = connection.transaction().unwrap();
    let company = seed(&tx, &[always_open()]).unwrap().remove(0);
    tx.commit().unwrap();
    (directory, connection, company)
}

fn request(company: &SeededCompany, service: usize, staff: Option<i64>, starts: i64) -> NewAppointment {
    NewAppointment {
        company: company.id,
        branch: company.branches[0].id,
        service: company.services[service],
        staff,
        customer: "Ada".to_owned(),
        starts: monday().at(starts),
        booked_at: monday().start(),
    }
}

fn no_outbox(_: &Transaction<'_>, _: &Touched, _: &'static str) -> Result<(), ServiceError> {
    Ok(())
}

/// Everything shown for four days around the Monday, by service and hour.
fn shown(tx: &Transaction<'_>, company: &SeededCompany) -> BTreeMap<(i64, i64), Vec<Slot>> {
    let mut by_hour: BTreeMap<(i64, i64), Vec<Slot>> = BTreeMap::new();
    for &service in &company.services {
        for day in (-2..=3).map(|days| monday().plus(days)) {
            let (company, branch) = (company.id, company.branches[0].id);
            let query = AvailabilityQuery { company, branch, service, day, hour: None };
            for slot in read::availability(tx, &query, &OriginCounts::default()).unwrap().slots {
                by_hour.entry((service, slot.starts.hour())).or_default().push(slot);
            }
        }
    }
    by_hour
}

/// The hours in which anything differs.
fn changed_hours(
    before: &BTreeMap<(i64, i64), Vec<Slot>>,
    after: &BTreeMap<(i64, i64), Vec<Slot>>,
) -> BTreeSet<i64> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    keys.into_iter().filter(|key| before.get(key) != after.get(key)).map(|(_, hour)| *hour).collect()
}

fn versions(tx: &Transaction<'_>) -> BTreeMap<i64, i64> {
    let mut statement = tx.prepare("SELECT day, version FROM day_version").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_change_alters_availability_only_in_the_hours_it_names_and_raises_exactly_their_days(
        changes in proptest::collection::vec(change(), 1..10)
    ) {
        let (_directory, mut connection, company) = always_open_book();
        let mut made = Vec::new();
        for change in changes {
            let tx = connection.transaction().unwrap();
            let (before, versions_before) = (shown(&tx, &company), versions(&tx));
            let named = RefCell::new(Vec::new());
            let outbox = |_: &Transaction<'_>, touched: &Touched, _: &'static str| {
                named.borrow_mut().push(touched.clone());
                Ok(())
            };
            let staff = &company.branches[0].staff;
            let written = match change {
                Change::Book { service, staff: who, starts } => {
                    book(&tx, &request(&company, service, Some(staff[who]), starts), &outbox)
                }
                Change::Move { which, staff: who, starts } => match made.get(which) {
                    Some(&id) => reschedule(&tx, id, Some(staff[who]), monday().at(starts), &outbox),
                    None => continue,
                },
                Change::Cancel { which } => match made.get(which) {
                    Some(&id) => cancel(&tx, id, &outbox),
                    None => continue,
                },
            };
            match written {
                Ok(written) => {
                    let named = named.into_inner();
                    prop_assert_eq!(named.len(), 1);
                    let changed = changed_hours(&before, &shown(&tx, &company));
                    prop_assert!(changed.is_subset(&named[0].hours), "{:?} beyond {:?}", changed, named[0].hours);
                    let raised: BTreeSet<i64> = versions(&tx).into_iter()
                        .filter(|(day, version)| versions_before.get(day) != Some(version))
                        .map(|(day, _)| day)
                        .collect();
                    let days: BTreeSet<i64> = named[0].days().iter().map(|key| i64::from(key.day.0)).collect();
                    prop_assert_eq!(raised, days);
                    made.push(written.appointment.id);
                    tx.commit().unwrap();
                }
                Err(ServiceError::Taken { .. } | ServiceError::Cancelled(_)) => {}
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }
}

#[test]
fn no_statement_of_any_program_can_make_two_appointments_overlap() {
    let (directory, mut connection, company) = always_open_book();
    let staff = company.branches[0].staff[0];
    let tx = connection.transaction().unwrap();
    let first = book(&tx, &request(&company, 2, Some(staff), 600), &no_outbox).unwrap().appointment;
    let other = book(&tx, &request(&company, 0, Some(staff), 900), &no_outbox).unwrap().appointment;
    tx.commit().unwrap();

    // Another program, without our checks.
    let raw = Connection::open(directory.path().join("app.db")).unwrap();
    let insert = |verb: &str, from: i64, to: i64| {
        raw.execute(
            &format!(
                "{verb} INTO appointment (company_id, branch_id, service_id, staff_id, customer, starts, ends, status, \
                 booked_at, price_cents) VALUES (?1, ?2, ?3, ?4, 'x', ?5, ?6, 'booked', 0, 0)"
            ),
            (company.id, first.branch, first.service, staff, monday().at(from).0, monday().at(to).0),
        )
    };
    for verb in ["INSERT", "INSERT OR REPLACE", "INSERT OR IGNORE", "INSERT OR ROLLBACK"] {
        // Within, around, equal, overlapping either end, and just one minute.
        for (from, to) in [(630, 660), (500, 900), (600, 780), (590, 601), (779, 800), (650, 651)] {
            let error = insert(verb, from, to).unwrap_err().to_string();
            assert!(error.contains(schema::REFUSAL), "{verb} {from}..{to}: {error}");
        }
    }
    for update in [
        format!(
            "UPDATE appointment SET starts = {}, ends = {} WHERE id = {}",
            first.starts.0 + 5,
            first.ends.0 + 5,
            other.id
        ),
        format!(
            "UPDATE OR REPLACE appointment SET starts = {} WHERE id = {}",
            other.starts.0 - 150,
            other.id
        ),
        "UPDATE OR IGNORE appointment SET starts = 0, ends = 60".to_owned(),
    ] {
        assert!(raw.execute(&update, []).is_err(), "{update}");
    }
    // What touches without overlapping is fine, and so is a cancelled appointment's time.
    insert("INSERT", 780, 800).unwrap();
    insert("INSERT", 590, 600).unwrap();
    raw.execute("UPDATE appointment SET status = 'cancelled' WHERE id = ?1", [first.id]).unwrap();
    insert("INSERT", 620, 650).unwrap();
    let back = raw.execute("UPDATE appointment SET status = 'booked' WHERE id = ?1", [first.id]);
    assert!(
        back.unwrap_err().to_string().contains(schema::REFUSAL),
        "nor can a cancelled one come back over it"
    );
}

#[test]
fn the_count_of_overlaps_finds_one_when_the_guard_is_taken_away() {
    let (_directory, mut connection, company) = always_open_book();
    connection.execute_batch("DROP TRIGGER appointment_no_overlap_insert").unwrap();
    let staff = company.branches[0].staff[0];
    let tx = connection.transaction().unwrap();
    book(&tx, &request(&company, 2, Some(staff), 600), &no_outbox).unwrap();
    assert_eq!(read::overlaps(&tx).unwrap(), 0);
    book(&tx, &request(&company, 0, Some(staff), 615), &no_outbox).unwrap();
    assert_eq!(read::overlaps(&tx).unwrap(), 1);
}

#[test]
fn staff_of_one_branch_cannot_be_booked_at_another() {
    let (_directory, mut connection, company) = always_open_book();
    let tx = connection.transaction().unwrap();
    let stranger = book(&tx, &request(&company, 0, Some(99), 600), &no_outbox).unwrap_err();
    assert!(matches!(stranger, ServiceError::NotFound { id: 99, .. }), "{stranger}");
}

#[test]
fn an_outbox_that_fails_leaves_no_booking_behind() {
    let (_directory, mut connection, company) = always_open_book();
    let tx = connection.transaction().unwrap();
    let failing =
        |_: &Transaction<'_>, _: &Touched, _: &'static str| Err(ServiceError::Cache("full".to_owned()));
    assert!(book(&tx, &request(&company, 0, None, 600), &failing).is_err());
    drop(tx);
    let left: i64 = connection.query_row("SELECT count(*) FROM appointment", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
    let raised: i64 = connection.query_row("SELECT count(*) FROM day_version", [], |row| row.get(0)).unwrap();
    assert_eq!(raised, 0);
}

#[test]
fn an_appointment_across_midnight_raises_both_days() {
    let (_directory, mut connection, company) = always_open_book();
    let tx = connection.transaction().unwrap();
    let written = book(&tx, &request(&company, 1, None, 1_425), &no_outbox).unwrap();
    let days: Vec<Day> = written.days.iter().map(|(key, _)| key.day).collect();
    assert_eq!(days, [monday(), monday().plus(1)]);
    assert_eq!((written.days[0].1, written.company_version), (1, 1));
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

#[test]
fn two_processes_on_one_file_cannot_book_the_same_time() {
    let (directory, connection, company) = always_open_book();
    drop(connection);
    let path = directory.path().join("app.db");
    let barrier = Arc::new(Barrier::new(2));
    let attempts: Vec<_> = (0..2)
        .map(|process| {
            let (path, barrier, company) = (path.clone(), Arc::clone(&barrier), company.clone());
            std::thread::spawn(move || {
                let mut connection = schema::open_writer(&path, Durability::Process).unwrap();
                barrier.wait();
                let staff = company.branches[0].staff[0];
                let mut won = 0;
                for slot in 0..40 {
                    let tx = connection
                        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
                        .unwrap();
                    // Different lengths and starts, so that they overlap without being equal.
                    let starts = slot * 45 + process * 15;
                    match book(&tx, &request(&company, 1, Some(staff), starts), &no_outbox) {
                        Ok(_) => {
                            tx.commit().unwrap();
                            won += 1;
                        }
                        Err(ServiceError::Taken { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                won
            })
        })
        .collect();
    let won: i64 = attempts.into_iter().map(|attempt| attempt.join().unwrap()).sum();
    let connection = Connection::open(&path).unwrap();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM appointment"), won);
    let overlaps = "SELECT count(*) FROM appointment AS a JOIN appointment AS b ON a.staff_id = b.staff_id \
                    AND a.id < b.id AND a.starts < b.ends AND b.starts < a.ends";
    assert_eq!(count(overlaps), 0);
    assert!(won >= 20, "{won}");
}
