//! A history made ready for a database: real ids, what people look at, and who does which step.
//!
//! `bench` builds it once per run; the users share it. It never changes during a run.

use std::collections::BTreeMap;

use crate::db::seed::{CompanyPlan, SeededCompany};
use crate::domain::{AvailabilityQuery, BranchId, CompanyId, NewAppointment, OpeningHours, ServiceId};
use crate::history::{Event, History, PlannedBooking, Step};
use crate::time::{DAY_MINUTES, Day, HOUR_MINUTES, Minute};
use crate::workload::zipf::Zipf;

/// How strongly attention gathers on few days; 1 is Zipf's own law.
const ATTENTION: f64 = 1.0;

/// A day of a branch people look at.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) company: CompanyId,
    pub(crate) branch: BranchId,
    pub(crate) services: Vec<ServiceId>,
    pub(crate) day: Day,
    hours: Option<OpeningHours>,
}

impl Place {
    /// The day and hour that is `share` (0..1) of the way through its opening hours.
    pub(crate) fn hour(&self, share: f64) -> (Day, u8) {
        let (opens, closes) = self.hours.map_or((0, DAY_MINUTES), |hours| (hours.opens, hours.closes));
        // Truncation is meant: any minute within the hours will do.
        let at = self.day.at(opens + ((closes - opens) as f64 * share) as i64);
        (at.day(), u8::try_from(at.of_day() / HOUR_MINUTES).unwrap_or(0))
    }
}

/// One step with the ids it needs.
#[derive(Clone, Debug)]
pub(crate) struct PlannedStep {
    /// Its place in the whole history, which sets its time in the run.
    pub(crate) index: usize,
    /// The booking it belongs to.
    pub(crate) booking: usize,
    pub(crate) at: Minute,
    pub(crate) query: AvailabilityQuery,
    pub(crate) customer: u32,
    pub(crate) step: Step,
}

impl PlannedStep {
    /// The request for the slot someone chose.
    pub(crate) fn request(&self, slot: crate::domain::Slot, customer: String) -> NewAppointment {
        NewAppointment {
            company: self.query.company,
            branch: self.query.branch,
            service: self.query.service,
            staff: Some(slot.staff),
            customer,
            starts: slot.starts,
            booked_at: self.at,
        }
    }
}

/// The plan of a run.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Most booked first.
    places: Vec<Place>,
    attention: Zipf,
    steps: Vec<PlannedStep>,
}

impl Plan {
    /// Joins a history with the ids its companies got.
    pub(crate) fn new(history: &History, companies: &[SeededCompany]) -> Plan {
        let places: Vec<Place> = popular_days(history)
            .into_iter()
            .filter_map(|(company, branch, day)| {
                place(history.companies.get(company)?, companies.get(company)?, branch, day)
            })
            .collect();
        let steps = history.events.iter().enumerate().filter_map(|(index, event)| {
            let booking = history.bookings.get(event.booking)?;
            planned_step(index, event, booking, companies)
        });
        let attention = Zipf::new(places.len(), ATTENTION);
        Plan { attention, steps: steps.collect(), places }
    }

    /// How many steps there are.
    pub(crate) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// The steps of the bookings that are this user's, in time order.
    pub(crate) fn steps_of(&self, user: usize, users: usize) -> impl Iterator<Item = &PlannedStep> {
        self.steps.iter().filter(move |step| step.booking % users.max(1) == user)
    }

    /// A place someone looks at.
    pub(crate) fn look(&self, rng: &mut fastrand::Rng) -> Option<&Place> {
        self.places.get(self.attention.draw(rng))
    }
}

fn place(plan: &CompanyPlan, company: &SeededCompany, branch: usize, day: Day) -> Option<Place> {
    let hours = plan.branches.get(branch)?.hours.iter().find(|hours| hours.weekday == day.weekday()).copied();
    let services = company.services.clone();
    Some(Place { company: company.id, branch: company.branches.get(branch)?.id, services, day, hours })
}

fn planned_step(
    index: usize,
    event: &Event,
    booking: &PlannedBooking,
    companies: &[SeededCompany],
) -> Option<PlannedStep> {
    let company = companies.get(booking.company)?;
    let day = match event.step {
        Step::Reschedule { day } => day,
        Step::Book | Step::Cancel => booking.day,
    };
    let query = AvailabilityQuery {
        company: company.id,
        branch: company.branches.get(booking.branch)?.id,
        service: *company.services.get(booking.service)?,
        day,
        hour: None,
    };
    Some(PlannedStep {
        index,
        booking: event.booking,
        at: event.at,
        query,
        customer: booking.customer,
        step: event.step,
    })
}

/// Days of branches by how many bookings the history has for them, most first.
fn popular_days(history: &History) -> Vec<(usize, usize, Day)> {
    let mut counts: BTreeMap<(usize, usize, Day), usize> = BTreeMap::new();
    for booking in &history.bookings {
        *counts.entry((booking.company, booking.branch, booking.day)).or_default() += 1;
    }
    let mut days: Vec<_> = counts.into_iter().collect();
    days.sort_by_key(|&(place, count)| (std::cmp::Reverse(count), place));
    days.into_iter().map(|(place, _)| place).collect()
}
