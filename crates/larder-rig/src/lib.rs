//! The rig: real servers that a test starts for itself, on free ports and in directories of their own, and that die
//! with it, whether it ends well, panics, or is killed.
//!
//! Used by the tests of `larder` and by `booking --redis spawn`; never by what ships. It knows nothing of caches: what
//! is done to a server is done from outside, by signals, by commands on a connection of its own, and by a proxy on the
//! way to it. Nothing here needs the
//! caller's runtime.
//!
//! ```no_run
//! use larder_rig::{Flavour, Server};
//!
//! # fn main() -> Result<(), larder_rig::Error> {
//! for flavour in Flavour::installed() {
//!     let server = Server::start(flavour)?;
//!     server.ask(&["SET", "name", "value"])?;
//!     server.kill();
//!     server.restart()?;
//! }
//! # Ok(())
//! # }
//! ```

mod child;
mod cluster;
mod error;
mod fault;
mod flavour;
mod ground;
mod patience;
mod place;
mod pooler;
mod postgres;
mod proxy;
mod sentinel;
mod server;
mod setup;
mod tls;
mod wire;

pub use child::Process;
pub use cluster::{Cluster, Move};
pub use error::Error;
pub use fault::Fault;
pub use flavour::Flavour;
pub use patience::until;
pub use place::{Kind, Place};
pub use pooler::Pooler;
pub use postgres::{Backup, Postgres};
pub use proxy::Proxy;
pub use sentinel::Sentinel;
pub use server::{Dump, Server};
pub use setup::Setup;
pub use wire::{Connection, Reply};
