//! What becomes of a load's answer: the entry it makes, and whether memory keeps it.

use super::flights::Flight;
use super::nested::Gathered;
use super::tiers::is_worth_keeping;
use super::{Answer, Engine, Scope};
use crate::error::Error;
use crate::memory::{Entry, Key, Rest, Value};
use crate::observe::Count;
use larder_core::expiry::Times;
use larder_core::{Birth, Override, seeded_bug};
use std::sync::Arc;

impl Engine {
    /// The entry an answer makes, and whether it is to be kept.
    pub(crate) fn compose(
        &self,
        scope: &Scope,
        key: &Key,
        born: Option<Birth>,
        gathered: &mut Gathered,
        answer: Answer,
        previous: Option<&Arc<Entry>>,
    ) -> Result<(Arc<Entry>, bool), Error> {
        let late = answer.is_absent() && seeded_bug!("stamp_after_load_negative");
        let born = if late { self.fences.birth() } else { born };
        let value = match answer {
            Answer::Value(value) => value,
            Answer::Absent => Value::Absent,
            Answer::Failed(why) => {
                scope.stats.add(Count::LoadFailed);
                return Err(Error::declined(why));
            }
            Answer::NotModified => {
                let Some(previous) = previous.filter(|previous| previous.value().is_some()) else {
                    scope.stats.add(Count::LoadFailed);
                    return Err(Error::not_modified());
                };
                scope.stats.add(Count::NotModified);
                // The old value, as of now: it still depends on what it depended on.
                if !seeded_bug!("not_modified_forgets_tags") {
                    gathered.add_tags(previous.tags.iter().cloned());
                    gathered.also.extend(previous.dependencies.also().iter().cloned());
                    gathered.inherited.inherit(&previous.dependencies);
                }
                gathered.unnamable |= previous.unnamable;
                Value::Of(previous.clone())
            }
        };
        Ok(self.entry(scope, key, gathered.oldest_birth(born), gathered, value))
    }

    /// An entry born so, of this value or of "there is none", and whether it is to be kept.
    pub(crate) fn entry(
        &self,
        scope: &Scope,
        key: &Key,
        born: Option<Birth>,
        gathered: &Gathered,
        value: Value,
    ) -> (Arc<Entry>, bool) {
        let now = self.time.now();
        let value_bytes = value.as_any().map_or(0, |value| scope.codec.weigh(value));
        let fits = value_bytes <= scope.policy.value_bytes_max;
        if !fits {
            scope.stats.add(Count::TooLarge);
        }
        let times = self.times(scope, now, gathered.said, !value.is_absent());
        let keep = fits && born.is_some() && !gathered.do_not_store && is_worth_keeping(&times, now);
        let mut dependencies = self.fences.dependencies(&scope.path_of(key), &gathered.tags, &gathered.also);
        dependencies.inherit(&gathered.inherited);
        let entry = value.file(
            key,
            Rest {
                dependencies,
                times,
                gate: Default::default(),
                born,
                tags: gathered.tags.as_slice().into(),
                unnamable: gathered.unnamable,
                value_bytes,
            },
        );
        (entry, keep)
    }

    fn times(&self, scope: &Scope, now: u64, said: Override, is_value: bool) -> Times {
        if is_value {
            return scope.policy.expiry.times(now, said, self.random());
        }
        let unkept = Times { created: now, refresh: now, soft: now, hard: now, end: now };
        scope.policy.expiry.negative_times(now, said).unwrap_or(unkept)
    }

    /// Keeps what a flight brought, expired if the key was expired meanwhile; returns what is to be stored, if anything.
    pub(crate) fn keep_landed(
        &self,
        scope: &Scope,
        key: &Key,
        flight: &Flight,
        entry: &Arc<Entry>,
    ) -> Option<Arc<Entry>> {
        let expired = || Value::Of(entry.clone()).file(key, entry.expired(self.time.now()));
        let mut kept = if flight.is_expired() { expired() } else { entry.clone() };
        let mut is_fresh = self.keep(scope, key, &kept);
        // Expired between the look and the keeping: whoever did it may not have found the entry yet.
        if flight.is_expired() && Arc::ptr_eq(&kept, entry) {
            kept = expired();
            is_fresh = self.keep(scope, key, &kept);
        }
        is_fresh.then_some(kept)
    }

    /// Ends the TTL of what a key's flight, if it has one, will bring.
    pub(crate) fn expire_flight(&self, key: &Key) {
        self.flights.expire(key);
    }

    /// The origin has nothing under the key any more, and the region does not remember absences: what the tiers still
    /// have of it goes, or it would be served as stale, or as a fallback, after the origin said that it is gone.
    pub(crate) fn forget_if_gone(
        self: &Arc<Self>,
        scope: &Arc<Scope>,
        key: &Key,
        flight: &Flight,
        entry: &Arc<Entry>,
        previous: Option<&Arc<Entry>>,
    ) {
        if entry.value().is_some() || previous.is_none() {
            return;
        }
        // When the origin was asked, not how old the answer counts: built from others, it may count as older than what
        // it says is gone.
        let asked = flight.began().and_then(|began| began.born).map_or(0, |born| born.local);
        if self.memory.peek(key).is_some_and(|there| there.local() <= asked) {
            self.memory.remove(key);
        }
        self.unstore_later(scope, key);
    }

    /// Whether memory holds this key's entry as it is here, or a newer one.
    pub(crate) fn is_superseded(&self, key: &Key, entry: &Arc<Entry>) -> bool {
        self.memory.peek(key).is_some_and(|there| supersedes(&*there, &**entry))
    }

    /// Puts an entry into memory, unless the rule already refuses it (then false) or what is there was born later and is
    /// still of use. Neither check is needed for safety; they spare good entries from bad ones.
    pub(crate) fn keep(&self, scope: &Scope, key: &Key, entry: &Arc<Entry>) -> bool {
        self.keep_over(scope, key, entry, self.memory.peek(key).as_ref())
    }

    /// [`Engine::keep`], over what was found there a moment ago.
    pub(crate) fn keep_over(
        &self,
        scope: &Scope,
        key: &Key,
        entry: &Arc<Entry>,
        there: Option<&Arc<Entry>>,
    ) -> bool {
        let is_fresh = |entry: &Entry| {
            let path = || scope.path_of(key);
            self.fences.check_local(|| entry.local(), &entry.dependencies, &entry.checked, path).is_fresh()
        };
        if !is_fresh(&**entry) {
            scope.stats.add(Count::RejectedByRule);
            return false;
        }
        let is_better = |there: &Arc<Entry>| {
            there.local() > entry.local()
                && there.times.life(self.time.now()).is_served()
                && is_fresh(&**there)
        };
        if there.is_some_and(is_better) {
            return true;
        }
        if !self.memory.insert(key, entry.clone(), there.is_some()) {
            scope.stats.add(Count::TooLarge);
        }
        // A load that outlived the close: memory was cleared before, and nobody follows the journal any more.
        if self.is_stopped() {
            self.memory.remove(key);
        }
        true
    }
}

/// Whether an entry of a key is what another is, or newer.
pub(super) fn supersedes(there: &Entry, entry: &Entry) -> bool {
    there.local() >= entry.local() && there.times.created >= entry.times.created
}
