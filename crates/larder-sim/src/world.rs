//! The world a simulated cluster lives in: one database, one journal, one store, the network between them and the nodes,
//! and what is written down about all of it.

use crate::fake::{Authority, Database, Payloads};
use crate::fault::Fault;
use crate::options::Options;
use crate::oracle::Oracle;
use crate::sched::{MS, NodeId, NodeRuntime, SECOND, Sim, Time};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Notify;

/// What a node talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    Database,
    Journal,
    Store,
}

/// A handle to the world.
#[derive(Clone)]
pub(crate) struct World(Arc<Shared>);

struct Shared {
    sim: Sim,
    options: Options,
    database: Mutex<Database>,
    authority: Mutex<Authority>,
    payloads: Mutex<Payloads>,
    oracle: Mutex<Oracle>,
    fired: Mutex<BTreeMap<Fault, u64>>,
    cuts: Mutex<BTreeMap<(NodeId, Service), Cut>>,
    /// Those of processes that are dead are gone.
    hints: Mutex<Vec<Weak<Notify>>>,
    trace: Option<Mutex<Vec<String>>>,
}

#[derive(Clone, Copy)]
struct Cut {
    until: Time,
    hangs: bool,
}

/// Why nothing came back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unreachable(Service);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {:?} cannot be reached", self.0)
    }
}

impl std::error::Error for Unreachable {}

impl World {
    pub(crate) fn new(options: Options, traced: bool) -> Self {
        let sim = Sim::new(options.seed);
        let epoch = sim.draw(|rng| rng.u128(..));
        World(Arc::new(Shared {
            database: Mutex::new(Database::new(&options)),
            authority: Mutex::new(Authority::new(epoch)),
            payloads: Mutex::default(),
            oracle: Mutex::new(Oracle::new(&options)),
            fired: Mutex::default(),
            cuts: Mutex::default(),
            hints: Mutex::default(),
            trace: traced.then(Mutex::default),
            sim,
            options,
        }))
    }

    pub(crate) fn sim(&self) -> &Sim {
        &self.0.sim
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(crate) fn database(&self) -> MutexGuard<'_, Database> {
        lock(&self.0.database)
    }

    pub(crate) fn authority(&self) -> MutexGuard<'_, Authority> {
        lock(&self.0.authority)
    }

    pub(crate) fn payloads(&self) -> MutexGuard<'_, Payloads> {
        lock(&self.0.payloads)
    }

    pub(crate) fn oracle(&self) -> MutexGuard<'_, Oracle> {
        lock(&self.0.oracle)
    }

    /// How often each fault struck.
    pub(crate) fn fired(&self) -> BTreeMap<Fault, u64> {
        lock(&self.0.fired).clone()
    }

    /// Whether faults are over.
    pub(crate) fn is_healed(&self) -> bool {
        self.0.sim.now() >= self.0.options.healed_at()
    }

    /// Whether this fault strikes here and now, usually with this probability; counted when it does.
    pub(crate) fn strikes(&self, fault: Fault, probability: f64) -> bool {
        let options = &self.0.options;
        if !options.has(fault) || self.is_healed() || !self.0.sim.chance(probability * options.intensity) {
            return false;
        }
        self.struck(fault);
        true
    }

    pub(crate) fn struck(&self, fault: Fault) {
        *lock(&self.0.fired).entry(fault).or_default() += 1;
    }

    /// Writes a line down, when this run is traced.
    pub(crate) fn note(&self, node: NodeId, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.0.trace {
            let now = self.0.sim.now() - SECOND;
            let entry = format!("{:>12.6} {node:>5}  {}", now as f64 / 1e9, line());
            lock(trace).push(entry);
        }
    }

    pub(crate) fn take_trace(&self) -> Vec<String> {
        self.0.trace.as_ref().map(|trace| std::mem::take(&mut *lock(trace))).unwrap_or_default()
    }

    /// Cuts a node off from a service until then.
    pub(crate) fn cut(&self, node: NodeId, service: Service, until: Time, hangs: bool) {
        lock(&self.0.cuts).insert((node, service), Cut { until, hangs });
    }

    /// One way over the network between a node and a service.
    pub(crate) async fn travel(&self, rt: &NodeRuntime, service: Service) -> Result<(), Unreachable> {
        let sim = &self.0.sim;
        sim.delay(20_000, 300_000).await;
        let cut = lock(&self.0.cuts).get(&(rt.node, service)).copied();
        if let Some(cut) = cut.filter(|cut| cut.until > sim.now()) {
            if cut.hangs {
                // Retransmitted until the line is back; whoever cannot wait gives up before.
                sim.delay(cut.until - sim.now(), cut.until - sim.now() + 500 * MS).await;
            } else {
                return Err(Unreachable(service));
            }
        }
        if rt.is_over() {
            // Nobody is there to read the answer.
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    /// A new listener to hints.
    pub(crate) fn listen(&self) -> Arc<Notify> {
        let hint = Arc::new(Notify::new());
        let mut hints = lock(&self.0.hints);
        // Nobody hears what is said to a process that has died: an hour of crashes would have it said a hundred times.
        hints.retain(|hint| hint.strong_count() > 0);
        hints.push(Arc::downgrade(&hint));
        drop(hints);
        hint
    }

    /// Tells every node that the journal may have something new; or not, or late, or twice.
    pub(crate) fn hint_all(&self) {
        let hints = lock(&self.0.hints).clone();
        for hint in hints {
            if self.strikes(Fault::HintDrop, 0.3) {
                continue;
            }
            let late = self.strikes(Fault::HintDelay, 0.1);
            let again = self.strikes(Fault::HintRepeat, 0.1);
            let sim = self.0.sim.clone();
            self.0.sim.spawn_world(async move {
                let most = if late { 120 * SECOND } else { MS };
                sim.delay(50_000, most).await;
                hint.upgrade().inspect(|hint| hint.notify_one());
                if again {
                    sim.delay(50_000, 100 * MS).await;
                    hint.upgrade().inspect(|hint| hint.notify_one());
                }
            });
        }
    }

    /// Ends the run: drops all that runs, and with it every handle.
    pub(crate) fn shut_down(&self) {
        self.0.sim.shut_down();
        lock(&self.0.hints).clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
