//! The journal suite on Postgres: two processes with the least rights, and clones of one handle.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod postgres_rig;

use larder::journal::{MemoryJournal, PostgresJournal, PostgresJournalOptions};
use larder::testing::journal_suite::JournalBench;
use postgres_rig::{database, wait, with_roles};
use std::sync::Arc;

const RECORDS_MAX: u64 = 40;

/// Where no server is installed, what it would have been asked is asked of the journal in memory. `larder-rig` says so.
fn without() -> JournalBench {
    let a = MemoryJournal::keeping(RECORDS_MAX);
    let b = a.clone();
    JournalBench { a: Arc::new(a), b: Arc::new(b), records_max: RECORDS_MAX, keep: Box::new(()) }
}

fn opened_twice_with_the_least_rights() -> JournalBench {
    let Some(database) = wait(database()) else { return without() };
    wait(with_roles(&database));
    let open = || {
        let options = PostgresJournalOptions::default().records_max(RECORDS_MAX);
        let url = database.server.url("node", &database.name);
        Arc::new(PostgresJournal::open_with(&url, options).expect("a journal"))
    };
    JournalBench { a: open(), b: open(), records_max: RECORDS_MAX, keep: Box::new(()) }
}

mod with_the_least_rights {
    larder::journal_suite!(super::opened_twice_with_the_least_rights);
}
