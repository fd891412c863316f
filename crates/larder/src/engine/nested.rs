//! Loads within loads: an entry built from other cached entries takes over what they depend on.
//!
//! While a loader runs, the task carries its load's state; every read of a region adds what it was served to it.
//! Tasks that the loader spawns do not carry it: read before spawning, or name the tags by hand.

use crate::memory::{Head, Key};
use larder_core::{Birth, Dependencies, Override, Path, Tag, seeded_bug};
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// More tags, or more entries, than this: the value is returned but not kept.
const NAMES_MAX: usize = 1024;

thread_local! {
    /// Whether a load is being polled on this thread; what the load is, `LOADING` knows.
    static IS_LOADING: Cell<bool> = const { Cell::new(false) };
}

tokio::task_local! {
    static LOADING: Arc<LoadState>;
}

/// What a load has gathered so far about the entry it makes.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) tags: Vec<Tag>,
    /// Keys of the entries it was built from.
    pub(crate) also: Vec<Path>,
    /// What those depend on.
    pub(crate) inherited: Dependencies,
    /// The oldest of their births; `Some(None)` when one had none.
    pub(crate) oldest: Option<Option<Birth>>,
    pub(crate) said: Override,
    pub(crate) do_not_store: bool,
    pub(crate) unnamable: bool,
}

/// The state of one running load.
pub(crate) struct LoadState {
    /// The engine it runs in, by address: stamps of another one's entries mean nothing here.
    pub(crate) engine: usize,
    pub(crate) tenant: Path,
    pub(crate) source: usize,
    pub(crate) keys: Vec<Key>,
    parent: Option<Arc<LoadState>>,
    gathered: Vec<Mutex<Gathered>>,
    /// Its origin was seen to show what the node had applied, and may show nothing beyond.
    lags: AtomicBool,
    /// The load's place at its source. Given back when the last of it is gone: a load inside of it may outlive it in the
    /// background, and runs in the same place.
    place: OnceLock<OwnedSemaphorePermit>,
}

impl LoadState {
    /// The state of a load of these keys (one, save in a batch), inside whatever load the task is running.
    pub(crate) fn new(engine: usize, tenant: Path, source: usize, keys: Vec<Key>) -> Arc<Self> {
        let parent = LOADING.try_with(Arc::clone).ok();
        let gathered = keys.iter().map(|_| Mutex::default()).collect();
        Arc::new(LoadState {
            engine,
            tenant,
            source,
            keys,
            parent,
            gathered,
            lags: AtomicBool::new(false),
            place: OnceLock::new(),
        })
    }

    /// The load has got this place, if it needed one of its own.
    pub(crate) fn take_place(&self, place: Option<OwnedSemaphorePermit>) {
        // The mistake: the place is given back while a load is still in it.
        if let Some(place) = place.filter(|_| !seeded_bug!("place_given_back_early")) {
            let _ = self.place.set(place);
        }
    }

    /// The load looks at an origin that may lag.
    pub(crate) fn note_lag(&self) {
        self.lags.store(true, Ordering::Relaxed);
    }

    /// Whether it does.
    pub(crate) fn lags(&self) -> bool {
        self.lags.load(Ordering::Relaxed)
    }

    /// What was gathered for the key at this place.
    pub(crate) fn gathered(&self, at: usize) -> MutexGuard<'_, Gathered> {
        self.gathered[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ancestors(self: &Arc<Self>) -> impl Iterator<Item = &Arc<LoadState>> {
        std::iter::successors(Some(self), |state| state.parent.as_ref())
    }
}

/// Runs a loader's future as this load.
pub(crate) async fn within<F: Future>(state: Arc<LoadState>, future: F) -> F::Output {
    Marked(Box::pin(LOADING.scope(state, future))).await
}

/// A future during whose polls the thread is marked as running a load.
struct Marked<F>(Pin<Box<F>>);

impl<F: Future> Future for Marked<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        /// Put back even when the loader panics.
        struct Before(bool);
        impl Drop for Before {
            fn drop(&mut self) {
                IS_LOADING.set(self.0);
            }
        }
        let _before = Before(IS_LOADING.replace(true));
        self.0.as_mut().poll(cx)
    }
}

/// Whether the task is running a load. Asked on every hit: one load from a cell of the thread.
#[inline]
pub(crate) fn is_loading() -> bool {
    IS_LOADING.get()
}

/// Whether the task is already loading this key: waiting for that load would be waiting for itself.
pub(crate) fn is_loading_key(key: &Key) -> bool {
    LOADING.try_with(|state| state.ancestors().any(|s| s.keys.contains(key))).unwrap_or(false)
}

/// Whether the task already holds a place at this source: waiting for another could be waiting for itself.
pub(crate) fn holds_place_at(source: usize) -> bool {
    LOADING.try_with(|state| state.ancestors().any(|s| s.source == source)).unwrap_or(false)
}

/// Adds an entry served inside a load to what that load's entry depends on.
#[cold]
pub(crate) fn served(
    engine: usize,
    tenant: &Path,
    key: impl FnOnce() -> Path,
    entry: &Head,
    remaining: Duration,
) {
    let Ok(state) = LOADING.try_with(Arc::clone) else { return };
    let key = (state.engine == engine).then(key);
    for at in 0..state.keys.len() {
        let mut gathered = state.gathered(at);
        let max = &mut gathered.said.ttl_max;
        *max = Some(max.map_or(remaining, |max| max.min(remaining)));
        let Some(key) = &key else { continue };
        gathered.inherit(key, *tenant == state.tenant, entry);
    }
}

impl Gathered {
    fn inherit(&mut self, key: &Path, same_tenant: bool, entry: &Head) {
        self.oldest = Some(match (self.oldest, entry.born) {
            (None, born) => born,
            (Some(Some(oldest)), Some(born)) => Some(oldest.min(born)),
            _ => None,
        });
        if seeded_bug!("nested_forgets_dependencies") {
            return;
        }
        self.inherited.inherit(&entry.dependencies);
        for key in std::iter::once(key).chain(entry.dependencies.also()) {
            if !self.also.contains(key) {
                self.also.push(key.clone());
            }
        }
        // A stored entry's tags are of its own tenant; those of another have no name there.
        self.unnamable |= entry.unnamable || (!same_tenant && !entry.tags.is_empty());
        if same_tenant {
            self.add_tags(entry.tags.iter().cloned());
        }
        self.check_size();
    }

    pub(crate) fn add_tags(&mut self, tags: impl IntoIterator<Item = Tag>) {
        for tag in tags {
            if !self.tags.contains(&tag) {
                self.tags.push(tag);
            }
        }
        self.check_size();
    }

    fn check_size(&mut self) {
        self.do_not_store |= self.tags.len() > NAMES_MAX || self.also.len() > NAMES_MAX;
    }
}
