//! One run: a world, a cluster, faults, healing, and what came of it.

use crate::app::is_in_loader;
use crate::fault::Fault;
use crate::faults::{self, Cluster};
use crate::options::Options;
use crate::oracle::{Violation, Witnessed};
use crate::sched::{MS, SECOND, Sim};
use crate::stopwatch::Stopwatch;
use crate::world::World;
use larder_core::interleave;
use serde::Serialize;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What came of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// The scripted story this was, if it was one.
    pub(crate) story: Option<&'static str>,
    pub(crate) options: Options,
    pub(crate) violations: Vec<Violation>,
    pub(crate) witnessed: Witnessed,
    pub(crate) faults: BTreeMap<Fault, u64>,
    /// Simulated time.
    pub(crate) simulated: Duration,
    /// Time of one core.
    pub(crate) took: Duration,
    pub(crate) steps: u64,
    /// The order of everything that happened, as one number: the same seed gives the same.
    pub(crate) fingerprint: u64,
    #[serde(skip)]
    pub(crate) trace: Vec<String>,
}

/// What others may see and ask of a run that is under way.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// How far simulated time has come, in nanoseconds.
    pub(crate) simulated: AtomicU64,
    /// End early, with what there is.
    pub(crate) stop: AtomicBool,
}

impl Outcome {
    /// Of a run that came to no end of its own.
    pub(crate) fn broken(options: Options, violation: Violation) -> Self {
        Outcome { violations: vec![violation], ..Outcome::empty(options) }
    }

    /// Of a run in which nothing was seen.
    pub(crate) fn empty(options: Options) -> Self {
        Outcome {
            story: None,
            options,
            violations: Vec::new(),
            witnessed: Witnessed::default(),
            faults: BTreeMap::new(),
            simulated: Duration::ZERO,
            took: Duration::ZERO,
            steps: 0,
            fingerprint: 0,
            trace: Vec::new(),
        }
    }

    pub(crate) fn passed(&self) -> bool {
        self.violations.is_empty()
    }
}

/// Runs one world from its beginning to its end.
pub(crate) fn run(options: &Options, traced: bool) -> Outcome {
    watched(options, traced, &Watch::default())
}

/// The same, while others look on.
pub(crate) fn watched(options: &Options, traced: bool, watch: &Watch) -> Outcome {
    let stopwatch = Stopwatch::start();
    let world = World::new(options.clone(), traced);
    world.authority().retain(options.retention);
    let cluster = Cluster::default();
    for _ in 0..options.nodes {
        cluster.add(&world);
    }
    faults::unleash(&world, &cluster);
    let hooked = options.has(Fault::Overtake).then(|| Hooked::new(&world));
    drive(&world, watch);
    drop(hooked);
    if !watch.stop.load(Ordering::Relaxed) {
        conclude(&world, &cluster);
    }
    let sim = world.sim();
    let fingerprint = sim.draw(|rng| rng.u64(..)) ^ sim.steps() ^ world.oracle().fingerprint();
    let (violations, witnessed) = world.oracle().take();
    let outcome = Outcome {
        story: None,
        options: options.clone(),
        violations,
        witnessed,
        faults: world.fired(),
        simulated: Duration::from_nanos(sim.now() - SECOND),
        took: stopwatch.read(),
        steps: sim.steps(),
        fingerprint,
        trace: world.take_trace(),
    };
    world.shut_down();
    outcome
}

/// Runs to the end, or a little beyond the first violation: one is enough.
fn drive(world: &World, watch: &Watch) {
    let sim = world.sim();
    while sim.now() < world.options().ends_at() {
        sim.run_until((sim.now() + 50 * MS).min(world.options().ends_at()));
        watch.simulated.store(sim.now() - SECOND, Ordering::Relaxed);
        if world.oracle().has_violations() || watch.stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// What can only be said at the end.
fn conclude(world: &World, cluster: &Cluster) {
    let mut oracle = world.oracle();
    if oracle.has_violations() {
        return;
    }
    let now = world.sim().now();
    for node in cluster.nodes() {
        if world.options().has_last_look() && !oracle.looked().contains(&node) {
            oracle.violation("every node comes back", now, node, None, "no answers at the end".to_owned());
        }
    }
    for ((node, life), (_, most)) in &world.database().loading {
        if *most > world.options().loads_max {
            let what =
                format!("{most} loads at once in life {life}; the cap is {}", world.options().loads_max);
            oracle.violation("the cap on loads", now, *node, None, what);
        }
    }
}

/// While this lives, threads are overtaken at the points of the code.
struct Hooked;

impl Hooked {
    fn new(world: &World) -> Self {
        let (hooked, sim) = (world.clone(), world.sim().clone());
        interleave::hook(Rc::new(move || overtake(&hooked, &sim)));
        Hooked
    }
}

impl Drop for Hooked {
    fn drop(&mut self) {
        interleave::unhook();
    }
}

fn overtake(world: &World, sim: &Sim) {
    if is_in_loader() || !world.strikes(Fault::Overtake, 0.002) {
        return;
    }
    let bound = world.options().bound_ns();
    // Mostly for a moment; sometimes for longer than a lease runs, alone or with its whole process.
    let (pause, whole) = sim.draw(|rng| match rng.u32(..10) {
        0..6 => (rng.u64(1000..MS), false),
        6..9 => (rng.u64(MS..2 * bound), false),
        _ => (rng.u64(MS..2 * bound), true),
    });
    let node = sim.current();
    let whole = whole && sim.is_running(node);
    let what = if whole { "its process" } else { "a thread" };
    world.note(node, || format!("is overtaken: {what} stands still for {:.3} ms", pause as f64 / 1e6));
    if whole {
        sim.pause(node);
    }
    sim.overtake(pause);
    if whole {
        sim.resume(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(seed: u64) -> Options {
        Options { faulty_ms: 1500, quiet_ms: 0, ops_per_s: 200, rows: 8, ..Options::drawn(seed) }
    }

    fn elsewhere(seed: u64, traced: bool) -> u64 {
        std::thread::spawn(move || run(&small(seed), traced).fingerprint).join().unwrap()
    }

    #[test]
    fn a_seed_is_a_run_whatever_ran_before_it_and_beside_it() {
        for seed in 0..12 {
            let first = elsewhere(seed, false);
            let after_others = {
                let _other = run(&small(seed + 100), false);
                run(&small(seed), false).fingerprint
            };
            let beside = std::thread::spawn(move || elsewhere(seed + 200, false));
            let meanwhile = elsewhere(seed, false);
            assert_eq!(first, after_others, "seed {seed}");
            assert_eq!(first, meanwhile, "seed {seed}");
            assert_ne!(first, beside.join().unwrap(), "seed {seed}");
        }
    }

    #[test]
    fn writing_everything_down_changes_nothing() {
        for seed in 0..12 {
            assert_eq!(elsewhere(seed, false), elsewhere(seed, true), "seed {seed}");
        }
    }
}
