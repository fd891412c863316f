//! Flights under an explorer of schedules: readers that join, leave, are overtaken and woken, in thousands of orders.
//!
//! Built and run only with `--cfg larder_shuttle`:
//!
//! ```text
//! RUSTFLAGS="--cfg larder_seeded_bugs --cfg larder_shuttle" \
//!     cargo test -p larder --no-default-features --target-dir target/shuttle --lib schedules
//! ```

#![allow(clippy::unwrap_used, reason = "in a test, it fails the test")]

use super::{Driven, Flight, Flights, Work};
use crate::error::Error;
use crate::memory::Key;
use larder_core::{Birth, Epoch, Link, Segments};
use shuttle::sync::Mutex;
use shuttle::{future, thread};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;

/// Schedules drawn of each history, by each of two ways of drawing.
const DRAWN: usize = 1_500;

fn explore(history: fn()) {
    use shuttle::scheduler::{PctScheduler, RandomScheduler};
    use shuttle::{Config, Runner};
    let mut config = Config::new();
    config.silence_warnings = true;
    Runner::new(PctScheduler::new(3, DRAWN), config.clone()).run(history);
    Runner::new(RandomScheduler::new(DRAWN), config).run(history);
}

/// The flights of one key, and an origin whose version a writer raises and then announces.
struct Stage {
    flights: Flights,
    key: Key,
    origin: Mutex<Origin>,
}

#[derive(Default)]
struct Origin {
    version: u64,
    loads: usize,
    /// Loads under way, by the version they were born with.
    running: BTreeMap<u64, usize>,
}

/// How a reader behaves that finds itself leading.
#[derive(Clone, Copy)]
enum Leader {
    Stays,
    /// Goes away in the middle of the load.
    Leaves,
    /// Its load is dropped before its end, as by a runtime that shuts down.
    Dies,
}

impl Stage {
    fn new() -> Arc<Self> {
        let key = Key::new(1, Segments::builder().with("k").finish());
        Arc::new(Stage { flights: Flights::default(), key, origin: Mutex::default() })
    }

    fn version(&self) -> u64 {
        self.origin.lock().unwrap().version
    }

    fn write(&self) {
        self.origin.lock().unwrap().version += 1;
    }

    /// One read, as the engine drives it; returns the version it was given.
    async fn read(self: &Arc<Self>, leader: Leader) -> Option<u64> {
        let read_began = self.version();
        loop {
            let version = self.version();
            let may_follow = |flight: &Flight| is_of(flight, version);
            let (flight, leads) = self.flights.join(&self.key, may_follow);
            if leads {
                self.lead(&flight, leader).await?;
            }
            let landed = flight.landed().await;
            let given = landed.err().and_then(|error| version_in(&error));
            match given {
                // What was overtaken is loaded again; so is what was abandoned, by whoever still waits.
                Some(version) if version < read_began => {}
                None => {}
                given => return given,
            }
        }
    }

    /// Runs the load, or part of it; `None` when the reader went away.
    async fn lead(self: &Arc<Self>, flight: &Arc<Flight>, leader: Leader) -> Option<()> {
        let (stage, landing) = (self.clone(), Landing { stage: self.clone(), flight: flight.clone() });
        let work: Work = Box::pin(async move {
            let version = stage.begin(&landing.flight);
            future::yield_now().await;
            stage.end(version);
            landing.land(Some(version));
        });
        let carried = flight.clone();
        let on_detach = move |rest: Work| {
            if carried.plan().detach() {
                future::spawn(rest);
            }
        };
        let mut driven = Driven::new(work, Box::new(on_detach));
        match leader {
            Leader::Stays => {
                driven.await;
                return Some(());
            }
            Leader::Leaves => {
                poll_once(&mut driven).await;
                drop(driven);
            }
            Leader::Dies => {
                let version = self.begin(flight);
                self.end(version);
                drop(Landing { stage: self.clone(), flight: flight.clone() });
                driven.work = None;
            }
        }
        None
    }

    fn begin(&self, flight: &Flight) -> u64 {
        let version = self.version();
        let stamp = Link { epoch: Epoch::new(1), position: version, nonce: 0 };
        flight.begin(Some(Birth { stamp, local: version }), 1);
        let mut origin = self.origin.lock().unwrap();
        origin.loads += 1;
        let running = origin.running.entry(version).or_default();
        *running += 1;
        assert_eq!(*running, 1, "two loads at once, and neither was overtaken");
        version
    }

