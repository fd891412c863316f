//! Tasks and what wakes them.

use super::{NodeId, Sim};
use larder_core::port::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

/// A place in the table, and which of its tenants is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskId {
    slot: u32,
    generation: u32,
}

struct Task {
    generation: u32,
    node: NodeId,
    life: u32,
    /// Away while it is being polled.
    future: Option<BoxFuture<'static, ()>>,
    waker: Option<Arc<TaskWaker>>,
    is_live: bool,
    runs_again: bool,
}

#[derive(Default)]
pub(super) struct Tasks {
    slots: Vec<Task>,
    free: Vec<u32>,
}

impl Tasks {
    pub(super) fn add(&mut self, node: NodeId, life: u32, future: BoxFuture<'static, ()>) -> TaskId {
        let task = Task {
            generation: 0,
            node,
            life,
            future: Some(future),
            waker: None,
            is_live: true,
            runs_again: false,
        };
        match self.free.pop() {
            Some(slot) => {
                let generation = self.slots[slot as usize].generation.wrapping_add(1);
                self.slots[slot as usize] = Task { generation, ..task };
                TaskId { slot, generation }
            }
            None => {
                self.slots.push(task);
                TaskId { slot: (self.slots.len() - 1) as u32, generation: 0 }
            }
        }
    }

    fn get(&self, id: TaskId) -> Option<&Task> {
        self.slots.get(id.slot as usize).filter(|task| task.is_live && task.generation == id.generation)
    }

    fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        let task = self.slots.get_mut(id.slot as usize)?;
        (task.is_live && task.generation == id.generation).then_some(task)
    }

    pub(super) fn set_waker(&mut self, id: TaskId, waker: Arc<TaskWaker>) {
        if let Some(task) = self.get_mut(id) {
            task.waker = Some(waker);
        }
    }

    pub(super) fn node_of(&self, id: TaskId) -> Option<NodeId> {
        self.get(id).map(|task| task.node)
    }

    pub(super) fn is_running(&self, id: TaskId) -> bool {
        self.get(id).is_some_and(|task| task.future.is_none())
    }

    pub(super) fn run_again(&mut self, id: TaskId) {
        if let Some(task) = self.get_mut(id) {
            task.runs_again = true;
        }
    }

    /// Takes a task out to be polled.
    pub(super) fn take(&mut self, id: TaskId) -> Option<(BoxFuture<'static, ()>, Arc<TaskWaker>)> {
        let task = self.get_mut(id)?;
        Some((task.future.take()?, task.waker.clone()?))
    }

    /// Puts a task back that has more to do; hands it over if it was killed meanwhile. Whether it was woken in the middle
    /// of its step, and taken off those that are ready: then it belongs there again, as its waker has it.
    pub(super) fn put_back(
        &mut self,
        id: TaskId,
        future: BoxFuture<'static, ()>,
    ) -> Result<bool, BoxFuture<'static, ()>> {
        let Some(task) = self.get_mut(id) else { return Err(future) };
        task.future = Some(future);
        Ok(std::mem::take(&mut task.runs_again))
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<Arc<TaskWaker>> {
        let task = self.get_mut(id)?;
        task.is_live = false;
        task.future = None;
        let waker = task.waker.take();
        self.free.push(id.slot);
        waker
    }

    pub(super) fn kill_all(&mut self) -> Vec<BoxFuture<'static, ()>> {
        let mut killed = Vec::new();
        for (slot, task) in self.slots.iter_mut().enumerate().filter(|(_, task)| task.is_live) {
            task.is_live = false;
            task.waker = None;
            killed.extend(task.future.take());
            self.free.push(slot as u32);
        }
        killed
    }

    /// Takes out everything a node's life runs; what is being polled is dropped when that poll ends.
    pub(super) fn kill(&mut self, node: NodeId, life: u32) -> Vec<BoxFuture<'static, ()>> {
        let mut killed = Vec::new();
        for slot in 0..self.slots.len() {
            let task = &mut self.slots[slot];
            if task.is_live && task.node == node && task.life == life {
                task.is_live = false;
                task.waker = None;
                killed.extend(task.future.take());
                self.free.push(slot as u32);
            }
        }
        killed
    }
}

/// Puts its task among those that are ready, once per step.
pub(super) struct TaskWaker {
    sim: Sim,
    id: TaskId,
    is_queued: AtomicBool,
}

impl TaskWaker {
    pub(super) fn new(sim: Sim, id: TaskId) -> Self {
        // A new task is queued by whoever spawns it.
        TaskWaker { sim, id, is_queued: AtomicBool::new(true) }
    }

    /// The task is being polled: from now on it can be woken again.
    pub(super) fn begin(&self) {
        self.is_queued.store(false, Ordering::Relaxed);
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::Relaxed) {
            self.sim.woken().push(self.id);
        }
    }
}
