//! The four cached regions, on Larder.
//!
//! Only `cached` calls it. It never decides whether something is fresh: that is the cache's one rule.

use std::future::Future;
use std::time::Duration;

use larder::backplane::RedisBackplane;
use larder::journal::{PostgresJournal, SqliteJournal};
use larder::redis::Redis;
use larder::store::{RedisStore, SqliteStore};
use larder::{Bytes, Cache, CacheBuilder, Level, Outcome, Policy, Region, Tag, Target, key, tag};

use crate::cached::SecondTier;
use crate::console;
use crate::db::Place;
use crate::db::write::Outbox;
use crate::domain::{
    Availability, AvailabilityQuery, BranchId, CompanyId, Service, Staff, Statistics, Touched,
};
use crate::error::ServiceError;
use crate::time::{Day, HOUR_MINUTES};
use crate::workload::tally::BOUND;

/// The cache's namespace, in the journal and in the second tier.
const NAMESPACE: &str = "booking";
const AVAILABILITY_TTL: Duration = Duration::from_secs(60);
const STATISTICS_TTL: Duration = Duration::from_secs(5 * 60);
const LISTS_TTL: Duration = Duration::from_secs(60 * 60);
/// The first tier's size.
const MEMORY_MIB: u64 = 64;

/// Where changes of the book are named.
pub(super) const OUTBOX: Outbox = Outbox { namespace: NAMESPACE, targets };

/// A cache with its regions.
#[derive(Debug)]
pub(crate) struct Regions {
    pub(crate) cache: Cache,
    availability: Region<Availability>,
    statistics: Region<Statistics>,
    services: Region<Vec<Service>>,
    staff: Region<Vec<Staff>>,
    /// Why there is no second tier, when it was to be one.
    pub(crate) store_missing: Option<String>,
}

impl Regions {
    /// Expiry only: the same regions and tiers, but nobody tells them of changes. Nodes that share a tier are of one
    /// history all the same.
    pub(crate) async fn by_ttl(database: &Place, second: &SecondTier) -> Result<Regions, ServiceError> {
        let mut builder = Cache::builder(NAMESPACE);
        if matches!(second, SecondTier::Redis(_)) {
            builder = with_journal(builder, database)?;
        }
        Self::build(builder, second, Level::Eventual).await
    }

    /// Larder as intended: the journal is in the application's own database.
    pub(crate) async fn by_journal(database: &Place, second: &SecondTier) -> Result<Regions, ServiceError> {
        let builder = with_journal(Cache::builder(NAMESPACE), database)?;
        Self::build(builder, second, Level::Bounded(BOUND)).await
    }

    async fn build(
        builder: CacheBuilder,
        second: &SecondTier,
        level: Level,
    ) -> Result<Regions, ServiceError> {
        let mut builder = builder.memory(Bytes::mib(MEMORY_MIB));
        // A full or read-only disk costs the second tier, not the service.
        let mut store_missing = None;
        builder = match second {
            SecondTier::File(path) => match SqliteStore::open(path) {
                Ok(store) => builder.store(store),
                Err(error) => {
                    console::message(&format!("the cache goes on without its second tier: {error}"));
                    store_missing = Some(error.to_string());
                    builder
                }
            },
            SecondTier::None => builder,
            // A server that cannot be reached yet is no error; a URL that cannot be understood is.
            SecondTier::Redis(url) => {
                let redis = Redis::connect(url).await;
                let redis = redis.map_err(|error| ServiceError::Cache(error.to_string()))?;
                let status = redis.status();
                if status.connected == 0 {
                    let why = status.fault.unwrap_or_else(|| "not connected yet".to_owned());
                    console::message(&format!(
                        "the second tier cannot be reached, and is tried again and again: {why}"
                    ));
                }
                builder.store(RedisStore::on(&redis)).backplane(RedisBackplane::on(&redis))
            }
        };
        let cache = builder.build().await?;
        let policy = |ttl| Policy::ttl(ttl).level(level);
        Ok(Regions {
            availability: cache.region("availability", policy(AVAILABILITY_TTL))?,
            statistics: cache.region("statistics", policy(STATISTICS_TTL))?,
            services: cache.region("services", policy(LISTS_TTL))?,
            staff: cache.region("staff", policy(LISTS_TTL))?,
            cache,
            store_missing,
        })
    }