    fn end(&self, version: u64) {
        *self.origin.lock().unwrap().running.get_mut(&version).unwrap() -= 1;
    }

    fn loads(&self) -> usize {
        self.origin.lock().unwrap().loads
    }
}

/// Whether a load has seen this version of the origin, or will.
fn is_of(flight: &Flight, version: u64) -> bool {
    let verdict = match flight.began().and_then(|began| began.born) {
        Some(born) if born.local < version => larder_core::Verdict::Invalidated,
        _ => larder_core::Verdict::Fresh,
    };
    flight.plan().join(verdict) == larder_core::plan::Joined::Follow
}

/// Ends a flight as `load::Landing` does: off the table, then settled; dropped unsettled, with an error.
struct Landing {
    stage: Arc<Stage>,
    flight: Arc<Flight>,
}

impl Landing {
    fn land(&self, version: Option<u64>) {
        self.stage.flights.remove(&self.stage.key, &self.flight);
        let said = version.map_or_else(Error::abandoned, |version| Error::declined(version.to_string()));
        self.flight.settle(Err(said));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if self.flight.peek().is_none() {
            self.land(None);
        }
    }
}

fn version_in(error: &Error) -> Option<u64> {
    error.to_string().rsplit(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty())?.parse().ok()
}

async fn poll_once(driven: &mut Driven) {
    std::future::poll_fn(|cx| {
        let _ = std::pin::Pin::new(&mut *driven).poll(cx);
        Poll::Ready(())
    })
    .await;
}

/// Readers on threads of their own, while a writer may write.
fn readers(leaders: &[Leader], writes: bool) -> Arc<Stage> {
    let stage = Stage::new();
    let reading: Vec<_> = leaders
        .iter()
        .map(|leader| {
            let (stage, leader) = (stage.clone(), *leader);
            thread::spawn(move || future::block_on(async move { stage.read(leader).await }))
        })
        .collect();
    if writes {
        stage.write();
    }
    for (reader, leader) in reading.into_iter().zip(leaders) {
        let given = reader.join().unwrap();
        assert!(given.is_some() || !matches!(leader, Leader::Stays), "a reader that stays is answered");
    }
    stage
}

#[test]
fn whoever_waits_is_woken_and_one_load_serves_all() {
    explore(|| {
        let stage = readers(&[Leader::Stays; 3], false);
        assert_eq!(stage.flights.len(), 0);
        assert!(stage.loads() <= 3);
    });
}

#[test]
fn a_leader_that_leaves_hands_the_load_over() {
    explore(|| drop(readers(&[Leader::Leaves, Leader::Stays, Leader::Stays], false)));
}

#[test]
fn a_load_that_dies_wakes_those_who_wait_and_one_of_them_loads() {
    explore(|| {
        let stage = readers(&[Leader::Dies, Leader::Stays, Leader::Stays], false);
        assert_eq!(stage.flights.len(), 0);
    });
}

/// The flight that takes an overtaken one's place stays the key's when that one ends.
#[test]
fn an_overtaken_load_is_replaced_by_one_and_no_more() {
    explore(|| {
        let stage = readers(&[Leader::Stays; 4], true);
        assert_eq!(stage.flights.len(), 0);
    });
}

#[test]
fn a_refresh_starts_only_where_no_load_runs() {
    explore(|| {
        let stage = Stage::new();
        let starts: Vec<_> = (0..2)
            .map(|_| {
                let stage = stage.clone();
                thread::spawn(move || stage.flights.start(&stage.key).is_some())
            })
            .collect();
        let started = starts.into_iter().map(|start| start.join().unwrap()).filter(|started| *started);
        assert_eq!(started.count(), 1);
    });
}

#[cfg(larder_seeded_bugs)]
#[test]
fn each_known_mistake_is_found() {
    let made = [
        ("lost_wakeup", "whoever_waits_is_woken_and_one_load_serves_all"),
        ("any_flight_is_removed", "an_overtaken_load_is_replaced_by_one_and_no_more"),
    ];
    for (mistake, history) in made {
        let mut tests = std::process::Command::new(std::env::current_exe().unwrap());
        let history = format!("{}::{history}", module_path!().split_once("::").unwrap().1);
        let made = tests.args(["--exact", &history]).env("LARDER_SEEDED_BUG", mistake).output().unwrap();
        let said = String::from_utf8_lossy(&made.stdout);
        assert!(said.contains("running 1 test"), "no history is called {history}: {said}");
        assert!(said.contains("0 passed; 1 failed"), "{mistake} is not found by {history}: {said}");
    }
}
