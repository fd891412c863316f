//! The appointment service: what it offers, through the cache where that is allowed.
//!
//! HTTP and the load generator call it. It decides what is cached and what a change invalidates; it never speaks
//! HTTP and never answers a write from the cache.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Transaction;

use crate::cached::health::Health;
use crate::cached::{self, CacheMode, Caching, Read, SecondTier};
use crate::db::seed::{self, CompanyPlan, SeededCompany};
use crate::db::write::{self, Written};
use crate::db::{Database, Durability, OriginCounts, read, statistics};
use crate::domain::{
    Appointment, AppointmentId, Availability, AvailabilityQuery, Branch, BranchId, Company, CompanyId,
    NewAppointment, Service, Staff, StaffId, Statistics,
};
use crate::error::ServiceError;
use crate::time::Minute;
use crate::under_way::{Asked, UnderWay};

/// How a service is set up.
#[derive(Clone, Debug)]
pub(crate) struct ServiceConfig {
    /// The database file; created when absent.
    pub(crate) database: PathBuf,
    /// Not used without a cache.
    pub(crate) second: SecondTier,
    pub(crate) cache: CacheMode,
    pub(crate) durability: Durability,
    /// Reading connections, at least one.
    pub(crate) readers: usize,
    /// Which of the nodes that share what is under way.
    pub(crate) node: usize,
    pub(crate) under_way: UnderWay,
}

/// The service; share it in an `Arc`.
#[derive(Debug)]
pub(crate) struct BookingService {
    mode: CacheMode,
    database: Arc<Database>,
    caching: Caching,
    node: usize,
    under_way: UnderWay,
}

impl BookingService {
    /// Opens the database and builds the cache.
    ///
    /// # Errors
    /// `Open` when the database file cannot be used, `Cache` when the cache cannot be built.
    pub(crate) async fn open(config: ServiceConfig) -> Result<BookingService, ServiceError> {
        let ServiceConfig { database: path, second, cache: mode, durability, readers, node, under_way } =
            config;
        let database = blocking(move || Database::open(&path, durability, readers)).await?;
        let caching = Caching::build(mode, database.path(), &second).await?;
        Ok(BookingService { mode, database: Arc::new(database), caching, node, under_way })
    }

    /// The database file.
    pub(crate) fn path(&self) -> &Path {
        self.database.path()
    }

    /// What reads have cost the origin so far.
    pub(crate) fn origin(&self) -> &OriginCounts {
        &self.database.origin
    }

