//! What a node's engine sees of the scheduler: its runtime and its clock; and sleeping.

use super::timers::Place;
use super::{NodeId, Sim, Time};
use larder_core::port::{BoxFuture, Clock, Nanos, Runtime};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// One life of one node, as the engine's ports for tasks, timers and time.
#[derive(Clone)]
pub(crate) struct NodeRuntime {
    pub(crate) sim: Sim,
    pub(crate) node: NodeId,
    pub(crate) life: u32,
}

impl NodeRuntime {
    /// Whether this life is over.
    pub(crate) fn is_over(&self) -> bool {
        !self.sim.lives(self.node, self.life)
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.sim.spawn(self.node, self.life, Box::pin(task));
    }
}

impl Runtime for NodeRuntime {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.sim.spawn(self.node, self.life, task);
    }

    fn sleep(&self, pause: Duration) -> BoxFuture<'static, ()> {
        Box::pin(self.sim.sleep(pause))
    }
}

impl Clock for NodeRuntime {
    fn now(&self) -> Nanos {
        self.sim.clock_of(self.node)
    }

    fn trusted(&self) -> Nanos {
        self.sim.trusted_clock_of(self.node)
    }

    fn verify(&self) -> bool {
        self.sim.set_clock_right(self.node)
    }

    fn wall_ms(&self) -> u64 {
        self.sim.wall_ms_of(self.node)
    }
}

/// Completes after a pause of true time.
pub(crate) struct Sleep {
    sim: Sim,
    pause: u64,
    timer: Option<Place>,
}

impl Sleep {
    pub(super) fn new(sim: Sim, pause: Time) -> Self {
        Sleep { sim, pause, timer: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(place) = self.timer else {
            let pause = self.pause;
            let place = self.sim.with(|state| {
                let wakes = state.sleeper(cx.waker());
                state.timers.set(state.now.saturating_add(pause), wakes)
            });
            self.timer = Some(place);
            return Poll::Pending;
        };
        let looked = self.sim.with(|state| {
            let wakes = state.sleeper(cx.waker());
            state.timers.look(place, wakes)
        });
        // Whom it was to wake is dropped here, where the scheduler is nobody's.
        if looked.is_ok() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(place) = self.timer.take() {
            let forgotten = self.sim.with_its_own(|state| state.timers.forget(place));
            drop(forgotten);
        }
    }
}
