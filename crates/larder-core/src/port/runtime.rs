//! The runtime port: what runs background work and lets time pass.

use super::BoxFuture;
use std::time::Duration;

/// Runs tasks and wakes sleepers.
pub trait Runtime: Send + Sync + 'static {
    /// Runs a task to its end, unless the runtime itself ends before; then the task is dropped.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Completes after `pause`, on a clock that may stand still while the machine is suspended. Nothing that must be right
    /// may rest on it: decisions look at the [`Clock`](super::Clock).
    fn sleep(&self, pause: Duration) -> BoxFuture<'static, ()>;
}
