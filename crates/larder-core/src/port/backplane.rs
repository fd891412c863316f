//! The backplane port: hints between nodes whose journal cannot reach them all by itself.

use super::BoxFuture;

/// Carries hints, and nothing but hints: that a namespace's journal may hold something new. They make a node look sooner.
/// One that is lost costs time, one that is made up costs a question to the journal; no promise rests on either.
pub trait Backplane: Send + Sync + 'static {
    /// Hints the other nodes at this namespace. Tries once, and says nothing of what became of it.
    fn hint<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, ()>;

    /// Completes when there was a hint since this was last asked, and whenever one may have been missed. May complete
    /// for no reason, and may never complete.
    fn changed<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, ()>;

    /// Whether hints come in at the moment, as far as is known.
    fn is_listening(&self, namespace: &str) -> bool;

    /// A short name for messages and metrics: `redis`.
    fn name(&self) -> &'static str;

    /// Closes this handle: nothing is hinted and nothing heard any more.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
