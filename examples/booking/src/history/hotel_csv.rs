//! Reads the public "Hotel booking demand" CSV as a history: company = hotel, branch = room type, day = arrival.
//!
//! The load generator calls it for `--bookings FILE`. A booking is made `lead_time` days before arrival, moved
//! `booking_changes` times and cancelled on its date. Malformed rows are counted and skipped; a file without the
//! columns is refused. It never prints.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder, StringRecord};

use crate::db::seed::{BranchPlan, CompanyPlan, ServicePlan};
use crate::domain::OpeningHours;
use crate::history::hotel_row::{COLUMNS, Header, HotelBooking};
use crate::history::{Event, History, PlannedBooking, Step, in_time_order};
use crate::time::{DAY_MINUTES, Day};

/// How many malformed rows are kept with their reasons; all are counted.
const MALFORMED_KEPT_MAX: usize = 1_000;
/// Arrivals are received from 14:00 to 02:00, half an hour each.
const DESK_OPENS: i64 = 14 * 60;
const DESK_CLOSES: i64 = 26 * 60;
const ARRIVAL_MINUTES: i64 = 30;

/// Why a file cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error("bookings file {path}: {reason}")]
    Unreadable { path: String, reason: String },
    #[error(
        "bookings file {path}: columns missing: {missing}; expected a header row with at least: {expected}"
    )]
    Columns { path: String, missing: String, expected: String },
    #[error(
        "bookings file {path}: no usable row ({malformed} malformed{first}); expected one booking per row"
    )]
    Empty { path: String, malformed: u64, first: String },
}

/// A row that was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The line it begins on, from 1.
    pub(crate) line: u64,
    pub(crate) reason: String,
}

/// A history from a file, and what was skipped on the way.
#[derive(Clone, Debug)]
pub(crate) struct Imported {
    pub(crate) history: History,
    pub(crate) malformed_total: u64,
    /// The first few of them.
    pub(crate) malformed: Vec<Malformed>,
}

/// Reads a file.
///
/// # Errors
/// When it cannot be read, lacks columns, or has no usable row.
pub(crate) fn import(path: &Path) -> Result<Imported, ImportError> {
    let shown = path.display().to_string();
    let unreadable =
        |error: std::io::Error| ImportError::Unreadable { path: shown.clone(), reason: error.to_string() };
    import_from(File::open(path).map_err(unreadable)?, &shown)
}

fn import_from(input: impl Read, path: &str) -> Result<Imported, ImportError> {
    let unreadable =
        |error: csv::Error| ImportError::Unreadable { path: path.to_owned(), reason: error.to_string() };
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(input);
    let names = StringRecord::from_byte_record_lossy(reader.byte_headers().map_err(unreadable)?.clone());
    let header = Header::find(&names).map_err(|missing| ImportError::Columns {
        path: path.to_owned(),
        missing: missing.join(", "),
        expected: COLUMNS.join(", "),
    })?;
    let mut rows = Vec::new();
    let mut malformed = Vec::new();
    let mut malformed_total = 0;
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(unreadable)? {
        match read_row(&header, &record) {
            Ok(row) => rows.push(row),
            Err(reason) => {
                malformed_total += 1;
                if malformed.len() < MALFORMED_KEPT_MAX {
                    malformed
                        .push(Malformed { line: record.position().map_or(0, csv::Position::line), reason });
                }
            }
        }
    }
    if rows.is_empty() {
        let first = malformed.first().map(|row| format!(", the first on line {}: {}", row.line, row.reason));
        let first = first.unwrap_or_default();
        return Err(ImportError::Empty { path: path.to_owned(), malformed: malformed_total, first });
    }
    Ok(Imported { history: history(path, &rows), malformed_total, malformed })
}

fn read_row(header: &Header, record: &ByteRecord) -> Result<HotelBooking, String> {
    let record = StringRecord::from_byte_record(record.clone())
        .map_err(|error| format!("field {} is not UTF-8", error.utf8_error().field() + 1))?;
    header.row(&record)
}

