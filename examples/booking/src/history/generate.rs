//! Makes up a history from a seed: six companies, their past, and weeks of bookings, changes and cancellations.
//!
//! The load generator calls it when no file is given. The same seed and size give the same history.

use fastrand::Rng;

use crate::db::seed::{BranchPlan, CompanyPlan, PastAppointment, ServicePlan};
use crate::domain::{OpeningHours, starts_within};
use crate::history::{Event, History, PlannedBooking, Step, in_time_order};
use crate::time::{DAY_MINUTES, Day};
use crate::workload::zipf::Zipf;

/// Bookings made in a day, over all companies: about a third of what they could take.
const BOOKINGS_A_DAY: usize = 150;
/// The longest story.
const STORY_DAYS_MAX: i64 = 3_650;
/// No booking is made further ahead.
const LEAD_DAYS_MAX: i32 = 28;
/// Days of past appointments, for the statistics.
const PAST_DAYS: i32 = 45;
/// Share of past slots that were taken.
const PAST_TAKEN: f64 = 0.22;
/// Share of bookings moved at least once, and cancelled: about what the hotels' data show.
const MOVED: f64 = 0.15;
const CANCELLED: f64 = 0.3;

struct Sketch {
    name: &'static str,
    /// Name, minutes, cents.
    services: &'static [(&'static str, i64, i64)],
    branches: &'static [(&'static str, usize)],
    opens: i64,
    closes: i64,
    /// Open weekdays, from Monday.
    weekdays: u8,
}

const SKETCHES: [Sketch; 6] = [
    Sketch {
        name: "Linden Dental",
        services: &[("Check-up", 30, 6_000), ("Cleaning", 45, 9_500), ("Filling", 60, 14_000)],
        branches: &[("Old Town", 5), ("Harbour", 4), ("Station", 4), ("North", 3)],
        opens: 8 * 60,
        closes: 18 * 60,
        weekdays: 5,
    },
    Sketch {
        name: "Corner Barbers",
        services: &[("Haircut", 30, 3_200), ("Cut and beard", 45, 4_500)],
        branches: &[("Market Street", 4), ("Mill Lane", 3), ("Riverside", 3), ("Arcade", 2), ("West End", 2)],
        opens: 9 * 60,
        closes: 20 * 60,
        weekdays: 6,
    },
    Sketch {
        name: "Halden Garage",
        services: &[("Inspection", 60, 8_900), ("Tyre change", 30, 4_900), ("Service", 90, 22_000)],
        branches: &[("Industrial Park", 4), ("South", 3)],
        opens: 7 * 60,
        closes: 17 * 60,
        weekdays: 6,
    },
    // Open until two in the morning, so that appointments cross midnight.
    Sketch {
        name: "Night Owl Physio",
        services: &[("Session", 60, 7_500), ("Short session", 30, 4_200)],
        branches: &[("Theatre Quarter", 4), ("Airport", 3)],
        opens: 16 * 60,
        closes: 26 * 60,
        weekdays: 7,
    },
    Sketch {
        name: "Fern Veterinary",
        services: &[("Consultation", 30, 5_500), ("Vaccination", 30, 4_000), ("Surgery", 120, 38_000)],
        branches: &[("Park", 3), ("Hill", 2), ("Lakeside", 2)],
        opens: 8 * 60,
        closes: 19 * 60,
        weekdays: 6,
    },
    Sketch {
        name: "Quill Tax Advice",
        services: &[("First meeting", 60, 0), ("Tax return", 90, 18_000)],
        branches: &[("Centre", 3), ("University", 2)],
        opens: 9 * 60,
        closes: 17 * 60,
        weekdays: 5,
    },
];

/// A history of `bookings` bookings.
pub(crate) fn generate(seed: u64, bookings: usize) -> History {
    let mut rng = Rng::with_seed(seed);
    let first = Day::from_ymd(2026, 3, 2).unwrap_or(Day(0));
    let companies: Vec<CompanyPlan> =
        SKETCHES.iter().map(|sketch| company(sketch, first, &mut rng)).collect();
    let branches: Vec<(usize, usize)> = companies
        .iter()
        .enumerate()
        .flat_map(|(company, plan)| (0..plan.branches.len()).map(move |branch| (company, branch)))
        .collect();
    let story_days =
        i64::try_from(bookings.div_ceil(BOOKINGS_A_DAY)).unwrap_or(i64::MAX).clamp(1, STORY_DAYS_MAX);
    let popularity = shuffled(branches, &mut rng);
    let zipf = Zipf::new(popularity.len(), 0.9);
    let mut planned = Vec::with_capacity(bookings);
    let mut events = Vec::with_capacity(bookings * 2);
    while planned.len() < bookings {
        let Some(&(company, branch)) = popularity.get(zipf.draw(&mut rng)) else { break };
        let at = first.at(rng.i64(0..story_days * DAY_MINUTES));
        let day = open_day(&companies, (company, branch), at.day().plus(1 + lead_days(&mut rng)));
        let services = companies.get(company).map_or(1, |plan| plan.services.len());
        let customer = rng.u32(0..u32::try_from(bookings / 3 + 1).unwrap_or(u32::MAX));
        let booking = planned.len();
        planned.push(PlannedBooking { company, branch, service: rng.usize(0..services), day, customer });
        events.push(Event { at, booking, step: Step::Book });
        later_steps(
            &companies,
            (company, branch),
            Event { at, booking, step: Step::Book },
            day,
            &mut rng,
            &mut events,
        );
    }
    History { source: "generated".to_owned(), companies, bookings: planned, events: in_time_order(events) }
}

