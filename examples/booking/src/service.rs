//! The appointment service: what it offers, through the cache where that is allowed.
//!
//! HTTP and the load generator call it. It decides what is cached and what a change invalidates; it never speaks
//! HTTP and never answers a write from the cache.

use std::sync::Arc;

use larder::Token;

use crate::cached::health::Health;
use crate::cached::{self, CacheMode, Caching, Read, SecondTier};
use crate::db::seed::{CompanyPlan, SeededCompany};
use crate::db::write::{Change, Written};
use crate::db::{Database, OriginCounts, Place};
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
    pub(crate) database: Place,
    /// Not used without a cache.
    pub(crate) second: SecondTier,
    pub(crate) cache: CacheMode,
    /// Connections that read, at least one; on Postgres as many write.
    pub(crate) connections: usize,
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
    /// `Open` when the database file cannot be used, `Database` when Postgres cannot, `Cache` when the cache cannot be
    /// built.
    pub(crate) async fn open(config: ServiceConfig) -> Result<BookingService, ServiceError> {
        let ServiceConfig { database: place, second, cache: mode, connections, node, under_way } = config;
        let database = Arc::new(Database::open(&place, connections).await?);
        let caching = Caching::build(mode, &place, &second).await?;
        Ok(BookingService { mode, database, caching, node, under_way })
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
        self.database.seed_if_empty(plans).await
    }

    /// How many appointments overlap another of the same person: none, ever.
    pub(crate) async fn overlaps(&self) -> Result<u64, ServiceError> {
        self.database.overlaps().await
    }

    /// All companies, by id. Not cached.
    pub(crate) async fn companies(&self) -> Result<Vec<Company>, ServiceError> {
        self.database.companies().await
    }

    /// A company's branches, by id. Not cached.
    pub(crate) async fn branches(&self, company: CompanyId) -> Result<Vec<Branch>, ServiceError> {
        self.database.branches(company).await
    }

    /// One appointment. Not cached: whoever asks is about to change it.
    pub(crate) async fn appointment(&self, id: AppointmentId) -> Result<Appointment, ServiceError> {
        self.database.appointment(id).await
    }

    /// A company's services, cached for 1 h.
    pub(crate) async fn services(&self, company: CompanyId) -> Result<Read<Vec<Service>>, ServiceError> {
        let load = self
            .load(Asked::Services(company), move |database| async move { database.services(company).await });
        self.caching.services(company, load).await
    }

    /// A branch's staff, cached for 1 h.
    pub(crate) async fn staff(
        &self,
        company: CompanyId,
        branch: BranchId,
    ) -> Result<Read<Vec<Staff>>, ServiceError> {
        let asked = Asked::Staff(company, branch);
        let load = self.load(asked, move |database| async move { database.staff(company, branch).await });
        self.caching.staff(company, branch, load).await
    }

    /// What is free on a day, or in an hour of it; cached for 60 s.
    pub(crate) async fn availability(
        &self,
        query: AvailabilityQuery,
    ) -> Result<Read<Availability>, ServiceError> {
        let load = self.load(Asked::Availability(query), move |database| async move {
            database.availability(query).await
        });
        self.caching.availability(query, load).await
    }

    /// The same, as new as the database is now: what the cache holds is served only once it has applied everything that
    /// was committed before this call. Linearizable, for the price of a question to the journal.
    ///
    /// # Errors
    /// As [`Self::availability`], and when the journal cannot be asked.
    pub(crate) async fn availability_now(
        &self,
        query: AvailabilityQuery,
    ) -> Result<Read<Availability>, ServiceError> {
        if self.mode == CacheMode::Larder {
            self.caching.token().await?;
        }
        self.availability(query).await
    }

    /// A company's figures, cached for 5 min.
    pub(crate) async fn statistics(&self, company: CompanyId) -> Result<Read<Statistics>, ServiceError> {
        let load = self.load(Asked::Statistics(company), move |database| async move {
            database.statistics(company).await
        });
        self.caching.statistics(company, load).await
    }

    /// Books; returns after the commit, when this process's cache knows of it.
    ///
    /// # Errors
    /// `Taken` when the database refuses, `Invalid` or `NotFound` when the request does not fit the book.
    pub(crate) async fn book(&self, new: NewAppointment) -> Result<Written, ServiceError> {
        self.change(Change::Book(new)).await
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
        self.change(Change::Move { id, staff, starts }).await
    }

    /// Cancels; returns as `book` does.
    ///
    /// # Errors
    /// `NotFound` or `Cancelled`.
    pub(crate) async fn cancel(&self, id: AppointmentId) -> Result<Written, ServiceError> {
        self.change(Change::Cancel(id)).await
    }

    /// What stands for all that this node has shown so far; `None` when nobody keeps sessions.
    ///
    /// # Errors
    /// When the journal cannot be asked.
    pub(crate) async fn token(&self) -> Result<Option<Token>, ServiceError> {
        if self.keeps_sessions() { self.caching.token().await } else { Ok(None) }
    }

    /// Whether what was seen on one node is promised on the others.
    pub(crate) fn keeps_sessions(&self) -> bool {
        self.mode == CacheMode::Larder
    }

    /// From here on this node shows whoever brings the token nothing older than what it stands for.
    ///
    /// # Errors
    /// When the journal cannot be asked.
    pub(crate) async fn reach(&self, token: &Token) -> Result<(), ServiceError> {
        self.caching.reach(token).await
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
        self.database.close().await;
    }

    /// Writes, and lets the cache of this process catch up before the answer: whoever changed something reads it next, here
    /// or, with the token, on any node. Others are held to the regions' level. A cache that cannot is no reason to fail:
    /// the change is made.
    async fn change(&self, change: Change) -> Result<Written, ServiceError> {
        let mut written = self.database.change(change, cached::outbox(self.mode)).await?;
        if self.mode == CacheMode::Larder {
            written.token = self.caching.token().await.ok().flatten();
            written.record = written.token.map(|token| token.link().position);
        }
        Ok(written)
    }

    /// A loader: counted when the cache polls it.
    fn load<T, F>(
        &self,
        asked: Asked,
        ask: impl FnOnce(Arc<Database>) -> F + Send + 'static,
    ) -> impl Future<Output = Result<T, ServiceError>> + Send + 'static
    where
        F: Future<Output = Result<T, ServiceError>> + Send + 'static,
    {
        let database = Arc::clone(&self.database);
        let (node, under_way) = (self.node, self.under_way.clone());
        async move {
            database.origin.add_load();
            let _load = under_way.begin(node, asked);
            // In a box, made when the cache polls it: a hit carries the loader along and drops it.
            Box::pin(ask(database)).await
        }
    }
}
