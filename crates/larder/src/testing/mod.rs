//! For tests: fakes with documented bad semantics, fault wrappers, and the suites every adapter must pass.
//!
//! Behind the feature `testing`; shipping code never uses it. The suites are macros, so that each behaviour is a
//! test of its own and a failure names it:
//!
//! ```ignore
//! mod sqlite {
//!     larder::journal_suite!(super::two_handles_on_a_fresh_database);
//! }
//! ```

mod clock;
mod fake_flights;
mod fake_journal;
mod fake_store;
pub mod flights_suite;
mod gate;
pub mod journal_suite;
pub mod store_suite;

pub use clock::ManualClock;
pub use fake_journal::{FakeJournal, JournalCalls};
pub use fake_store::{FakeStore, Snapshot, StoreCalls};
pub use gate::Hold;
