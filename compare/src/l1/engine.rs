//! What one engine must do to be measured in `l1`: answer a sweep of lookups, all hits.

use crate::Failure;
use serde::Serialize;

/// How the engine is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyKind {
    /// A number; for Larder prebuilt by `region.key(..)`.
    U64,
    /// Forty bytes of text; for Larder prebuilt by `region.key(..)`.
    Text,
    /// Three segments of about the size of `Text`, made into a key on every lookup. Larder only.
    Segments,
}

impl KeyKind {
    /// The word in the table and in the rows.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::U64 => "u64",
            Self::Text => "text",
            Self::Segments => "segments",
        }
    }
}

/// A filled cache that can be swept.
pub(crate) trait Engine: Sync {
    /// The engine's name in the rows.
    fn name(&self) -> &'static str;

    /// How this instance is asked.
    fn key(&self) -> KeyKind;

    /// Looks up every index of `order` in turn and returns the sum of what the hits carried.
    ///
    /// # Errors
    /// A lookup that is not a hit: the figures would be those of a miss.
    fn sweep(&self, order: &[u32]) -> Result<u64, Failure>;
}

/// The error of a sweep that met a miss.
pub(crate) fn missed(engine: &str, index: u32) -> Failure {
    format!("{engine}: entry {index} was inserted and is not a hit, expected every lookup to hit").into()
}
