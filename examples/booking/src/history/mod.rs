//! A history of bookings: companies, and what happened to their books in time order.
//!
//! The load generator replays it. It never touches a database or the cache.

pub(crate) mod generate;
pub(crate) mod hotel_csv;
pub(crate) mod hotel_row;

use crate::db::seed::CompanyPlan;
use crate::time::{Day, Minute};

/// A history, ready to be replayed.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// Where it comes from: `generated`, or a file.
    pub(crate) source: String,
    pub(crate) companies: Vec<CompanyPlan>,
    pub(crate) bookings: Vec<PlannedBooking>,
    /// In time order; the steps of one booking in their own order.
    pub(crate) events: Vec<Event>,
}

/// What someone set out to book. Indices are into the history's companies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlannedBooking {
    pub(crate) company: usize,
    pub(crate) branch: usize,
    pub(crate) service: usize,
    pub(crate) day: Day,
    pub(crate) customer: u32,
}

/// One step of one booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) at: Minute,
    /// Index into the history's bookings.
    pub(crate) booking: usize,
    pub(crate) step: Step,
}

/// What happens to a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Book,
    /// Moved to some other time of this day.
    Reschedule {
        day: Day,
    },
    Cancel,
}

/// Sorts by time; events of one minute keep the order of bookings, and a booking's steps their own.
pub(crate) fn in_time_order(mut events: Vec<Event>) -> Vec<Event> {
    events.sort_by_key(|event| (event.at, event.booking));
    events
}
