//! Many keys at once.

use super::{IntoKey, Loaded, Region};
use crate::engine::{Answer, BatchAnswers, BatchFuture, BatchLoader, LoadState};
use crate::error::{Error, LoadError};
use crate::memory::{Carried, Entry, Key};
use crate::outcome::Outcome;
use larder_core::{Segments, Tag};
use std::collections::HashMap;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One load of several keys, as its loader sees it.
pub struct Batch<T> {
    state: Arc<LoadState>,
    previous: Vec<Option<Arc<Entry>>>,
    value: PhantomData<fn() -> T>,
}

impl<T: Send + Sync + 'static> Batch<T> {
    /// The keys to load: those of the call that nobody else is loading.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Segments> {
        self.state.keys.iter().map(Key::segments)
    }

    /// Adds a tag to the entry of one key.
    pub fn tag(&self, key: &Segments, tag: impl Into<Tag>) {
        if let Some(at) = self.place(key) {
            self.state.gathered(at).add_tags([tag.into()]);
        }
    }

    /// The entry of this key lives so long, instead of the region's TTL.
    pub fn ttl(&self, key: &Segments, ttl: Duration) {
        if let Some(at) = self.place(key) {
            self.state.gathered(at).said.ttl = Some(ttl);
        }
    }

    /// The value of this key is returned to its readers, and kept nowhere.
    pub fn do_not_store(&self, key: &Segments) {
        if let Some(at) = self.place(key) {
            self.state.gathered(at).do_not_store = true;
        }
    }

    /// The value the load of this key is to replace, if a tier still has it, however old.
    pub fn previous(&self, key: &Segments) -> Option<&T> {
        self.previous.get(self.place(key)?)?.as_ref()?.value()?.downcast_ref()
    }

    fn place(&self, key: &Segments) -> Option<usize> {
        self.state.keys.iter().position(|k| k.segments() == key)
    }
}

impl<T: Send + Sync + 'static> Region<T> {
    /// The values under many keys, in the order asked, each from the tiers or loaded. The loader is called once
    /// for all keys that nobody is loading, and returns an answer for each it knows; a key it leaves out is absent
    /// from the origin. Keys that overlapping calls load are waited for. Each key fails on its own.
    ///
    /// The loader is called again, with one key, only if a load it waited for was overtaken by an invalidation.
    pub async fn get_many_or_load<F, Fut, R, E>(
        &self,
        keys: impl IntoIterator<Item = Segments>,
        loader: F,
    ) -> Vec<Result<Outcome<T>, Error>>
    where
        F: FnOnce(Batch<T>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Result<Vec<(Segments, R)>, E>> + Send + 'static,
        R: Into<Loaded<T>> + 'static,
        E: Into<LoadError> + 'static,
    {
        let Asked { distinct, asked } = self.asked(keys);
        let are_all_distinct = asked.len() == distinct.len();
        let read = Box::pin(self.engine.read_many(&self.scope, distinct, erase(loader)));
        let results: Vec<Result<Outcome<T>, Error>> = read
            .await
            .into_iter()
            .map(|served| served.and_then(|served| Outcome::of(served).ok_or_else(Error::absent)))
            .collect();
        if are_all_distinct {
            return results;
        }
        asked.into_iter().map(|at| at.and_then(|at| results[at].clone())).collect()
    }

    /// The keys, each once.
    fn asked(&self, keys: impl IntoIterator<Item = Segments>) -> Asked {
        let keys = keys.into_iter();
        let mut distinct: Vec<Key> = Vec::with_capacity(keys.size_hint().0);
        let mut places: HashMap<u64, usize, Carried> = HashMap::default();
        let mut asked: Vec<Result<usize, Error>> = Vec::with_capacity(distinct.capacity());
        for segments in keys {
            asked.push(segments.into_key(self.scope.id).map(|key| {
                let at = match places.get(&key.hash) {
                    // Another key with this hash may have taken its place.
                    Some(at) if distinct[*at] != *key => distinct.iter().position(|other| *other == *key),
                    place => place.copied(),
                };
                at.unwrap_or_else(|| {
                    places.insert(key.hash, distinct.len());
                    distinct.push(key.into_owned());
                    distinct.len() - 1
                })
            }));
        }
        Asked { distinct, asked }
    }
}

/// What was asked for.
struct Asked {
    distinct: Vec<Key>,
    /// For each key: where it is among the distinct ones, or what is wrong with it.
    asked: Vec<Result<usize, Error>>,
}

/// Hides the types of a loader from the engine.
fn erase<T, F, Fut, R, E>(loader: F) -> BatchLoader
where
    T: Send + Sync + 'static,
    F: FnOnce(Batch<T>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Vec<(Segments, R)>, E>> + Send + 'static,
    R: Into<Loaded<T>> + 'static,
    E: Into<LoadError> + 'static,
{
    // The lock is what makes a loader that may only be sent shareable; it is held for a clone.
    let loader = Mutex::new(loader);
    Arc::new(move |state: Arc<LoadState>, previous| -> BatchFuture {
        let loader = loader.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let loading = loader(Batch { state: state.clone(), previous, value: PhantomData });
        Box::pin(async move {
            let answers = loading.await.map_err(Into::into)?;
            Ok(by_place(&state, answers))
        })
    })
}

/// Answers about keys nobody asked for are dropped: they carry no stamp of their own.
fn by_place<T: Send + Sync + 'static, R: Into<Loaded<T>>>(
    state: &LoadState,
    answers: Vec<(Segments, R)>,
) -> BatchAnswers {
    let places: HashMap<&Segments, usize> =
        state.keys.iter().enumerate().map(|(at, key)| (key.segments(), at)).collect();
    let placed = answers.into_iter().filter_map(|(segments, answer)| {
        let at = *places.get(&segments)?;
        Some((at, answer.into().into_answer()))
    });
    placed.collect::<HashMap<usize, Answer>>()
}
