//! Bounds every journal keeps, and the random numbers its links carry.

use larder_core::port::JournalError;
use larder_core::{Epoch, Target};

/// The largest record, as the encoded size of its targets: 16 MiB.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// How many records a journal keeps of each namespace unless told otherwise.
pub const RECORDS_MAX_DEFAULT: u64 = 100_000;

/// How many intents may be open in one namespace.
pub const INTENTS_MAX: usize = 1000;

/// Why an intent is not opened.
pub(crate) fn not_opened() -> JournalError {
    JournalError::refused(format!(
        "an intent of this name is open, or {INTENTS_MAX} of any; expected a new name, and fewer"
    ))
}

/// Why a list of targets makes no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    Empty,
    TooLarge { bytes: usize },
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unfit::Empty => f.write_str("a record names no target; expected at least one"),
            Unfit::TooLarge { bytes } => {
                write!(f, "a record's targets take {bytes} bytes; expected at most {RECORD_BYTES_MAX}")
            }
        }
    }
}

impl From<Unfit> for JournalError {
    fn from(unfit: Unfit) -> Self {
        JournalError::refused(unfit.to_string())
    }
}

/// The encoding of a record's targets.
pub(crate) fn encode(targets: &[Target]) -> Result<Vec<u8>, Unfit> {
    if targets.is_empty() {
        return Err(Unfit::Empty);
    }
    let bytes = Target::encode_many(targets);
    if bytes.len() > RECORD_BYTES_MAX { Err(Unfit::TooLarge { bytes: bytes.len() }) } else { Ok(bytes) }
}

/// A nonce from the system's random numbers.
pub(crate) fn random_nonce() -> Result<u64, getrandom::Error> {
    getrandom::u64()
}

/// A new epoch from the system's random numbers.
pub(crate) fn random_epoch() -> Result<Epoch, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(Epoch::new(u128::from_be_bytes(bytes)))
}

/// What a journal says when the system gives none.
pub(crate) fn no_random(error: getrandom::Error) -> JournalError {
    JournalError::failed("the system gave no random numbers", error.to_string())
}
