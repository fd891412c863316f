//! What the importer makes of good, bad and foreign files.

use super::*;

const HEADER: &str = "hotel,lead_time,arrival_date_year,arrival_date_month,arrival_date_day_of_month,\
    reserved_room_type,booking_changes,reservation_status,reservation_status_date";

fn import_rows(rows: &[&str]) -> Result<Imported, ImportError> {
    let text = format!("{HEADER}\n{}\n", rows.join("\n"));
    import_from(text.as_bytes(), "test.csv")
}

fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

#[test]
fn a_booking_is_made_before_arrival_moved_and_cancelled_on_its_date() {
    let imported = import_rows(&["City,30,2015,July,31,A,2,Canceled,7/20/2015"]).unwrap();
    let history = imported.history;
    assert_eq!(history.companies[0].name, "City");
    assert_eq!(history.companies[0].branches[0].name, "Room type A");
    assert_eq!(history.bookings[0].day, day("2015-07-31"));
    let steps: Vec<(Day, Step)> = history.events.iter().map(|event| (event.at.day(), event.step)).collect();
    assert_eq!(steps.len(), 4);
    assert_eq!(steps[0], (day("2015-07-01"), Step::Book));
    assert!(matches!(steps[1].1, Step::Reschedule { day: to } if to == day("2015-07-31")));
    assert!(matches!(steps[2].1, Step::Reschedule { .. }));
    assert_eq!(steps[3], (day("2015-07-20"), Step::Cancel));
    assert!(history.events.is_sorted_by_key(|event| event.at));
}

#[test]
fn a_booking_made_on_the_day_itself_keeps_its_steps_in_order() {
    let imported = import_rows(&["City,0,2015,July,1,A,20,Canceled,2015-07-01"]).unwrap();
    let steps: Vec<Step> = imported.history.events.iter().map(|event| event.step).collect();
    assert_eq!(steps.len(), 22);
    assert_eq!(steps[0], Step::Book);
    assert_eq!(steps[21], Step::Cancel);
}

#[test]
fn malformed_rows_are_named_by_line_and_reason_and_skipped() {
    let imported = import_rows(&[
        "City,30,2015,July,31,A,0,Check-Out,NULL",
        "City,soon,2015,July,31,A,0,Check-Out,7/31/2015",
        "City,NULL,2015,July,31,A,0,Check-Out,7/31/2015",
        "City,1,2015,Juli,31,A,0,Check-Out,7/31/2015",
        "City,1,2015,June,31,A,0,Check-Out,7/31/2015",
        "City,1,2015,July,31,A,0,Canceled,NULL",
        "City,1,2015,July,31,A,0,Canceled,2015-07-01",
        "City,1,2015,July,31,A,0,Vanished,2015-07-01",
        "City,1,2015,July,31,A,0,Check-Out",
        "City,-1,2015,July,31,A,0,Check-Out,NULL",
    ])
    .unwrap();
    assert_eq!(imported.history.bookings.len(), 1);
    assert_eq!(imported.malformed_total, 9);
    let reasons: Vec<String> =
        imported.malformed.iter().map(|row| format!("line {}: {}", row.line, row.reason)).collect();
    let expected = [
        "line 3: field `lead_time`: got \"soon\", expected a whole number from 0 to 3650",
        "line 4: field `lead_time`: absent, expected a whole number from 0 to 3650",
        "line 5: field `arrival_date_month`: got \"Juli\", expected an English month name",
        "line 6: arrival 31 June 2015: there is no such date",
        "line 7: field `reservation_status_date`: absent, expected the date of the cancellation, as 2015-07-01 or 7/1/2015",
        "line 8: cancelled on 2015-07-01, before it was booked on 2015-07-30",
        "line 9: field `reservation_status`: got \"Vanished\", expected Canceled, Check-Out or No-Show",
        "line 10: it has 8 fields, expected 9",
        "line 11: field `lead_time`: got \"-1\", expected a whole number from 0 to 3650",
    ];
    assert_eq!(reasons, expected);
}

#[test]
fn bytes_that_are_not_text_are_a_malformed_row() {
    let mut text = format!("{HEADER}\nCity,1,2015,July,31,A,0,Check-Out,NULL\n").into_bytes();
    text.extend(b"C\xff\xfe,1,2015,July,31,A,0,Check-Out,NULL\n");
    let imported = import_from(text.as_slice(), "test.csv").unwrap();
    assert_eq!(imported.malformed, [Malformed { line: 3, reason: "field 1 is not UTF-8".to_owned() }]);
}

#[test]
fn only_the_first_malformed_rows_are_kept_but_all_are_counted() {
    let mut rows = vec!["City,1,2015,July,31,A,0,Check-Out,NULL"];
    rows.extend(["x,x,x,x,x,x,x,x,x"; MALFORMED_KEPT_MAX + 50]);
    let imported = import_rows(&rows).unwrap();
    assert_eq!(
        (imported.malformed_total, imported.malformed.len()),
        (MALFORMED_KEPT_MAX as u64 + 50, MALFORMED_KEPT_MAX)
    );
}

#[test]
fn a_file_with_other_columns_is_refused_with_what_was_expected() {
    let error = import_from("hotel,nights\nCity,3\n".as_bytes(), "stays.csv").unwrap_err().to_string();
    assert!(
        error.starts_with("bookings file stays.csv: columns missing: lead_time, arrival_date_year"),
        "{error}"
    );
    assert!(error.contains("expected a header row with at least: hotel, lead_time"), "{error}");
}

#[test]
fn a_file_without_a_usable_row_is_refused_with_the_first_reason() {
    let error = import_rows(&["City,x,2015,July,31,A,0,Check-Out,NULL"]).unwrap_err().to_string();
    assert!(error.contains("1 malformed, the first on line 2: field `lead_time`"), "{error}");
    assert!(matches!(import_rows(&[]), Err(ImportError::Empty { malformed: 0, .. })));
    assert!(matches!(import_from(&b""[..], "empty.csv"), Err(ImportError::Columns { .. })));
}

#[test]
fn a_missing_file_is_refused_by_name() {
    let error = import(Path::new("/no/such/bookings.csv")).unwrap_err().to_string();
    assert!(error.contains("/no/such/bookings.csv"), "{error}");
}

#[test]
fn columns_may_come_in_any_order_and_with_a_byte_order_mark() {
    let text = "\u{feff}reservation_status_date,hotel,agent,lead_time,arrival_date_year,arrival_date_month,\
        arrival_date_day_of_month,reserved_room_type,booking_changes,reservation_status\n\
        NULL,City,NULL,1,2015,July,31,A,0,No-Show\n";
    assert_eq!(import_from(text.as_bytes(), "test.csv").unwrap().history.bookings.len(), 1);
}

#[test]
fn the_public_file_is_read_whole() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/hotel_bookings.csv");
    let path = if path.exists() { path } else { "/work/shared/data/hotel_bookings.csv".into() };
    if !path.exists() {
        eprintln!("SKIPPED the_public_file_is_read_whole: no file at {}", path.display());
        return;
    }
    let imported = import(&path).unwrap();
    assert_eq!((imported.malformed_total, imported.history.bookings.len()), (0, 14_938));
    let count =
        |wanted: fn(&Step) -> bool| imported.history.events.iter().filter(|e| wanted(&e.step)).count();
    assert_eq!(count(|step| *step == Step::Cancel), 7_793);
    assert_eq!(count(|step| matches!(step, Step::Reschedule { .. })), 3_124);
    let names: Vec<&str> = imported.history.companies.iter().map(|company| company.name.as_str()).collect();
    assert_eq!(names, ["City Hotel", "Resort Hotel"]);
}
