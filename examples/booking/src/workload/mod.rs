//! The load generator: users who browse, open dashboards, and replay a history of bookings, with an oracle watching.
//!
//! `bench` calls it. It never prints and never looks into the database or the cache: it sees what a user sees.

pub(crate) mod latency;
pub(crate) mod oracle;
pub(crate) mod plan;
pub(crate) mod propagation;
pub(crate) mod session;
pub(crate) mod tally;
pub(crate) mod user;
pub(crate) mod zipf;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::error::ServiceError;
use crate::service::BookingService;
use latency::Latencies;
use oracle::Oracle;
use plan::Plan;
use propagation::Propagation;
use tally::{Live, Tally};
use user::{NodeReads, Surroundings, User};

/// Set once, by a signal or a failure: everyone finishes what they are at and stops.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a run goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) length: Duration,
    pub(crate) users: usize,
    pub(crate) seed: u64,
    /// Servers may be away for a while.
    pub(crate) bears_outages: bool,
}

/// What a run has measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) tally: Tally,
    pub(crate) nodes: Vec<NodeReads>,
    /// From a write's acknowledgement to the last node's knowing of it; empty when nobody is told.
    pub(crate) propagation: Latencies,
    pub(crate) duration: Duration,
    /// Steps of the history for which there was no time.
    pub(crate) steps_left: usize,
}

/// Replays the plan against the nodes of the service, users going from one to another.
///
/// # Errors
/// The first failure of the service that a user cannot explain (a refused booking is not one).
pub(crate) async fn run(
    nodes: &[Arc<BookingService>],
    plan: &Arc<Plan>,
    pace: Pace,
    live: &Arc<Live>,
    stop: &Stop,
) -> Result<Measured, ServiceError> {
    let began = Instant::now();
    let mut users = JoinSet::new();
    let (propagation, measurement) = Propagation::start(nodes).unzip();
    let surroundings = Surroundings {
        nodes: nodes.into(),
        oracle: Arc::new(Oracle::new()),
        propagation,
        bears_outages: pace.bears_outages,
    };
    for number in 0..pace.users {
        let user = User::new(number, pace, began, surroundings.clone(), Arc::clone(plan));
        users.spawn(user.run(Arc::clone(live), stop.clone()));
    }
    drop(surroundings);
    let mut tally = Tally::new();
    let mut by_node = vec![NodeReads::default(); nodes.len()];
    let mut failure = None;
    while let Some(ended) = users.join_next().await {
        match ended {
            Ok(Ok((own, own_by_node))) => {
                tally.merge(&own);
                for (sum, own) in by_node.iter_mut().zip(own_by_node) {
                    sum.reads += own.reads;
                    sum.hits += own.hits;
                }
            }
            Ok(Err(error)) => {
                stop.set();
                failure.get_or_insert(error);
            }
            Err(_) => {
                stop.set();
                failure.get_or_insert(ServiceError::Closing);
            }
        }
    }
    let duration = began.elapsed();
    let propagation = match measurement {
        Some(measurement) => measurement.finish().await,
        None => Latencies::new(),
    };
    match failure {
        Some(error) => Err(error),
        None => {
            let steps_left = plan.steps().saturating_sub(tally.steps);
            Ok(Measured { tally, nodes: by_node, propagation, duration, steps_left })
        }
    }
}