    /// Writes the plans if the book is empty; `None` when it was not.
    ///
    /// # Errors
    /// `Database`; nothing is written then.
    pub(crate) async fn seed_if_empty(
        &self,
        plans: Arc<Vec<CompanyPlan>>,
    ) -> Result<Option<Vec<SeededCompany>>, ServiceError> {
        let write = move |tx: &Transaction<'_>| {
            if seed::is_empty(tx)? { seed::seed(tx, &plans).map(Some) } else { Ok(None) }
        };
        self.database.writer.write(write).await
    }

    /// How many appointments overlap another of the same person: none, ever.
    pub(crate) async fn overlaps(&self) -> Result<u64, ServiceError> {
        self.database.readers.read(read::overlaps).await
    }

    /// All companies, by id. Not cached.
    pub(crate) async fn companies(&self) -> Result<Vec<Company>, ServiceError> {
        self.database.readers.read(read::companies).await
    }

    /// A company's branches, by id. Not cached.
    pub(crate) async fn branches(&self, company: CompanyId) -> Result<Vec<Branch>, ServiceError> {
        self.database.readers.read(move |tx| read::branches(tx, company)).await
    }

    /// One appointment. Not cached: whoever asks is about to change it.
    pub(crate) async fn appointment(&self, id: AppointmentId) -> Result<Appointment, ServiceError> {
        self.database.readers.read(move |tx| read::appointment(tx, id)).await
    }

    /// A company's services, cached for 1 h.
    pub(crate) async fn services(&self, company: CompanyId) -> Result<Read<Vec<Service>>, ServiceError> {
        let load = self.load(Asked::Services(company), move |tx, origin| read::services(tx, company, origin));
        self.caching.services(company, load).await
    }

    /// A branch's staff, cached for 1 h.
    pub(crate) async fn staff(
        &self,
        company: CompanyId,
        branch: BranchId,
    ) -> Result<Read<Vec<Staff>>, ServiceError> {
        let load = self
            .load(Asked::Staff(company, branch), move |tx, origin| read::staff(tx, company, branch, origin));
        self.caching.staff(company, branch, load).await
    }

    /// What is free on a day, or in an hour of it; cached for 60 s.
    pub(crate) async fn availability(
        &self,
        query: AvailabilityQuery,
    ) -> Result<Read<Availability>, ServiceError> {
        let load =
            self.load(Asked::Availability(query), move |tx, origin| read::availability(tx, &query, origin));
        self.caching.availability(query, load).await
    }

    /// A company's figures, cached for 5 min.
    pub(crate) async fn statistics(&self, company: CompanyId) -> Result<Read<Statistics>, ServiceError> {
        let load = self
            .load(Asked::Statistics(company), move |tx, origin| statistics::statistics(tx, company, origin));
        self.caching.statistics(company, load).await
    }

    /// Books; returns after the commit, when this process's cache knows of it.
    ///
    /// # Errors
    /// `Taken` when the database refuses, `Invalid` or `NotFound` when the request does not fit the book.
    pub(crate) async fn book(&self, new: NewAppointment) -> Result<Written, ServiceError> {
        let mode = self.mode;
        let write = move |tx: &Transaction<'_>| {
            write::book(tx, &new, &|tx, touched, cause| cached::record(mode, tx, touched, cause))
        };
        self.change(write).await
    }

    /// Moves an appointment, to another person too if one is named; returns as `book` does.
    ///
    /// # Errors
    /// As `book`, and `Cancelled`.
    pub(crate) async fn reschedule(
        &self,
        id: AppointmentId,
        staff: Option<StaffId>,
        starts: Minute,
    ) -> Result<Written, ServiceError> {
        let mode = self.mode;
        let write = move |tx: &Transaction<'_>| {
            write::reschedule(tx, id, staff, starts, &|tx, touched, cause| {
                cached::record(mode, tx, touched, cause)
            })
        };
        self.change(write).await
    }

    /// Cancels; returns as `book` does.
    ///
    /// # Errors
    /// `NotFound` or `Cancelled`.
    pub(crate) async fn cancel(&self, id: AppointmentId) -> Result<Written, ServiceError> {
        let mode = self.mode;
        let write = move |tx: &Transaction<'_>| {
            write::cancel(tx, id, &|tx, touched, cause| cached::record(mode, tx, touched, cause))
        };
        self.change(write).await
    }

    /// How much of the journal this node has applied, if there is one that tells it of changes.
    pub(crate) fn applied(&self) -> Option<u64> {
        if self.mode == CacheMode::Larder { self.caching.applied() } else { None }
    }

    /// How the cache is.
    pub(crate) async fn cache_health(&self) -> Health {
        let serving = self.companies().await.is_ok();
        self.caching.health(self.mode, serving, self.origin())
    }

    /// Finishes what was accepted and closes the database.
    pub(crate) async fn close(&self) {
        self.caching.close().await;
        let database = Arc::clone(&self.database);
        let closed = blocking(move || {
            database.close();
            Ok(())
        });
        // Closing does not fail; only a runtime that is going down too refuses the blocking task.
        let _ = closed.await;
    }

    /// Writes, and lets the cache of this process catch up before the answer: whoever changed something reads it next.
    /// Other processes are held to the regions' level.
    async fn change(
        &self,
        write: impl FnOnce(&Transaction<'_>) -> Result<Written, ServiceError> + Send + 'static,
    ) -> Result<Written, ServiceError> {
        let mut written = self.database.writer.write(write).await?;
        written.record = self.caching.catch_up().await.filter(|_| self.mode == CacheMode::Larder);
        Ok(written)
    }

    /// A loader: a question asked in one snapshot, counted, when the cache polls it.
    fn load<T, F>(
        &self,
        asked: Asked,
        ask: F,
    ) -> impl Future<Output = Result<T, ServiceError>> + Send + 'static + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>, &OriginCounts) -> Result<T, ServiceError> + Send + 'static,
    {
        let (readers, origin) = (self.database.readers.clone(), self.database.origin.clone());
        let (node, under_way) = (self.node, self.under_way.clone());
        async move {
            origin.add_load();
            let _load = under_way.begin(node, asked);
            readers.read(move |tx| ask(tx, &origin)).await
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ServiceError> + Send + 'static,
) -> Result<T, ServiceError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ServiceError::Closing)?
}
