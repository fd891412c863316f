//! Wall-clock days and minutes, as numbers that sort, and their ISO text.
//!
//! Everyone in this program may use it. It never reads a clock and knows no time zones: a time is what the
//! clock on the branch's wall shows, which is what an appointment book holds.

use std::fmt;

use jiff::ToSpan;
use jiff::civil::{Date, DateTime, date};
use serde::{Deserialize, Serialize};

/// Minutes in a day.
pub(crate) const DAY_MINUTES: i64 = 1440;
/// Minutes in an hour.
pub(crate) const HOUR_MINUTES: i64 = 60;
/// What a day must look like, for error messages.
pub(crate) const DAY_EXPECTED: &str = "a date from 1970-01-01 to 2199-12-31, such as 2026-03-02";
/// What a minute must look like, for error messages.
pub(crate) const MINUTE_EXPECTED: &str = "a time from 1970 to 2199, such as 2026-03-02T09:30";

const EPOCH: Date = date(1970, 1, 1);
const YEARS: std::ops::RangeInclusive<i16> = 1970..=2199;

/// A calendar day, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Day(pub(crate) i32);

impl Day {
    /// The day of a calendar date; `None` when there is no such date or it is outside 1970..=2199.
    pub(crate) fn from_ymd(year: i16, month: i8, day: i8) -> Option<Day> {
        Date::new(year, month, day).ok().and_then(Day::from_date)
    }

    fn from_date(date: Date) -> Option<Day> {
        if !YEARS.contains(&date.year()) {
            return None;
        }
        Some(Day(EPOCH.until(date).ok()?.get_days()))
    }

    /// Reads `2026-03-02`; `None` for anything else, including years outside 1970..=2199.
    pub(crate) fn parse(text: &str) -> Option<Day> {
        if text.len() != "2026-03-02".len() {
            return None;
        }
        text.parse::<Date>().ok().and_then(Day::from_date)
    }

    /// Midnight at its beginning.
    pub(crate) fn start(self) -> Minute {
        Minute(i64::from(self.0) * DAY_MINUTES)
    }

    /// The minute `minutes` after its beginning; negative and beyond the day are allowed.
    pub(crate) fn at(self, minutes: i64) -> Minute {
        Minute(self.start().0 + minutes)
    }

    /// The day `days` later (earlier when negative).
    pub(crate) fn plus(self, days: i32) -> Day {
        Day(self.0 + days)
    }

    /// 0 for Monday to 6 for Sunday.
    pub(crate) fn weekday(self) -> u8 {
        // 1970-01-01 was a Thursday, which is 3.
        u8::try_from((self.0 + 3).rem_euclid(7)).unwrap_or(0)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match EPOCH.checked_add(self.0.days()) {
            Ok(date) => write!(f, "{date}"),
            Err(_) => write!(f, "day {}", self.0),
        }
    }
}

/// A minute on the wall clock, counted from 1970-01-01T00:00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Minute(pub(crate) i64);

impl Minute {
    /// Reads `2026-03-02T09:30`; `None` for anything else, seconds and time zones included.
    pub(crate) fn parse(text: &str) -> Option<Minute> {
        if text.len() != "2026-03-02T09:30".len() || text.as_bytes().get(10) != Some(&b'T') {
            return None;
        }
        let when: DateTime = text.parse().ok()?;
        Some(
            Day::from_date(when.date())?.at(i64::from(when.hour()) * HOUR_MINUTES + i64::from(when.minute())),
        )
    }

    /// The day it falls on.
    pub(crate) fn day(self) -> Day {
        Day(i32::try_from(self.0.div_euclid(DAY_MINUTES)).unwrap_or(i32::MAX))
    }

    /// Hours since 1970-01-01T00:00.
    pub(crate) fn hour(self) -> i64 {
        self.0.div_euclid(HOUR_MINUTES)
    }

    /// Minutes since the beginning of its day.
    pub(crate) fn of_day(self) -> i64 {
        self.0.rem_euclid(DAY_MINUTES)
    }

    /// The minute `minutes` later.
    pub(crate) fn plus(self, minutes: i64) -> Minute {
        Minute(self.0 + minutes)
    }
}

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.of_day();
        write!(f, "{}T{:02}:{:02}", self.day(), minutes / HOUR_MINUTES, minutes % HOUR_MINUTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_minutes_read_back_what_they_print() {
        for text in ["1970-01-01", "2015-07-01", "2024-02-29", "2199-12-31"] {
            assert_eq!(Day::parse(text).unwrap().to_string(), text);
        }
        for text in ["1970-01-01T00:00", "2026-03-02T09:30", "2024-02-29T23:59"] {
            assert_eq!(Minute::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_date_is_refused() {
        for text in ["", "2026-02-30", "2026-3-2", "1969-12-31", "2200-01-01", "2026-03-02T00", "tomorrow  "]
        {
            assert_eq!(Day::parse(text), None, "{text}");
        }
        for text in ["2026-03-02", "2026-03-02 09:30", "2026-03-02T24:00", "2026-03-02T09:30:00", "x"] {
            assert_eq!(Minute::parse(text), None, "{text}");
        }
    }

    #[test]
    fn weekdays_begin_on_monday() {
        assert_eq!(Day::parse("2026-03-02").unwrap().weekday(), 0);
        assert_eq!(Day::parse("2026-03-08").unwrap().weekday(), 6);
        assert_eq!(Day(0).weekday(), 3);
    }

    #[test]
    fn a_minute_before_midnight_belongs_to_the_day_before() {
        let midnight = Day::parse("2026-03-02").unwrap().start();
        assert_eq!(midnight.plus(-1).day().to_string(), "2026-03-01");
        assert_eq!(Minute(-1).day(), Day(-1));
        assert_eq!(Minute(-1).of_day(), 1439);
    }
}
