//! The Redis store: a tier shared by all nodes, on Redis or Valkey, one server, Sentinel or Cluster.
//!
//! One GET for a hit, one MGET for a batch, one SET with a lifetime for a write; large values on connections of their
//! own. It asks for no list of keys on any path a request waits for, and knows nothing of validity.

mod browse;
mod flights;
mod gossip;
mod handle;
mod known;
mod layout;

pub use handle::RedisStore;

use crate::redis::{Redis, RedisError};
use larder_core::port::StoreError;

/// What the store says of a failure. A part of a cluster that is down is refused: to be left alone for it would cost the other
/// parts.
fn failed(redis: &Redis, error: RedisError) -> StoreError {
    let why = error.to_string();
    if redis.is_partly_down(&error) { StoreError::refused(why) } else { StoreError::new(why, error) }
}
