//! Tasks and what wakes them.

use super::{NodeId, Sim};
use larder_core::port::BoxFuture;
use std::sync::Arc;
use std::task::{Wake, Waker};

/// A place in the table, and which of its tenants is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TaskId {
    slot: u32,
    generation: u32,
}

/// What is polled, and what it is polled with.
pub(super) struct Polled {
    pub(super) future: BoxFuture<'static, ()>,
    pub(super) waker: Waker,
}

struct Task {
    generation: u32,
    node: NodeId,
    life: u32,
    is_live: bool,
    /// Among those that are ready: woken again, it stays there once.
    is_queued: bool,
    runs_again: bool,
    /// Away while it is being polled.
    polled: Option<Polled>,
}

pub(super) struct Tasks {
    slots: Vec<Task>,
    free: Vec<u32>,
}

impl Tasks {
    pub(super) const fn new() -> Self {
        Tasks { slots: Vec::new(), free: Vec::new() }
    }

    /// A new task, which the caller has to put among those that are ready.
    pub(super) fn add(
        &mut self,
        sim: &Sim,
        node: NodeId,
        life: u32,
        future: BoxFuture<'static, ()>,
    ) -> TaskId {
        let id = match self.free.pop() {
            Some(slot) => TaskId { slot, generation: self.slots[slot as usize].generation.wrapping_add(1) },
            None => TaskId { slot: self.slots.len() as u32, generation: 0 },
        };
        let waker = Waker::from(Arc::new(TaskWaker { sim: sim.clone(), id }));
        let task = Task {
            generation: id.generation,
            node,
            life,
            is_live: true,
            is_queued: true,
            runs_again: false,
            polled: Some(Polled { future, waker }),
        };
        match self.slots.get_mut(id.slot as usize) {
            Some(place) => *place = task,
            None => self.slots.push(task),
        }
        id
    }

    fn get(&self, id: TaskId) -> Option<&Task> {
        self.slots.get(id.slot as usize).filter(|task| task.is_live && task.generation == id.generation)
    }

    fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        let task = self.slots.get_mut(id.slot as usize)?;
        (task.is_live && task.generation == id.generation).then_some(task)
    }

    pub(super) fn node_of(&self, id: TaskId) -> Option<NodeId> {
        self.get(id).map(|task| task.node)
    }

    /// Whether a task that is woken has to be put among those that are ready.
    pub(super) fn is_to_be_queued(&mut self, id: TaskId) -> bool {
        self.get_mut(id).is_some_and(|task| !std::mem::replace(&mut task.is_queued, true))
    }

    /// Whether a task is in the middle of a step: then it runs again after that.
    pub(super) fn runs_again(&mut self, id: TaskId) -> bool {
        let Some(task) = self.get_mut(id).filter(|task| task.polled.is_none()) else { return false };
        task.runs_again = true;
        true
    }

    /// Takes a task out to be polled: from now on it can be woken again.
    pub(super) fn take(&mut self, id: TaskId) -> Option<Polled> {
        let task = self.get_mut(id)?;
        task.is_queued = false;
        task.polled.take()
    }

    /// Puts a task back that has more to do; hands it over if it was killed meanwhile. Whether it was woken in the middle
    /// of its step, and taken off those that are ready: then it belongs there again, as it counts as queued.
    pub(super) fn put_back(&mut self, id: TaskId, polled: Polled) -> Result<bool, Polled> {
        let Some(task) = self.get_mut(id) else { return Err(polled) };
        task.polled = Some(polled);
        Ok(std::mem::take(&mut task.runs_again))
    }

    /// Takes a task off the table that has ended.
    pub(super) fn remove(&mut self, id: TaskId) {
        if let Some(task) = self.get_mut(id) {
            task.is_live = false;
            self.free.push(id.slot);
        }
    }

    pub(super) fn kill_all(&mut self) -> Vec<Polled> {
        self.kill_where(|_| true)
    }

    /// Takes out everything a node's life runs; what is being polled is dropped when that poll ends.
    pub(super) fn kill(&mut self, node: NodeId, life: u32) -> Vec<Polled> {
        self.kill_where(|task| task.node == node && task.life == life)
    }

    fn kill_where(&mut self, dies: impl Fn(&Task) -> bool) -> Vec<Polled> {
        let mut killed = Vec::new();
        for (slot, task) in self.slots.iter_mut().enumerate() {
            if task.is_live && dies(task) {
                task.is_live = false;
                killed.extend(task.polled.take());
                self.free.push(slot as u32);
            }
        }
        killed
    }
}

/// Puts its task among those that are ready, once per step.
struct TaskWaker {
    sim: Sim,
    id: TaskId,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.sim.wake(self.id);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.sim.wake(self.id);
    }
}
