//! The servers of a run: none, somebody's, or our own, which are gone after it.
//!
//! `bench` calls it. It never touches a database of somebody's server but the one that it makes there.

use std::path::Path;
use std::sync::Arc;

use larder_rig::{Flavour, Kind, Place};

use crate::args::{BenchArgs, PostgresServer, RedisServer};
use crate::bench::{BenchError, CONNECTIONS};
use crate::cached::SecondTier;
use crate::chaos::Harm;
use crate::chaos::database::Ground;
use crate::db::postgres::RunDatabase;
use crate::db::{self, Durability};
use crate::error::ServiceError;

/// On a cluster, faults hit the shard that has this key: some of the cache's, as good as any.
const KEY: &str = "{larder:booking}";
/// Connections of a node beside those of its book.
const CONNECTIONS_OF_JOURNAL: usize = 3;
/// Connections beside those of the nodes.
const CONNECTIONS_BESIDE: usize = 20;

/// The servers of a run.
pub(super) struct Servers {
    redis: Redis,
    postgres: Option<Postgres>,
}

/// The server of a run's second tier.
enum Redis {
    /// None: each node has a file, or no second tier when nothing of it is to be in files.
    None,
    Somebodys(String),
    /// Ended on drop.
    Spawned(Arc<Place>),
}

/// The book's server.
struct Postgres {
    /// If it is ours; ended on drop.
    spawned: Option<Arc<larder_rig::Postgres>>,
    database: RunDatabase,
}

impl Servers {
    /// Spawns what is to be spawned, and makes the run's database.
    pub(super) async fn of(args: &BenchArgs) -> Result<Servers, BenchError> {
        let nodes = usize::try_from(args.nodes).unwrap_or(1);
        let redis = Redis::of(args, nodes).map_err(BenchError::SpawnRedis)?;
        let postgres = match &args.postgres {
            None => None,
            Some(server) => Some(Postgres::of(server, args.chaos, nodes).await?),
        };
        Ok(Servers { redis, postgres })
    }

    /// Whether there are any.
    pub(super) fn are_any(&self) -> bool {
        self.postgres.is_some() || !matches!(self.redis, Redis::None)
    }

    pub(super) fn database(&self, directory: &Path) -> db::Place {
        match &self.postgres {
            Some(postgres) => db::Place::Postgres(postgres.database.url().to_owned()),
            None => db::Place::File(directory.join("app.db"), Durability::Process),
        }
    }

    pub(super) fn second_tier(&self, node: usize, directory: &Path) -> SecondTier {
        match (&self.redis, &self.postgres) {
            (Redis::Somebodys(url), _) => SecondTier::Redis(url.clone()),
            (Redis::Spawned(place), _) => SecondTier::Redis(place.url(node)),
            (Redis::None, Some(_)) => SecondTier::None,
            (Redis::None, None) => SecondTier::File(directory.join(format!("cache-{node}.db"))),
        }
    }

    /// What can be done to those that are ours.
    pub(super) fn harms(&self) -> Vec<Harm> {
        let mut harms = Vec::new();
        if let Redis::Spawned(place) = &self.redis {
            harms.extend(Harm::to_redis(place));
        }
        if let Some(Postgres { spawned: Some(server), database }) = &self.postgres {
            harms.extend(Harm::to_postgres(&Arc::new(Ground::new(Arc::clone(server), database.url()))));
        }
        harms
    }

    /// Removes the run's database.
    pub(super) async fn end(&self) -> Result<(), ServiceError> {
        match &self.postgres {
            // Of a server that ends now, nothing is left.
            Some(Postgres { spawned: None, database }) => database.remove().await,
            _ => Ok(()),
        }
    }
}

impl Redis {
    /// Spawns one if that is asked for, with a way of its own for each node if it is to be broken.
    fn of(args: &BenchArgs, nodes: usize) -> Result<Redis, larder_rig::Error> {
        match &args.redis {
            None => Ok(Redis::None),
            Some(RedisServer::Url(url)) => Ok(Redis::Somebodys(url.clone())),
            Some(RedisServer::Spawn(kind)) => {
                let flavour = Flavour::ALL.into_iter().find(|flavour| flavour.is_installed());
                let ways = if args.chaos { nodes } else { 0 };
                let flavour = flavour.unwrap_or(Flavour::Redis7);
                let place = match kind {
                    Kind::Alone => Place::alone(flavour, ways),
                    Kind::Sentinel => Place::sentinel(flavour),
                    Kind::Cluster => Place::cluster(flavour, KEY),
                };
                place.map(|place| Redis::Spawned(Arc::new(place)))
            }
        }
    }
}

impl Postgres {
    async fn of(server: &PostgresServer, is_broken: bool, nodes: usize) -> Result<Postgres, BenchError> {
        let (spawned, url) = match server {
            PostgresServer::Url(url) => (None, url.clone()),
            PostgresServer::Spawn => {
                // Killed, it is to lose nothing and to live on in its history, as one in use.
                let fsync = if is_broken { "on" } else { "off" };
                let connections = nodes * (2 * CONNECTIONS + CONNECTIONS_OF_JOURNAL) + CONNECTIONS_BESIDE;
                let settings = [("fsync", fsync), ("max_connections", &connections.to_string())];
                let server =
                    larder_rig::Postgres::start_with(&settings).map_err(BenchError::SpawnPostgres)?;
                let url = server.url("larder", "postgres");
                (Some(Arc::new(server)), url)
            }
        };
        let database = RunDatabase::create(&url).await.map_err(BenchError::Database)?;
        Ok(Postgres { spawned, database })
    }
}
