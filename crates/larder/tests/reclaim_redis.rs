//! What was invalidated and is not asked for again leaves Redis before its lifetime is over, and nothing else does.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod redis_rig;

use larder::journal::MemoryJournal;
use larder::store::RedisStore;
use larder::{Cache, Load, Policy, Reached, Region, Segments, Target, key, tag};
use larder_core::port::{Store, Stored};
use larder_core::{Epoch, Link, Token};
use larder_rig::{Cluster, Flavour, Server};
use redis_rig::{STORE_RIGHTS, as_larder, connect, until};
use std::time::Duration;

/// What the look needs beside the rights of the store.
const RECLAIM_RIGHTS: &str = "+scan +getrange";
const REST: Duration = Duration::from_millis(20);
const ENTRIES: u64 = 600;

struct Node {
    cache: Cache,
    region: Region<String>,
    store: RedisStore,
}

async fn node(url: &str, namespace: &str, journal: MemoryJournal) -> Node {
    let store = RedisStore::on(&connect(url, Duration::from_secs(5)).await).reclaim_every(REST);
    let cache = Cache::builder(namespace).journal(journal).store(store.clone()).build().await.unwrap();
    let region = cache.region::<String>("r", Policy::ttl(Duration::from_secs(3600))).unwrap();
    Node { cache, region, store }
}

impl Node {
    /// Entries of two groups by turns; one in a hundred is large. They are given time to arrive.
    async fn fill(&self) {
        for n in 0..ENTRIES {
            let load = async move |load: Load<String>| {
                load.tag(tag!["group", n % 2]);
                // Random, so that it stays large when it is packed.
                let large = || (0..200_000).map(|_| char::from(rand::random_range(b'a'..=b'z'))).collect();
                Ok::<_, std::io::Error>(if n % 100 < 2 { large() } else { n.to_string() })
            };
            self.region.get_or_load(key![n], load).await.unwrap();
            if n % 100 == 99 {
                until("stored", async || match self.store.usage().await.unwrap().0 {
                    there if there > n => Ok(()),
                    there => Err(there),
                })
                .await;
            }
        }
    }

    fn reclaimed(&self) -> u64 {
        self.cache.stats().stores[0].counts.reclaimed
    }
}

/// Names of entries, in any namespace.
fn names(server: &Server) -> u64 {
    server.ask(&["KEYS", "larder:[vl]:*"]).unwrap().list().len() as u64
}

async fn what_is_dead_goes_and_what_is_not_stays(url: &str, there: impl Fn() -> u64) {
    let journal = MemoryJournal::new();
    let first = node(url, "reclaim", journal.clone()).await;
    let second = node(url, "reclaim", journal.clone()).await;
    let other = node(url, "another", journal).await;
    first.fill().await;
    let load = async |load: Load<String>| {
        load.tag(tag!["group", 0]);
        Ok::<_, std::io::Error>("of another namespace".to_owned())
    };
    other.region.get_or_load(key![0], load).await.unwrap();
    // A large half without its entry is what a smaller entry that replaced a larger one leaves behind.
    let odd = [Segments::builder().with("reclaim").finish().as_bytes(), b"odd"].concat();
    let large = |bytes| vec![Stored { key: odd.clone(), bytes, expires_ms: 32_503_680_000_000 }];
    first.store.put_many(large(vec![1; 200_000])).await.unwrap();
    first.store.put_many(large(vec![1; 2])).await.unwrap();
    first.cache.invalidate([Target::tag(tag!["group", 0])]).await.unwrap();
    // Half of the entries, six of them in two halves; the one of another namespace, and the odd one without its half.
    let left = ENTRIES / 2 + 6 + 1 + 1;
    let gone_but = async |what: &str, most: u64| {
        until(what, async || match there() {
            there if there <= most => Ok(()),
            there => Err(there),
        })
        .await;
    };
    gone_but("reclaimed", left).await;
    // Another look, which takes what died since, takes nothing more.
    let another_look = async |group: u64| {
        let load = async move |load: Load<String>| {
            load.tag(tag!["group", group]);
            Ok::<_, std::io::Error>("late".to_owned())
        };
        let before = first.reclaimed() + second.reclaimed();
        second.region.get_or_load(key!["late", group], load).await.unwrap();
        until("stored", async || match there() {
            there if there > left => Ok(()),
            there => Err(there),
        })
        .await;
        second.cache.invalidate([Target::tag(tag!["group", group])]).await.unwrap();
        until("another look", async || match first.reclaimed() + second.reclaimed() {
            n if n > before => Ok(()),
            n => Err(n),
        })
        .await;
    };
    another_look(2).await;
    gone_but("only that", left).await;
    let reclaimed = first.reclaimed() + second.reclaimed();
    assert_eq!(reclaimed, ENTRIES / 2 + 1, "each by one node");
    assert_eq!(other.reclaimed(), 0);
    let found = first.store.get_many(&[odd]).await.unwrap();
    assert_eq!(found, [Some(vec![1; 2])]);
    for n in [1, 101, 599] {
        assert!(second.region.get(key![n]).await.unwrap().is_some(), "entry {n} was fresh");
    }
    // A token that nobody gave out makes a node distrust all it has. It once removed that for all the others, too.
    let nowhere = Link { epoch: Epoch::new(1), position: 1, nonce: 1 };
    for node in [&first, &second] {
        assert_eq!(node.cache.reach(&Token::new("reclaim", nowhere)).await.unwrap(), Reached::Anew);
    }
    second.cache.invalidate([Target::tag(tag!["nothing"])]).await.unwrap();
    another_look(3).await;
    assert_eq!(there(), left);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_server_with_the_least_rights() {
    let rights = format!("{STORE_RIGHTS} {RECLAIM_RIGHTS}");
    let server = Server::configure(Flavour::Redis7).user("larder", &rights).start().unwrap();
    what_is_dead_goes_and_what_is_not_stays(&as_larder(&server.url()), || names(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster() {
    let cluster = Cluster::start(Flavour::Redis7).unwrap();
    let there = || [0, 8_000, 16_383].iter().map(|slot| names(cluster.master(*slot).unwrap())).sum();
    what_is_dead_goes_and_what_is_not_stays(&cluster.url(), there).await;
}
