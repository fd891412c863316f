//! The scheduler: all tasks of all nodes on one thread, in an order and at times drawn from one seed.
//!
//! Time is virtual: it moves a little with each step, and jumps to the next timer when nothing can run. A node can be
//! paused (its tasks are not run, its timers wait) or killed (its tasks are dropped where they stand). Between any two
//! steps another task may run; inside synchronous code, at the points of `larder_core::interleave`, the whole rest of
//! the world may run too (see [`Sim::overtake`]). Nothing here knows what a cache is.

mod node;
mod runtime;
mod state;
mod task;
mod timers;

pub(crate) use node::NodeId;
pub(crate) use runtime::{NodeRuntime, Sleep};

use fastrand::Rng;
use larder_core::expiry::nanos;
use larder_core::port::BoxFuture;
use state::{Ended, Next, State};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use task::{Polled, TaskId};

/// Nanoseconds of true time since the simulation began.
pub(crate) type Time = u64;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;

/// One simulated world's scheduler, by its number: a handle that works in the thread it was made in, and there until the
/// next world begins.
#[derive(Clone)]
pub(crate) struct Sim(u64);

impl Sim {
    /// A new world, instead of the last one of this thread.
    pub(crate) fn new(seed: u64) -> Self {
        static WORLDS: AtomicU64 = AtomicU64::new(1);
        let sim = Sim(WORLDS.fetch_add(1, Ordering::Relaxed));
        sim.install(seed);
        sim
    }

    /// True time.
    pub(crate) fn now(&self) -> Time {
        self.with(|state| state.now)
    }

    /// Steps taken: polls of tasks.
    pub(crate) fn steps(&self) -> u64 {
        self.with(|state| state.steps)
    }

    /// Draws from the one source of chance.
    pub(crate) fn draw<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        self.with(|state| draw(&mut state.rng))
    }

    /// True with this probability.
    pub(crate) fn chance(&self, probability: f64) -> bool {
        probability > 0.0 && self.draw(|rng| rng.f64() < probability)
    }

    /// Runs a task on a node (see [`NodeId::WORLD`] for what is on none); dropped at once if the node is dead.
    pub(crate) fn spawn(&self, node: NodeId, life: u32, task: BoxFuture<'static, ()>) {
        let refused = self.with(|state| state.spawn(self, node, life, task));
        drop(refused);
    }

    /// Runs a task of the world itself: a fault, a user, the oracle.
    pub(crate) fn spawn_world(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn(NodeId::WORLD, 0, Box::pin(task));
    }

    /// Sleeps in true time.
    pub(crate) fn sleep(&self, pause: Duration) -> Sleep {
        Sleep::new(self.clone(), nanos(pause))
    }

    /// Sleeps until that moment of true time, if it is still to come.
    pub(crate) fn sleep_until(&self, at: Time) -> Sleep {
        Sleep::new(self.clone(), at.saturating_sub(self.now()))
    }

    /// Sleeps between `least` and `most` nanoseconds, drawn now.
    pub(crate) fn delay(&self, least: u64, most: u64) -> Sleep {
        let pause = self.draw(|rng| rng.u64(least..=most.max(least)));
        Sleep::new(self.clone(), pause)
    }

    /// Runs until `until`, or until nothing is left that could ever run.
    pub(crate) fn run_until(&self, until: Time) {
        loop {
            match self.with(|state| state.next(until)) {
                Next::Nothing => return,
                Next::Wake(others) => others.into_iter().for_each(Waker::wake),
                Next::Step(id, polled, others) => {
                    others.into_iter().for_each(Waker::wake);
                    self.step(id, polled);
                }
            }
        }
    }

    /// Lets the rest of the world run for a while in the middle of somebody's synchronous code, as other threads would.
    /// Whoever is in the middle of something is not run again meanwhile.
    pub(crate) fn overtake(&self, pause: u64) {
        let until = self.with(|state| {
            let goes = state.depth < 2;
            state.depth += u32::from(goes);
            goes.then(|| state.now.saturating_add(pause))
        });
        if let Some(until) = until {
            self.run_until(until);
            self.with(|state| state.depth -= 1);
        }
    }

    /// The node whose task is being polled.
    pub(crate) fn current(&self) -> NodeId {
        self.with(|state| state.current())
    }

    /// Drops everything that still runs. Handles to the world hold each other in a circle until then.
    pub(crate) fn shut_down(&self) {
        loop {
            let (killed, sleepers) = self.with(|state| {
                state.nodes.iter_mut().for_each(|node| node.is_dead = true);
                (state.tasks.kill_all(), state.timers.clear())
            });
            if killed.is_empty() && sleepers.is_empty() {
                return self.with(State::free);
            }
        }
    }

    fn step(&self, id: TaskId, mut polled: Polled) {
        let ended = match polled.future.as_mut().poll(&mut Context::from_waker(&polled.waker)) {
            Poll::Ready(()) => {
                self.with(|state| state.ended(id, Ended::Done));
                return drop(polled);
            }
            Poll::Pending => Ended::Pending(polled),
        };
        let dead = self.with(|state| state.ended(id, ended));
        drop(dead);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};

    /// The wake-up was lost: a reader that had been overtaken while its timer ran out never ran again, and whoever waited
    /// for its load waited for ever. It looked like a fault of the engine, in one world of some hundreds.
    #[test]
    fn who_is_woken_while_overtaken_runs_again() {
        let sim = Sim::new(1);
        let done = Arc::new(Mutex::new(false));
        let (overtaken, told) = (sim.clone(), done.clone());
        sim.spawn_world(async move {
            let mut sleep = overtaken.sleep(Duration::from_millis(1));
            let mut polls = 0;
            poll_fn(|context| {
                polls += 1;
                let slept = Pin::new(&mut sleep).poll(context);
                if polls == 1 {
                    overtaken.overtake(5 * MS);
                }
                slept
            })
            .await;
            *told.lock().unwrap() = true;
        });
        sim.run_until(sim.now() + 20 * MS);
        assert!(*done.lock().unwrap(), "its timer ran out while others ran, and it was not polled again");
    }
}
