//! The origin of these rounds: a version for each key, and loads that can be held after they have read it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use tokio::sync::{Semaphore, oneshot};

/// The truth of one key.
#[derive(Clone, Default)]
pub(crate) struct Origin(Arc<Inner>);

#[derive(Default)]
struct Inner {
    version: AtomicU64,
    loads: AtomicU32,
}

/// What an engine's loader runs.
pub(crate) struct Load {
    origin: Origin,
    held: Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>,
    gate: Option<Arc<Semaphore>>,
}

/// The other end of a load that is held.
pub(crate) struct Hold {
    has_read: oneshot::Receiver<()>,
    release: oneshot::Sender<()>,
}

impl Origin {
    pub(crate) fn version(&self) -> u64 {
        self.0.version.load(Ordering::SeqCst)
    }

    /// A committed write.
    pub(crate) fn write(&self) {
        self.0.version.fetch_add(1, Ordering::SeqCst);
    }

    /// How often a loader has run.
    pub(crate) fn loads(&self) -> u32 {
        self.0.loads.load(Ordering::SeqCst)
    }

    /// A load that reads and returns.
    pub(crate) fn load(&self) -> Load {
        Load { origin: self.clone(), held: None, gate: None }
    }

    /// A load that reads, says so, and returns what it read when told to.
    pub(crate) fn held_load(&self) -> (Load, Hold) {
        let (read, has_read) = oneshot::channel();
        let (release, released) = oneshot::channel();
        let load = Load { origin: self.clone(), held: Some((read, released)), gate: None };
        (load, Hold { has_read, release })
    }

    /// A load that ends when the gate is opened.
    pub(crate) fn gated_load(&self, gate: &Arc<Semaphore>) -> Load {
        Load { origin: self.clone(), held: None, gate: Some(gate.clone()) }
    }
}

impl Hold {
    /// Waits until the load has read the origin.
    pub(crate) async fn reached(&mut self) {
        // Gone without having read: the round finds out.
        let _ = (&mut self.has_read).await;
    }

    pub(crate) fn release(self) {
        let _ = self.release.send(());
    }
}

impl Load {
    pub(crate) async fn run(self) -> u64 {
        self.origin.0.loads.fetch_add(1, Ordering::SeqCst);
        let version = self.origin.version();
        if let Some((read, released)) = self.held {
            let _ = read.send(());
            let _ = released.await;
        }
        if let Some(gate) = self.gate {
            let _ = gate.acquire().await;
        }
        version
    }
}
