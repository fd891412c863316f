//! One user: browses, opens dashboards, and does their share of the history when it is due.
//!
//! `workload` starts them. A user acts only on what the service has shown them, tells the oracle of every answer,
//! and never retries a failure of the service.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;

use crate::cached::Read;
use crate::db::write::Written;
use crate::domain::{AppointmentId, Availability, AvailabilityQuery, Slot};
use crate::error::ServiceError;
use crate::history::Step;
use crate::history::generate::customer_name;
use crate::service::BookingService;
use crate::workload::oracle::{Oracle, Verdict};
use crate::workload::plan::{Plan, PlannedStep};
use crate::workload::propagation::Propagation;
use crate::workload::tally::{Live, Tally, Totals};
use crate::workload::{Pace, Stop};

/// A user whose slot was taken looks again, this often in all.
const TRIES_MAX: usize = 3;
/// Reads between two reports to the live totals.
const REPORT_READS: u64 = 64;
/// The history is spread over this share of the run; the rest is for the last steps to finish.
const HISTORY_SHARE: f64 = 0.97;

/// What users open, in shares of a hundred; the rest looks at a whole day.
const STATISTICS: u32 = 1;
const SERVICES: u32 = 5;
const STAFF: u32 = 5;
const HOUR_WINDOW: u32 = 27;

/// Whom a user deals with: their node, and those who watch.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) service: Arc<BookingService>,
    pub(crate) oracle: Arc<Oracle>,
    pub(crate) propagation: Option<Propagation>,
}

impl Surroundings {
    /// Called at once when the service has answered a write.
    fn acknowledged(&self, written: &Written) {
        self.oracle.acknowledged(written);
        if let Some(propagation) = &self.propagation {
            propagation.acknowledged(written);
        }
    }
}

/// One user and all they know.
pub(crate) struct User {
    rng: Rng,
    around: Surroundings,
    plan: Arc<Plan>,
    /// Steps still to do, each with the moment it is due.
    due: VecDeque<(Instant, PlannedStep)>,
    /// What this user has booked, by the history's booking.
    held: HashMap<usize, AppointmentId>,
    ends: Instant,
    tally: Tally,
}

