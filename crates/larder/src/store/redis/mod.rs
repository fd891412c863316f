//! The Redis store: a tier shared by all nodes, on Redis or Valkey, one server, Sentinel or Cluster.
//!
//! One GET for a hit, one MGET for a batch, one SET with a lifetime for a write; large values on connections of their
//! own. It asks for no list of keys on any path a request waits for, and knows nothing of validity.

mod browse;
mod flights;
mod gossip;
mod handle;
mod layout;

pub use handle::RedisStore;
