//! Plans: how a read, a flight and a refresh proceed, as state machines that are told what happened and answer
//! what to do next. The engine does it; nothing is decided there.

mod flight;
mod read;
mod refresh;
mod shared;

pub use flight::{FlightPlan, Followed, Joined};
pub use read::{Finding, LoadEnd, ReadPlan, Serve, Step, Want};
pub use refresh::{Refresh, RefreshGate};
pub use shared::{Looked, SharedPlan, SharedStep};
