//! A fixed set of read-only connections, lent to blocking tasks one at a time.
//!
//! Only `db` calls it. It never writes; a panic in a reader loses no connection.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Transaction};
use tokio::sync::Semaphore;

use crate::db::sqlite::schema;
use crate::error::ServiceError;

/// The pool; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct ReadPool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl ReadPool {
    /// Opens `connections` of them (at least one).
    pub(crate) fn open(path: &Path, connections: usize) -> Result<ReadPool, ServiceError> {
        let connections = connections.max(1);
        let idle = (0..connections).map(|_| schema::open_reader(path)).collect::<Result<Vec<_>, _>>()?;
        let permits = Arc::new(Semaphore::new(connections));
        Ok(ReadPool {
            shared: Arc::new(Shared { path: path.to_path_buf(), idle: Mutex::new(idle), permits }),
        })
    }

    /// Runs `read` in one snapshot of the database, on a blocking thread. Dropping the future gives the answer up;
    /// the read itself runs to its end and the connection returns to the pool.
    pub(crate) async fn read<T, F>(&self, read: F) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, ServiceError> + Send + 'static,
    {
        let permit =
            Arc::clone(&self.shared.permits).acquire_owned().await.map_err(|_| ServiceError::Closing)?;
        let shared = Arc::clone(&self.shared);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut lent = Lent::take(&shared)?;
            let connection = lent.connection.as_mut().ok_or(ServiceError::Closing)?;
            let tx = connection.transaction()?;
            let value = read(&tx)?;
            tx.commit()?;
            Ok(value)
        });
        task.await.map_err(|_| ServiceError::Closing)?
    }
}

/// A connection on loan; goes back on drop, even while unwinding.
struct Lent<'a> {
    shared: &'a Shared,
    connection: Option<Connection>,
}

impl<'a> Lent<'a> {
    fn take(shared: &'a Shared) -> Result<Lent<'a>, ServiceError> {
        let idle = shared.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // The permit says one is idle; should that ever be wrong, a fresh one does as well.
        let connection = match idle {
            Some(connection) => connection,
            None => schema::open_reader(&shared.path)?,
        };
        Ok(Lent { shared, connection: Some(connection) })
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}