    pub(crate) async fn availability(
        &self,
        query: AvailabilityQuery,
        load: impl Future<Output = Result<Availability, ServiceError>> + Send + 'static,
    ) -> Result<Outcome<Availability>, ServiceError> {
        let AvailabilityQuery { company, branch, service, day, hour } = query;
        let key = match hour {
            None => key![company, branch, service, day.0],
            Some(hour) => key![company, branch, service, day.0, hour],
        };
        let tag = match hour {
            None => day_tag(branch, day),
            Some(hour) => hour_tag(branch, day.at(i64::from(hour) * HOUR_MINUTES).hour()),
        };
        let outcome = self.availability.get_or_load(key, async move |context| {
            context.tag(tag);
            load.await
        });
        Ok(outcome.await?)
    }

    pub(crate) async fn statistics(
        &self,
        company: CompanyId,
        load: impl Future<Output = Result<Statistics, ServiceError>> + Send + 'static,
    ) -> Result<Outcome<Statistics>, ServiceError> {
        let outcome = self.statistics.get_or_load(key![company], async move |context| {
            context.tag(statistics_tag(company));
            load.await
        });
        Ok(outcome.await?)
    }

    pub(crate) async fn services(
        &self,
        company: CompanyId,
        load: impl Future<Output = Result<Vec<Service>, ServiceError>> + Send + 'static,
    ) -> Result<Outcome<Vec<Service>>, ServiceError> {
        Ok(self.services.get_or_load(key![company], async move |_| load.await).await?)
    }

    pub(crate) async fn staff(
        &self,
        company: CompanyId,
        branch: BranchId,
        load: impl Future<Output = Result<Vec<Staff>, ServiceError>> + Send + 'static,
    ) -> Result<Outcome<Vec<Staff>>, ServiceError> {
        Ok(self.staff.get_or_load(key![company, branch], async move |_| load.await).await?)
    }
}

fn with_journal(builder: CacheBuilder, database: &Place) -> Result<CacheBuilder, ServiceError> {
    let refused = |error: larder::port::JournalError| ServiceError::Cache(error.to_string());
    Ok(match database {
        Place::File(path, _) => builder.journal(SqliteJournal::open(path).map_err(refused)?),
        Place::Postgres(url) => builder.journal(PostgresJournal::open(url).map_err(refused)?),
    })
}

/// What a change touches, in the words of the cache.
fn targets(touched: &Touched) -> Vec<Target> {
    let hours = touched.hours.iter().map(|hour| hour_tag(touched.branch, *hour));
    let days = touched.days().into_iter().map(|key| day_tag(key.branch, key.day));
    hours.chain(days).chain([statistics_tag(touched.company)]).map(Target::tag).collect()
}

/// Entries for a branch's whole day.
fn day_tag(branch: BranchId, day: Day) -> Tag {
    tag!["day", branch, day.0]
}

/// Entries for an hour of a branch; hours are counted from 1970.
fn hour_tag(branch: BranchId, hour: i64) -> Tag {
    tag!["hour", branch, hour]
}

/// A company's figures.
fn statistics_tag(company: CompanyId) -> Tag {
    tag!["statistics", company]
}

impl From<larder::Error> for ServiceError {
    /// An error of our own loader comes back as it was; everything else is the cache's.
    fn from(error: larder::Error) -> ServiceError {
        let loader = error.load_error().and_then(|error| error.downcast_ref::<ServiceError>());
        match loader {
            Some(error) => error.clone(),
            None if error.is_closed() => ServiceError::Closing,
            None if error.is_journal() || error.is_timeout() || error.is_overloaded() => {
                ServiceError::CacheOutage(error.to_string())
            }
            None => ServiceError::Cache(error.to_string()),
        }
    }
}
