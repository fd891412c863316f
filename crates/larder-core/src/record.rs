//! Journal records: what was invalidated, where in history, and why.

use crate::position::Link;
use crate::target::Target;
use std::fmt;

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

/// One record of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in history.
    pub link: Link,
    /// What it names; all of it applies at once.
    pub targets: Vec<Target>,
    /// Why.
    pub cause: Cause,
}
