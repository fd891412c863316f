//! The cache: one namespace, its tiers and its journal, behind one handle.
//!
//! Built once by [`CacheBuilder`]; hands out regions and tenants. It assembles nothing by itself: stores and journals
//! are given to it.

mod builder;
mod tenant;
mod write;

pub use builder::CacheBuilder;
pub use tenant::TenantCache;
pub use write::{Write, WriteGuard};

use crate::engine::{Announced, Engine, Invalidated, Reached, Scope, SourceLimit, ValueCodec};
use crate::error::Error;
use crate::journal::RECORD_BYTES_MAX;
use crate::observe::{RegionStats, Stats};
use crate::policy::Policy;
use crate::region::{InMemory, Region, Serialized};
use larder_core::expiry::nanos;
use larder_core::{Bound, Cause, HoldOff, Level, Path, Target, Tenant, Token};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::TypeId;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// Targets in one invalidation.
pub const TARGETS_MAX: usize = 100_000;

/// How long [`Cache::close`] lets background work finish.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// A coherent multi-tier cache of one namespace. Cheap to clone; the background work ends when the last handle (cache,
/// region or tenant) is dropped, or with [`Cache::close`].
#[derive(Clone)]
pub struct Cache {
    pub(crate) engine: Arc<Engine>,
    pub(crate) shared: Arc<Shared>,
}

/// Regions by tenant and name.
type Scopes = HashMap<(Tenant, Arc<str>), Arc<Scope>>;

/// What all handles of a cache share besides the engine.
pub(crate) struct Shared {
    scopes: Mutex<Scopes>,
    stats: Mutex<BTreeMap<Arc<str>, Arc<RegionStats>>>,
    sources: HashMap<String, Arc<SourceLimit>>,
    stop: tokio_util::sync::CancellationToken,
    /// Numbers of its own for the regions of a simulated cache; others take them from the process.
    scope_ids: Option<AtomicU32>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The last handle is gone. Flights under way still hold the engine; this ends them and the follower.
        self.stop.cancel();
    }
}

/// Numbers for regions, never used twice in a process: a key built for one fits no other.
static SCOPE_IDS: AtomicU32 = AtomicU32::new(1);

impl Cache {
    /// Starts building the cache of a namespace.
    pub fn builder(namespace: &str) -> CacheBuilder {
        CacheBuilder::new(namespace)
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.engine.namespace
    }

