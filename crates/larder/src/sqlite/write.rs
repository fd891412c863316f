//! Beginning a write transaction.

use super::is_busy;
use rusqlite::Connection;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Begins a transaction that holds the write lock, waiting for it up to `wait`, or until `closing`.
pub(crate) fn begin_immediate(
    connection: &Connection,
    wait: Duration,
    closing: &AtomicBool,
) -> rusqlite::Result<()> {
    let deadline = Instant::now() + wait;
    loop {
        // Each attempt waits for a slice of the time inside SQLite.
        match connection.execute_batch("BEGIN IMMEDIATE") {
            Err(e) if is_busy(&e) && Instant::now() < deadline && !closing.load(Ordering::Relaxed) => {}
            done => return done,
        }
    }
}