impl User {
    /// A user who will do their share of the plan in a run that began at `began`.
    pub(crate) fn new(
        number: usize,
        pace: Pace,
        began: Instant,
        around: Surroundings,
        plan: Arc<Plan>,
    ) -> User {
        let spread = pace.length.mul_f64(HISTORY_SHARE).div_f64(plan.steps().max(1) as f64);
        let when = |step: &PlannedStep| began + spread.mul_f64(step.index as f64);
        let due = plan.steps_of(number, pace.users).map(|step| (when(step), step.clone())).collect();
        // Users differ from each other and are the same in every run with this seed.
        let rng = Rng::with_seed(pace.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number as u64));
        let ends = began + pace.length;
        User { rng, around, plan, due, held: HashMap::new(), ends, tally: Tally::new() }
    }

    /// Acts until the run ends or is stopped.
    ///
    /// # Errors
    /// The first failure of the service that is not a refusal.
    pub(crate) async fn run(mut self, live: Arc<Live>, stop: Stop) -> Result<Tally, ServiceError> {
        let mut reported = Totals::default();
        loop {
            let now = Instant::now();
            if now >= self.ends || stop.is_set() {
                break;
            }
            if self.due.front().is_some_and(|(when, _)| *when <= now)
                && let Some((_, step)) = self.due.pop_front()
            {
                self.act(&step).await?;
            } else {
                self.browse().await?;
            }
            if self.tally.reads - reported.reads >= REPORT_READS {
                let totals = Totals::of(&self.tally);
                live.add(reported, totals);
                reported = totals;
            }
            // A hit awaits nothing: without this, one user would keep a worker to themselves.
            tokio::task::yield_now().await;
        }
        live.add(reported, Totals::of(&self.tally));
        Ok(self.tally)
    }

    async fn browse(&mut self) -> Result<(), ServiceError> {
        let plan = Arc::clone(&self.plan);
        let Some(place) = plan.look(&mut self.rng) else { return Ok(()) };
        let service = self.rng.choice(&place.services).copied().unwrap_or_default();
        let mut query = AvailabilityQuery {
            company: place.company,
            branch: place.branch,
            service,
            day: place.day,
            hour: None,
        };
        let roll = self.rng.u32(0..100);
        let began = Instant::now();
        if roll < STATISTICS {
            let read = self.around.service.statistics(place.company).await?;
            let took = began.elapsed();
            let verdict = self.around.oracle.judge_statistics(place.company, read.version, began);
            self.tally.read(read.source, took, verdict);
        } else if roll < STATISTICS + SERVICES {
            let read = self.around.service.services(place.company).await?;
            self.tally.read(read.source, began.elapsed(), Verdict::default());
        } else if roll < STATISTICS + SERVICES + STAFF {
            let read = self.around.service.staff(place.company, place.branch).await?;
            self.tally.read(read.source, began.elapsed(), Verdict::default());
        } else {
            if roll < STATISTICS + SERVICES + STAFF + HOUR_WINDOW {
                let (day, hour) = place.hour(self.rng.f64());
                (query.day, query.hour) = (day, Some(hour));
            }
            self.look(query).await?;
        }
        Ok(())
    }

    /// Reads availability, timed and judged.
    async fn look(&mut self, query: AvailabilityQuery) -> Result<Read<Availability>, ServiceError> {
        let began = Instant::now();
        let read = self.around.service.availability(query).await?;
        let took = began.elapsed();
        let verdict = self.around.oracle.judge_availability(query.hour, &read, began);
        self.tally.read(read.source, took, verdict);
        Ok(read)
    }

    async fn act(&mut self, step: &PlannedStep) -> Result<(), ServiceError> {
        self.tally.steps += 1;
        match step.step {
            Step::Book => {
                self.tally.bookings += 1;
                self.book(step).await
            }
            Step::Reschedule { .. } => self.reschedule(step).await,
            Step::Cancel => self.cancel(step).await,
        }
    }

    async fn book(&mut self, step: &PlannedStep) -> Result<(), ServiceError> {
        for _ in 0..TRIES_MAX {
            let Some(slot) = self.choose(step.query).await? else { return Ok(()) };
            match self.around.service.book(step.request(slot, customer_name(step.customer))).await {
                Ok(written) => {
                    self.around.acknowledged(&written);
                    self.held.insert(step.booking, written.appointment.id);
                    self.tally.booked += 1;
                    return Ok(());
                }
                Err(error) => self.refused(error)?,
            }
        }
        Ok(())
    }

    async fn reschedule(&mut self, step: &PlannedStep) -> Result<(), ServiceError> {
        let Some(&id) = self.held.get(&step.booking) else { return Ok(()) };
        for _ in 0..TRIES_MAX {
            let Some(slot) = self.choose(step.query).await? else { return Ok(()) };
            match self.around.service.reschedule(id, Some(slot.staff), slot.starts).await {
                Ok(written) => {
                    self.around.acknowledged(&written);
                    self.tally.rescheduled += 1;
                    return Ok(());
                }
                Err(error) => self.refused(error)?,
            }
        }
        Ok(())
    }

    async fn cancel(&mut self, step: &PlannedStep) -> Result<(), ServiceError> {
        let Some(id) = self.held.remove(&step.booking) else { return Ok(()) };
        let written = self.around.service.cancel(id).await?;
        self.around.acknowledged(&written);
        self.tally.cancelled += 1;
        Ok(())
    }

    /// One of the slots shown; people like the early ones.
    async fn choose(&mut self, query: AvailabilityQuery) -> Result<Option<Slot>, ServiceError> {
        let shown = self.look(query).await?;
        let share = self.rng.f64().powi(2);
        // Truncation is meant: an index below the length.
        let index = (shown.slots.len() as f64 * share) as usize;
        Ok(shown.slots.get(index).copied())
    }

    fn refused(&mut self, error: ServiceError) -> Result<(), ServiceError> {
        if !error.is_refusal() {
            return Err(error);
        }
        self.tally.refused += 1;
        Ok(())
    }
}
