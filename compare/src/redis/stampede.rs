//! A thousand readers on each of five nodes ask for one cold key: how often does the loader run?
//!
//! Nodes have connections and memory of their own, and share store and journal. The loader is held until everybody waits.

use super::Row;
use crate::Failure;
use crate::stats::{median, rounded};
use larder::journal::RedisJournal;
use larder::redis::Redis;
use larder::store::RedisStore;
use larder::{Cache, Policy, Region, key};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

const NODES: usize = 5;
const READERS: usize = 1000;

struct Node {
    cache: Cache,
    region: Region<u64>,
}

impl Node {
    async fn start(url: &str) -> Result<Self, Failure> {
        let redis = Redis::connect(url).await?;
        let journal = RedisJournal::on(&redis);
        let cache = Cache::builder("stampede").journal(journal).store(RedisStore::on(&redis)).build().await?;
        let region = cache.region("slots", Policy::ttl(Duration::from_secs(3600)))?;
        Ok(Node { cache, region })
    }

    fn joined(&self) -> u64 {
        self.cache.stats().region("slots").map_or(0, |region| region.counts.flights_joined)
    }
}

/// Plays the rounds.
pub(super) async fn measure(url: &str, server: &str, rounds: usize) -> Result<Row, Failure> {
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(Arc::new(Node::start(url).await?));
    }
    let (mut loads_most, mut loads_sum, mut served_ms) = (0, 0, Vec::new());
    for round in 0..rounds {
        let loads = Arc::new(AtomicU32::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let before: u64 = nodes.iter().map(|node| node.joined()).sum();
        let readers: Vec<_> = (0..NODES * READERS)
            .map(|n| {
                let (node, loads, gate) = (nodes[n % NODES].clone(), loads.clone(), gate.clone());
                tokio::spawn(async move {
                    let load = async move |_| {
                        loads.fetch_add(1, Ordering::SeqCst);
                        let _ = gate.acquire().await;
                        Ok::<_, Infallible>(7)
                    };
                    node.region.get_or_load(key![round as u64], load).await.map(|outcome| *outcome)
                })
            })
            .collect();
        let waiting = before + (NODES * (READERS - 1)) as u64;
        let began = Instant::now();
        while nodes.iter().map(|node| node.joined()).sum::<u64>() < waiting {
            if began.elapsed() > Duration::from_secs(10) {
                return Err("the readers of a cold key do not come to wait for one another".into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Whoever will load has asked by then.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let opened = Instant::now();
        gate.add_permits(NODES * READERS);
        for reader in readers {
            reader.await??;
        }
        served_ms.push(opened.elapsed().as_secs_f64() * 1000.0);
        let ran = loads.load(Ordering::SeqCst);
        loads_most = loads_most.max(ran);
        loads_sum += ran;
    }
    Ok(Row::Stampede {
        server: server.to_owned(),
        engine: "larder",
        nodes: NODES,
        readers: READERS,
        rounds,
        loads_most,
        loads_mean: rounded(f64::from(loads_sum) / rounds as f64, 2),
        served_ms: rounded(median(&served_ms).ok_or("no rounds were played")?, 1),
    })
}
