//! What the tests on real servers share: the users, and waiting without a runtime's clock.
#![allow(dead_code, unreachable_pub, clippy::expect_used)]

use larder::redis::{Redis, RedisOptions};
use larder_rig::{Cluster, Flavour, Proxy, Sentinel, Server};
use std::future::Future;
use std::time::{Duration, Instant};

/// The rights of `docs/concepts/redis.md`, for a store alone on a single server.
pub const STORE_RIGHTS: &str =
    "on >secret ~larder:* resetchannels -@all +ping +get +mget +set +unlink +dbsize +info";

/// A flavour of server, or how to get it.
pub fn start(flavour: Flavour) -> Server {
    Server::start(flavour).expect("a server")
}

/// A proxy on the way to it. On a thread of its own, since it makes a runtime of its own.
pub fn proxy(server: &Server) -> Proxy {
    let address = server.address();
    std::thread::spawn(move || Proxy::start(address)).join().expect("a thread").expect("a proxy")
}

/// The same URL, as a user.
pub fn as_larder(url: &str) -> String {
    url.replacen("://", "://larder:secret@", 1)
}

pub fn sentinel_url(set: &Sentinel) -> String {
    let hosts: Vec<String> = set.sentinels().iter().map(|server| server.address().to_string()).collect();
    format!("redis+sentinel://{}/{}", hosts.join(","), set.name())
}

pub fn cluster_url(cluster: &Cluster) -> String {
    let hosts: Vec<String> = cluster.servers().iter().map(|server| server.address().to_string()).collect();
    format!("redis+cluster://{}", hosts.join(","))
}

/// Connects, with a deadline of one's own.
pub async fn connect(url: &str, deadline: Duration) -> Redis {
    Redis::connect_with(RedisOptions::parse(url).expect("a URL").deadline(deadline)).await
}

/// Runs a future inside of a test that is on a runtime with several threads.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

/// Tries until it succeeds.
pub async fn until<T, E: std::fmt::Debug>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, E>) -> T {
    let began = Instant::now();
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) => {
                assert!(began.elapsed() < Duration::from_secs(30), "{what}: still {error:?}");
            }
        }
        tokio::task::yield_now().await;
    }
}
