//! Building a cache.

use super::{Cache, Shared};
use crate::clock::{SystemClock, Time};
use crate::engine::{Engine, Parts, SourceLimit, SourceLimits, Tier};
use crate::error::Error;
use crate::journal::MemoryJournal;
use crate::memory::{Bytes, Memory};
use crate::policy::DEFAULT_SOURCE;
use crate::runtime::Runtime;
use larder_core::expiry::nanos;
#[cfg(feature = "testing")]
use larder_core::port;
use larder_core::port::{Backplane, Clock, Journal, Store};
use std::collections::HashMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;

/// The smallest memory tier: one shard must hold an entry.
const MEMORY_MIN: Bytes = Bytes::kib(64);

/// What [`larder_core::Level`] is unless a region says otherwise.
const BOUND_MAX_DEFAULT: Duration = Duration::from_secs(1);
/// The tightest bound of a region.
const BOUND_MIN: Duration = Duration::from_millis(1);

/// Names of namespaces end up in stores and journals.
const NAMESPACE_BYTES_MAX: usize = 200;

/// Puts a cache together. With nothing but a namespace: 64 MiB of memory and a journal inside the process.
pub struct CacheBuilder {
    namespace: String,
    memory: Bytes,
    entries_max: Option<u64>,
    targets_max: usize,
    bound_max: Duration,
    journal: Option<Arc<dyn Journal>>,
    backplane: Option<Arc<dyn Backplane>>,
    stores: Vec<Arc<dyn Store>>,
    sources: HashMap<String, SourceLimits>,
    clock: Option<Arc<dyn Clock>>,
    #[cfg(feature = "testing")]
    simulated: Option<(Arc<dyn port::Runtime>, u64)>,
}

impl CacheBuilder {
    pub(super) fn new(namespace: &str) -> Self {
        CacheBuilder {
            namespace: namespace.to_owned(),
            memory: Bytes::mib(64),
            entries_max: None,
            targets_max: 1 << 18,
            bound_max: BOUND_MAX_DEFAULT,
            journal: None,
            backplane: None,
            stores: Vec::new(),
            sources: HashMap::from([(DEFAULT_SOURCE.to_owned(), SourceLimits::default())]),
            clock: None,
            #[cfg(feature = "testing")]
            simulated: None,
        }
    }

    /// How much the memory tier may hold; 64 MiB unless set, at least 64 KiB. One entry takes at most a 64th of it.
    #[must_use]
    pub fn memory(mut self, bytes: Bytes) -> Self {
        self.memory = bytes;
        self
    }

    /// How many entries the memory tier may hold, besides the cap on bytes. Each then counts as at least
    /// `memory / entries` bytes.
    #[must_use]
    pub fn entries_max(mut self, entries: u64) -> Self {
        self.entries_max = Some(entries);
        self
    }

    /// The journal; one inside the process unless set.
    #[must_use]
    pub fn journal(mut self, journal: impl Journal) -> Self {
        self.journal = Some(Arc::new(journal));
        self
    }

    /// Hints between nodes, for a journal that cannot give them by itself on every host. Without one, such a node learns of
    /// the others' records when it renews its lease.
    #[must_use]
    pub fn backplane(mut self, backplane: impl Backplane) -> Self {
        self.backplane = Some(Arc::new(backplane));
        self
    }

    /// A store below memory and below the stores added before.
    #[must_use]
    pub fn store(mut self, store: impl Store) -> Self {
        self.stores.push(Arc::new(store));
        self
    }

    /// The limits of a source of loads, for regions whose policy names it. Regions that name none load from `default`,
    /// which has room for 256 loads at once unless set here.
    #[must_use]
    pub fn source(mut self, name: &str, limits: SourceLimits) -> Self {
        self.sources.insert(name.to_owned(), limits);
        self
    }

    /// How many invalidated names are remembered (32 to 64 bytes each, 262,144 unless set). When there are more, the oldest
    /// half is forgotten, and entries older than those are misses.
    #[must_use]
    pub fn remembered_targets_max(mut self, targets: usize) -> Self {
        self.targets_max = targets;
        self
    }

