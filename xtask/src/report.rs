//! Standard output for results, standard error for progress. Used by every chore.
//!
//! A closed pipe (`cargo xtask tidy | head`) is not an error worth a panic, so failed writes are dropped: nothing
//! here decides the exit code.

use std::io::{IsTerminal, Write, stderr, stdout};

/// Prints one line, or several, of result on standard output.
pub(crate) fn line(text: &str) {
    let _ = writeln!(stdout().lock(), "{text}");
}

/// Prints a line on standard error.
pub(crate) fn note(text: &str) {
    clear();
    let _ = writeln!(stderr().lock(), "{text}");
}

/// Says what has just begun: a line that the next one replaces on a terminal, a plain line elsewhere.
pub(crate) fn progress(text: &str) {
    let mut out = stderr().lock();
    let _ = if out.is_terminal() { write!(out, "\r\x1b[K{text}") } else { writeln!(out, "{text}") };
    let _ = out.flush();
}

/// Wipes the progress line of a terminal, so that results start on a clean one.
pub(crate) fn clear() {
    let mut out = stderr().lock();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K");
        let _ = out.flush();
    }
}
