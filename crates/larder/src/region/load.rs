//! What a loader is given, and what it may answer.

use crate::engine::{Answer, LoadFuture, LoadState, Loader};
use crate::error::LoadError;
use crate::memory::{Entry, Value};
use larder_core::{Segments, Tag};
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A loader's answer about one key. Any value converts into [`Loaded::Value`].
#[derive(Clone, PartialEq, Eq)]
pub enum Loaded<T> {
    /// The value.
    Value(T),
    /// The origin has nothing under this key. Remembered for the region's negative TTL, if it has one.
    Absent,
    /// The previous value still holds: it is kept and its life begins anew.
    NotModified,
    /// The load failed, for this reason; like an error, without one.
    Failed(String),
}

impl<T> fmt::Debug for Loaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the value: answers end up in logs.
        match self {
            Loaded::Value(_) => f.write_str("Value(..)"),
            Loaded::Absent => f.write_str("Absent"),
            Loaded::NotModified => f.write_str("NotModified"),
            Loaded::Failed(why) => f.debug_tuple("Failed").field(why).finish(),
        }
    }
}

impl<T> From<T> for Loaded<T> {
    fn from(value: T) -> Self {
        Loaded::Value(value)
    }
}

impl<T: Send + Sync + 'static> Loaded<T> {
    pub(crate) fn into_answer(self) -> Answer {
        match self {
            Loaded::Value(value) => Answer::Value(Value::new(value)),
            Loaded::Absent => Answer::Absent,
            Loaded::NotModified => Answer::NotModified,
            Loaded::Failed(why) => Answer::Failed(why),
        }
    }
}

/// One load, as its loader sees it.
pub struct Load<T> {
    state: Arc<LoadState>,
    previous: Option<Arc<Entry>>,
    value: PhantomData<fn() -> T>,
}

impl<T: Send + Sync + 'static> Load<T> {
    /// The key that is loaded.
    pub fn key(&self) -> &Segments {
        self.state.keys[0].segments()
    }

    /// Adds a tag to the entry.
    pub fn tag(&self, tag: impl Into<Tag>) {
        self.state.gathered(0).add_tags([tag.into()]);
    }

    /// Adds tags to the entry.
    pub fn tags(&self, tags: impl IntoIterator<Item = Tag>) {
        self.state.gathered(0).add_tags(tags);
    }

    /// This entry lives so long, instead of the region's TTL; for an absent key, instead of its negative TTL.
    pub fn ttl(&self, ttl: Duration) {
        self.state.gathered(0).said.ttl = Some(ttl);
    }

    /// This entry lives at most so long. The shortest of several counts.
    pub fn ttl_at_most(&self, ttl: Duration) {
        let max = &mut self.state.gathered(0).said.ttl_max;
        *max = Some(max.map_or(ttl, |max| max.min(ttl)));
    }

    /// The value is returned to its readers, and kept nowhere.
    pub fn do_not_store(&self) {
        self.state.gathered(0).do_not_store = true;
    }

    /// The value this load is to replace, if memory or a store still has it, however old.
    pub fn previous(&self) -> Option<&T> {
        self.previous.as_ref()?.value()?.downcast_ref()
    }

    /// The answer: the origin has nothing under this key.
    pub fn absent(&self) -> Loaded<T> {
        Loaded::Absent
    }

    /// The answer: [`Load::previous`] still holds.
    pub fn not_modified(&self) -> Loaded<T> {
        Loaded::NotModified
    }

    /// The answer: it failed, for this reason.
    pub fn failed(&self, why: impl Into<String>) -> Loaded<T> {
        Loaded::Failed(why.into())
    }
}

/// Hides the types of a loader from the engine.
pub(super) fn erase<T, F, Fut, R, E>(loader: F) -> Loader
where
    T: Send + Sync + 'static,
    F: FnOnce(Load<T>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<R, E>> + Send + 'static,
    R: Into<Loaded<T>> + 'static,
    E: Into<LoadError> + 'static,
{
    Box::new(move |state, previous| -> LoadFuture {
        let loading = loader(Load { state, previous, value: PhantomData });
        Box::pin(async move {
            match loading.await {
                Ok(answer) => Ok(answer.into().into_answer()),
                Err(error) => Err(error.into()),
            }
        })
    })
}
