//! What the API answers with: the domain's words in ISO times.
//!
//! The handlers use it. Field names here are the public ones; renaming one breaks clients.

use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::{Appointment, Availability, Statistics, Status};

/// An appointment.
#[derive(Debug, Serialize)]
pub(crate) struct AppointmentView {
    id: i64,
    company: i64,
    branch: i64,
    service: i64,
    staff: i64,
    customer: String,
    starts: String,
    ends: String,
    status: Status,
    changes: u32,
}

impl From<Appointment> for AppointmentView {
    fn from(appointment: Appointment) -> AppointmentView {
        AppointmentView {
            id: appointment.id,
            company: appointment.company,
            branch: appointment.branch,
            service: appointment.service,
            staff: appointment.staff,
            customer: appointment.customer,
            starts: appointment.starts.to_string(),
            ends: appointment.ends.to_string(),
            status: appointment.status,
            changes: appointment.changes,
        }
    }
}

/// Free time, one entry per start with everyone who is free then.
pub(crate) fn availability(availability: &Availability) -> Value {
    let starts = availability.slots.chunk_by(|one, next| one.starts == next.starts);
    let slots: Vec<Value> = starts
        .filter_map(|slots| {
            let starts = slots.first()?.starts;
            let staff: Vec<i64> = slots.iter().map(|slot| slot.staff).collect();
            let ends = starts.plus(availability.duration_minutes);
            Some(json!({ "starts": starts.to_string(), "ends": ends.to_string(), "staff": staff }))
        })
        .collect();
    json!({ "day": availability.day.day.to_string(), "version": availability.version, "slots": slots })
}

/// A company's figures.
pub(crate) fn statistics(statistics: &Statistics) -> Value {
    let busiest: Vec<Value> = statistics
        .busiest
        .iter()
        .map(|(day, booked)| json!({ "day": day.to_string(), "booked": booked }))
        .collect();
    json!({
        "company": statistics.company,
        "version": statistics.version,
        "appointments": statistics.appointments,
        "booked": statistics.booked,
        "cancelled": statistics.cancelled,
        "moved": statistics.moved,
        "customers": statistics.customers,
        "revenue_cents": statistics.revenue_cents,
        "lead_days_mean": statistics.lead_days_mean,
        "branches": statistics.branches,
        "weekdays": statistics.weekdays,
        "hours": statistics.hours,
        "busiest": busiest,
    })
}
