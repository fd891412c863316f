//! What nodes tell each other about a store they share: a server without room for writes, seen by two whole caches.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod redis_rig;

use larder::store::RedisStore;
use larder::{Cache, Level, Policy, Region, key};
use larder_core::port::{News, Store, Use};
use larder_rig::Flavour;
use redis_rig::{start, until};
use std::time::Duration;

struct Node {
    cache: Cache,
    region: Region<u64>,
    store: RedisStore,
}

async fn node(url: &str) -> Node {
    let store = RedisStore::connect(url).await.unwrap();
    let cache = Cache::builder("breaker").store(store.clone()).build().await.unwrap();
    let policy = Policy::ttl(Duration::from_secs(60)).level(Level::Eventual);
    let region = cache.region::<u64>("r", policy).unwrap();
    Node { cache, region, store }
}

impl Node {
    fn errors(&self) -> u64 {
        self.cache.stats().stores[0].counts.errors
    }

    /// Tries to store something, and waits until it was tried or refused.
    async fn store(&self, n: u64) {
        let counts = || {
            let counts = self.cache.stats().stores[0].counts;
            (counts.puts, counts.errors + counts.short_circuited)
        };
        let before = counts();
        self.region.put(key![n], n).await.unwrap();
        until("a write", async || match counts() {
            now if now.0 > before.0 && (now.1 > before.1 || !self.cache.stats().stores[0].degraded) => Ok(()),
            now => Err(now),
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_one_node_has_failed_another_needs_one_failure_and_hears_when_it_works_again() {
    let server = start(Flavour::Redis7);
    let (first, second) = (node(&server.url()).await, node(&server.url()).await);
    // Both are listening once each heard the other.
    until("news", async || {
        first.store.tell(Use::Reads, News::Well);
        second.store.tell(Use::Reads, News::Well);
        let heard = (first.store.told(Use::Reads), second.store.told(Use::Reads));
        if heard.0.is_some() && heard.1.is_some() { Ok(()) } else { Err(heard) }
    })
    .await;
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).unwrap();
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    until("the first node's breaker", async || {
        first.store(1).await;
        if first.cache.stats().stores[0].degraded { Ok(()) } else { Err(first.errors()) }
    })
    .await;
    assert_eq!(first.errors(), 3);
    until("the news", async || match second.store.told(Use::Writes) {
        Some(told) if told.news == News::Failing => Ok(()),
        other => Err(other),
    })
    .await;
    assert!(!second.cache.stats().stores[0].degraded, "hearsay alone decides nothing");
    until("the second node's breaker", async || {
        second.store(2).await;
        if second.cache.stats().stores[0].degraded { Ok(()) } else { Err(second.errors()) }
    })
    .await;
    assert_eq!(second.errors(), 1, "one failure was enough");
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    until("both are well", async || {
        first.store(1).await;
        second.store(2).await;
        let degraded = [&first, &second].map(|node| node.cache.stats().stores[0].degraded);
        if degraded == [false, false] { Ok(()) } else { Err(degraded) }
    })
    .await;
}