    /// The largest staleness any region of this namespace may have, 1 s unless set. It is how long [`Cache::write`] and
    /// [`Cache::invalidate_and_wait`] wait for nodes that do not answer, so it must be the same in every process that uses
    /// the namespace; regions that would exceed it are refused.
    #[must_use]
    pub fn bound_max(mut self, bound: Duration) -> Self {
        self.bound_max = bound;
        self
    }

    /// The clock, for tests and simulations; the system's unless set.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The cache, following its journal. A journal that cannot be reached yet is not an error: until it can be, bounded
    /// regions load from the origin, and `stats()` says so.
    ///
    /// # Errors
    /// When a setting is out of bounds, or there is no tokio runtime.
    pub async fn build(self) -> Result<Cache, Error> {
        self.check()?;
        let (runtime, seed, scope_ids) = self.surroundings()?;
        let time = match self.clock {
            Some(clock) => Time::Given(clock),
            None => Time::System(Arc::new(SystemClock::new())),
        };
        let engine = Engine::new(Parts {
            namespace: self.namespace.into(),
            time,
            memory: Memory::new(self.memory, self.entries_max),
            tiers: self.stores.into_iter().map(Tier::new).collect(),
            journal: self.journal.unwrap_or_else(|| Arc::new(MemoryJournal::new())),
            backplane: self.backplane,
            targets_max: self.targets_max,
            bound_max: nanos(self.bound_max),
            runtime,
            seed,
        });
        // A failure is remembered in the statistics, and tried again by the follower.
        let _ = engine.catch_up().await;
        engine.start_following();
        engine.start_reclaiming();
        let limit = |(name, limits): (String, SourceLimits)| {
            let limit = Arc::new(SourceLimit::new(&name, limits));
            (name, limit)
        };
        let shared = Arc::new(Shared {
            scopes: Mutex::default(),
            stats: Mutex::default(),
            sources: self.sources.into_iter().map(limit).collect(),
            stop: engine.stop.clone(),
            scope_ids: scope_ids.map(AtomicU32::new),
        });
        Ok(Cache { engine, shared })
    }

    /// Runs the cache on the runtime of a simulator, with nothing left to chance: the same seed, the same run.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn simulated(mut self, runtime: Arc<dyn port::Runtime>, seed: u64) -> Self {
        self.simulated = Some((runtime, seed));
        self
    }

    /// What tasks run on, a random number, and the first number of this cache's regions if it has numbers of its own.
    fn surroundings(&self) -> Result<(Runtime, u64, Option<u32>), Error> {
        #[cfg(feature = "testing")]
        if let Some((runtime, seed)) = &self.simulated {
            crate::memory::fix_key_seed();
            return Ok((Runtime::Given(runtime.clone()), *seed, Some(1)));
        }
        let runtime = Handle::try_current()
            .map_err(|_| Error::invalid("no tokio runtime; expected build() to be called in one"))?;
        let seed = getrandom::u64().map_err(|error| Error::invalid(format!("no random numbers: {error}")))?;
        Ok((Runtime::Tokio(runtime), seed, None))
    }

    fn check(&self) -> Result<(), Error> {
        let bytes = self.namespace.len();
        if bytes == 0 || bytes > NAMESPACE_BYTES_MAX {
            let expected = format!("expected 1 to {NAMESPACE_BYTES_MAX}");
            return Err(Error::invalid(format!("namespace takes {bytes} bytes; {expected}")));
        }
        if self.memory < MEMORY_MIN {
            let (is, least) = (self.memory.get(), MEMORY_MIN.get());
            return Err(Error::invalid(format!("memory is {is} bytes; expected at least {least}")));
        }
        if self.entries_max == Some(0) {
            return Err(Error::invalid("entries_max is 0; expected at least 1"));
        }
        if self.bound_max < BOUND_MIN {
            let is = self.bound_max;
            return Err(Error::invalid(format!("bound_max is {is:?}; expected at least {BOUND_MIN:?}")));
        }
        let empty = self.sources.iter().find(|(_, limits)| limits.concurrency == 0);
        if let Some((name, _)) = empty {
            return Err(Error::invalid(format!("source {name:?}: concurrency is 0; expected at least 1")));
        }
        Ok(())
    }
}
