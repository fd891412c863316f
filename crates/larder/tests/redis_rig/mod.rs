//! What the tests on real servers share: the users, and waiting without a runtime's clock.
#![allow(dead_code, unreachable_pub, clippy::expect_used)]

use larder::redis::{Redis, RedisOptions};
use larder_rig::{Flavour, Server};
use std::future::Future;
use std::time::{Duration, Instant};

/// The rights of `docs/concepts/redis.md`, for a store alone on a single server.
pub const STORE_RIGHTS: &str = "on >secret ~larder:* resetchannels &larder:* -@all +ping +get +mget +set +unlink +dbsize +info +subscribe +publish";

/// A flavour of server, or how to get it.
pub fn start(flavour: Flavour) -> Server {
    Server::start(flavour).expect("a server")
}

/// The same URL, as a user.
pub fn as_larder(url: &str) -> String {
    url.replacen("://", "://larder:secret@", 1)
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
