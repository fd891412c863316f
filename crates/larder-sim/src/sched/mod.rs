//! The scheduler: all tasks of all nodes on one thread, in an order and at times drawn from one seed.
//!
//! Time is virtual: it moves a little with each step, and jumps to the next timer when nothing can run. A node can be
//! paused (its tasks are not run, its timers wait) or killed (its tasks are dropped where they stand). Between any two
//! steps another task may run; inside synchronous code, at the points of `larder_core::interleave`, the whole rest of
//! the world may run too (see [`Sim::overtake`]). Nothing here knows what a cache is.

mod node;
mod runtime;
mod task;

pub(crate) use node::NodeId;
pub(crate) use runtime::{NodeRuntime, Sleep};

use fastrand::Rng;
use larder_core::expiry::nanos;
use larder_core::port::BoxFuture;
use node::Node;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use task::{TaskId, TaskWaker, Tasks};

/// Nanoseconds of true time since the simulation began.
pub(crate) type Time = u64;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;

/// One simulated world's scheduler; clones are handles to it.
#[derive(Clone)]
pub(crate) struct Sim(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Tasks woken since the last step. Apart from the state, since wakers run wherever the engine likes.
    woken: Mutex<Vec<TaskId>>,
}

struct State {
    now: Time,
    rng: Rng,
    tasks: Tasks,
    ready: Vec<TaskId>,
    timers: BinaryHeap<Reverse<(Time, u64)>>,
    sleepers: Vec<Sleeper>,
    free_sleepers: Vec<u32>,
    nodes: Vec<Node>,
    steps: u64,
    /// The nodes of the tasks being polled, innermost last.
    running: Vec<NodeId>,
    depth: u32,
}

#[derive(Default)]
struct Sleeper {
    generation: u32,
    waker: Option<Waker>,
    is_due: bool,
}

