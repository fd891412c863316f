//! A gate that calls wait at while a test holds it shut.

use std::sync::Arc;
use tokio::sync::watch;

/// Open unless held.
#[derive(Clone)]
pub(super) struct Gate {
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Copy, Default)]
struct State {
    holds: usize,
    waiting: usize,
}

/// Keeps a gate shut until dropped. Any number may hold one gate.
pub struct Hold {
    gate: Gate,
}

impl Gate {
    pub(super) fn open() -> Self {
        Gate { state: Arc::new(watch::Sender::new(State::default())) }
    }

    pub(super) fn hold(&self) -> Hold {
        self.state.send_modify(|state| state.holds += 1);
        Hold { gate: self.clone() }
    }

    /// Waits until nobody holds it. May be dropped while it waits.
    pub(super) async fn pass(&self) {
        if self.state.borrow().holds == 0 {
            return;
        }
        let _waiting = Waiting::new(self);
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|state| state.holds == 0).await;
    }
}

impl Hold {
    /// Completes once at least this many calls wait at the gate.
    pub async fn reached_by(&self, calls: usize) {
        let mut state = self.gate.state.subscribe();
        let _ = state.wait_for(|state| state.waiting >= calls).await;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.gate.state.send_modify(|state| state.holds -= 1);
    }
}

/// Counts a call that waits, until dropped.
struct Waiting<'a>(&'a Gate);

impl<'a> Waiting<'a> {
    fn new(gate: &'a Gate) -> Self {
        gate.state.send_modify(|state| state.waiting += 1);
        Waiting(gate)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| state.waiting -= 1);
    }
}
