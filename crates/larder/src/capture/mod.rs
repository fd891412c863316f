//! Capture: invalidations for writes that go past the application.
//!
//! A [`Mapping`] says what the rows of a table feed. From it come triggers, which write the outbox row in the writer's own
//! transaction, whoever writes: psql, a migration, another service. Called once for each deployment, by who owns Larder's
//! schema; never by the engine, and it never reads a row itself. `docs/concepts/capture.md` has what is captured and what is not.

mod apply;
mod mapping;
mod replication;
mod sql;
mod template;

pub use apply::{CaptureState, Captured, apply, list, remove};
pub use mapping::{Mapping, MappingError, Table};
pub use replication::{Replication, SlotState};
pub use template::Part;