impl Sim {
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            now: SECOND,
            rng: Rng::with_seed(seed),
            tasks: Tasks::default(),
            ready: Vec::new(),
            timers: BinaryHeap::new(),
            sleepers: Vec::new(),
            free_sleepers: Vec::new(),
            nodes: vec![Node::new()],
            steps: 0,
            running: Vec::new(),
            depth: 0,
        };
        Sim(Arc::new(Shared { state: Mutex::new(state), woken: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn woken(&self) -> MutexGuard<'_, Vec<TaskId>> {
        self.0.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True time.
    pub(crate) fn now(&self) -> Time {
        self.state().now
    }

    /// Steps taken: polls of tasks.
    pub(crate) fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Draws from the one source of chance.
    pub(crate) fn draw<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.state().rng)
    }

    /// True with this probability.
    pub(crate) fn chance(&self, probability: f64) -> bool {
        probability > 0.0 && self.draw(|rng| rng.f64() < probability)
    }

    /// Runs a task on a node (see [`NodeId::WORLD`] for what is on none); dropped at once if the node is dead.
    pub(crate) fn spawn(&self, node: NodeId, life: u32, task: BoxFuture<'static, ()>) {
        let mut state = self.state();
        if state.nodes[node.index()].life != life || state.nodes[node.index()].is_dead {
            drop(state);
            return drop(task);
        }
        let id = state.tasks.add(node, life, task);
        let waker = Arc::new(TaskWaker::new(self.clone(), id));
        state.tasks.set_waker(id, waker);
        state.ready.push(id);
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
            self.take_woken();
            let mut state = self.state();
            let Some(id) = state.pick() else {
                if !state.jump(until) {
                    state.now = state.now.max(until);
                    return;
                }
                drop(state);
                self.fire_due();
                continue;
            };
            // A step takes time: from a tenth of a microsecond to some.
            let took = 100 + (state.rng.u64(..) & 0xfff);
            state.now += took;
            if state.now >= until {
                state.ready.push(id);
                return;
            }
            state.steps += 1;
            let is_due = state.is_due();
            let taken = state.take(id);
            drop(state);
            if is_due {
                self.fire_due();
            }
            if let Some((future, waker)) = taken {
                self.step(id, future, waker);
            }
        }
    }

    /// Lets the rest of the world run for a while in the middle of somebody's synchronous code, as other threads would.
    /// Whoever is in the middle of something is not run again meanwhile.
    pub(crate) fn overtake(&self, pause: u64) {
        let until = {
            let mut state = self.state();
            if state.depth >= 2 {
                return;
            }
            state.depth += 1;
            state.now.saturating_add(pause)
        };
        self.run_until(until);
        self.state().depth -= 1;
    }

    /// The node whose task is being polled.
    pub(crate) fn current(&self) -> NodeId {
        self.state().running.last().copied().unwrap_or(NodeId::WORLD)
    }

    /// Drops everything that still runs. Handles to the world hold each other in a circle until then.
    pub(crate) fn shut_down(&self) {
        loop {
            let (killed, sleepers) = {
                let mut state = self.state();
                state.nodes.iter_mut().for_each(|node| node.is_dead = true);
                state.timers.clear();
                let sleepers: Vec<_> = state.sleepers.iter_mut().filter_map(|s| s.waker.take()).collect();
                (state.tasks.kill_all(), sleepers)
            };
            if killed.is_empty() && sleepers.is_empty() {
                return;
            }
        }
    }

    fn step(&self, id: TaskId, mut future: BoxFuture<'static, ()>, waker: Arc<TaskWaker>) {
        waker.begin();
        let std_waker = Waker::from(waker.clone());
        let polled = future.as_mut().poll(&mut Context::from_waker(&std_waker));
        let mut state = self.state();
        state.running.pop();
        match polled {
            Poll::Ready(()) => {
                let _ended = state.tasks.remove(id);
                drop(state);
            }
            Poll::Pending => match state.tasks.put_back(id, future) {
                Ok(true) => state.ready.push(id),
                Ok(false) => {}
                // Killed while it ran: dropped now.
                Err(dead) => {
                    drop(state);
                    drop(dead);
                }
            },
        }
    }

    fn take_woken(&self) {
        let mut woken = self.woken();
        if woken.is_empty() {
            return;
        }
        let mut state = self.state();
        state.ready.append(&mut woken);
    }

    fn fire_due(&self) {
        let wakers = {
            let mut state = self.state();
            state.due()
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    /// A task that may run now, drawn from those that are ready.
    fn pick(&mut self) -> Option<TaskId> {
        loop {
            if self.ready.is_empty() {
                return None;
            }
            let at = self.rng.usize(..self.ready.len());
            let id = self.ready.swap_remove(at);
            let Some(node) = self.tasks.node_of(id) else { continue };
            if self.nodes[node.index()].is_paused {
                self.nodes[node.index()].parked.push(id);
                continue;
            }
            if self.tasks.is_running(id) {
                // In the middle of a step further up the stack: it runs again after that.
                self.tasks.run_again(id);
                continue;
            }
            return Some(id);
        }
    }

    /// Takes a task out to be polled.
    fn take(&mut self, id: TaskId) -> Option<(BoxFuture<'static, ()>, Arc<TaskWaker>)> {
        let node = self.tasks.node_of(id)?;
        let taken = self.tasks.take(id)?;
        self.running.push(node);
        Some(taken)
    }

    fn is_due(&self) -> bool {
        self.timers.peek().is_some_and(|Reverse((at, _))| *at <= self.now)
    }

    /// Moves time to the next timer, if that is before `until`.
    fn jump(&mut self, until: Time) -> bool {
        match self.timers.peek() {
            Some(Reverse((at, _))) if *at < until => {
                self.now = self.now.max(*at);
                true
            }
            _ => false,
        }
    }

    fn due(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Some(Reverse((at, packed))) = self.timers.peek().copied() {
            if at > self.now {
                break;
            }
            self.timers.pop();
            let (slot, generation) = (packed as u32, (packed >> 32) as u32);
            let sleeper = &mut self.sleepers[slot as usize];
            if sleeper.generation == generation {
                sleeper.is_due = true;
                wakers.extend(sleeper.waker.take());
            }
        }
        wakers
    }

    /// A place among the sleepers, woken at `at`.
    fn set_timer(&mut self, at: Time, waker: Waker) -> (u32, u32) {
        let slot = self.free_sleepers.pop().unwrap_or_else(|| {
            self.sleepers.push(Sleeper::default());
            (self.sleepers.len() - 1) as u32
        });
        let sleeper = &mut self.sleepers[slot as usize];
        sleeper.generation = sleeper.generation.wrapping_add(1);
        sleeper.waker = Some(waker);
        sleeper.is_due = false;
        let generation = sleeper.generation;
        self.timers.push(Reverse((at, u64::from(generation) << 32 | u64::from(slot))));
        (slot, generation)
    }

    fn free_timer(&mut self, slot: u32) -> Option<Waker> {
        let sleeper = &mut self.sleepers[slot as usize];
        sleeper.generation = sleeper.generation.wrapping_add(1);
        self.free_sleepers.push(slot);
        sleeper.waker.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::pin::Pin;

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
