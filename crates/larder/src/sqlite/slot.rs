//! The one connection a thread works on: opened anew when the file was replaced or an error made it doubtful.

use super::Live;
use rusqlite::Connection;

/// A place for a connection, perhaps empty.
#[derive(Default)]
pub(crate) struct Slot {
    live: Option<Live>,
    doubted: bool,
}

impl Slot {
    /// The connection, if its file is still the one at the path; else what `open` opens.
    pub(crate) fn current<E>(&mut self, open: impl FnOnce() -> Result<Live, E>) -> Result<&Connection, E> {
        let live = match self.live.take().filter(Live::is_current) {
            Some(live) if !self.doubted => live,
            Some(live) => match open() {
                Ok(fresh) => {
                    self.doubted = false;
                    fresh
                }
                // A full disk may refuse a new connection where the old one can still read.
                Err(_) => live,
            },
            None => {
                let fresh = open()?;
                self.doubted = false;
                fresh
            }
        };
        Ok(&self.live.insert(live).connection)
    }

    pub(crate) fn put(&mut self, live: Live) {
        *self = Slot { live: Some(live), doubted: false };
    }

    /// Lets go of a file that was replaced, since a connection to it holds locks on it; says whether it did.
    pub(crate) fn drop_replaced(&mut self) -> bool {
        let replaced = self.live.take_if(|live| !live.is_current());
        replaced.is_some()
    }

    pub(crate) fn clear(&mut self) {
        self.live = None;
    }

    pub(crate) fn is_current(&self) -> bool {
        self.live.as_ref().is_some_and(Live::is_current)
    }

    /// After each use: rolls back what is still open, and remembers whether the connection is to be doubted.
    pub(crate) fn settle(&mut self, doubted: bool) {
        self.doubted |= doubted;
        if let Some(live) = &self.live
            && !live.connection.is_autocommit()
            && live.connection.execute_batch("ROLLBACK").is_err()
        {
            self.live = None;
        }
    }
}
