//! The cache as one tenant sees it.

use super::{Cache, Write};
use crate::engine::{Invalidated, Reached};
use crate::error::Error;
use crate::policy::Policy;
use crate::region::Region;
use larder_core::{Cause, Target, Tenant, Token};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A handle that reaches one tenant's entries and nobody else's: whatever it is given is taken to be that tenant's.
#[derive(Clone, Debug)]
pub struct TenantCache {
    cache: Cache,
    tenant: Tenant,
}

impl TenantCache {
    pub(super) fn new(cache: Cache, tenant: Tenant) -> Self {
        TenantCache { cache, tenant }
    }

    /// Who it reaches.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The tenant's part of a region; see [`Cache::region`].
    ///
    /// # Errors
    /// As [`Cache::region`].
    pub fn region<T>(&self, name: &str, policy: Policy) -> Result<Region<T>, Error>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.cache.region_of(self.tenant.clone(), name, policy)
    }

    /// Invalidates what these targets name of this tenant; `Target::everything()` is everything the tenant has.
    ///
    /// # Errors
    /// As [`Cache::invalidate`].
    pub async fn invalidate(&self, targets: impl IntoIterator<Item = Target>) -> Result<Invalidated, Error> {
        self.invalidate_because(targets, "invalidate").await
    }

    /// [`TenantCache::invalidate`] with a cause, which the journal keeps for people.
    ///
    /// # Errors
    /// As [`Cache::invalidate`].
    pub async fn invalidate_because(
        &self,
        targets: impl IntoIterator<Item = Target>,
        cause: impl Into<Cause>,
    ) -> Result<Invalidated, Error> {
        let targets: Vec<Target> = targets.into_iter().map(|target| target.within(&self.tenant)).collect();
        self.cache.invalidate_because(targets, cause).await
    }

    /// [`Cache::invalidate_and_wait`] of this tenant's part of what these targets name.
    ///
    /// # Errors
    /// As [`Cache::invalidate_and_wait`].
    pub async fn invalidate_and_wait(
        &self,
        targets: impl IntoIterator<Item = Target>,
    ) -> Result<Invalidated, Error> {
        self.cache.invalidate_and_wait(self.targets(targets)).await
    }

    /// [`Cache::write`] of this tenant's part of what these targets name.
    pub fn write(&self, targets: impl IntoIterator<Item = Target>) -> Write {
        self.cache.write(self.targets(targets))
    }

    /// [`Cache::token`]; a token knows no tenants.
    ///
    /// # Errors
    /// As [`Cache::token`].
    pub async fn token(&self) -> Result<Token, Error> {
        self.cache.token().await
    }

    /// [`Cache::reach`].
    ///
    /// # Errors
    /// As [`Cache::reach`].
    pub async fn reach(&self, token: &Token) -> Result<Reached, Error> {
        self.cache.reach(token).await
    }

    /// The same targets, scoped to this tenant: for an outbox.
    pub fn targets(&self, targets: impl IntoIterator<Item = Target>) -> Vec<Target> {
        targets.into_iter().map(|target| target.within(&self.tenant)).collect()
    }
}
