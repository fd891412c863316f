//! The order in which a node's state is published, under an explorer of schedules: whatever a thread does between two
//! steps of another, what has been acknowledged is never overlooked.
//!
//! The same histories run under two explorers, each in a build of its own (`src/sync.rs`): shuttle draws long schedules
//! at random, loom goes through all short ones and lets loads return what older stores left.
//!
//! ```text
//! RUSTFLAGS="--cfg larder_seeded_bugs --cfg larder_shuttle" cargo test -p larder-core --target-dir target/shuttle --test shuttle_orders
//! RUSTFLAGS="--cfg larder_seeded_bugs --cfg larder_loom" cargo test -p larder-core --target-dir target/loom --test shuttle_orders
//! ```
//!
//! `seeded` makes each known mistake in the code and sees a history fail. Without an explorer there is nothing here.

#![cfg(any(larder_shuttle, larder_loom))]
#![allow(clippy::unwrap_used, reason = "in a test, it fails the test")]
#![allow(clippy::print_stdout, reason = "says how much was explored")]

mod explorer;
mod intents;
mod lease;
mod node;
mod publication;
#[cfg(larder_seeded_bugs)]
mod seeded;
