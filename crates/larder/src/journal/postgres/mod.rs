//! The journal on Postgres, beside the data: the authority for any number of nodes.
//!
//! A transaction of the application inserts an outbox row ([`crate::outbox::postgres`], or `larder.invalidate` in SQL). A
//! sequencer step, which every read runs, moves the rows that are visible into the journal. All of it happens in SQL
//! functions (`../../postgres/sql/`), each call one statement of one transaction; nothing is prepared and no session keeps anything, save the
//! one that listens for hints. What it claims is in `docs/concepts/postgres.md`.

mod codec;
mod fault;
mod handle;
mod listen;

pub use handle::{PostgresJournal, PostgresJournalOptions};
