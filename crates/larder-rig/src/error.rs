//! Why the rig could not do something. Opaque: a test unwraps it, and reads the sentence.

use std::{io, path::Path};

/// A sentence that says what could not be done, to what, and why.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    message: String,
    refused: bool,
}

impl Error {
    /// In plain words: for what is built on the rig.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), refused: false }
    }

    /// The server's own answer was an error.
    pub(crate) fn refused(answer: &str) -> Self {
        Self { message: format!("the server answers: {answer}"), refused: true }
    }

    pub(crate) fn file<'a>(deed: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |error| Self::new(format!("cannot {deed} {}: {error}", path.display()))
    }

    pub(crate) fn while_doing(deed: &str) -> impl FnOnce(io::Error) -> Self + '_ {
        move |error| Self::new(format!("cannot {deed}: {error}"))
    }

    /// Whether a server answered, with an error: it was reached, and understood what it was asked.
    pub fn is_refused(&self) -> bool {
        self.refused
    }
}
