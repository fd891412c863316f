//! One user: browses, opens dashboards, and does their share of the history when it is due.
//!
//! `workload` starts them. A user goes from node to node, with the token of their session, acts only on what the service
//! has shown them, tells the oracle of every answer, and never retries a failure of the service.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::cached::{Read, Source};
use crate::db::write::Written;
use crate::domain::{AppointmentId, Availability, AvailabilityQuery, Slot};
use crate::error::ServiceError;
use crate::history::Step;
use crate::history::generate::customer_name;
use crate::service::BookingService;
use crate::workload::oracle::{Oracle, Subject, Verdict};
use crate::workload::plan::{Place, Plan, PlannedStep};
use crate::workload::propagation::Propagation;
use crate::workload::session::Session;
use crate::workload::tally::{Live, Tally, Totals};
use crate::workload::{Pace, Stop};

/// A user whose slot was taken looks again, this often in all.
const TRIES_MAX: usize = 3;
/// Reads between two reports to the live totals.
const REPORT_READS: u64 = 64;
/// The history is spread over this share of the run; the rest is for the last steps to finish.
const HISTORY_SHARE: f64 = 0.97;

/// Between two times that a user asks for a token beside those of their writes, and for the newest there is: both ask the
/// journal, and would be most of the work if they came with every so many reads of memory.
const CLOSELY: Duration = Duration::from_millis(250);
/// Before a user tries something else when a server was away.
const REST: Duration = Duration::from_millis(50);

/// What users open, in shares of a hundred; the rest looks at a whole day.
const STATISTICS: u32 = 1;
const SERVICES: u32 = 5;
const STAFF: u32 = 5;
const HOUR_WINDOW: u32 = 27;

/// Whom a user deals with: the nodes, and those who watch.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) nodes: Arc<[Arc<BookingService>]>,
    pub(crate) oracle: Arc<Oracle>,
    pub(crate) propagation: Option<Propagation>,
    /// Servers may be away for a while, and that is no reason to stop.
    pub(crate) bears_outages: bool,
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
    /// The node of this moment.
    node: usize,
    session: Session,
    /// When to look closely the next time.
    closely: Instant,
    plan: Arc<Plan>,
    /// Steps still to do, each with the moment it is due.
    due: VecDeque<(Instant, PlannedStep)>,
    /// What this user has booked, by the history's booking.
    held: HashMap<usize, AppointmentId>,
    ends: Instant,
    tally: Tally,
    /// Reads, and those of them answered by the cache, node by node.
    by_node: Vec<NodeReads>,
}

/// What was read on a node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NodeReads {
    pub(crate) reads: u64,
    pub(crate) hits: u64,
}

