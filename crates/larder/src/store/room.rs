//! Room for entries on their way to a server: what bounds the memory that a slow one costs.
//!
//! It never waits: a write that finds no room is refused, and the entry stays in the tiers above.

use larder_core::port::{StoreError, Stored};
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The most bytes of entries under way to one store.
const BYTES_MAX: usize = 64 << 20;
/// The unit in which they are counted.
const UNIT: usize = 1024;
const UNITS: u32 = (BYTES_MAX / UNIT) as u32;

/// What is free of it; clones share it.
#[derive(Clone)]
pub(super) struct Room(Arc<Semaphore>);

impl Room {
    pub(super) fn new() -> Self {
        Room(Arc::new(Semaphore::new(UNITS as usize)))
    }

    /// Room for these, until it is dropped. What is larger than all of it goes when nothing else is on its way.
    pub(super) fn take(&self, entries: &[Stored]) -> Result<SemaphorePermit<'_>, StoreError> {
        let bytes: usize = entries.iter().map(|entry| entry.key.len() + entry.bytes.len()).sum();
        let units = u32::try_from(bytes / UNIT + 1).unwrap_or(UNITS).min(UNITS);
        self.0.try_acquire_many(units).map_err(|_| {
            let max = BYTES_MAX >> 20;
            StoreError::refused(format!(
                "{bytes} bytes to write, beside what is on its way; expected at most {max} MiB in all"
            ))
        })
    }

    /// Waits until nothing is on its way.
    pub(super) async fn all_free(&self) {
        let _ = self.0.acquire_many(UNITS).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: usize) -> Stored {
        Stored { key: Vec::new(), bytes: vec![0; bytes], expires_ms: 0 }
    }

    /// It was refused for ever on Postgres, where the room was not asked for as much as there is.
    #[test]
    fn what_is_larger_than_the_room_goes_alone() {
        let room = Room::new();
        let one = room.take(&[entry(1)]).unwrap();
        assert!(room.take(&[entry(BYTES_MAX), entry(1)]).is_err(), "beside another");
        drop(one);
        let all = room.take(&[entry(BYTES_MAX), entry(1)]).unwrap();
        assert!(room.take(&[entry(1)]).is_err(), "there is no room left");
        drop(all);
        assert!(room.take(&[entry(1)]).is_ok());
    }
}
