//! The SQLite store: a tier in a file of its own, which survives a restart.
//!
//! One thread writes, in batches; a few read; none of it on the caller's thread. The file is the store's alone: a
//! damaged one is set aside and begun anew, since everything in it can be loaded again. Several processes may share
//! one file.

mod file;
mod handle;
mod options;
mod reader;
mod space;
mod writer;

pub use handle::SqliteStore;
pub use options::SqliteStoreOptions;
