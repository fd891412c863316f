//! The only place that prints: results on standard output, everything else on standard error.
//!
//! It never fails: whoever closed our output does not want more of it.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a line is written where there is no terminal.
const LINE: Duration = Duration::from_secs(3);

/// A result.
pub(crate) fn result(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A message beside the results.
pub(crate) fn message(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// How far something has come: a bar on a terminal, a line every few seconds elsewhere.
#[derive(Debug)]
pub(crate) struct Progress {
    name: &'static str,
    bar: Option<ProgressBar>,
    length: u64,
    spoke: Instant,
}

impl Progress {
    /// Of something that is `length` long; 0 when nobody knows.
    pub(crate) fn start(name: &'static str, length: u64) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| bar(name, length));
        Progress { name, bar, length, spoke: Instant::now() }
    }

    /// It has come to `at`; `state` says more.
    pub(crate) fn show(&mut self, at: u64, state: impl FnOnce() -> String) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(at);
                bar.set_message(state());
            }
            None if self.spoke.elapsed() >= LINE => {
                self.spoke = Instant::now();
                let of = if self.length == 0 { String::new() } else { format!(" of {}", self.length) };
                message(&format!("{}: {at}{of}: {}", self.name, state()));
            }
            None => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(name: &'static str, length: u64) -> ProgressBar {
    let (bar, shape) = match length {
        0 => (ProgressBar::new_spinner(), "{prefix} {spinner:.cyan} {pos} {msg}"),
        _ => (ProgressBar::new(length), "{prefix} {bar:30.cyan} {pos} of {len} {msg}"),
    };
    if let Ok(style) = ProgressStyle::with_template(shape) {
        bar.set_style(style);
    }
    bar.set_prefix(name);
    bar
}
