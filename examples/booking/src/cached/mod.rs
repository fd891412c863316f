//! The seam between the service and the cache: four cached regions, or none of them.
//!
//! Only the service calls it. It never asks the database anything: loaders are handed in as futures, which do
//! nothing until the cache polls them.

pub(crate) mod health;
mod regions;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::ops::Deref;
use std::path::PathBuf;

use larder::{Outcome, Token};

use crate::db::write::Outbox;
use crate::db::{OriginCounts, Place};
use crate::domain::{Availability, AvailabilityQuery, BranchId, CompanyId, Service, Staff, Statistics};
use crate::error::ServiceError;
use health::Health;
use regions::Regions;

/// Which cache stands between the service and its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CacheMode {
    /// Every read asks the database.
    None,
    /// Expiry only: entries live out their TTL whatever is written meanwhile.
    Ttl,
    /// As Larder is meant to be used: bookings invalidate what they touch, through the outbox.
    Larder,
}

impl CacheMode {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            CacheMode::None => "none",
            CacheMode::Ttl => "ttl",
            CacheMode::Larder => "larder",
        }
    }
}

/// Where the second tier is.
#[derive(Clone)]
pub(crate) enum SecondTier {
    /// Nowhere: memory, and the database.
    None,
    /// In a file of this node's own; created when absent.
    File(PathBuf),
    /// On a server that all nodes share.
    Redis(String),
}

impl std::fmt::Debug for SecondTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SecondTier::File(path) => f.debug_tuple("File").field(path).finish(),
            // A URL may hold a password.
            SecondTier::Redis(_) => f.write_str("Redis(..)"),
            SecondTier::None => f.write_str("None"),
        }
    }
}

/// Where a read was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    L1,
    L2,
    Origin,
}

/// What a read returned and from where.
#[derive(Debug)]
pub(crate) struct Read<T> {
    value: Held<T>,
    pub(crate) source: Source,
}

#[derive(Debug)]
enum Held<T> {
    Own(T),
    Cached(Outcome<T>),
}

impl<T: Send + Sync + 'static> Deref for Read<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.value {
            Held::Own(value) => value,
            Held::Cached(outcome) => outcome,
        }
    }
}

impl<T: Send + Sync + 'static> Read<T> {
    fn cached(outcome: Outcome<T>) -> Read<T> {
        let source = match outcome.source() {
            larder::Source::Memory => Source::L1,
            larder::Source::Store(_) => Source::L2,
            larder::Source::Loader | larder::Source::Flight => Source::Origin,
        };
        Read { value: Held::Cached(outcome), source }
    }

    /// Where it came from, as the header of RFC 9211 puts it.
    pub(crate) fn cache_status(&self) -> &'static str {
        match (&self.value, self.source) {
            (Held::Own(_), _) => "larder; fwd=bypass",
            (Held::Cached(_), Source::L1) => "larder; hit; detail=l1",
            (Held::Cached(_), Source::L2) => "larder; hit; detail=l2",
            (Held::Cached(_), Source::Origin) => "larder; fwd=miss",
        }
    }

    async fn uncached(load: impl Future<Output = Result<T, ServiceError>>) -> Result<Read<T>, ServiceError> {
        Ok(Read { value: Held::Own(load.await?), source: Source::Origin })
    }
}

/// The cache of one service.
#[derive(Debug)]
pub(crate) enum Caching {
    None,
    On(Box<Regions>),
}

impl Caching {
    /// Builds what the mode asks for. A second tier that cannot be used is left out.
    ///
    /// # Errors
    /// `Cache` when the journal in the database cannot be used.
    pub(crate) async fn build(
        mode: CacheMode,
        database: &Place,
        second: &SecondTier,
    ) -> Result<Caching, ServiceError> {
        Ok(match mode {
            CacheMode::None => Caching::None,
            CacheMode::Ttl => Caching::On(Box::new(Regions::by_ttl(database, second).await?)),
            CacheMode::Larder => Caching::On(Box::new(Regions::by_journal(database, second).await?)),
        })
    }

    /// Free time, cached for 60 s.
    pub(crate) async fn availability(
        &self,
        query: AvailabilityQuery,
        load: impl Future<Output = Result<Availability, ServiceError>> + Send + 'static,
    ) -> Result<Read<Availability>, ServiceError> {
        match self {
            Caching::None => Read::uncached(load).await,
            Caching::On(regions) => regions.availability(query, load).await.map(Read::cached),
        }
    }

    /// A company's figures, cached for 5 min.
    pub(crate) async fn statistics(
        &self,
        company: CompanyId,
        load: impl Future<Output = Result<Statistics, ServiceError>> + Send + 'static,
    ) -> Result<Read<Statistics>, ServiceError> {
        match self {
            Caching::None => Read::uncached(load).await,
            Caching::On(regions) => regions.statistics(company, load).await.map(Read::cached),
        }
    }

    /// A company's services, cached for 1 h.
    pub(crate) async fn services(
        &self,
        company: CompanyId,
        load: impl Future<Output = Result<Vec<Service>, ServiceError>> + Send + 'static,
    ) -> Result<Read<Vec<Service>>, ServiceError> {
        match self {
            Caching::None => Read::uncached(load).await,
            Caching::On(regions) => regions.services(company, load).await.map(Read::cached),
        }
    }

    /// A branch's staff, cached for 1 h.
    pub(crate) async fn staff(
        &self,
        company: CompanyId,
        branch: BranchId,
        load: impl Future<Output = Result<Vec<Staff>, ServiceError>> + Send + 'static,
    ) -> Result<Read<Vec<Staff>>, ServiceError> {
        match self {
            Caching::None => Read::uncached(load).await,
            Caching::On(regions) => regions.staff(company, branch, load).await.map(Read::cached),
        }
    }

    /// Applies every change committed so far. What stands for them, and for all that was shown here.
    ///
    /// # Errors
    /// When the journal cannot be asked; the regions' level still bounds what is served.
    pub(crate) async fn token(&self) -> Result<Option<Token>, ServiceError> {
        match self {
            Caching::None => Ok(None),
            Caching::On(regions) => Ok(Some(regions.cache.token().await?)),
        }
    }

    /// From here on, reads are at least as new as what a token stands for.
    pub(crate) async fn reach(&self, token: &Token) -> Result<(), ServiceError> {
        if let Caching::On(regions) = self {
            regions.cache.reach(token).await?;
        }
        Ok(())
    }

    /// How much of the journal it has applied; `None` without one to follow.
    pub(crate) fn applied(&self) -> Option<u64> {
        match self {
            Caching::None => None,
            Caching::On(regions) => Some(regions.cache.stats().journal.position),
        }
    }

    /// How it is; `serving` says whether the database answers.
    pub(crate) fn health(&self, mode: CacheMode, serving: bool, origin: &OriginCounts) -> Health {
        match self {
            Caching::None => Health::new(mode, serving, origin, None, None),
            Caching::On(regions) => {
                let stats = regions.cache.stats();
                Health::new(mode, serving, origin, Some(&stats), regions.store_missing.as_deref())
            }
        }
    }

    /// Finishes what is under way.
    pub(crate) async fn close(&self) {
        if let Caching::On(regions) = self {
            regions.cache.close().await;
        }
    }
}

/// Where changes are named; only Larder listens.
pub(crate) fn outbox(mode: CacheMode) -> Option<Outbox> {
    match mode {
        CacheMode::None | CacheMode::Ttl => None,
        CacheMode::Larder => Some(regions::OUTBOX),
    }
}
