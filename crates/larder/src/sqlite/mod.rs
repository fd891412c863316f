//! What the SQLite adapters share: opening a database file, noticing that it was replaced, beginning a write
//! transaction, and the threads that own the connections.
//!
//! For the SQLite journal, outbox and store only. Knows no table of theirs and never runs on a runtime's thread.

mod fault;
mod file;
mod slot;
mod worker;
mod write;

pub(crate) use fault::{if_there, is_busy, is_corrupt, is_doubtful, is_wrong_type};
pub(crate) use file::{DatabaseFile, Live};
pub(crate) use slot::Slot;
pub(crate) use worker::Worker;
pub(crate) use write::begin_immediate;