impl NodeReads {
    /// Share of reads answered by the cache.
    pub(crate) fn hit_rate(self) -> f64 {
        if self.reads == 0 { 0.0 } else { self.hits as f64 / self.reads as f64 }
    }
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
        let by_node = vec![NodeReads::default(); around.nodes.len()];
        let (held, session, tally) = (HashMap::new(), Session::default(), Tally::new());
        User { rng, around, node: number, session, closely: began, plan, due, held, ends, tally, by_node }
    }

    /// Acts until the run ends or is stopped.
    ///
    /// # Errors
    /// The first failure of the service that is not a refusal, nor an outage that is to be borne.
    pub(crate) async fn run(
        mut self,
        live: Arc<Live>,
        stop: Stop,
    ) -> Result<(Tally, Vec<NodeReads>), ServiceError> {
        let mut reported = Totals::default();
        loop {
            let now = Instant::now();
            if now >= self.ends || stop.is_set() {
                break;
            }
            match self.once(now).await {
                Err(error) if self.around.bears_outages && error.is_outage() => {
                    self.tally.failed += 1;
                    tokio::time::sleep(REST).await;
                }
                outcome => outcome?,
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
        Ok((self.tally, self.by_node))
    }

    /// The next step that is due, or a look at something.
    async fn once(&mut self, now: Instant) -> Result<(), ServiceError> {
        if self.due.front().is_some_and(|(when, _)| *when <= now)
            && let Some((_, step)) = self.due.pop_front()
        {
            return self.act(&step).await;
        }
        if now >= self.closely {
            self.closely = now + CLOSELY;
            self.look_closely().await?;
            let token = self.here().token().await?;
            self.session.cover(token, self.node);
            return Ok(());
        }
        self.browse().await
    }

    /// The node of this moment.
    fn here(&self) -> &BookingService {
        let nodes = &self.around.nodes;
        &nodes[self.node % nodes.len()]
    }

    /// Goes to any of the nodes, and shows the token there; when the read begins, of what was asked for at `asked`.
    async fn go(&mut self, asked: Instant) -> Result<Instant, ServiceError> {
        if self.around.nodes.len() > 1 {
            self.node = self.rng.usize(0..self.around.nodes.len());
        }
        match self.session.token_for(self.node) {
            Some(token) => {
                self.here().reach(&token).await?;
                self.session.arrived(self.node);
                Ok(Instant::now())
            }
            None => Ok(asked),
        }
    }

    async fn browse(&mut self) -> Result<(), ServiceError> {
        let plan = Arc::clone(&self.plan);
        let Some(place) = plan.look(&mut self.rng) else { return Ok(()) };
        let mut query = self.query(place);
        let roll = self.rng.u32(0..100);
        let asked = Instant::now();
        if roll < STATISTICS {
            let began = self.go(asked).await?;
            let read = self.here().statistics(place.company).await?;
            let verdict = self.around.oracle.judge_statistics(place.company, read.version, began);
            self.count(&read, asked, verdict);
            self.tally.in_session(self.session.is_violated(Subject::Company(place.company), read.version));
        } else if roll < STATISTICS + SERVICES {
            self.go(asked).await?;
            let read = self.here().services(place.company).await?;
            self.count(&read, asked, Verdict::default());
        } else if roll < STATISTICS + SERVICES + STAFF {
            self.go(asked).await?;
            let read = self.here().staff(place.company, place.branch).await?;
            self.count(&read, asked, Verdict::default());
        } else if roll < STATISTICS + SERVICES + STAFF + HOUR_WINDOW {
            let (day, hour) = place.hour(self.rng.f64());
            (query.day, query.hour) = (day, Some(hour));
            self.look(query).await?;
        } else {
            self.look(query).await?;
        }
        Ok(())
    }

    /// Reads availability, timed and judged.
    async fn look(&mut self, query: AvailabilityQuery) -> Result<Read<Availability>, ServiceError> {
        let asked = Instant::now();
        let began = self.go(asked).await?;
        let read = self.here().availability(query).await?;
        self.judge(&read, query.hour, asked, began);
        Ok(read)
    }

    /// What someone asks who looks at a place, for any of its services.
    fn query(&mut self, place: &Place) -> AvailabilityQuery {
        let service = self.rng.choice(&place.services).copied().unwrap_or_default();
        let Place { company, branch, day, .. } = *place;
        AvailabilityQuery { company, branch, service, day, hour: None }
    }

    /// Reads a whole day, and asks for the newest there is.
    async fn look_closely(&mut self) -> Result<(), ServiceError> {
        let plan = Arc::clone(&self.plan);
        let Some(place) = plan.look(&mut self.rng) else { return Ok(()) };
        let query = self.query(place);
        let asked = Instant::now();
        let began = self.go(asked).await?;
        let read = self.here().availability_now(query).await?;
        self.tally.linearizable_reads += 1;
        self.tally.linearizability_violations += u64::from(self.around.oracle.breaks_order(&read, began));
        self.judge(&read, query.hour, asked, began);
        Ok(())
    }

    fn judge(&mut self, read: &Read<Availability>, hour: Option<u8>, asked: Instant, began: Instant) {
        let verdict = self.around.oracle.judge_availability(hour, read, began);
        self.count(read, asked, verdict);
        self.tally.in_session(self.session.is_violated(Subject::of(read.day, hour), read.version));
    }

    fn count<T>(&mut self, read: &Read<T>, asked: Instant, verdict: Verdict) {
        self.tally.read(read.source, asked.elapsed(), verdict);
        if let Some(here) = self.by_node.get_mut(self.node % self.around.nodes.len()) {
            here.reads += 1;
            here.hits += u64::from(read.source != Source::Origin);
        }
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
            self.go(Instant::now()).await?;
            match self.here().book(step.request(slot, customer_name(step.customer))).await {
                Ok(written) => {
                    self.acknowledged(&written);
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
            self.go(Instant::now()).await?;
            match self.here().reschedule(id, Some(slot.staff), slot.starts).await {
                Ok(written) => {
                    self.acknowledged(&written);
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
        self.go(Instant::now()).await?;
        let written = self.here().cancel(id).await?;
        self.acknowledged(&written);
        self.tally.cancelled += 1;
        Ok(())
    }

    fn acknowledged(&mut self, written: &Written) {
        self.around.acknowledged(written);
        let keeps_sessions = self.here().keeps_sessions();
        self.session.wrote(written, keeps_sessions, self.node);
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
