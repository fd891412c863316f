//! The appointment book in SQLite: one writer on its own thread, a pool of readers, WAL.
//!
//! The service and the seeding of histories call it. It never touches the cache; what a write touches is handed
//! to a hook that runs inside the same transaction.

pub(crate) mod pool;
pub(crate) mod read;
pub(crate) mod schema;
pub(crate) mod seed;
pub(crate) mod statistics;
#[cfg(test)]
mod tests;
pub(crate) mod write;
pub(crate) mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::ServiceError;
use pool::ReadPool;
use writer::Writer;

/// How much a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Every commit reaches the disk: what a service wants.
    Full,
    /// Commits survive a crash of the process, not of the machine: for a database thrown away after a run.
    Process,
}

/// What the reads of this process have cost the origin.
#[derive(Clone, Debug, Default)]
pub(crate) struct OriginCounts {
    loads: Arc<AtomicU64>,
    queries: Arc<AtomicU64>,
}

impl OriginCounts {
    /// A loader ran.
    pub(crate) fn add_load(&self) {
        self.loads.fetch_add(1, Ordering::Relaxed);
    }

    /// SQL queries were sent for a read.
    pub(crate) fn add_queries(&self, queries: u64) {
        self.queries.fetch_add(queries, Ordering::Relaxed);
    }

    /// Loaders run so far.
    pub(crate) fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    /// SQL queries sent so far.
    pub(crate) fn queries(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }
}

/// The database of the service.
#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    pub(crate) writer: Writer,
    pub(crate) readers: ReadPool,
    pub(crate) origin: OriginCounts,
}

impl Database {
    /// Opens the file, creating and migrating it when needed.
    ///
    /// # Errors
    /// `Open` names the file and what is wrong with it: not a database, another program's, a newer version, not
    /// writable.
    pub(crate) fn open(
        path: &Path,
        durability: Durability,
        readers: usize,
    ) -> Result<Database, ServiceError> {
        let connection = schema::open_writer(path, durability)?;
        Ok(Database {
            path: path.to_path_buf(),
            writer: Writer::start(connection)?,
            readers: ReadPool::open(path, readers)?,
            origin: OriginCounts::default(),
        })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Finishes the writes already accepted and joins the writer's thread. Blocks for as long as they take.
    pub(crate) fn close(&self) {
        self.writer.close();
    }
}