    /// A region of values that can be written to stores.
    ///
    /// Asking again for a region of the same name gives another handle to it.
    ///
    /// # Errors
    /// When the policy has a setting out of bounds or names an unknown source, or when the region exists with another
    /// type or policy.
    pub fn region<T>(&self, name: &str, policy: Policy) -> Result<Region<T>, Error>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.region_of(Tenant::common(), name, policy)
    }

    /// A region of values of any type, kept in memory only. `weigh` tells how many bytes a value takes, roughly; it is
    /// what counts against the memory tier's cap.
    ///
    /// # Errors
    /// As [`Cache::region`].
    pub fn memory_region<T>(
        &self,
        name: &str,
        policy: Policy,
        weigh: impl Fn(&T) -> u64 + Send + Sync + 'static,
    ) -> Result<Region<T>, Error>
    where
        T: Send + Sync + 'static,
    {
        self.open(
            Tenant::common(),
            name,
            policy.memory_only(),
            TypeId::of::<T>(),
            Arc::new(InMemory::new(weigh)),
        )
    }

    /// The cache as one tenant sees it: its keys, tags and invalidations reach nobody else's.
    pub fn tenant(&self, name: &str) -> TenantCache {
        TenantCache::new(self.clone(), Tenant::named(name))
    }

    pub(crate) fn region_of<T>(&self, tenant: Tenant, name: &str, policy: Policy) -> Result<Region<T>, Error>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let codec = Arc::new(Serialized::<T>::new(policy.codec));
        self.open(tenant, name, policy, TypeId::of::<T>(), codec)
    }

    pub(crate) fn open<T: Send + Sync + 'static>(
        &self,
        tenant: Tenant,
        name: &str,
        policy: Policy,
        value_type: TypeId,
        codec: Arc<dyn ValueCodec>,
    ) -> Result<Region<T>, Error> {
        policy.check(name)?;
        let mut scopes = self.shared.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        let name: Arc<str> = name.into();
        if let Some(scope) = scopes.get(&(tenant.clone(), name.clone())) {
            if scope.value_type != value_type || scope.policy != policy {
                let what = if scope.value_type == value_type { "policy" } else { "value type" };
                return Err(Error::invalid(format!(
                    "region {name:?} exists with another {what}; expected the same"
                )));
            }
            return Ok(Region::new(self.engine.clone(), scope.clone(), self.shared.clone()));
        }
        self.check_bound(&name, &policy)?;
        let source = self.shared.source(&name, &policy)?;
        if let Level::Bounded(bound) = policy.level {
            self.engine.tighten(nanos(bound));
        }
        let stats = {
            let mut stats = self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner);
            stats.entry(name.clone()).or_insert_with(|| Arc::new(RegionStats::new())).clone()
        };
        let hold_off = policy.replica_lag.map(|lag| {
            let held = Arc::new(Mutex::new(HoldOff::new(nanos(lag))));
            self.engine.hold_off(&held);
            held
        });
        let scope = Arc::new(Scope {
            id: self.shared.scope_ids.as_ref().unwrap_or(&SCOPE_IDS).fetch_add(1, Ordering::Relaxed),
            tenant_path: Path::of_tenant(&tenant),
            path: Path::of_region(&tenant, &name),
            bound: Bound::from(policy.level),
            schema: xxh3_64(format!("{name}\0{}", policy.schema).as_bytes()),
            tenant: tenant.clone(),
            name: name.clone(),
            value_type,
            codec,
            source,
            stats,
            hold_off,
            policy,
        });
        scopes.insert((tenant, name), scope.clone());
        Ok(Region::new(self.engine.clone(), scope, self.shared.clone()))
    }

    /// Those who wait for all nodes wait for the largest bound: a region with a larger one would break their promise.
    fn check_bound(&self, region: &str, policy: &Policy) -> Result<(), Error> {
        let max = Duration::from_nanos(self.engine.bound_max);
        match policy.bound() {
            Some(bound) if nanos(bound) > self.engine.bound_max => Err(Error::invalid(format!(
                "region {region:?}: a read may be stale for {bound:?} (its level, or its replica's lag); expected at most \
                 {max:?}, the namespace's bound_max"
            ))),
            _ => Ok(()),
        }
    }

    /// Invalidates everything these targets name, on every node, in one record.
    ///
    /// Returns once the record is durable and applied on this node. For writes to a SQL origin, prefer the outbox: its
    /// record lives or dies with the data.
    ///
    /// # Errors
    /// When it could neither be recorded nor queued ([`Error::is_journal`]); when there are no targets, more than
    /// [`TARGETS_MAX`], or too large ones for one record ([`RECORD_BYTES_MAX`]).
    pub async fn invalidate(&self, targets: impl IntoIterator<Item = Target>) -> Result<Invalidated, Error> {
        self.invalidate_because(targets, "invalidate").await
    }

    /// [`Cache::invalidate`] with a cause, which the journal keeps for people.
    ///
    /// # Errors
    /// As [`Cache::invalidate`].
    pub async fn invalidate_because(
        &self,
        targets: impl IntoIterator<Item = Target>,
        cause: impl Into<Cause>,
    ) -> Result<Invalidated, Error> {
        let targets: Vec<Target> = targets.into_iter().collect();
        Ok(self.shared.announce(&self.engine, targets, cause.into()).await?.outcome)
    }

    /// [`Cache::invalidate`] that returns only once no node serves what was there before: every read that begins
    /// afterwards, on any node, is of a value at least as new, in every region but `Eventual` ones. It waits until every
    /// node has said that it applied the record, where the journal knows its nodes (memory, Redis); at most, and
    /// elsewhere always, for the namespace's largest bound (`CacheBuilder::bound_max`). Dropped while it waits, the
    /// invalidation stands.
    ///
    /// [`Invalidated::Queued`] comes back at once and promises nothing about other nodes.
    ///
    /// # Errors
    /// As [`Cache::invalidate`]; [`Error::is_closed`] when the cache is closed while it waits.
    pub async fn invalidate_and_wait(
        &self,
        targets: impl IntoIterator<Item = Target>,
    ) -> Result<Invalidated, Error> {
        let said = self.invalidate(targets).await?;
        let since = self.engine.time.trusted();
        if let Some(token) = said.token() {
            self.engine.wait_for_all(since, Some(token.link())).await?;
        }
        Ok(said)
    }

    /// Returns once no node serves, in any region but `Eventual` ones, anything older than what had been committed together
    /// with its record before this call: what [`Cache::invalidate_and_wait`] does after its record is there, for writes
    /// that use the outbox, and for as long.
    ///
    /// # Errors
    /// [`Error::is_closed`] when the cache is closed while it waits.
    pub async fn wait_for_all_nodes(&self) -> Result<(), Error> {
        self.engine.wait_for_all_by_now().await
    }

    /// Begins a guarded write of what these targets name: awaited, it gives a [`WriteGuard`] once every node treats them
    /// as uncacheable. Write, then commit the guard. If every writer of these targets does so, reads of each of their keys
    /// are linearizable.
    pub fn write(&self, targets: impl IntoIterator<Item = Target>) -> Write {
        Write::new(self.clone(), targets.into_iter().collect())
    }

    /// A token of all that was acknowledged, and of all that was seen in this process, before this call began. Whoever
    /// presents it to [`Cache::reach`], on any node, reads nothing older there. Asks the journal, once; with a backplane the
    /// other nodes are hinted at what they may not have seen.
    ///
    /// The token of a write alone comes with [`Invalidated`] and with a guard's commit, at no cost.
    ///
    /// # Errors
    /// When the journal cannot be asked ([`Error::is_journal`]).
    pub async fn token(&self) -> Result<Token, Error> {
        let engine = self.engine.clone();
        Ok(self.engine.carry_through(async move { engine.token().await }).await??)
    }

    /// Brings this node at least as far as a token: reads that begin afterwards, here, see what it stands for. At once when
    /// the node is there already, else after one question to the journal. Covers every region but those with a
    /// `replica_lag`.
    ///
    /// # Errors
    /// When the token is of another namespace ([`Error::is_invalid`]), or when the journal cannot be asked
    /// ([`Error::is_journal`]): what is read here may then be older than what the token stands for.
    pub async fn reach(&self, token: &Token) -> Result<Reached, Error> {
        if !token.is_of(self.namespace()) {
            let namespace = self.namespace();
            return Err(Error::invalid(format!(
                "token is of another namespace; expected one of {namespace:?}"
            )));
        }
        let link = token.link();
        if self.engine.fences.has_reached(link) {
            return Ok(Reached::Applied);
        }
        let engine = self.engine.clone();
        Ok(self.engine.carry_through(async move { engine.reach(link).await }).await??)
    }

    /// Applies everything committed to the journal before this call began; returns the position reached. To read one's
    /// own writes after an outbox transaction without waiting for the next hint. With a backplane the other nodes are
    /// hinted at what they may not have seen.
    ///
    /// # Errors
    /// When the journal cannot be asked.
    pub async fn sync(&self) -> Result<u64, Error> {
        // In a task of its own: a caller that is no longer polled must not keep others from it.
        let engine = self.engine.clone();
        Ok(self.engine.carry_through(async move { engine.sync().await }).await??.position)
    }

    /// Everything counted since the cache was built.
    pub fn stats(&self) -> Stats {
        let regions = self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner);
        Stats {
            regions: regions.iter().map(|(name, stats)| (name.to_string(), stats.snapshot())).collect(),
            memory: self.engine.memory_snapshot(),
            stores: self.engine.tiers.iter().map(crate::engine::Tier::snapshot).collect(),
            journal: self.engine.journal_snapshot(),
        }
    }

    /// Lets background work finish (at most 10 s), then stops it, the stores and the journal. Reads and writes fail
    /// from then on ([`Error::is_closed`]). Closing twice does nothing more.
    ///
    /// Returns how many invalidated targets were queued and could not be recorded to the end: other processes, and a
    /// store that outlives this one, do not know of them. Zero unless the journal has been failing.
    pub async fn close(&self) -> usize {
        self.engine.close(CLOSE_PATIENCE).await
    }
}

