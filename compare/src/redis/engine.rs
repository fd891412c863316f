//! Who reads: the raw client, Larder's store, and Larder. All of them the same entries, which one cache had stored.

use crate::Failure;
use crate::sample::{Value, text_key};
use larder::journal::MemoryJournal;
use larder::port::Store as _;
use larder::redis::Redis;
use larder::store::RedisStore;
use larder::{Bytes, Cache, Key, Level, Policy, Region, Segments, key};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, ProtocolVersion};
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

/// Longer than any run.
const TTL: Duration = Duration::from_secs(24 * 3600);
/// What the store puts before a key.
const PREFIX: &[u8] = b"larder:v:";

/// Reads of entries by number.
pub(super) trait Reads: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// Reads one entry; an error if it is not there.
    fn get(&self, index: usize) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Reads many at once.
    fn get_many(&self, first: usize, count: usize) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// What is measured on.
pub(super) struct Stage {
    url: String,
    journal: MemoryJournal,
    redis: Redis,
    /// Under which names the entries are in Redis.
    names: Vec<Vec<u8>>,
    entries: usize,
}

/// Has a cache store so many entries.
pub(super) async fn fill(url: &str, entries: usize) -> Result<Stage, Failure> {
    let (journal, redis) = (MemoryJournal::new(), Redis::connect(url).await?);
    let mut stage = Stage { url: url.to_owned(), journal, redis, names: Vec::new(), entries };
    let larder = stage.larder().await?;
    for index in 0..entries {
        let load = async move |_: larder::Load<Value>| Ok::<_, Infallible>(Value::of(index as u64));
        larder.region.get_or_load(key![text_key(index as u64)], load).await?;
        // Fills are written in the background, and dropped when too many wait.
        if index % 500 == 499 {
            stored(url, index + 1).await?;
        }
    }
    stored(url, entries).await?;
    let mut connection = connection(url).await?;
    let mut names: Vec<Vec<u8>> = redis::cmd("KEYS").arg("larder:v:*").query_async(&mut connection).await?;
    names.sort();
    stage.names = names;
    Ok(stage)
}

/// Waits until so many are there.
async fn stored(url: &str, entries: usize) -> Result<(), Failure> {
    let mut connection = connection(url).await?;
    for _ in 0..10_000 {
        let there: usize = redis::cmd("DBSIZE").query_async(&mut connection).await?;
        if there >= entries {
            return Ok(());
        }
    }
    Err("entries did not reach the store".into())
}

pub(super) async fn connection(url: &str) -> Result<MultiplexedConnection, Failure> {
    let info = url.into_connection_info()?;
    let protocol = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true)).set_redis_settings(protocol);
    // A timeout, as everybody sets one, and as is the default.
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_millis(500)));
    Ok(Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await?)
}

impl Stage {
    pub(super) async fn raw(&self) -> Result<Raw, Failure> {
        Ok(Raw { connection: connection(&self.url).await?, names: self.names.clone() })
    }

    pub(super) async fn store(&self) -> Result<Store, Failure> {
        let store = RedisStore::on(&self.redis);
        let keys = self.names.iter().map(|name| name[PREFIX.len()..].to_vec()).collect();
        Ok(Store { store, keys })
    }

    /// A node whose memory is empty.
    pub(super) async fn larder(&self) -> Result<Larder, Failure> {
        let cache = Cache::builder("compare")
            .memory(Bytes::mib(256))
            .journal(self.journal.clone())
            .store(RedisStore::on(&self.redis))
            .build()
            .await?;
        let region =
            cache.region("values", Policy::ttl(TTL).level(Level::Bounded(Duration::from_secs(1))))?;
        // As the raw client's names, made beforehand.
        let segments: Vec<Segments> = (0..self.entries as u64).map(|index| key![text_key(index)]).collect();
        let keys = segments.iter().map(|segments| region.key(segments.clone())).collect::<Result<_, _>>()?;
        Ok(Larder { region, _cache: cache, segments, keys })
    }
}

/// The client alone.
pub(super) struct Raw {
    connection: MultiplexedConnection,
    names: Vec<Vec<u8>>,
}

impl Reads for Raw {
    fn name(&self) -> &'static str {
        "redis-rs"
    }

    async fn get(&self, index: usize) -> Result<(), Failure> {
        let mut cmd = redis::cmd("GET");
        cmd.arg(&self.names[index % self.names.len()]);
        let bytes: Option<Vec<u8>> = cmd.query_async(&mut self.connection.clone()).await?;
        bytes.map(drop).ok_or_else(|| "a miss".into())
    }

    async fn get_many(&self, first: usize, count: usize) -> Result<(), Failure> {
        let mut cmd = redis::cmd("MGET");
        for index in first..first + count {
            cmd.arg(&self.names[index % self.names.len()]);
        }
        let found: Vec<Option<Vec<u8>>> = cmd.query_async(&mut self.connection.clone()).await?;
        if found.iter().flatten().count() == count { Ok(()) } else { Err("a miss".into()) }
    }
}

/// The adapter.
pub(super) struct Store {
    store: RedisStore,
    keys: Vec<Vec<u8>>,
}

impl Reads for Store {
    fn name(&self) -> &'static str {
        "larder-store"
    }

    async fn get(&self, index: usize) -> Result<(), Failure> {
        let at = index % self.keys.len();
        let found = self.store.get_many(&self.keys[at..=at]).await?;
        if found.iter().flatten().count() == 1 { Ok(()) } else { Err("a miss".into()) }
    }

    async fn get_many(&self, first: usize, count: usize) -> Result<(), Failure> {
        let keys: Vec<Vec<u8>> =
            (first..first + count).map(|index| self.keys[index % self.keys.len()].clone()).collect();
        let found = self.store.get_many(&keys).await?;
        if found.iter().flatten().count() == count { Ok(()) } else { Err("a miss".into()) }
    }
}

/// A whole cache.
pub(super) struct Larder {
    region: Region<Value>,
    _cache: Cache,
    segments: Vec<Segments>,
    keys: Vec<Key>,
}

impl Larder {
    pub(super) const NAME: &'static str = "larder";
}

impl Reads for Larder {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    async fn get(&self, index: usize) -> Result<(), Failure> {
        let found = self.region.get(&self.keys[index % self.keys.len()]).await?.ok_or("a miss")?;
        if found.source() == larder::Source::Store(0) { Ok(()) } else { Err("not from the store".into()) }
    }

    async fn get_many(&self, first: usize, count: usize) -> Result<(), Failure> {
        let keys = (first..first + count).map(|index| self.segments[index % self.segments.len()].clone());
        let load = async |_: larder::Batch<Value>| Err::<Vec<(Segments, Value)>, _>(NoLoad);
        for found in self.region.get_many_or_load(keys, load).await {
            if found?.source() != larder::Source::Store(0) {
                return Err("not from the store".into());
            }
        }
        Ok(())
    }
}

/// Everything is in the store.
#[derive(Debug)]
struct NoLoad;

impl std::fmt::Display for NoLoad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nothing is to be loaded")
    }
}

impl std::error::Error for NoLoad {}
