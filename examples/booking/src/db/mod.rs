//! The appointment book, in a SQLite file or in a Postgres database.
//!
//! The service and the seeding of histories call it. It never touches the cache; what a change touches is named to the
//! outbox inside the same transaction. Questions and changes are written once, for both: `tx` is what differs.

pub(crate) mod fault;
pub(crate) mod postgres;
pub(crate) mod read;
pub(crate) mod seed;
pub(crate) mod sqlite;
pub(crate) mod statistics;
#[cfg(test)]
mod tests;
pub(crate) mod tx;
pub(crate) mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::{
    Appointment, AppointmentId, Availability, AvailabilityQuery, Branch, BranchId, Company, CompanyId,
    Service, Staff, Statistics,
};
use crate::error::ServiceError;
use seed::{CompanyPlan, SeededCompany};
use tx::at_once;
use write::{Change, Outbox, Written};

/// How often a change is tried that another one, which came across it, has rolled back.
const TRIES_MAX: usize = 5;

/// How much a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Every commit reaches the disk: what a service wants.
    Full,
    /// Commits survive a crash of the process, not of the machine: for a database thrown away after a run.
    Process,
}

/// Where the book is.
#[derive(Clone)]
pub(crate) enum Place {
    /// A file; created when absent.
    File(PathBuf, Durability),
    /// A database of Postgres, which decides itself how much a commit waits for. The book's tables are made in it.
    Postgres(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::File(path, _) => path.display().fmt(f),
            // A URL may hold a password.
            Place::Postgres(_) => f.write_str("on Postgres"),
        }
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Place({self})")
    }
}

/// What the reads of this process have cost the origin.
#[derive(Clone, Debug, Default)]
pub(crate) struct OriginCounts {
    loads: Arc<AtomicU64>,
    queries: Arc<AtomicU64>,
}

impl OriginCounts {
    /// A loader ran.
    pub(crate) fn add_load(&self) {
        self.loads.fetch_add(1, Ordering::Relaxed);
    }

    /// SQL queries were sent for a read.
    pub(crate) fn add_queries(&self, queries: u64) {
        self.queries.fetch_add(queries, Ordering::Relaxed);
    }

    /// Loaders run so far.
    pub(crate) fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    /// SQL queries sent so far.
    pub(crate) fn queries(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }
}

/// The database of the service; share it in an `Arc`.
#[derive(Debug)]
pub(crate) struct Database {
    book: Book,
    pub(crate) origin: OriginCounts,
}

#[derive(Debug)]
enum Book {
    Sqlite(Arc<sqlite::Book>),
    Postgres(Box<postgres::Book>),
}

/// Asks in one snapshot of whichever database it is.
macro_rules! ask {
    ($database:expr, |$tx:ident| $question:expr) => {
        match &$database.book {
            Book::Sqlite(book) => book.readers.read(move |$tx| at_once($question)).await,
            Book::Postgres(book) => {
                // In a box: what waits between questions is large.
                Box::pin(book.within(postgres::DEADLINE, async {
                    let mut client = book.reader().await?;
                    let snapshot = client.snapshot().await?;
                    let $tx = &snapshot;
                    let answer = $question.await;
                    snapshot.end(answer).await
                }))
                .await
            }
        }
    };
}

/// Changes in one transaction of whichever database it is; an error rolls everything back.
macro_rules! change {
    ($database:expr, $deadline:expr, |$tx:ident| $change:expr) => {
        match &$database.book {
            Book::Sqlite(book) => book.writer.write(move |$tx| at_once($change)).await,
            Book::Postgres(book) => {
                // In a box: what waits between questions is large.
                Box::pin(book.within($deadline, async {
                    let mut client = book.writer().await?;
                    let transaction = client.transaction().await?;
                    let $tx = &transaction;
                    let answer = $change.await;
                    transaction.end(answer).await
                }))
                .await
            }
        }
    };
}

impl Database {
    /// Opens it, creating and migrating what is needed, with this many connections that read.
    ///
    /// # Errors
    /// `Open` when a file cannot be used; `Database` when Postgres cannot.
    pub(crate) async fn open(place: &Place, connections: usize) -> Result<Database, ServiceError> {
        let book = match place {
            Place::File(path, durability) => {
                let (path, durability) = (path.clone(), *durability);
                let open = move || sqlite::Book::open(&path, durability, connections);
                let opened = tokio::task::spawn_blocking(open).await.map_err(|_| ServiceError::Closing)?;
                Book::Sqlite(Arc::new(opened?))
            }
            Place::Postgres(url) => Book::Postgres(Box::new(postgres::Book::open(url, connections).await?)),
        };
        Ok(Database { book, origin: OriginCounts::default() })
    }

    /// Writes the plans if the book is empty; `None` when it was not.
    pub(crate) async fn seed_if_empty(
        &self,
        plans: Arc<Vec<CompanyPlan>>,
    ) -> Result<Option<Vec<SeededCompany>>, ServiceError> {
        change!(self, postgres::DEADLINE_LARGE, |tx| seed::seed_if_empty(tx, &plans))
    }

    /// Carries a change out; returns after its commit. Dropping the future before the answer leaves the outcome unknown.
    pub(crate) async fn change(
        &self,
        change: Change,
        outbox: Option<Outbox>,
    ) -> Result<Written, ServiceError> {
        let mut tries = 0;
        loop {
            let asked = change.clone();
            let outcome: Result<Written, ServiceError> =
                change!(self, postgres::DEADLINE, |tx| write::carry_out(tx, &asked, outbox));
            tries += 1;
            match outcome {
                Err(ServiceError::Database(fault)) if fault.is_conflict() && tries < TRIES_MAX => {}
                outcome => return outcome,
            }
        }
    }

    pub(crate) async fn overlaps(&self) -> Result<u64, ServiceError> {
        ask!(self, |tx| read::overlaps(tx))
    }

    pub(crate) async fn companies(&self) -> Result<Vec<Company>, ServiceError> {
        ask!(self, |tx| read::companies(tx))
    }

    pub(crate) async fn branches(&self, company: CompanyId) -> Result<Vec<Branch>, ServiceError> {
        ask!(self, |tx| read::branches(tx, company))
    }

    pub(crate) async fn appointment(&self, id: AppointmentId) -> Result<Appointment, ServiceError> {
        ask!(self, |tx| read::appointment(tx, id))
    }

    pub(crate) async fn services(&self, company: CompanyId) -> Result<Vec<Service>, ServiceError> {
        let origin = self.origin.clone();
        ask!(self, |tx| read::services(tx, company, &origin))
    }

    pub(crate) async fn staff(
        &self,
        company: CompanyId,
        branch: BranchId,
    ) -> Result<Vec<Staff>, ServiceError> {
        let origin = self.origin.clone();
        ask!(self, |tx| read::staff(tx, company, branch, &origin))
    }

    pub(crate) async fn availability(&self, query: AvailabilityQuery) -> Result<Availability, ServiceError> {
        let origin = self.origin.clone();
        ask!(self, |tx| read::availability(tx, &query, &origin))
    }

    pub(crate) async fn statistics(&self, company: CompanyId) -> Result<Statistics, ServiceError> {
        let origin = self.origin.clone();
        ask!(self, |tx| statistics::statistics(tx, company, &origin))
    }

    /// Finishes the writes already accepted.
    pub(crate) async fn close(&self) {
        if let Book::Sqlite(book) = &self.book {
            let book = Arc::clone(book);
            // Closing does not fail; only a runtime that is going down too refuses the blocking task.
            let _ = tokio::task::spawn_blocking(move || book.writer.close()).await;
        }
    }
}
