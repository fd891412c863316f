//! Work that is carried through, whatever becomes of those who wait for it.
//!
//! Two ways: in a task of its own from the beginning, for what holds something that others wait for; or where it is
//! awaited, and in a task only once whoever awaited it goes away, which spares nearly everybody the task.

use super::Engine;
use crate::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio_util::task::task_tracker::TaskTrackerToken;

impl Engine {
    /// Runs work in a task of its own and waits for it: begun, it goes on even if the caller goes away or stops polling.
    ///
    /// # Errors
    /// When the runtime ended, or the work panicked, before it was done.
    pub(crate) async fn carry_through<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Error> {
        self.runtime.spawn_returning(&self.tasks, work).await.map_err(|_| Error::closed())
    }

    /// Runs work where it is awaited: begun, it goes on in a task of its own if the caller goes away. A caller that keeps it
    /// and stops polling stops it too, so it must hold nothing that others wait for.
    pub(crate) fn carry_along<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> CarriedAlong<T> {
        CarriedAlong { work: Some(Box::pin(work)), begun: None, engine: self.clone() }
    }
}

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// See [`Engine::carry_along`].
pub(crate) struct CarriedAlong<T: Send + 'static> {
    work: Option<Work<T>>,
    /// So that closing waits for it.
    begun: Option<TaskTrackerToken>,
    engine: Arc<Engine>,
}

impl<T: Send + 'static> Future for CarriedAlong<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // Taken out: what panics is not carried on.
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        if self.begun.is_none() {
            self.begun = Some(self.engine.carried.token());
        }
        let polled = work.as_mut().poll(cx);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for CarriedAlong<T> {
    fn drop(&mut self) {
        // What was never begun is not.
        if let (Some(work), Some(begun)) = (self.work.take(), self.begun.take()) {
            let rest = async move {
                drop(work.await);
                drop(begun);
            };
            self.engine.runtime.spawn(&self.engine.tasks, rest);
        }
    }
}