/// The companies alone, without a past: what `serve` offers on an empty database.
pub(crate) fn demo() -> Vec<CompanyPlan> {
    let mut rng = Rng::with_seed(0);
    let demo = SKETCHES.iter().filter(|sketch| ["Linden Dental", "Night Owl Physio"].contains(&sketch.name));
    demo.map(|sketch| CompanyPlan { past: Vec::new(), ..company(sketch, Day(0), &mut rng) }).collect()
}

fn company(sketch: &Sketch, first: Day, rng: &mut Rng) -> CompanyPlan {
    let hours: Vec<OpeningHours> = (0..sketch.weekdays)
        .map(|weekday| OpeningHours { weekday, opens: sketch.opens, closes: sketch.closes })
        .collect();
    let services = sketch.services.iter().map(|&(name, duration_minutes, price_cents)| ServicePlan {
        name: name.to_owned(),
        duration_minutes,
        price_cents,
    });
    let branches = sketch.branches.iter().map(|&(name, staff)| BranchPlan {
        name: name.to_owned(),
        step_minutes: 30,
        staff: (1..=staff).map(|number| format!("{name} {number}")).collect(),
        hours: hours.clone(),
    });
    let mut plan = CompanyPlan {
        name: sketch.name.to_owned(),
        services: services.collect(),
        branches: branches.collect(),
        past: Vec::new(),
    };
    plan.past = past(&plan, first, rng);
    plan
}

/// Walks every person's past days and fills part of them, one appointment after another.
fn past(plan: &CompanyPlan, first: Day, rng: &mut Rng) -> Vec<PastAppointment> {
    let mut past = Vec::new();
    for (branch, branch_plan) in plan.branches.iter().enumerate() {
        for staff in 0..branch_plan.staff.len() {
            let mut free_from = first.plus(-PAST_DAYS - 1).start();
            for day in (1..=PAST_DAYS).rev().map(|days| first.plus(-days)) {
                let service = rng.usize(0..plan.services.len());
                let duration = plan.services.get(service).map_or(30, |service| service.duration_minutes);
                for starts in starts_within(&branch_plan.hours, day, branch_plan.step_minutes, duration, None)
                {
                    if starts < free_from || rng.f64() >= PAST_TAKEN {
                        continue;
                    }
                    let cancelled = rng.f64() < CANCELLED;
                    if !cancelled {
                        free_from = starts.plus(duration);
                    }
                    let booked_at = starts.plus(-rng.i64(1..20 * DAY_MINUTES));
                    let customer = customer_name(rng.u32(0..3_000));
                    past.push(PastAppointment {
                        branch,
                        service,
                        staff,
                        customer,
                        starts,
                        booked_at,
                        cancelled,
                    });
                }
            }
        }
    }
    past
}

/// Changes and the cancellation of one booking, after it was made and before its day.
fn later_steps(
    companies: &[CompanyPlan],
    place: (usize, usize),
    booked: Event,
    day: Day,
    rng: &mut Rng,
    events: &mut Vec<Event>,
) {
    let mut at = booked.at;
    let mut day = day;
    let mut later = |rng: &mut Rng, day: Day| {
        let room = day.start().0 - at.0;
        (room > 1).then(|| {
            at = at.plus(rng.i64(1..room));
            at
        })
    };
    while rng.f64() < MOVED {
        let Some(at) = later(rng, day) else { return };
        day = open_day(companies, place, day.plus(rng.i32(0..4)));
        events.push(Event { at, booking: booked.booking, step: Step::Reschedule { day } });
    }
    if rng.f64() < CANCELLED
        && let Some(at) = later(rng, day)
    {
        events.push(Event { at, booking: booked.booking, step: Step::Cancel });
    }
}

/// Short notice is common, long notice rare.
fn lead_days(rng: &mut Rng) -> i32 {
    let days = -(1.0 - rng.f64()).ln() * 5.0;
    // Saturating, and the mean is five days: nothing is lost.
    (days as i32).min(LEAD_DAYS_MAX)
}

/// The day itself, or the next on which the branch opens.
fn open_day(companies: &[CompanyPlan], (company, branch): (usize, usize), day: Day) -> Day {
    let plan = companies.get(company).and_then(|plan| plan.branches.get(branch));
    let open =
        |day: &Day| plan.is_some_and(|plan| plan.hours.iter().any(|hours| hours.weekday == day.weekday()));
    (0..7).map(|days| day.plus(days)).find(open).unwrap_or(day)
}

/// What a made-up customer is called.
pub(crate) fn customer_name(number: u32) -> String {
    format!("Customer {number}")
}

fn shuffled<T>(mut items: Vec<T>, rng: &mut Rng) -> Vec<T> {
    rng.shuffle(&mut items);
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_history() {
        let (one, two) = (generate(7, 500), generate(7, 500));
        assert_eq!(one.events, two.events);
        assert_eq!(one.bookings, two.bookings);
        assert_ne!(one.bookings, generate(8, 500).bookings);
    }

    #[test]
    fn events_are_in_time_order_and_each_booking_is_made_before_it_changes() {
        let history = generate(7, 2_000);
        assert_eq!(history.bookings.len(), 2_000);
        assert!(history.events.is_sorted_by_key(|event| event.at));
        let mut made = vec![false; history.bookings.len()];
        for event in &history.events {
            assert_eq!(made[event.booking], event.step != Step::Book, "{event:?}");
            made[event.booking] = true;
        }
        assert!(history.events.iter().any(|event| matches!(event.step, Step::Reschedule { .. })));
        assert!(history.events.iter().any(|event| event.step == Step::Cancel));
    }

    #[test]
    fn someone_works_across_midnight() {
        let late =
            |plan: &CompanyPlan| plan.branches.iter().any(|b| b.hours.iter().any(|h| h.closes > DAY_MINUTES));
        assert!(generate(7, 1).companies.iter().any(late));
    }
}
