//! What a cluster talks to, with documented bad manners: a database, a journal, a store.
//!
//! Each does what its real kin may do on a bad day, and never what they promise not to do; the module of each says
//! which is which. The state is one per world; a port is one node's way to it.

mod database;
mod flights;
mod gossip;
mod journal;
mod origin;
mod store;
mod transaction;

pub(crate) use database::{Database, RowId, State};
pub(crate) use journal::{Authority, Before, JournalPort, Nodes, bit};
pub(crate) use origin::{Origin, OriginError, Seen};
pub(crate) use store::{Payloads, StorePort};
pub(crate) use transaction::{Failed, Transaction};
