//! What the engine's tasks and timers run on: tokio, or a runtime the builder was given by a simulator.
//!
//! An enum, so that with tokio nothing is boxed or called virtually. Timers only make work look sooner or give up;
//! whether an entry may be served is decided by the clock.

use larder_core::port::{BoxFuture, Runtime as Port};
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

/// What tasks and timers run on.
#[derive(Clone)]
pub(crate) enum Runtime {
    Tokio(Handle),
    #[cfg_attr(
        not(feature = "testing"),
        expect(dead_code, reason = "only the builder of a simulated cache makes one")
    )]
    Given(Arc<dyn Port>),
}

/// It took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Late;

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline has passed")
    }
}

impl std::error::Error for Late {}

impl Runtime {
    /// Runs work in the background; the tracker knows of it until it ends.
    pub(crate) fn spawn(&self, tasks: &TaskTracker, work: impl Future<Output = ()> + Send + 'static) {
        match self {
            Runtime::Tokio(handle) => drop(tasks.spawn_on(work, handle)),
            Runtime::Given(runtime) => runtime.spawn(Box::pin(tasks.track_future(work))),
        }
    }

    /// Runs work in the background; what it came to, if it was not dropped and did not panic, can be waited for.
    pub(crate) fn spawn_returning<T: Send + 'static>(
        &self,
        tasks: &TaskTracker,
        work: impl Future<Output = T> + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (answer, answered) = oneshot::channel();
        self.spawn(tasks, async move { drop(answer.send(work.await)) });
        answered
    }

    pub(crate) async fn sleep(&self, pause: Duration) {
        self.timer(pause).await;
    }

    /// The work's answer, or, once `patience` has passed, [`Late`]; then the work is dropped.
    pub(crate) fn timeout<F: Future>(&self, patience: Duration, work: F) -> Timeout<F> {
        Timeout { work, timer: self.timer(patience) }
    }

    fn timer(&self, pause: Duration) -> Timer {
        match self {
            Runtime::Tokio(_) => Timer::Tokio { sleep: tokio::time::sleep(pause) },
            Runtime::Given(runtime) => Timer::Given { sleep: runtime.sleep(pause) },
        }
    }
}

pin_project! {
    #[project = Ticking]
    enum Timer {
        Tokio { #[pin] sleep: tokio::time::Sleep },
        Given { sleep: BoxFuture<'static, ()> },
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.project() {
            Ticking::Tokio { sleep } => sleep.poll(cx),
            Ticking::Given { sleep } => sleep.as_mut().poll(cx),
        }
    }
}

pin_project! {
    /// Work under a deadline; see [`Runtime::timeout`].
    pub(crate) struct Timeout<F> {
        #[pin]
        work: F,
        #[pin]
        timer: Timer,
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Late>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.work.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        ready!(this.timer.poll(cx));
        Poll::Ready(Err(Late))
    }
}
