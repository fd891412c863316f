//! A service on a fresh database, for tests.
//!
//! Only tests use it. The companies are the demo's: 1 opens 08:00-18:00 on weekdays, 2 opens 16:00-02:00 every day.

use std::sync::{Arc, OnceLock};

use tempfile::TempDir;

use crate::cached::{CacheMode, SecondTier};
use crate::db::postgres::RunDatabase;
use crate::db::seed::SeededCompany;
use crate::db::{Durability, Place};
use crate::domain::{AvailabilityQuery, NewAppointment, Slot};
use crate::history::generate;
use crate::service::{BookingService, ServiceConfig};
use crate::time::{Day, Minute};
use crate::under_way::UnderWay;

/// A service and what keeps it alive.
pub(crate) struct Demo {
    pub(crate) service: Arc<BookingService>,
    pub(crate) companies: Vec<SeededCompany>,
    directory: TempDir,
    place: Place,
}

/// A Monday.
pub(crate) fn monday() -> Day {
    Day::parse("2027-03-01").unwrap()
}

/// An empty database on a Postgres that all tests share; `None`, and said so once, when it is not installed.
pub(crate) async fn postgres() -> Option<Place> {
    // Ends with the process.
    static SERVER: OnceLock<larder_rig::Postgres> = OnceLock::new();
    if !larder_rig::Postgres::is_installed() {
        return None;
    }
    let server = SERVER.get_or_init(|| larder_rig::Postgres::start().unwrap());
    let database = RunDatabase::create(&server.url("larder", "postgres")).await.unwrap();
    Some(Place::Postgres(database.url().to_owned()))
}

impl Demo {
    pub(crate) async fn new(cache: CacheMode) -> Demo {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::File(directory.path().join("app.db"), Durability::Process);
        Demo::on(place, directory, cache).await
    }

    /// On a database that is empty yet.
    pub(crate) async fn on(place: Place, directory: TempDir, cache: CacheMode) -> Demo {
        let service = open(&place, &directory, cache, "cache.db").await;
        let companies = service.seed_if_empty(Arc::new(generate::demo())).await.unwrap().unwrap();
        Demo { service, companies, directory, place }
    }

    /// Another service on the same database, with its second tier in `store`.
    pub(crate) async fn reopened(&self, cache: CacheMode, store: &str) -> Arc<BookingService> {
        open(&self.place, &self.directory, cache, store).await
    }

    /// A day of the company's first branch; `service` counts from 0.
    pub(crate) fn query(&self, company: usize, service: usize, day: Day) -> AvailabilityQuery {
        let company = &self.companies[company];
        AvailabilityQuery {
            company: company.id,
            branch: company.branches[0].id,
            service: company.services[service],
            day,
            hour: None,
        }
    }

    /// A request for the time a query is about.
    pub(crate) fn request(
        &self,
        query: AvailabilityQuery,
        starts: &str,
        staff: Option<i64>,
    ) -> NewAppointment {
        NewAppointment {
            company: query.company,
            branch: query.branch,
            service: query.service,
            staff,
            customer: "Ada".to_owned(),
            starts: Minute::parse(starts).unwrap(),
            booked_at: Minute::parse("2027-02-01T12:00").unwrap(),
        }
    }

    /// The slots shown for a query.
    pub(crate) async fn slots(&self, query: AvailabilityQuery) -> Vec<Slot> {
        self.service.availability(query).await.unwrap().slots.clone()
    }
}

async fn open(place: &Place, directory: &TempDir, cache: CacheMode, store: &str) -> Arc<BookingService> {
    let config = ServiceConfig {
        database: place.clone(),
        second: SecondTier::File(directory.path().join(store)),
        cache,
        connections: 2,
        node: 0,
        under_way: UnderWay::default(),
    };
    Arc::new(BookingService::open(config).await.unwrap())
}
