//! Limits on the origin: how many loads of a source run at once, and how long one may wait for its turn.

use crate::error::Error;
use crate::runtime::Runtime;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How hard a source may be leant on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLimits {
    pub(crate) concurrency: usize,
    pub(crate) queue_deadline: Duration,
}

impl SourceLimits {
    /// At most this many loads at once (at least 1); a load waits at most 5 s for its turn.
    pub const fn concurrency(loads_max: usize) -> Self {
        SourceLimits { concurrency: loads_max, queue_deadline: Duration::from_secs(5) }
    }

    /// How long a load may wait for its turn before it is refused as overloaded.
    #[must_use]
    pub const fn queue_deadline(mut self, deadline: Duration) -> Self {
        self.queue_deadline = deadline;
        self
    }
}

impl Default for SourceLimits {
    fn default() -> Self {
        SourceLimits::concurrency(256)
    }
}

/// The limits of one source at work; shared by all regions that load from it.
pub(crate) struct SourceLimit {
    name: String,
    limits: SourceLimits,
    places: Arc<Semaphore>,
}

impl SourceLimit {
    pub(crate) fn new(name: &str, limits: SourceLimits) -> Self {
        let places = Arc::new(Semaphore::new(limits.concurrency.min(Semaphore::MAX_PERMITS)));
        SourceLimit { name: name.to_owned(), limits, places }
    }

    /// A place to run a load in; `None` when the task already holds one at this source.
    pub(crate) async fn place(&self, runtime: &Runtime) -> Result<Option<OwnedSemaphorePermit>, Error> {
        if super::nested::holds_place_at(self.identity()) {
            return Ok(None);
        }
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(Some(place));
        }
        match runtime.timeout(self.limits.queue_deadline, self.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(Some(place)),
            Ok(Err(_)) => Err(Error::closed()),
            Err(_) => Err(Error::overloaded(&self.name, self.limits.concurrency, self.limits.queue_deadline)),
        }
    }

    /// How long a load may wait for its turn.
    pub(crate) fn queue_deadline(&self) -> Duration {
        self.limits.queue_deadline
    }

    /// Tells this source from others.
    pub(crate) fn identity(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}
