//! The appointment book in a SQLite file: one writer on its own thread, a pool of readers, WAL.
//!
//! Only `db` calls it. It knows no domain: what is asked and changed is in `read` and `write`.

mod pool;
pub(crate) mod schema;
mod tx;
mod writer;

pub(crate) use pool::ReadPool;
pub(crate) use writer::Writer;

use std::path::Path;

use crate::db::Durability;
use crate::error::ServiceError;

/// The file, open.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) writer: Writer,
    pub(crate) readers: ReadPool,
}

impl Book {
    /// Opens the file, creating and migrating it when needed. Blocks.
    ///
    /// # Errors
    /// `Open` names the file and what is wrong with it: not a database, another program's, a newer version, not
    /// writable.
    pub(crate) fn open(path: &Path, durability: Durability, readers: usize) -> Result<Book, ServiceError> {
        let connection = schema::open_writer(path, durability)?;
        Ok(Book { writer: Writer::start(connection)?, readers: ReadPool::open(path, readers)? })
    }
}
