//! The stage of one round: an origin whose value is a version, and loads of it that can be held while they hold
//! the old version. No clock and no sleep decides a round; every step waits for the one before.

use crate::Failure;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::oneshot;

/// The truth of one key: a version that writers raise.
#[derive(Clone, Default)]
pub(crate) struct Origin(Arc<AtomicU64>);

impl Origin {
    /// The version a read of the origin sees now.
    pub(crate) fn version(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// A committed write.
    pub(crate) fn write(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// A load that reads the origin and returns.
    pub(crate) fn load(&self) -> Load {
        Load { origin: self.clone(), held: None }
    }

    /// A load that reads the origin, says so, and returns what it read only when told to.
    pub(crate) fn held_load(&self) -> (Load, Hold) {
        let (read, has_read) = oneshot::channel();
        let (release, released) = oneshot::channel();
        (Load { origin: self.clone(), held: Some((read, released)) }, Hold { has_read, release })
    }
}

/// The loader an engine is given.
pub(crate) struct Load {
    origin: Origin,
    held: Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>,
}

impl Load {
    /// The origin it reads.
    pub(crate) fn origin(&self) -> Origin {
        self.origin.clone()
    }

    /// Reads the origin, and returns that even if the origin has moved on meanwhile.
    pub(crate) async fn run(self) -> u64 {
        let version = self.origin.version();
        if let Some((read, released)) = self.held {
            // Either end may be gone when a round has failed; then there is nothing left to hold for.
            let _ = read.send(());
            let _ = released.await;
        }
        version
    }
}

/// The director's end of a held load.
pub(crate) struct Hold {
    has_read: oneshot::Receiver<()>,
    release: oneshot::Sender<()>,
}

impl Hold {
    /// Waits until the loader holds its version; returns what lets it go.
    ///
    /// # Errors
    /// The engine dropped the loader without running it.
    pub(crate) async fn reached(self) -> Result<oneshot::Sender<()>, Failure> {
        self.has_read.await.map_err(|_| "the engine dropped the loader before it had read the origin")?;
        Ok(self.release)
    }
}
