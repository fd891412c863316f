//! A fresh book on each of the two databases, for tests, and a way into it past the book's own checks.
//!
//! Only tests use it. Without an installed Postgres they run on SQLite alone, and say so.

use larder::Target;
use tempfile::TempDir;

use super::always_open;
use crate::db::seed::SeededCompany;
use crate::db::write::{Change, Outbox, Written};
use crate::db::{Database, Durability, Place};
use crate::domain::{NewAppointment, Touched};
use crate::error::ServiceError;
use crate::testing::{monday, postgres};

/// An outbox that takes everything, in the cache's own namespace.
pub(super) const OUTBOX: Outbox = Outbox {
    namespace: "booking",
    targets: |touched: &Touched| vec![Target::tag(larder::tag![touched.branch])],
};

/// A book with one company in it.
pub(super) struct Ground {
    pub(super) database: Database,
    pub(super) company: SeededCompany,
    pub(super) place: Place,
    _directory: TempDir,
}

/// One on each database that there is.
pub(super) async fn both() -> Vec<Ground> {
    let mut grounds = vec![on_sqlite().await];
    grounds.extend(on_postgres().await);
    grounds
}

pub(super) async fn on_sqlite() -> Ground {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::File(directory.path().join("app.db"), Durability::Process);
    ground(place, directory).await
}

/// `None` when it is not installed.
pub(super) async fn on_postgres() -> Option<Ground> {
    Some(ground(postgres().await?, tempfile::tempdir().unwrap()).await)
}

async fn ground(place: Place, directory: TempDir) -> Ground {
    let database = Database::open(&place, 4).await.unwrap();
    let seeded = database.seed_if_empty(vec![always_open()].into()).await.unwrap().unwrap();
    let company = seeded.into_iter().next().unwrap();
    Ground { database, company, place, _directory: directory }
}

impl Ground {
    pub(super) fn request(&self, service: usize, staff: Option<i64>, starts: i64) -> NewAppointment {
        NewAppointment {
            company: self.company.id,
            branch: self.company.branches[0].id,
            service: self.company.services[service],
            staff,
            customer: "Ada".to_owned(),
            starts: monday().at(starts),
            booked_at: monday().start(),
        }
    }

    pub(super) async fn book(
        &self,
        service: usize,
        staff: Option<i64>,
        starts: i64,
    ) -> Result<Written, ServiceError> {
        self.database.change(Change::Book(self.request(service, staff, starts)), Some(OUTBOX)).await
    }

    pub(super) fn is_postgres(&self) -> bool {
        matches!(self.place, Place::Postgres(_))
    }

    /// Another program, without our checks: what a statement changes or refuses.
    pub(super) async fn raw(&self, sql: &str) -> Result<(), String> {
        match &self.place {
            Place::File(path, _) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
                connection.execute_batch(sql).map_err(|error| error.to_string())
            }
            Place::Postgres(url) => {
                let (session, connection) =
                    tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                let said = session.batch_execute(sql).await;
                said.map_err(|error| {
                    error.as_db_error().map_or(String::new(), |said| said.message().to_owned())
                })
            }
        }
    }

    /// A number that another program reads.
    pub(super) async fn number(&self, sql: &str) -> i64 {
        match &self.place {
            Place::File(path, _) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                connection.query_row(sql, [], |row| row.get(0)).unwrap()
            }
            Place::Postgres(url) => {
                let (session, connection) =
                    tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                session.query_one(sql, &[]).await.unwrap().get(0)
            }
        }
    }
}
