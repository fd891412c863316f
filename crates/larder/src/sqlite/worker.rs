//! A named thread that owns a connection, and the two ways to see it end.

use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::watch;

/// A thread. Whoever holds this closes its queue first, then waits for it.
pub(crate) struct Worker {
    thread: Mutex<Option<JoinHandle<()>>>,
    ended: watch::Receiver<()>,
}

impl Worker {
    /// Starts `body` on a thread of this name.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<Self> {
        // Dropped with the thread, even when it panics.
        let (alive, ended) = watch::channel(());
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _alive = alive;
            body();
        })?;
        Ok(Worker { thread: Mutex::new(Some(thread)), ended })
    }

    /// Waits for the thread's end without blocking the caller's thread.
    pub(crate) async fn ended(&self) {
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
        self.join();
    }

    /// Waits for the thread's end.
    pub(crate) fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("a SQLite thread of larder panicked");
        }
    }
}
