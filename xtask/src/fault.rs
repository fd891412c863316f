//! What stops a chore from doing its work at all (as opposed to a check that found something).
//! Any module of xtask may return it; only `main` prints it.

use std::{fmt, io, path::Path};

/// A sentence saying what could not be done, to what, and why.
#[derive(Debug)]
pub(crate) struct Fault(String);

impl Fault {
    /// A fault in plain words.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// For `map_err`: names the deed and the file beside the system's own words.
    pub(crate) fn io<'a>(deed: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |error| Self(format!("cannot {deed} {}: {error}", path.display()))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}
