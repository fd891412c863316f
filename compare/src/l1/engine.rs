//! What one engine must do to be measured in `l1`: answer a sweep of lookups, all hits.

use crate::Failure;
use crate::sample::Value;
use serde::Serialize;
use std::hint::black_box;

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

/// How a lookup follows the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At once. The processor overlaps the memory accesses of several lookups, as far as the engine lets it.
    BackToBack,
    /// Only when the one before has answered, as in a service that waits for its hit: what to look up is made to
    /// depend on the value found.
    Chained,
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
    fn sweep(&self, order: &[u32], pace: Pace) -> Result<u64, Failure>;
}

/// The error of a sweep that met a miss.
pub(crate) fn missed(engine: &str, index: u32) -> Failure {
    format!("{engine}: entry {index} was inserted and is not a hit, expected every lookup to hit").into()
}

/// The loop of the engines that answer without awaiting: `get` one index after the other, and read what the hit holds.
#[inline(always)]
pub(crate) fn sweep<H>(
    engine: &'static str,
    order: &[u32],
    pace: Pace,
    get: impl Fn(u32) -> Option<H>,
    value: impl Fn(&H) -> &Value,
) -> Result<u64, Failure> {
    match pace {
        Pace::BackToBack => swept::<false, H>(engine, order, get, value),
        Pace::Chained => swept::<true, H>(engine, order, get, value),
    }
}

#[inline(always)]
fn swept<const CHAINED: bool, H>(
    engine: &'static str,
    order: &[u32],
    get: impl Fn(u32) -> Option<H>,
    value: impl Fn(&H) -> &Value,
) -> Result<u64, Failure> {
    let (mut sum, mut nothing) = (0u64, 0);
    for &index in order {
        let index = index.wrapping_add(nothing);
        let hit = black_box(get(index)).ok_or_else(|| missed(engine, index))?;
        sum = sum.wrapping_add(value(&hit).entry());
        if CHAINED {
            nothing = value(&hit).nothing();
        }
    }
    Ok(sum)
}