impl Shared {
    fn source(&self, region: &str, policy: &Policy) -> Result<Arc<SourceLimit>, Error> {
        self.sources.get(&policy.source).cloned().ok_or_else(|| {
            let mut known: Vec<&str> = self.sources.keys().map(String::as_str).collect();
            known.sort_unstable();
            let known = known.join(", ");
            let name = &policy.source;
            Error::invalid(format!(
                "region {region:?}: source is {name:?}; expected one the builder was given: {known}"
            ))
        })
    }

    /// Announces; a caller that goes away half-way does not leave it half-done.
    pub(crate) async fn announce(
        &self,
        engine: &Arc<Engine>,
        targets: Vec<Target>,
        cause: Cause,
    ) -> Result<Announced, Error> {
        // Said here, loudly: a journal would refuse it each time the queue tries again.
        check_targets("invalidation", &targets)?;
        let working = engine.clone();
        engine.carry_along(async move { working.announce(&targets, &cause).await }).await
    }
}

/// Whether these make one record.
fn check_targets(what: &str, targets: &[Target]) -> Result<(), Error> {
    let n = targets.len();
    if n == 0 || n > TARGETS_MAX {
        return Err(Error::invalid(format!("{what} has {n} targets; expected 1 to {TARGETS_MAX}")));
    }
    let bytes = Target::encode_many(targets).len();
    if bytes > RECORD_BYTES_MAX {
        let expected = format!("expected at most {RECORD_BYTES_MAX}");
        return Err(Error::invalid(format!("{what}'s targets take {bytes} bytes; {expected}")));
    }
    Ok(())
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("namespace", &self.namespace()).finish_non_exhaustive()
    }
}
