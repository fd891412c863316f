//! The world a simulated cluster lives in: one database, one journal, one store, the network between them and the nodes,
//! and what is written down about all of it.

use crate::fake::{Authority, Before, Database, Payloads, RowId};
use crate::fault::Fault;
use crate::hints::Ear;
use crate::options::{JournalKind, Options};
use crate::oracle::{Oracle, Recorded};
use crate::sched::{MS, NodeId, NodeRuntime, SECOND, Sim, Time};
use larder::Token;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

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
    ears: Mutex<Vec<Weak<Ear>>>,
    trace: Option<Mutex<Vec<String>>>,
}

#[derive(Clone, Copy)]
struct Cut {
    until: Time,
    hangs: bool,
    /// Whether anything has been held up by it yet.
    has_struck: bool,
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
            ears: Mutex::default(),
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
        lock(&self.0.cuts).insert((node, service), Cut { until, hangs, has_struck: false });
    }

    fn cut_of(&self, node: NodeId, service: Service) -> Option<Cut> {
        let cut = lock(&self.0.cuts).get(&(node, service)).copied();
        cut.filter(|cut| cut.until > self.0.sim.now())
    }

    /// Something was on its way. The first time, the fault counts.
    fn struck_by(&self, cut: Cut, node: NodeId, service: Service) {
        if !cut.has_struck {
            self.struck(Fault::Partition);
            lock(&self.0.cuts).insert((node, service), Cut { has_struck: true, ..cut });
        }
    }

    /// One way over the network between a node and a service.
    pub(crate) async fn travel(&self, rt: &NodeRuntime, service: Service) -> Result<(), Unreachable> {
        let sim = &self.0.sim;
        sim.delay(20_000, 300_000).await;
        if let Some(cut) = self.cut_of(rt.node, service) {
            self.struck_by(cut, rt.node, service);
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

    /// Everybody who listens to hints.
    pub(crate) fn ears(&self) -> MutexGuard<'_, Vec<Weak<Ear>>> {
        lock(&self.0.ears)
    }

    /// Whether nothing passes between a node and a service now.
    pub(crate) fn is_cut(&self, node: NodeId, service: Service) -> bool {
        self.cut_of(node, service).is_some()
    }

    /// The journal's servers hold something else than they did; `before`, if something may be missing.
    pub(crate) fn journal_has_changed(&self, before: Option<&Before>) {
        let authority = self.authority();
        let uncovered = |nonce, appended| authority.uncovered(nonce, appended);
        let knew = |nonce| before.map_or(0, |before| before.knew(nonce));
        let would_notice = |nonce| authority.would_notice(nonce);
        self.oracle().journal_has_changed(self.0.sim.now(), uncovered, knew, would_notice);
    }

    /// A node has acknowledged a write; with this token, if its record is in the journal without the data.
    pub(crate) fn acknowledge(&self, node: NodeId, row: RowId, version: u64, token: Option<Token>) {
        let now = self.0.sim.now();
        let record = {
            let authority = self.authority();
            let nonce = token.map(|token| token.link().nonce);
            let record = nonce.and_then(|nonce| Some((nonce, authority.appended_at(nonce)?)));
            record.map(|record| {
                let (missing_at, would_notice) =
                    (authority.uncovered(record.0, record.1), authority.would_notice(record.0));
                let missed = authority.missed(record.0, record.1);
                Recorded { nonce: record.0, appended: record.1, missing_at, missed, would_notice }
            })
        };
        let mut database = self.database();
        let mut oracle = self.oracle();
        oracle.acknowledged(&mut database, row, version, now);
        if let Some(record) = record.filter(|_| self.0.options.journal == JournalKind::Redis) {
            oracle.recorded((row, version), record, node, now);
        }
    }

    /// A node's process has died, and all that it knew with it.
    pub(crate) fn has_died(&self, node: NodeId) {
        self.authority().forget(node);
        self.oracle().forget_own(node);
    }

    /// Ends the run: drops all that runs, and with it every handle.
    pub(crate) fn shut_down(&self) {
        self.0.sim.shut_down();
        self.ears().clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
