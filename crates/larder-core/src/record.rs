//! Journal records: what was invalidated or is about to be written, where in history, and why.

use crate::decode::Malformed;
use crate::position::Link;
use crate::target::Target;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The longest cause kept, in bytes; longer ones are cut at a character.
pub const CAUSE_BYTES_MAX: usize = 200;

/// Who or what asked for an invalidation, in a few words for people: `booked`, `webhook calendar 17`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause(Box<str>);

impl Cause {
    /// A cause of these words; cut to [`CAUSE_BYTES_MAX`] bytes. Put no secrets in it: it is shown.
    pub fn new(words: &str) -> Self {
        let mut end = words.len().min(CAUSE_BYTES_MAX);
        while !words.is_char_boundary(end) {
            end -= 1;
        }
        Cause(words[..end].into())
    }

    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Cause {
    fn from(words: &str) -> Self {
        Cause::new(words)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of one intent: a random number its writer drew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IntentId(u64);

impl IntentId {
    /// The intent with this random number.
    pub const fn new(random: u64) -> Self {
        IntentId(random)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What a record says of its targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Act {
    /// They changed: whatever was born before is stale.
    #[default]
    Invalidate,
    /// They are about to be written: until the intent is closed, nothing that depends on them is served from a tier.
    Open {
        /// Which intent.
        intent: IntentId,
        /// How long its writer may take, counted from before this record was appended. Whoever sees the record counts
        /// from when it saw it, which is later: no two clocks are compared. Kept in whole milliseconds.
        lasts: Duration,
    },
    /// The write is over, whatever came of it: the intent is closed, and whatever was born before is stale. Closing what
    /// is not open only invalidates.
    Close {
        /// Which intent.
        intent: IntentId,
    },
}

impl Act {
    /// As numbers, for journals that keep records as rows: the kind, the intent, and how long it lasts in milliseconds
    /// (rounded up).
    pub fn to_numbers(self) -> (u8, u64, u64) {
        match self {
            Act::Invalidate => (0, 0, 0),
            Act::Open { intent, lasts } => {
                let ms = lasts.as_nanos().div_ceil(1_000_000);
                (1, intent.0, u64::try_from(ms).unwrap_or(u64::MAX))
            }
            Act::Close { intent } => (2, intent.0, 0),
        }
    }

    /// Reads back [`Act::to_numbers`].
    ///
    /// # Errors
    /// [`Malformed`] when there is no act of this kind; the caller must then distrust the whole record.
    pub fn from_numbers(kind: u8, intent: u64, lasts_ms: u64) -> Result<Self, Malformed> {
        let intent = IntentId(intent);
        match kind {
            0 => Ok(Act::Invalidate),
            1 => Ok(Act::Open { intent, lasts: Duration::from_millis(lasts_ms) }),
            2 => Ok(Act::Close { intent }),
            _ => Err(Malformed::new("unknown kind of record")),
        }
    }
}

/// An intent that is open. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Its name.
    pub id: IntentId,
    /// How long its writer may take; see [`Act::Open`].
    pub lasts: Duration,
    /// What is about to be written.
    pub targets: Arc<[Target]>,
}

/// One record of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in history.
    pub link: Link,
    /// What it says of what it names.
    pub act: Act,
    /// What it names; all of it applies at once.
    pub targets: Vec<Target>,
    /// Why.
    pub cause: Cause,
}
