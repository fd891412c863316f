//! The journal suite, on every journal.
#![allow(clippy::expect_used)]

use larder::journal::{MemoryJournal, SqliteJournal, SqliteJournalOptions};
use larder::testing::FakeJournal;
use larder::testing::journal_suite::JournalBench;
use std::sync::Arc;

const RECORDS_MAX: u64 = 40;

fn memory() -> JournalBench {
    let a = MemoryJournal::keeping(RECORDS_MAX);
    let b = a.clone();
    JournalBench { a: Arc::new(a), b: Arc::new(b), records_max: RECORDS_MAX, keep: Box::new(()) }
}

fn options() -> SqliteJournalOptions {
    SqliteJournalOptions::default().records_max(RECORDS_MAX)
}

/// As two processes would: each its own connections.
fn sqlite_opened_twice() -> JournalBench {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("app.db");
    let open = || Arc::new(SqliteJournal::open_with(&path, options()).expect("a journal"));
    JournalBench { a: open(), b: open(), records_max: RECORDS_MAX, keep: Box::new(dir) }
}

/// As two caches of one process may: clones of one handle.
fn sqlite_cloned() -> JournalBench {
    let dir = tempfile::tempdir().expect("a directory");
    let a = SqliteJournal::open_with(dir.path().join("app.db"), options()).expect("a journal");
    let b = a.clone();
    JournalBench { a: Arc::new(a), b: Arc::new(b), records_max: RECORDS_MAX, keep: Box::new(dir) }
}

/// A wrapper without faults changes nothing.
fn fake() -> JournalBench {
    let a = MemoryJournal::keeping(RECORDS_MAX);
    let b = a.clone();
    JournalBench {
        a: Arc::new(FakeJournal::new(a)),
        b: Arc::new(FakeJournal::new(b)),
        records_max: RECORDS_MAX,
        keep: Box::new(()),
    }
}

mod on_memory {
    larder::journal_suite!(super::memory);
}
mod on_sqlite_opened_twice {
    larder::journal_suite!(super::sqlite_opened_twice);
}
mod on_sqlite_cloned {
    larder::journal_suite!(super::sqlite_cloned);
}
mod on_fake {
    larder::journal_suite!(super::fake);
}
