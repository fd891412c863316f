//! The words of the appointment book: who, what, when; and what a change of it touches.
//!
//! Everyone in this program may use it. It never does IO and knows neither the database nor the cache.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::time::{DAY_MINUTES, Day, HOUR_MINUTES, Minute};

/// A company's row id.
pub(crate) type CompanyId = i64;
/// A branch's row id; unique over all companies.
pub(crate) type BranchId = i64;
/// A staff member's row id; unique over all branches.
pub(crate) type StaffId = i64;
/// A service's row id; unique over all companies.
pub(crate) type ServiceId = i64;
/// An appointment's row id.
pub(crate) type AppointmentId = i64;

/// The longest customer name, in characters.
pub(crate) const CUSTOMER_CHARS_MAX: usize = 200;

/// A company and its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Company {
    pub(crate) id: CompanyId,
    pub(crate) name: String,
}

/// A place of a company where staff receive customers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Branch {
    pub(crate) id: BranchId,
    pub(crate) company: CompanyId,
    pub(crate) name: String,
    /// Appointments start every so many minutes after opening.
    pub(crate) step_minutes: i64,
}

/// Someone who takes one appointment at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Staff {
    pub(crate) id: StaffId,
    pub(crate) name: String,
}

/// An event type: what is done, how long it takes, what it costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Service {
    pub(crate) id: ServiceId,
    pub(crate) name: String,
    pub(crate) duration_minutes: i64,
    pub(crate) price_cents: i64,
}

/// Opening hours of one weekday; closing past 24:00 means after midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpeningHours {
    /// 0 for Monday to 6 for Sunday.
    pub(crate) weekday: u8,
    /// Minutes after midnight, 0..=1439.
    pub(crate) opens: i64,
    /// Minutes after the same midnight, up to 2880.
    pub(crate) closes: i64,
}

/// Whether an appointment still holds its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Booked,
    Cancelled,
}

/// A row of the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Appointment {
    pub(crate) id: AppointmentId,
    pub(crate) company: CompanyId,
    pub(crate) branch: BranchId,
    pub(crate) service: ServiceId,
    pub(crate) staff: StaffId,
    pub(crate) customer: String,
    pub(crate) starts: Minute,
    pub(crate) ends: Minute,
    pub(crate) status: Status,
    /// How often it was moved.
    pub(crate) changes: u32,
}

/// A request for an appointment.
#[derive(Clone, Debug)]
pub(crate) struct NewAppointment {
    pub(crate) company: CompanyId,
    pub(crate) branch: BranchId,
    pub(crate) service: ServiceId,
    /// `None`: anyone who is free.
    pub(crate) staff: Option<StaffId>,
    pub(crate) customer: String,
    pub(crate) starts: Minute,
    /// When the request was made, for the lead time in the statistics.
    pub(crate) booked_at: Minute,
}

/// A question about free time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AvailabilityQuery {
    pub(crate) company: CompanyId,
    pub(crate) branch: BranchId,
    pub(crate) service: ServiceId,
    pub(crate) day: Day,
    /// `None` for the whole day, else the hour of it, 0..=23, in which the slot starts.
    pub(crate) hour: Option<u8>,
}

/// One free slot: this person could start then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Slot {
    pub(crate) starts: Minute,
    pub(crate) staff: StaffId,
}

/// What was free, and the version of the day it was read at. This is what the cache holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Availability {
    pub(crate) day: DayKey,
    /// The version of `day` in the same snapshot as the slots.
    pub(crate) version: i64,
    pub(crate) duration_minutes: i64,
    /// By start, then by staff.
    pub(crate) slots: Vec<Slot>,
}

/// A day of one branch; the thing that has a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct DayKey {
    pub(crate) company: CompanyId,
    pub(crate) branch: BranchId,
    pub(crate) day: Day,
}

/// A company's figures and the version they were computed at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Statistics {
    pub(crate) company: CompanyId,
    /// The company's version in the same snapshot as the figures.
    pub(crate) version: i64,
    pub(crate) appointments: i64,
    pub(crate) booked: i64,
    pub(crate) cancelled: i64,
    pub(crate) moved: i64,
    pub(crate) customers: i64,
    pub(crate) revenue_cents: i64,
    /// Mean days between the request and the appointment; 0 without appointments.
    pub(crate) lead_days_mean: f64,
    pub(crate) branches: Vec<BranchStatistics>,
    /// Booked appointments by weekday, Monday first.
    pub(crate) weekdays: [i64; 7],
    /// Booked appointments by hour of the day.
    pub(crate) hours: Vec<i64>,
    /// The busiest days, most booked first, at most five.
    pub(crate) busiest: Vec<(Day, i64)>,
}

/// One branch's share of the figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BranchStatistics {
    pub(crate) branch: BranchId,
    pub(crate) booked: i64,
    pub(crate) booked_minutes: i64,
    pub(crate) revenue_cents: i64,
}

/// Everything one committed change of the book touches: the hours whose availability it may alter, hence the
/// days, and the company's statistics. The versions that are raised and the targets that are invalidated are
/// both taken from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Touched {
    pub(crate) company: CompanyId,
    pub(crate) branch: BranchId,
    /// Hours since 1970-01-01T00:00.
    pub(crate) hours: BTreeSet<i64>,
}

