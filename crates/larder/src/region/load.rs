//! What a loader is given, and what it may answer.

use crate::engine::{Answer, Engine, LoadFuture, LoadState, Loader, Scope};
use crate::error::{Error, LoadError};
use crate::memory::{Entry, Value};
use larder_core::{Link, Segments, Tag};
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
    engine: Arc<Engine>,
    scope: Arc<Scope>,
    value: PhantomData<fn() -> T>,
}

impl<T: Send + Sync + 'static> Load<T> {
    /// The key that is loaded.
    pub fn key(&self) -> &Segments {
        self.state.keys[0].segments()
    }

    /// The cache's namespace.
    pub fn namespace(&self) -> &str {
        &self.engine.namespace
    }

    /// For an origin that may lag, as a standby does: the place in the journal's history that it must have come to before this
    /// load looks at it. Look only once it shows that (on a standby of the journal's Postgres: `larder.shows`), under
    /// the same snapshot or a later one. Then the region's level holds, whatever the lag. What the load brings counts as of that
    /// place: what this process has invalidated and not recorded makes it a miss, as does whatever the node has fenced for
    /// reasons of its own (after a failover, a doubtful clock), until the next record is applied.
    ///
    /// Without it, a region whose loads may be from a replica needs [`crate::Policy::replica_lag`].
    ///
    /// # Errors
    /// When this node does not know how far history has come, because the journal has not been reached within the region's
    /// bound: then nobody knows what the origin must show, and a value from there could be of any age.
    pub async fn must_show(&self) -> Result<Link, Error> {
        self.engine.must_show(&self.scope, &self.state).await
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
pub(super) fn erase<T, F, Fut, R, E>(engine: Arc<Engine>, scope: Arc<Scope>, loader: F) -> Loader
where
    T: Send + Sync + 'static,
    F: FnOnce(Load<T>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<R, E>> + Send + 'static,
    R: Into<Loaded<T>> + 'static,
    E: Into<LoadError> + 'static,
{
    Box::new(move |state, previous| -> LoadFuture {
        let loading = loader(Load { state, previous, engine, scope, value: PhantomData });
        Box::pin(async move {
            match loading.await {
                Ok(answer) => Ok(answer.into().into_answer()),
                Err(error) => Err(error.into()),
            }
        })
    })
}
