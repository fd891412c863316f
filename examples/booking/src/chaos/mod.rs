//! Faults on a schedule, while a run goes on: one after another in an order that the seed decides.
//!
//! `bench` starts it on servers that it has spawned itself; it never touches any other.

pub(crate) mod database;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;
use larder_rig::{Fault, Place};
use serde::Serialize;

use crate::bench::BenchError;
use crate::workload::Stop;
use database::{Ground, Mishap};

/// Between two faults, and how long each lasts: from, to, in milliseconds.
const PEACE_MS: (u64, u64) = (500, 1_500);
const LASTS_MS: (u64, u64) = (700, 2_500);
/// Between two blows of a fault that is a series of them.
const BLOWS: Duration = Duration::from_millis(50);

/// A fault that set in, and when it was over.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Injected {
    pub(crate) fault: &'static str,
    /// Since the run began.
    pub(crate) at_s: f64,
    pub(crate) lasted_s: f64,
}

/// Something that can be done to one of the servers, and undone.
#[derive(Clone, Debug)]
pub(crate) enum Harm {
    Redis(&'static Fault, Arc<Place>),
    Postgres(&'static Mishap, Arc<Ground>),
}

impl Harm {
    /// The rig's faults of such a place.
    pub(crate) fn to_redis(place: &Arc<Place>) -> Vec<Harm> {
        let faults = Fault::on(place.kind()).into_iter();
        faults.map(|fault| Harm::Redis(fault, Arc::clone(place))).collect()
    }

    /// All that happens to databases.
    pub(crate) fn to_postgres(ground: &Arc<Ground>) -> Vec<Harm> {
        Mishap::ALL.iter().map(|mishap| Harm::Postgres(mishap, Arc::clone(ground))).collect()
    }

    fn name(&self) -> &'static str {
        match self {
            Harm::Redis(fault, _) => fault.name,
            Harm::Postgres(mishap, _) => mishap.name,
        }
    }

    fn begin(&self) -> Result<(), larder_rig::Error> {
        match self {
            Harm::Redis(fault, place) => fault.begin(place),
            Harm::Postgres(mishap, ground) => (mishap.begin)(ground),
        }
    }

    fn again(&self) -> Result<(), larder_rig::Error> {
        match self {
            Harm::Redis(fault, place) => fault.again(place),
            Harm::Postgres(mishap, ground) => (mishap.again)(ground),
        }
    }

    fn end(&self) -> Result<(), larder_rig::Error> {
        match self {
            Harm::Redis(fault, place) => fault.end(place),
            Harm::Postgres(mishap, ground) => (mishap.end)(ground),
        }
    }
}

/// Faults going on.
#[derive(Debug)]
pub(crate) struct Chaos {
    stop: Stop,
    thread: JoinHandle<Result<Vec<Injected>, larder_rig::Error>>,
}

impl Chaos {
    /// Starts them.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub(crate) fn start(harms: Vec<Harm>, seed: u64) -> Result<Chaos, BenchError> {
        let stop = Stop::default();
        let stopped = stop.clone();
        let thread = thread::Builder::new()
            .name("booking-chaos".to_owned())
            .spawn(move || inject(&harms, Rng::with_seed(seed), &stopped));
        let none = |error| BenchError::Chaos(larder_rig::Error::new(format!("no thread for it: {error}")));
        Ok(Chaos { stop, thread: thread.map_err(none)? })
    }

    /// Ends the fault of the moment; what was injected.
    ///
    /// # Errors
    /// When the server did not do as it was told: not what the run is about.
    pub(crate) async fn finish(self) -> Result<Vec<Injected>, larder_rig::Error> {
        self.stop.set();
        let joined = tokio::task::spawn_blocking(|| self.thread.join()).await;
        let injected = joined.ok().and_then(Result::ok);
        injected.unwrap_or_else(|| Err(larder_rig::Error::new("the thread that injects faults has panicked")))
    }
}

fn inject(harms: &[Harm], mut rng: Rng, stop: &Stop) -> Result<Vec<Injected>, larder_rig::Error> {
    let began = Instant::now();
    let mut injected = Vec::new();
    let mut order: Vec<&Harm> = Vec::new();
    loop {
        if order.is_empty() {
            order.extend(harms);
            rng.shuffle(&mut order);
        }
        pause(&mut rng, PEACE_MS, stop, || Ok(()))?;
        let Some(harm) = order.pop().filter(|_| !stop.is_set()) else { return Ok(injected) };
        let set_in = Instant::now();
        harm.begin()?;
        pause(&mut rng, LASTS_MS, stop, || harm.again())?;
        harm.end()?;
        let at_s = rounded(set_in.duration_since(began));
        injected.push(Injected { fault: harm.name(), at_s, lasted_s: rounded(set_in.elapsed()) });
    }
}

/// Lets some time between these pass, with a blow now and then; ends early when stopped.
fn pause(
    rng: &mut Rng,
    (from, to): (u64, u64),
    stop: &Stop,
    mut blow: impl FnMut() -> Result<(), larder_rig::Error>,
) -> Result<(), larder_rig::Error> {
    let ends = Instant::now() + Duration::from_millis(rng.u64(from..=to));
    while Instant::now() < ends && !stop.is_set() {
        blow()?;
        thread::sleep(BLOWS);
    }
    Ok(())
}

fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}