impl Touched {
    /// Nothing yet.
    pub(crate) fn new(company: CompanyId, branch: BranchId) -> Touched {
        Touched { company, branch, hours: BTreeSet::new() }
    }

    /// Adds the time an appointment takes or gives back.
    ///
    /// A slot that starts at `x` and lasts `d` conflicts with `starts..ends` when `x < ends` and `x + d > starts`,
    /// so with the company's longest service `longest`, starts in `starts - longest + 1 ..= ends - 1` matter.
    /// The hour before and the hour after are named in any case: that is the rule people know.
    pub(crate) fn add(&mut self, starts: Minute, ends: Minute, longest: i64) {
        let before = starts.hour() - 1;
        let reach = starts.plus(1 - longest).hour();
        let after = ends.plus(-1).hour() + 1;
        self.hours.extend(before.min(reach)..=after);
    }

    /// The days those hours fall on, across midnight if they do.
    pub(crate) fn days(&self) -> Vec<DayKey> {
        let days: BTreeSet<Day> = self.hours.iter().map(|hour| Minute(hour * HOUR_MINUTES).day()).collect();
        days.into_iter().map(|day| DayKey { company: self.company, branch: self.branch, day }).collect()
    }
}

/// The starts on `day` that fit the opening hours and `duration`, in order, without regard to appointments.
/// Hours that began the day before and run past midnight count.
pub(crate) fn starts_within(
    hours: &[OpeningHours],
    day: Day,
    step: i64,
    duration: i64,
    hour: Option<u8>,
) -> Vec<Minute> {
    let wanted = match hour {
        Some(hour) => day.at(i64::from(hour) * HOUR_MINUTES)..day.at((i64::from(hour) + 1) * HOUR_MINUTES),
        None => day.start()..day.at(DAY_MINUTES),
    };
    let mut starts = BTreeSet::new();
    for opening_day in [day.plus(-1), day] {
        for opening in hours.iter().filter(|opening| opening.weekday == opening_day.weekday()) {
            let mut start = opening_day.at(opening.opens);
            while start.plus(duration) <= opening_day.at(opening.closes) {
                if wanted.contains(&start) {
                    starts.insert(start);
                }
                start = start.plus(step.max(1));
            }
        }
    }
    starts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(text: &str) -> Minute {
        Minute::parse(text).unwrap()
    }

    fn touched_hours(starts: &str, ends: &str, longest: i64) -> Vec<String> {
        let mut touched = Touched::new(1, 1);
        touched.add(minute(starts), minute(ends), longest);
        touched.hours.iter().map(|hour| Minute(hour * 60).to_string()).collect()
    }

    #[test]
    fn a_change_touches_the_hour_before_of_and_after() {
        assert_eq!(
            touched_hours("2026-03-02T09:30", "2026-03-02T10:00", 30),
            ["2026-03-02T08:00", "2026-03-02T09:00", "2026-03-02T10:00"]
        );
    }

    #[test]
    fn a_change_across_midnight_touches_both_days() {
        let mut touched = Touched::new(1, 1);
        touched.add(minute("2026-03-02T00:00"), minute("2026-03-02T00:30"), 30);
        let days: Vec<String> = touched.days().iter().map(|key| key.day.to_string()).collect();
        assert_eq!(days, ["2026-03-01", "2026-03-02"]);

        let mut touched = Touched::new(1, 1);
        touched.add(minute("2026-03-02T23:30"), minute("2026-03-03T00:00"), 30);
        let days: Vec<String> = touched.days().iter().map(|key| key.day.to_string()).collect();
        assert_eq!(days, ["2026-03-02", "2026-03-03"]);
    }

    #[test]
    fn a_longer_service_widens_the_reach() {
        let hours = touched_hours("2026-03-02T09:00", "2026-03-02T09:30", 180);
        assert_eq!(hours.first().map(String::as_str), Some("2026-03-02T06:00"));
        assert_eq!(hours.last().map(String::as_str), Some("2026-03-02T10:00"));
    }

    #[test]
    fn opening_hours_that_run_past_midnight_give_slots_on_the_next_day() {
        // Monday 22:00 to 02:00 only.
        let hours = [OpeningHours { weekday: 0, opens: 22 * 60, closes: 26 * 60 }];
        let monday = Day::parse("2026-03-02").unwrap();
        let shown = |day| {
            starts_within(&hours, day, 60, 60, None).iter().map(|start| start.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(shown(monday), ["2026-03-02T22:00", "2026-03-02T23:00"]);
        assert_eq!(shown(monday.plus(1)), ["2026-03-03T00:00", "2026-03-03T01:00"]);
        assert!(shown(monday.plus(2)).is_empty());
    }

    #[test]
    fn an_hour_window_is_a_part_of_its_day() {
        let hours = [OpeningHours { weekday: 0, opens: 9 * 60, closes: 12 * 60 }];
        let monday = Day::parse("2026-03-02").unwrap();
        let day = starts_within(&hours, monday, 30, 45, None);
        let by_hour: Vec<Minute> =
            (0..24).flat_map(|hour| starts_within(&hours, monday, 30, 45, Some(hour))).collect();
        assert_eq!(day, by_hour);
        assert_eq!(day.len(), 5);
    }
}
