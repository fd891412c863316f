//! The clock port.

/// Nanoseconds since a moment the clock chose, never 0. Counts time spent in suspend.
pub type Nanos = u64;

/// Time, as a value the engine is given.
pub trait Clock: Send + Sync + 'static {
    /// Now: goes back by no more than it strayed from the
    /// trusted clock between two calls of [`Clock::verify`] (microseconds), counts suspend (as `CLOCK_BOOTTIME` does), and is right the moment a paused
    /// process resumes. Leases and expiries are measured with it. Called on every hit: must be cheap.
    fn now(&self) -> Nanos;

    /// [`Clock::now`] to within a few milliseconds, for hits that need no lease: it may lag, but it too is right the
    /// moment a paused process resumes.
    fn coarse(&self) -> Nanos {
        self.now()
    }

    /// [`Clock::now`], read from the trusted clock itself, and so right whatever [`Clock::verify`] will say: for what is
    /// done once a load, or less often, and must not be measured wrong.
    fn trusted(&self) -> Nanos {
        self.now()
    }

    /// Milliseconds since 1970, by the wall clock; for expiries that outlive the process. May jump.
    fn wall_ms(&self) -> u64;

    /// Compares the cheap clock with a trusted one, and sets it right. Called at each lease renewal; `false` says that
    /// readings since the last call may be wrong, and the caller must drop whatever it measured with them.
    fn verify(&self) -> bool {
        true
    }
}