fn history(path: &str, rows: &[HotelBooking]) -> History {
    let hotels = arrivals(rows);
    let place = |row: &HotelBooking| -> Option<(usize, usize)> {
        let company = hotels.keys().position(|hotel| *hotel == row.hotel)?;
        let branch = hotels.get(row.hotel.as_str())?.keys().position(|room| *room == row.room_type)?;
        Some((company, branch))
    };
    let mut bookings = Vec::with_capacity(rows.len());
    let mut events = Vec::with_capacity(rows.len() * 2);
    for row in rows {
        let Some((company, branch)) = place(row) else { continue };
        let booking = bookings.len();
        let customer = u32::try_from(booking).unwrap_or(u32::MAX);
        bookings.push(PlannedBooking { company, branch, service: 0, day: row.arrival, customer });
        steps_of(row, booking, &mut events);
    }
    let companies = hotels.iter().map(|(hotel, rooms)| company(hotel, rooms)).collect();
    History { source: path.to_owned(), companies, bookings, events: in_time_order(events) }
}

/// For each hotel and room type, the most arrivals on one day.
fn arrivals(rows: &[HotelBooking]) -> BTreeMap<&str, BTreeMap<&str, usize>> {
    let mut by_day: BTreeMap<(&str, &str, Day), usize> = BTreeMap::new();
    for row in rows {
        *by_day.entry((&row.hotel, &row.room_type, row.arrival)).or_default() += 1;
    }
    let mut hotels: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for ((hotel, room_type, _), arrivals) in by_day {
        let most = hotels.entry(hotel).or_default().entry(room_type).or_default();
        *most = arrivals.max(*most);
    }
    hotels
}

/// The data name no rooms or desks, so a branch gets as many desks as its busiest day needs, and one more.
fn company(hotel: &str, rooms: &BTreeMap<&str, usize>) -> CompanyPlan {
    let slots_a_day = usize::try_from((DESK_CLOSES - DESK_OPENS) / ARRIVAL_MINUTES).unwrap_or(1);
    let branches = rooms.iter().map(|(room_type, arrivals_max)| BranchPlan {
        name: format!("Room type {room_type}"),
        step_minutes: ARRIVAL_MINUTES,
        staff: (1..=arrivals_max.div_ceil(slots_a_day) + 1).map(|desk| format!("Desk {desk}")).collect(),
        hours: (0..7)
            .map(|weekday| OpeningHours { weekday, opens: DESK_OPENS, closes: DESK_CLOSES })
            .collect(),
    });
    CompanyPlan {
        name: hotel.to_owned(),
        services: vec![ServicePlan {
            name: "Arrival".to_owned(),
            duration_minutes: ARRIVAL_MINUTES,
            price_cents: 9_000,
        }],
        branches: branches.collect(),
        past: Vec::new(),
    }
}

/// The data give days; the minute is spread over the day by the row's number, changes evenly over the time left.
fn steps_of(row: &HotelBooking, booking: usize, events: &mut Vec<Event>) {
    let spread = i64::try_from(booking).unwrap_or(0) * 7_919 % DAY_MINUTES;
    let booked = row.booked.at(spread);
    events.push(Event { at: booked, booking, step: Step::Book });
    let changes = i64::from(row.changes);
    let end = row.cancelled.unwrap_or(row.arrival).at(DAY_MINUTES - 1);
    let end = end.max(booked.plus(changes + 1));
    for change in 1..=changes {
        let at = booked.plus((end.0 - booked.0) * change / (changes + 1));
        events.push(Event { at, booking, step: Step::Reschedule { day: row.arrival } });
    }
    if row.cancelled.is_some() {
        events.push(Event { at: end, booking, step: Step::Cancel });
    }
}

#[cfg(test)]
mod tests;
