//! Waiting for something to become true, which servers do not announce. The only place that sleeps.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::Error;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Looks until it is so.
///
/// # Errors
/// When it is still not so after `patience`; `what` says what was awaited.
pub fn until(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) -> Result<(), Error> {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > patience {
            return Err(Error::new(format!("{what}: not so after {patience:?}")));
        }
        thread::sleep(LOOK);
    }
    Ok(())
}
