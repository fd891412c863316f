//! Regions: families of keys with one value type and one policy; what services read and write through.
//!
//! A region is a handle, cheap to clone. Hits in memory are answered here, without a lock on the journal's state, an
//! allocation or an await; everything else goes down into the engine. All operations may be dropped at any point:
//! the cache stays sound, and a load that others wait for goes on.

mod batch;
mod codec;
mod explain;
mod load;
mod write;

pub use batch::Batch;
pub(crate) use codec::{InMemory, Serialized};
pub use explain::Explanation;
pub use load::{Load, Loaded};
pub use write::Snapshot;

use crate::cache::Shared;
use crate::engine::{Engine, Scope};
use crate::error::{Error, LoadError};
use crate::memory::{self, Key};
use crate::outcome::{How, Outcome};
use larder_core::{Segments, Target, Tenant};
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// The longest key, encoded, in bytes.
pub const KEY_BYTES_MAX: usize = 1 << 20;

/// A family of keys with one value type and one policy.
pub struct Region<T> {
    pub(crate) engine: Arc<Engine>,
    pub(crate) scope: Arc<Scope>,
    /// Keeps the cache's background work alive.
    pub(crate) shared: Arc<Shared>,
    value: PhantomData<fn() -> T>,
}

/// What can name an entry of a region: segments (`key![..]`), or a [`Key`] built before.
pub trait IntoKey<'k> {
    /// The key in the region of this number.
    #[doc(hidden)]
    fn into_key(self, scope: u32) -> Result<Cow<'k, Key>, Error>;
}

impl IntoKey<'static> for Segments {
    #[inline(always)]
    fn into_key(self, scope: u32) -> Result<Cow<'static, Key>, Error> {
        let bytes = self.as_bytes().len();
        if bytes > KEY_BYTES_MAX {
            return Err(Error::invalid(format!("key takes {bytes} bytes; expected at most {KEY_BYTES_MAX}")));
        }
        Ok(Cow::Owned(Key::new(scope, self)))
    }
}

impl<'k> IntoKey<'k> for &'k Key {
    #[inline]
    fn into_key(self, scope: u32) -> Result<Cow<'k, Key>, Error> {
        if self.scope == scope {
            return Ok(Cow::Borrowed(self));
        }
        Err(Error::invalid(
            "key was built by another region or tenant; expected one built by this handle's region.key(..)",
        ))
    }
}

impl IntoKey<'static> for Key {
    fn into_key(self, scope: u32) -> Result<Cow<'static, Key>, Error> {
        (&self).into_key(scope)?;
        Ok(Cow::Owned(self))
    }
}

impl<T: Send + Sync + 'static> Region<T> {
    pub(crate) fn new(engine: Arc<Engine>, scope: Arc<Scope>, shared: Arc<Shared>) -> Self {
        Region { engine, scope, shared, value: PhantomData }
    }

    /// The region's name.
    pub fn name(&self) -> &str {
        &self.scope.name
    }

    /// The tenant this handle reads and writes for.
    pub fn tenant(&self) -> &Tenant {
        &self.scope.tenant
    }

    /// A key of this region, built and hashed once, to be used many times.
    ///
    /// # Errors
    /// When the segments take more than [`KEY_BYTES_MAX`] bytes.
    pub fn key(&self, segments: Segments) -> Result<Key, Error> {
        segments.into_key(self.scope.id).map(Cow::into_owned)
    }

    /// The target that names one key of this region.
    pub fn target(&self, segments: Segments) -> Target {
        Target::key(self.name(), segments).within(self.tenant())
    }

    /// The value under a key, from the tiers; never loads. `None` when it is in no tier.
    ///
    /// # Errors
    /// [`Error::is_absent`] when the origin is remembered to have nothing under the key; when the key is invalid or the
    /// cache closed. Failing stores are misses, not errors.
    #[inline]
    pub async fn get<'k>(&self, key: impl IntoKey<'k>) -> Result<Option<Outcome<T>>, Error> {
        let key = key.into_key(self.scope.id)?;
        if let Some(hit) = self.hit(&key) {
            return Ok(Some(hit));
        }
        let read = Box::pin(self.engine.read(&self.scope, key.into_owned(), None));
        Ok(read.await?.and_then(Outcome::of))
    }

    /// Whether a read would find a value (or a remembered absence: then false) without loading. Counts as a read.
    ///
    /// # Errors
    /// As [`Region::get`], save that absence is `false`.
    pub async fn contains<'k>(&self, key: impl IntoKey<'k>) -> Result<bool, Error> {
        match self.get(key).await {
            Ok(found) => Ok(found.is_some()),
            Err(error) if error.is_absent() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The value under a key: from the tiers, or loaded. Concurrent loads of one key run one loader.
    ///
    /// The loader's future may outlive this call (a refresh in the background, a reader that went away), so it owns
    /// what it uses. Reads of regions inside it make the new entry depend on what they were served.
    ///
    /// # Errors
    /// What the loader returned ([`Error::load_error`]), unless the region's fail-safe has something to serve;
    /// [`Error::is_absent`], [`Error::is_timeout`], [`Error::is_overloaded`], [`Error::is_panic`], [`Error::is_invalid`].
    pub async fn get_or_load<'k, F, Fut, R, E>(
        &self,
        key: impl IntoKey<'k>,
        loader: F,
    ) -> Result<Outcome<T>, Error>
    where
        F: FnOnce(Load<T>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        R: Into<Loaded<T>> + 'static,
        E: Into<LoadError> + 'static,
    {
        let key = key.into_key(self.scope.id)?;
        if let Some(hit) = self.hit(&key) {
            return Ok(hit);
        }
        let loader = load::erase(self.engine.clone(), self.scope.clone(), loader);
        let read = Box::pin(self.engine.read(&self.scope, key.into_owned(), Some(loader)));
        read.await?.and_then(Outcome::of).ok_or_else(Error::abandoned)
    }

    /// A fresh value in memory: the whole of a hit.
    #[inline(always)]
    fn hit(&self, key: &Key) -> Option<Outcome<T>> {
        let engine = &*self.engine;
        // The lease before the entry and the rule; the clock after both.
        let confirmed = engine.fences.lease().load();
        let entry = memory::typed::<T>(engine.memory.at_place_of(key)?)?;
        if !entry.head.is_of(key) {
            return None;
        }
        let (verdict, now) = engine.judge(&self.scope, key, &entry.head, confirmed);
        if !verdict.is_fresh() || !entry.head.is_fresh_at(now) {
            return None;
        }
        if self.scope.stats.hit() {
            self.time_hit(key, now);
        }
        engine.note_nested(&self.scope, key, &entry.head, now);
        Some(Outcome { entry, how: How::HIT, now })
    }

    /// Times the same hit once more: the clock was not read before this one began.
    #[cold]
    fn time_hit(&self, key: &Key, began: u64) {
        let engine = &*self.engine;
        let confirmed = engine.fences.lease().load();
        if let Some(entry) = engine.memory.peek(key) {
            let (_, now) = engine.judge(&self.scope, key, &entry, confirmed);
            self.scope.stats.hits_took(Duration::from_nanos(now.saturating_sub(began)));
        }
    }
}

impl<T> Clone for Region<T> {
    fn clone(&self) -> Self {
        Region {
            engine: self.engine.clone(),
            scope: self.scope.clone(),
            shared: self.shared.clone(),
            value: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Region<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("name", &self.scope.name)
            .field("tenant", &self.scope.tenant)
            .finish_non_exhaustive()
    }
}
