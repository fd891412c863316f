//! What the Redis and Valkey adapters share: where the servers are, connections that mend themselves, deadlines,
//! scripts and subscriptions, on a single server, behind Sentinel, and on a Cluster.
//!
//! An application makes a [`Redis`] and gives it to a store or a journal; it may also use the small primitives.
//! Nothing of the client library shows. It never repeats a command that may have taken effect, and it knows nothing of
//! caches.

mod address;
mod cluster;
mod counter;
mod dial;
mod error;
mod handle;
mod line;
mod listen;
mod lock;
mod names;
mod node;
mod options;
mod rate;
mod reply;
mod script;
mod sentinel;
mod servers;
mod slot;
#[cfg(test)]
mod tests;

pub use error::RedisError;
pub use handle::{Redis, RedisStatus};
pub use lock::Lock;
pub use options::RedisOptions;
pub use rate::{Allowance, RateLimit};

#[allow(unused_imports)]
pub(crate) use self::{
    listen::{Heard, Listener},
    names::name_of,
    script::Script,
    slot::slot,
};
