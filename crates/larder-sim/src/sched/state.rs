//! What a world's scheduler knows. It lives in the thread that runs the world: nothing in it is locked, and nothing but
//! the scheduler's own code runs while it is borrowed.

use super::node::Node;
use super::task::{Polled, TaskId, Tasks};
use super::timers::{Timers, Wakes};
use super::{NodeId, SECOND, Sim, Time};
use fastrand::Rng;
use larder_core::port::BoxFuture;
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::task::Waker;

thread_local! {
    /// Never dropped: what tasks do when they are dropped needs it. [`Sim::shut_down`] empties it.
    static STATE: ManuallyDrop<RefCell<State>> =
        const { ManuallyDrop::new(RefCell::new(State::new(0, 0))) };
}

pub(super) struct State {
    /// The world it is of, by number.
    pub(super) world: u64,
    pub(super) now: Time,
    pub(super) rng: Rng,
    pub(super) tasks: Tasks,
    pub(super) ready: Vec<TaskId>,
    /// Woken since the last step.
    woken: Vec<TaskId>,
    pub(super) timers: Timers,
    pub(super) nodes: Vec<Node>,
    pub(super) steps: u64,
    /// Who is being polled, innermost last.
    running: Vec<Running>,
    pub(super) depth: u32,
}

struct Running {
    node: NodeId,
    id: TaskId,
    /// What its waker points to: nobody else's does.
    waker: *const (),
}

/// What the scheduler does next.
pub(super) enum Next {
    /// Polls a task; before that wakes those whose timers have run out inside of tasks.
    Step(TaskId, Polled, Vec<Waker>),
    Wake(Vec<Waker>),
    /// It is time to end, or nothing is left that could ever run.
    Nothing,
}

/// What came of a step.
pub(super) enum Ended {
    Done,
    Pending(Polled),
}

impl Sim {
    /// The scheduler of this world. Its thread runs one world at a time.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        STATE.with(|state| look(&mut state.borrow_mut()))
    }

    /// The same for those who may outlive their world.
    pub(super) fn with_its_own<T>(&self, look: impl FnOnce(&mut State) -> T) -> Option<T> {
        self.with(|state| (state.world == self.0).then(|| look(state)))
    }

    /// A scheduler for this world, in place of the last one's.
    pub(super) fn install(&self, seed: u64) {
        let mut state = State::new(self.0, seed);
        state.nodes.push(Node::new());
        // Dropped when it is not borrowed any more, if the last world was not shut down.
        drop(self.with(|old| std::mem::replace(old, state)));
    }

    pub(super) fn wake(&self, id: TaskId) {
        self.with_its_own(|state| state.wake(id));
    }
}

impl State {
    const fn new(world: u64, seed: u64) -> Self {
        State {
            world,
            now: SECOND,
            rng: Rng::with_seed(seed),
            tasks: Tasks::new(),
            ready: Vec::new(),
            woken: Vec::new(),
            timers: Timers::new(),
            nodes: Vec::new(),
            steps: 0,
            running: Vec::new(),
            depth: 0,
        }
    }

    /// Gives back the room that nothing is left in.
    pub(super) fn free(&mut self) {
        self.tasks = Tasks::new();
        self.timers = Timers::new();
        self.ready = Vec::new();
        self.woken = Vec::new();
    }

    pub(super) fn wake(&mut self, id: TaskId) {
        if self.tasks.is_to_be_queued(id) {
            self.woken.push(id);
        }
    }

    /// Moves on in time, up to the next step.
    pub(super) fn next(&mut self, until: Time) -> Next {
        loop {
            self.ready.append(&mut self.woken);
            let Some((id, node)) = self.pick() else {
                match self.timers.next().filter(|at| *at < until) {
                    Some(at) => self.now = self.now.max(at),
                    None => {
                        self.now = self.now.max(until);
                        return Next::Nothing;
                    }
                }
                let others = self.wake_sleepers();
                if others.is_empty() {
                    continue;
                }
                return Next::Wake(others);
            };
            // A step takes time: from a tenth of a microsecond to some.
            let took = 100 + (self.rng.u64(..) & 0xfff);
            self.now += took;
            if self.now >= until {
                self.ready.push(id);
                return Next::Nothing;
            }
            self.steps += 1;
            let others = self.wake_sleepers();
            if let Some(polled) = self.tasks.take(id) {
                self.running.push(Running { node, id, waker: polled.waker.data() });
                return Next::Step(id, polled, others);
            }
        }
    }

    /// A task that may run now, drawn from those that are ready.
    fn pick(&mut self) -> Option<(TaskId, NodeId)> {
        loop {
            if self.ready.is_empty() {
                return None;
            }
            let at = self.rng.usize(..self.ready.len());
            let id = self.ready.swap_remove(at);
            let Some(node) = self.tasks.node_of(id) else { continue };
            let place = &mut self.nodes[node.index()];
            if place.is_paused {
                place.parked.push(id);
                continue;
            }
            if self.tasks.runs_again(id) {
                continue;
            }
            return Some((id, node));
        }
    }

    /// Wakes the tasks that have slept until now; whom else to wake.
    fn wake_sleepers(&mut self) -> Vec<Waker> {
        let mut others = Vec::new();
        while let Some(wakes) = self.timers.wake(self.now) {
            match wakes {
                Wakes::Task(id) => self.wake(id),
                Wakes::Other(waker) => others.push(waker),
            }
        }
        others
    }

    /// Takes in what came of the step of the innermost task; what is to be dropped then.
    pub(super) fn ended(&mut self, id: TaskId, ended: Ended) -> Option<Polled> {
        self.running.pop();
        match ended {
            Ended::Done => self.tasks.remove(id),
            Ended::Pending(polled) => match self.tasks.put_back(id, polled) {
                Ok(true) => self.ready.push(id),
                Ok(false) => {}
                // Killed while it ran.
                Err(dead) => return Some(dead),
            },
        }
        None
    }

    /// Whom a timer has to wake that is polled with this waker.
    pub(super) fn sleeper(&self, waker: &Waker) -> Wakes {
        match self.running.last() {
            Some(running) if running.waker == waker.data() => Wakes::Task(running.id),
            _ => Wakes::Other(waker.clone()),
        }
    }

    /// The node whose task is being polled.
    pub(super) fn current(&self) -> NodeId {
        self.running.last().map_or(NodeId::WORLD, |running| running.node)
    }

    /// A task for a node that is in this life; handed back if it is not.
    pub(super) fn spawn(
        &mut self,
        sim: &Sim,
        node: NodeId,
        life: u32,
        task: BoxFuture<'static, ()>,
    ) -> Result<(), BoxFuture<'static, ()>> {
        let place = &self.nodes[node.index()];
        if place.life != life || place.is_dead {
            return Err(task);
        }
        let id = self.tasks.add(sim, node, life, task);
        self.ready.push(id);
        Ok(())
    }
}
