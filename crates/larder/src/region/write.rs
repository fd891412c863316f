//! Writing to a region: put, remove, expire, invalidate.

use super::{IntoKey, Region};
use crate::engine::{Invalidated, LoadState};
use crate::error::Error;
use crate::memory::{Key, Value};
use crate::observe::Count;
use larder_core::{Birth, Cause, Pattern, Segments, Tag, Target, seeded_bug};

/// A moment in the journal's history, taken before a value was read from the origin; see [`Region::snapshot`].
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    born: Option<Birth>,
    /// The engine it was taken in: its numbers mean nothing in another.
    engine: usize,
}

impl<T: Send + Sync + 'static> Region<T> {
    /// Keeps a value the application is the author of, and tells all nodes to drop theirs. Loads of the key that are
    /// under way do not replace it.
    ///
    /// For a value that was *read* from an origin this is the wrong call: a write in between would be lost. Use
    /// [`Region::get_or_load`], or [`Region::put_as_of`] with a [`Snapshot`] taken before the read.
    ///
    /// # Errors
    /// When the invalidation could neither be recorded nor queued; nothing is kept then.
    pub async fn put<'k>(&self, key: impl IntoKey<'k>, value: T) -> Result<Invalidated, Error> {
        self.put_tagged(key, value, []).await
    }

    /// [`Region::put`] with tags.
    ///
    /// # Errors
    /// As [`Region::put`].
    pub async fn put_tagged<'k>(
        &self,
        key: impl IntoKey<'k>,
        value: T,
        tags: impl IntoIterator<Item = Tag>,
    ) -> Result<Invalidated, Error> {
        let key = key.into_key(self.scope.id)?.into_owned();
        let tags: Vec<Tag> = tags.into_iter().collect();
        let announced =
            self.shared.announce(&self.engine, vec![self.target_of(&key)], Cause::new("put")).await?;
        self.scope.stats.add(Count::Put);
        self.fill(key, Value::new(value), tags, announced.born);
        Ok(announced.outcome)
    }

    /// Notes where the journal stands. Take it before reading a value from the origin that is to be put.
    pub fn snapshot(&self) -> Snapshot {
        let born = self.engine.birth(&self.scope);
        Snapshot { born, engine: self.engine.identity() }
    }

    /// Keeps a value that was read from the origin after `snapshot` was taken. Like a load, it is not announced; and it
    /// is dead on arrival if an invalidation has named it since.
    ///
    /// # Errors
    /// When the key is invalid or the cache closed.
    pub fn put_as_of<'k>(
        &self,
        snapshot: Snapshot,
        key: impl IntoKey<'k>,
        value: T,
        tags: impl IntoIterator<Item = Tag>,
    ) -> Result<(), Error> {
        let key = key.into_key(self.scope.id)?.into_owned();
        if self.engine.is_stopped() {
            return Err(Error::closed());
        }
        if snapshot.engine != self.engine.identity() {
            let expected = "expected one taken by this cache's region.snapshot()";
            return Err(Error::invalid(format!("snapshot was taken in another cache; {expected}")));
        }
        self.scope.stats.add(Count::Put);
        let late = seeded_bug!("put_as_of_restamps").then(|| self.engine.fences.birth()).flatten();
        self.fill(key, Value::new(value), tags.into_iter().collect(), late.or(snapshot.born));
        Ok(())
    }

    fn fill(&self, key: Key, value: Value, tags: Vec<Tag>, born: Option<Birth>) {
        let engine = &self.engine;
        let source = self.scope.source.identity();
        let state =
            LoadState::new(engine.identity(), self.scope.tenant_path.clone(), source, vec![key.clone()]);
        let mut gathered = state.gathered(0);
        gathered.add_tags(tags);
        let (entry, keep) = engine.entry(&self.scope, &key, born, &gathered, value);
        // What is dead on arrival would only take the place of something better in a store.
        if keep && engine.keep(&self.scope, &key, &entry) {
            engine.store_later(&self.scope, &key, &entry, None);
        }
    }

    /// Removes a key from all tiers, and tells all nodes. Loads under way do not bring it back.
    ///
    /// # Errors
    /// When the invalidation could neither be recorded nor queued. A store that fails to forget it holds bytes that
    /// are refused from now on.
    pub async fn remove<'k>(&self, key: impl IntoKey<'k>) -> Result<Invalidated, Error> {
        let key = key.into_key(self.scope.id)?.into_owned();
        self.scope.stats.add(Count::Remove);
        let announced =
            self.shared.announce(&self.engine, vec![self.target_of(&key)], Cause::new("remove")).await;
        self.engine.memory.remove(&key);
        // Carried through even if the caller goes away, and not held up if the caller stops polling.
        let (engine, scope) = (self.engine.clone(), self.scope.clone());
        let _ = self.engine.carry_through(async move { engine.unstore(&scope, &key).await }).await;
        announced.map(|announced| announced.outcome)
    }

    /// Ends a key's TTL now, on this node and in the stores, but keeps its value for the fail-safe; so too for what a
    /// load under way brings. Other nodes keep what they have in memory for its time; to make them drop it,
    /// invalidate.
    ///
    /// # Errors
    /// When a store could not be told: it may still hold the value as fresh.
    pub async fn expire<'k>(&self, key: impl IntoKey<'k>) -> Result<(), Error> {
        let key = key.into_key(self.scope.id)?.into_owned();
        let engine = &self.engine;
        if engine.is_stopped() {
            return Err(Error::closed());
        }
        self.scope.stats.add(Count::Expire);
        engine.expire_flight(&key);
        let mut entry = engine.memory.peek(&key);
        let replaces = entry.is_some();
        for tier in 0..engine.stores_of(&self.scope) {
            if entry.is_none() {
                entry = engine.fetch_one(&self.scope, tier, &key).await?;
            }
        }
        let Some(entry) = entry else { return Ok(()) };
        let rest = entry.expired(engine.time.now());
        let expired = Value::Of(entry).file(&key, rest);
        engine.memory.insert(&key, expired.clone(), replaces);
        if engine.stores_of(&self.scope) > 0 && !expired.unnamable {
            let (working, scope) = (engine.clone(), self.scope.clone());
            let storing = async move { working.store_now(&scope, &key, &*expired).await };
            engine.carry_through(storing).await??;
        }
        Ok(())
    }

    /// Invalidates one key: whatever was loaded before is stale on every node that applies the record.
    ///
    /// # Errors
    /// When it could neither be recorded nor queued.
    pub async fn invalidate<'k>(&self, key: impl IntoKey<'k>) -> Result<Invalidated, Error> {
        let key = key.into_key(self.scope.id)?;
        self.invalidate_target(self.target_of(&key)).await
    }

    /// Invalidates all keys that begin with these segments.
    ///
    /// # Errors
    /// As [`Region::invalidate`].
    pub async fn invalidate_prefix(&self, segments: Segments) -> Result<Invalidated, Error> {
        self.invalidate_target(Target::Prefix(self.scope.path.below(&segments))).await
    }

    /// Invalidates all keys the pattern matches.
    ///
    /// # Errors
    /// As [`Region::invalidate`].
    pub async fn invalidate_pattern(&self, pattern: Pattern) -> Result<Invalidated, Error> {
        self.invalidate_target(Target::Pattern(self.scope.path.clone(), pattern)).await
    }

    /// Invalidates all keys of the region.
    ///
    /// # Errors
    /// As [`Region::invalidate`].
    pub async fn invalidate_all(&self) -> Result<Invalidated, Error> {
        self.invalidate_target(Target::Prefix(self.scope.path.clone())).await
    }

    async fn invalidate_target(&self, target: Target) -> Result<Invalidated, Error> {
        Ok(self.shared.announce(&self.engine, vec![target], Cause::new("invalidate")).await?.outcome)
    }

    fn target_of(&self, key: &Key) -> Target {
        Target::Key(self.scope.path_of(key))
    }
}
