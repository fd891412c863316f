//! Larder in an HTTP service: sessions that follow a user from node to node.
//!
//! A client of the cache, and of nothing below it. Knows `axum-core`, so that every version of `axum` that is built on it
//! fits; starts no server.

mod session;
mod signature;

pub use session::{SESSION_HEADER, Session, SessionRejection, Sessions};
