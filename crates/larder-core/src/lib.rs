//! The words and decisions of Larder: keys, targets, the rule, the lease, plans and the envelope.
//!
//! Everything that decides whether a cached value may be served lives here, where it can be tested
//! exhaustively. This crate does no IO, reads no clock, draws no random numbers, starts no threads and knows
//! no runtime: time and randomness are arguments. The engine in `larder` drives it; adapters implement its
//! [`port`]s.

mod attendance;
mod decode;
mod envelope;
pub mod expiry;
mod fences;
mod holdoff;
pub mod interleave;
mod lease;
mod level;
mod orphans;
mod path;
mod pattern;
pub mod plan;
pub mod port;
mod position;
mod record;
#[doc(hidden)]
pub mod seeded;
mod segments;
#[doc(hidden)]
pub mod sync;
mod tag;
mod target;
mod token;

pub use attendance::{Attendance, NodeId};
pub use decode::Malformed;
pub use envelope::{Content, Envelope, EnvelopeHead, Limits, Packing, Rejected};
pub use expiry::{Expiry, FailSafe, Life, Override, Times};
pub use fences::{Birth, Dependencies, Expected, Fences, Gap, Verdict};
pub use holdoff::HoldOff;
pub use lease::{Confirmed, Lease, outwait};
pub use level::{Bound, Level};
pub use orphans::Orphans;
pub use path::{Path, Tenant};
pub use pattern::{Pattern, PatternError};
pub use position::{Epoch, Link, Stamp};
pub use record::{Act, CAUSE_BYTES_MAX, Cause, Intent, IntentId, Record};
pub use segments::{INLINE_BYTES, Segment, Segments, SegmentsBuilder, SegmentsIter, ToSegment};
pub use tag::Tag;
pub use target::{Target, TargetKind};
pub use token::{Token, TokenError};
