//! How a [`super::SqliteStore`] behaves.

use larder_core::port::Clock;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The smallest size cap: below it, the file's own bookkeeping would leave no room.
const BYTES_MAX_MIN: u64 = 1 << 20;

/// How a [`super::SqliteStore`] behaves. Every default suits a service with a local disk.
#[derive(Clone)]
pub struct SqliteStoreOptions {
    pub(super) bytes_max: u64,
    pub(super) reclaim_every: Duration,
    pub(super) readers: usize,
    pub(super) queue_bytes_max: usize,
    pub(super) busy_wait: Duration,
    pub(super) wall: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl SqliteStoreOptions {
    /// The most bytes of pages in use; at least 1 MiB. Beyond it, expired entries and then those written longest ago
    /// go. The file may exceed it by one write batch (8 MiB at most) and its `-wal` (about 16 MiB). Default 1 GiB.
    #[must_use]
    pub fn bytes_max(mut self, bytes_max: u64) -> Self {
        self.bytes_max = bytes_max.max(BYTES_MAX_MIN);
        self
    }

    /// How often expired entries are looked for. Default 1 s.
    #[must_use]
    pub fn reclaim_every(mut self, interval: Duration) -> Self {
        self.reclaim_every = interval.clamp(Duration::from_millis(1), Duration::from_secs(24 * 3600));
        self
    }

    /// How many threads read; 1 to 16. Default 2.
    #[must_use]
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers.clamp(1, 16);
        self
    }

    /// The most bytes of entries that wait to be written; beyond it, `put_many` is refused. Default 64 MiB.
    #[must_use]
    pub fn queue_bytes_max(mut self, bytes: usize) -> Self {
        self.queue_bytes_max = bytes;
        self
    }

    /// How long a write waits for other processes' before it fails. Default 1 s.
    #[must_use]
    pub fn busy_wait(mut self, busy_wait: Duration) -> Self {
        self.busy_wait = busy_wait.min(Duration::from_secs(3600));
        self
    }

    /// The clock whose wall time decides what has expired. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.wall = Arc::new(move || clock.wall_ms());
        self
    }
}

impl Default for SqliteStoreOptions {
    fn default() -> Self {
        SqliteStoreOptions {
            bytes_max: 1 << 30,
            reclaim_every: Duration::from_secs(1),
            readers: 2,
            queue_bytes_max: 64 << 20,
            busy_wait: Duration::from_secs(1),
            wall: Arc::new(system_wall_ms),
        }
    }
}

impl fmt::Debug for SqliteStoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStoreOptions")
            .field("bytes_max", &self.bytes_max)
            .field("reclaim_every", &self.reclaim_every)
            .field("readers", &self.readers)
            .field("queue_bytes_max", &self.queue_bytes_max)
            .field("busy_wait", &self.busy_wait)
            .finish_non_exhaustive()
    }
}

fn system_wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
