//! The store suite on Redis and Valkey: every flavour, under TLS, with the least rights, behind Sentinel, on a cluster.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod redis_rig;

use larder::redis::{Redis, RedisOptions};
use larder::store::RedisStore;
use larder::testing::store_suite::StoreBench;
use larder_rig::{Cluster, Flavour, Sentinel, Server};
use redis_rig::{STORE_RIGHTS, as_larder, start, wait};
use std::any::Any;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The suite moves megabytes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(10);

fn bench(options: RedisOptions, keep: impl Any + Send + Sync) -> StoreBench {
    let redis = wait(Redis::connect_with(options.deadline(DEADLINE)));
    StoreBench { store: Arc::new(RedisStore::on(&redis)), keep: Box::new(keep) }
}

fn single(flavour: Flavour) -> StoreBench {
    let server = start(flavour);
    bench(RedisOptions::parse(&server.url()).unwrap(), server)
}

fn redis_7() -> StoreBench {
    single(Flavour::Redis7)
}

fn redis_8() -> StoreBench {
    single(Flavour::Redis8)
}

fn valkey_9() -> StoreBench {
    single(Flavour::Valkey9)
}

fn tls() -> StoreBench {
    let server = Server::configure(Flavour::Redis7).tls().start().unwrap();
    let roots = std::fs::read(server.authority().unwrap()).unwrap();
    bench(RedisOptions::parse(&server.tls_url().unwrap()).unwrap().root_certificates(roots), server)
}

fn least_rights() -> StoreBench {
    let server = Server::configure(Flavour::Redis7).user("larder", STORE_RIGHTS).start().unwrap();
    bench(RedisOptions::parse(&as_larder(&server.url())).unwrap(), server)
}

/// One at a time on servers that take long to start; empty each time.
fn shared<T: Send + Sync + 'static>(
    lock: &'static OnceLock<Arc<tokio::sync::Mutex<T>>>,
    make: impl FnOnce() -> T,
    empty: impl FnOnce(&T) -> String,
) -> StoreBench {
    let guard = wait(Arc::clone(lock.get_or_init(|| Arc::new(tokio::sync::Mutex::new(make())))).lock_owned());
    let url = empty(&guard);
    bench(RedisOptions::parse(&url).unwrap(), guard)
}

fn cluster() -> StoreBench {
    static CLUSTER: OnceLock<Arc<tokio::sync::Mutex<Cluster>>> = OnceLock::new();
    let empty = |cluster: &Cluster| {
        for slot in [0, 8_000, 16_383] {
            cluster.master(slot).unwrap().ask(&["FLUSHALL"]).unwrap();
        }
        as_larder(&cluster.url())
    };
    shared(
        &CLUSTER,
        || {
            let rights = format!("{STORE_RIGHTS} +cluster|slots +asking +ssubscribe +spublish");
            Cluster::arranged(Flavour::Redis7, |setup| setup.user("larder", &rights)).unwrap()
        },
        empty,
    )
}

fn sentinel() -> StoreBench {
    static SET: OnceLock<Arc<tokio::sync::Mutex<Sentinel>>> = OnceLock::new();
    let empty = |set: &Sentinel| {
        set.master().unwrap().ask(&["FLUSHALL"]).unwrap();
        as_larder(&set.url())
    };
    shared(
        &SET,
        || {
            let rights = format!("{STORE_RIGHTS} +role");
            Sentinel::arranged(Flavour::Redis7, |setup| setup.user("larder", &rights)).unwrap()
        },
        empty,
    )
}

mod on_redis_7 {
    larder::store_suite!(super::redis_7);
}
mod on_redis_8 {
    larder::store_suite!(super::redis_8);
}
mod on_valkey_9 {
    larder::store_suite!(super::valkey_9);
}
mod under_tls {
    larder::store_suite!(super::tls);
}
mod with_the_least_rights {
    larder::store_suite!(super::least_rights);
}
mod behind_sentinel {
    larder::store_suite!(super::sentinel);
}
mod on_a_cluster {
    larder::store_suite!(super::cluster);
}
