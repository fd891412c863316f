//! Backplanes: hints between nodes, beside a journal that cannot give them itself.
//!
//! Adapters of [`larder_core::port::Backplane`]. They know the core and nothing of the engine, and carry nothing that
//! anything rests on.

#[cfg(feature = "redis")]
mod redis;

#[cfg(feature = "redis")]
pub use self::redis::RedisBackplane;
