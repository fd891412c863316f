//! One row of the "Hotel booking demand" CSV: which columns are needed, and what they must hold.
//!
//! Only `hotel_csv` calls it. It never guesses: a field that is absent (`NULL`, `NA`, empty) or out of bounds where
//! one is needed makes the row malformed, with the reason in words.

use csv::StringRecord;

use crate::time::Day;

/// The columns that are read; others are ignored.
pub(crate) const COLUMNS: [&str; 9] = [
    "hotel",
    "lead_time",
    "arrival_date_year",
    "arrival_date_month",
    "arrival_date_day_of_month",
    "reserved_room_type",
    "booking_changes",
    "reservation_status",
    "reservation_status_date",
];

const LEAD_DAYS_MAX: i32 = 3_650;
const CHANGES_MAX: u32 = 1_000;
const NAME_CHARS_MAX: usize = 100;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A row that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HotelBooking {
    pub(crate) hotel: String,
    pub(crate) room_type: String,
    pub(crate) arrival: Day,
    pub(crate) booked: Day,
    pub(crate) changes: u32,
    pub(crate) cancelled: Option<Day>,
}

/// Where each of [`COLUMNS`] is in this file.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    places: [usize; COLUMNS.len()],
    fields: usize,
}

impl Header {
    /// Finds the columns by name, in any order.
    ///
    /// # Errors
    /// The names that are missing.
    pub(crate) fn find(header: &StringRecord) -> Result<Header, Vec<&'static str>> {
        let mut places = [0; COLUMNS.len()];
        let mut missing = Vec::new();
        for (place, name) in places.iter_mut().zip(COLUMNS) {
            match header.iter().position(|column| column.trim_start_matches('\u{feff}').trim() == name) {
                Some(found) => *place = found,
                None => missing.push(name),
            }
        }
        if missing.is_empty() { Ok(Header { places, fields: header.len() }) } else { Err(missing) }
    }

    /// Reads a row.
    ///
    /// # Errors
    /// Why the row is malformed.
    pub(crate) fn row(&self, record: &StringRecord) -> Result<HotelBooking, String> {
        if record.len() != self.fields {
            return Err(format!("it has {} fields, expected {}", record.len(), self.fields));
        }
        let mut fields = COLUMNS.iter().zip(self.places).map(|(name, place)| Field {
            name,
            text: record.get(place).map(str::trim).filter(|text| !["", "NULL", "NA"].contains(text)),
        });
        let mut next = || fields.next().unwrap_or(Field { name: "row", text: None });
        let (hotel, lead, year, month, day) = (next(), next(), next(), next(), next());
        let (room_type, changes, status, status_date) = (next(), next(), next(), next());
        let arrival = arrival(&year, &month, &day)?;
        let lead_days = lead.whole(0, i64::from(LEAD_DAYS_MAX))?;
        let booked = arrival.plus(-i32::try_from(lead_days).unwrap_or(LEAD_DAYS_MAX));
        if booked < Day(0) {
            return Err(format!("booked {lead_days} days before {arrival}, expected a date since 1970"));
        }
        Ok(HotelBooking {
            hotel: hotel.name()?,
            room_type: room_type.name()?,
            arrival,
            booked,
            changes: u32::try_from(changes.whole(0, i64::from(CHANGES_MAX))?).unwrap_or(CHANGES_MAX),
            cancelled: cancelled(&status, &status_date, booked)?,
        })
    }
}

struct Field<'a> {
    name: &'static str,
    /// `None` when absent.
    text: Option<&'a str>,
}

impl<'a> Field<'a> {
    fn needed(&self, expected: &str) -> Result<&'a str, String> {
        self.text.ok_or_else(|| format!("field `{}`: absent, expected {expected}", self.name))
    }

    fn wrong(&self, text: &str, expected: &str) -> String {
        let shown: String = text.chars().take(40).collect();
        format!("field `{}`: got {shown:?}, expected {expected}", self.name)
    }

    fn whole(&self, least: i64, most: i64) -> Result<i64, String> {
        let expected = format!("a whole number from {least} to {most}");
        let text = self.needed(&expected)?;
        let number = text.parse::<i64>().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| self.wrong(text, &expected))
    }

    fn name(&self) -> Result<String, String> {
        let expected = format!("a name of at most {NAME_CHARS_MAX} characters");
        let text = self.needed(&expected)?;
        if text.chars().count() > NAME_CHARS_MAX || text.chars().any(char::is_control) {
            return Err(self.wrong(text, &expected));
        }
        Ok(text.to_owned())
    }
}

fn arrival(year: &Field<'_>, month: &Field<'_>, day: &Field<'_>) -> Result<Day, String> {
    let (y, d) = (year.whole(1970, 2199)?, day.whole(1, 31)?);
    let expected = "an English month name";
    let name = month.needed(expected)?;
    let index = MONTHS.iter().position(|known| known.eq_ignore_ascii_case(name));
    let m = index.ok_or_else(|| month.wrong(name, expected))? + 1;
    day_of(y, m, d).ok_or_else(|| format!("arrival {d} {name} {y}: there is no such date"))
}

fn cancelled(status: &Field<'_>, date: &Field<'_>, booked: Day) -> Result<Option<Day>, String> {
    let expected = "Canceled, Check-Out or No-Show";
    match status.needed(expected)? {
        "Check-Out" | "No-Show" => Ok(None),
        "Canceled" => {
            let expected = "the date of the cancellation, as 2015-07-01 or 7/1/2015";
            let text = date.needed(expected)?;
            let day = status_day(text).ok_or_else(|| date.wrong(text, expected))?;
            if day < booked {
                return Err(format!("cancelled on {day}, before it was booked on {booked}"));
            }
            Ok(Some(day))
        }
        other => Err(status.wrong(other, expected)),
    }
}

/// `2015-07-01` as first published, or `7/1/2015` (month first) as in copies that went through a spreadsheet.
fn status_day(text: &str) -> Option<Day> {
    if let Some(day) = Day::parse(text) {
        return Some(day);
    }
    let mut parts = text.split('/').map(|part| part.parse::<i64>().ok());
    let (month, day, year) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() {
        return None;
    }
    day_of(year, usize::try_from(month).ok()?, day)
}

fn day_of(year: i64, month: usize, day: i64) -> Option<Day> {
    Day::from_ymd(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?)
}
