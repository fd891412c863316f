//! The seam between the service and the cache: four cached regions, or none of them.
//!
//! Only the service calls it. It never asks the database anything: loaders are handed in as futures, which do
//! nothing until the cache polls them.

pub(crate) mod health;

use std::future::Future;
use std::ops::Deref;

use rusqlite::Transaction;

use crate::domain::{
    Availability, AvailabilityQuery, BranchId, CompanyId, Service, Staff, Statistics, Touched,
};
use crate::error::ServiceError;

/// Which cache stands between the service and its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CacheMode {
    /// None: every read asks the database.
    None,
    /// Expiry only: entries live out their TTL whatever is written meanwhile.
    Ttl,
    /// Larder as intended: bookings invalidate what they touch, through the outbox.
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
    value: T,
    pub(crate) source: Source,
}

impl<T> Deref for Read<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// The cache of one service.
#[derive(Debug)]
pub(crate) enum Caching {
    None,
}

impl Caching {
    /// Free time, cached for 60 s.
    pub(crate) async fn availability(
        &self,
        _query: AvailabilityQuery,
        load: impl Future<Output = Result<Availability, ServiceError>> + Send + 'static,
    ) -> Result<Read<Availability>, ServiceError> {
        match self {
            Caching::None => uncached(load).await,
        }
    }

    /// A company's figures, cached for 5 min.
    pub(crate) async fn statistics(
        &self,
        _company: CompanyId,
        load: impl Future<Output = Result<Statistics, ServiceError>> + Send + 'static,
    ) -> Result<Read<Statistics>, ServiceError> {
        match self {
            Caching::None => uncached(load).await,
        }
    }

    /// A company's services, cached for 1 h.
    pub(crate) async fn services(
        &self,
        _company: CompanyId,
        load: impl Future<Output = Result<Vec<Service>, ServiceError>> + Send + 'static,
    ) -> Result<Read<Vec<Service>>, ServiceError> {
        match self {
            Caching::None => uncached(load).await,
        }
    }

    /// A branch's staff, cached for 1 h.
    pub(crate) async fn staff(
        &self,
        _company: CompanyId,
        _branch: BranchId,
        load: impl Future<Output = Result<Vec<Staff>, ServiceError>> + Send + 'static,
    ) -> Result<Read<Vec<Staff>>, ServiceError> {
        match self {
            Caching::None => uncached(load).await,
        }
    }
}

/// Names what a change touches in the outbox, inside the change's own transaction.
pub(crate) fn record(
    _mode: CacheMode,
    _tx: &Transaction<'_>,
    _touched: &Touched,
    _cause: &'static str,
) -> Result<(), ServiceError> {
    Ok(())
}

async fn uncached<T>(load: impl Future<Output = Result<T, ServiceError>>) -> Result<Read<T>, ServiceError> {
    Ok(Read { value: load.await?, source: Source::Origin })
}
