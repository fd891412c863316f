//! The map: entries with their ends, what was invalidated in order, and for each read the one answer there is.
//!
//! Plain and slow. It knows the documented behaviour of a read and nothing of hashes, numbers, locks or tasks.

use crate::names::{Named, Place, Tagged};
use crate::steps::{Answer, Kind};
use larder::{Level, Policy};
use std::collections::HashMap;
use std::time::Duration;

/// In microseconds since the beginning, or as a length.
pub type Micros = u64;

const MS: Micros = 1_000;

/// What a region's policy says, in words of the map.
pub struct Terms {
    pub ttl: Micros,
    pub window: Micros,
    /// From which half of the TTL reads refresh, if they do.
    pub refresh_after: Option<Micros>,
    pub fail_safe: Option<(Micros, Micros)>,
    pub negative: Option<Micros>,
    pub memory_only: bool,
    pub level: Level,
}

pub const TERMS: [Terms; 3] = [
    Terms {
        ttl: 10_000 * MS,
        window: 0,
        refresh_after: None,
        fail_safe: None,
        negative: None,
        memory_only: false,
        level: Level::Eventual,
    },
    Terms {
        ttl: 10_000 * MS,
        window: 5_000 * MS,
        refresh_after: Some(5_000 * MS),
        fail_safe: Some((60_000 * MS, 2_000 * MS)),
        negative: Some(3_000 * MS),
        memory_only: false,
        level: Level::Bounded(Duration::from_secs(1)),
    },
    Terms {
        ttl: 3_000 * MS,
        window: 2_000 * MS,
        refresh_after: None,
        fail_safe: Some((15_000 * MS, 1_000 * MS)),
        negative: Some(1_000 * MS),
        memory_only: true,
        level: Level::Bounded(Duration::from_millis(300)),
    },
];

impl Terms {
    pub fn policy(&self) -> Policy {
        let micros = Duration::from_micros;
        let mut policy =
            Policy::ttl(micros(self.ttl)).level(self.level).stale_while_revalidate(micros(self.window));
        if let Some(after) = self.refresh_after {
            policy = policy.refresh_ahead(after as f64 / self.ttl as f64);
        }
        if let Some((max_age, throttle)) = self.fail_safe {
            policy = policy.fail_safe(micros(max_age), micros(throttle));
        }
        if let Some(negative) = self.negative {
            policy = policy.negative_ttl(micros(negative));
        }
        if self.memory_only { policy.memory_only() } else { policy }
    }
}

#[derive(Clone, Debug)]
struct Entry {
    /// Tells copies of one load apart from those of another.
    id: u64,
    /// `None`: the origin has nothing.
    value: Option<u64>,
    /// Its own, then those of the entries it was built from.
    keys: Vec<Place>,
    tags: Vec<Tagged>,
    /// Depends on tags of another tenant, which have no name where it is stored.
    unnamable: bool,
    /// How many invalidations there had been when it was loaded.
    born: usize,
    created: Micros,
    refresh: Micros,
    soft: Micros,
    hard: Micros,
    end: Micros,
    /// Until then the origin is left alone.
    shut: Micros,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Fresh,
    Due,
    Stale,
    Fallback,
    Over,
}

impl Entry {
    fn life(&self, now: Micros) -> Life {
        match now {
            _ if now < self.refresh => Life::Fresh,
            _ if now < self.soft => Life::Due,
            _ if now < self.hard => Life::Stale,
            _ if now < self.end => Life::Fallback,
            _ => Life::Over,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Memory,
    Store,
    Loader,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Fresh,
    Revalidating,
    OriginFailed,
}

/// What a read comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    Value {
        value: u64,
        from: From,
        how: How,
        age: Micros,
        fresh_for: Micros,
    },
    /// In no tier.
    Nothing,
    /// The origin has nothing.
    Absent,
    /// The load failed.
    Failed,
}

/// What a look at the tiers comes to.
enum Look {
    Done(Answered, Option<Entry>),
    /// Served, and to be loaded behind the reader's back.
    Refresh(Answered, Entry),
    Load {
        fallback: Option<(Entry, From)>,
        previous: Option<Entry>,
    },
}

/// One load: what its loader answers, and what it reads before.
pub struct Loads<'a> {
    pub answer: &'a Answer,
    pub value: u64,
    pub inner: Option<(Place, &'a Loads<'a>)>,
}

/// What became of a read.
pub struct Read {
    pub answered: Answered,
    /// Whether the loader was called, and if it read another place, whether that one's was.
    pub called: bool,
    pub inner: Option<bool>,
    served: Option<Entry>,
}

/// What a load gathers about the entry it makes.
#[derive(Default)]
struct Gathered {
    keys: Vec<Place>,
    tags: Vec<Tagged>,
    unnamable: bool,
    born: Option<usize>,
    ttl_max: Option<Micros>,
}

impl Gathered {
    /// An entry built from another is as old as that, depends on all it depends on, and lives no longer.
    fn inherit(&mut self, own: Place, from: &Entry, now: Micros) {
        self.depend_on(from);
        let its = from.keys[0].tenant;
        self.unnamable |= its != own.tenant && from.tags.iter().any(|(tenant, _)| *tenant == its);
        self.born = Some(from.born);
        self.ttl_max = Some(from.soft.saturating_sub(now));
    }

    fn depend_on(&mut self, from: &Entry) {
        self.keys.extend_from_slice(&from.keys);
        self.tags.extend_from_slice(&from.tags);
        self.unnamable |= from.unnamable;
    }
}

pub struct Map {
    pub now: Micros,
    invalidations: Vec<(usize, Vec<Named>)>,
    memory: Vec<HashMap<Place, Entry>>,
    store: Option<HashMap<Place, Entry>>,
    ids: u64,
}

impl Map {
    pub fn new(processes: usize, has_store: bool) -> Self {
        Map {
            now: 0,
            invalidations: Vec::new(),
            memory: vec![HashMap::new(); processes],
            store: has_store.then(HashMap::new),
            ids: 0,
        }
    }

    pub fn invalidate(&mut self, tenant: usize, named: &[Named]) {
        self.invalidations.push((tenant, named.to_vec()));
    }

    fn is_invalidated(&self, entry: &Entry) -> bool {
        let since = &self.invalidations[entry.born..];
        let named = || since.iter().flat_map(|(tenant, named)| named.iter().map(|n| (*tenant, n)));
        entry.keys.iter().any(|key| named().any(|(tenant, n)| n.names_key(tenant, *key)))
            || entry.tags.iter().any(|tag| named().any(|(tenant, n)| n.names_tag(tenant, *tag)))
    }

    fn store_of(&mut self, place: Place) -> Option<&mut HashMap<Place, Entry>> {
        self.store.as_mut().filter(|_| !TERMS[place.region].memory_only)
    }

    /// What is in the store, unless memory has the same or newer.
    fn in_store(&mut self, at: usize, place: Place) -> Option<Entry> {
        let found = self.store_of(place)?.get(&place)?.clone();
        let there = self.memory[at].get(&place);
        let superseded =
            there.is_some_and(|there| there.born >= found.born && there.created >= found.created);
        (!superseded).then_some(Entry { shut: 0, ..found })
    }

    fn look(&mut self, at: usize, place: Place, loads: bool) -> Look {
        let terms = &TERMS[place.region];
        let (mut fallback, mut previous) = (None, None);
        for from in [From::Memory, From::Store] {
            let entry = match from {
                From::Memory => self.memory[at].get(&place).cloned(),
                _ => self.in_store(at, place),
            };
            let Some(entry) = entry else { continue };
            let (life, invalidated) = (entry.life(self.now), self.is_invalidated(&entry));
            if from == From::Store && life != Life::Over && !invalidated {
                self.keep(at, place, entry.clone());
            }
            if !invalidated && matches!(life, Life::Fresh | Life::Due | Life::Stale) {
                let how = if life == Life::Stale { How::Revalidating } else { How::Fresh };
                let answered = self.served(&entry, from, how);
                let refreshes = loads && life != Life::Fresh && entry.shut <= self.now;
                return if refreshes {
                    Look::Refresh(answered, entry)
                } else {
                    Look::Done(answered, Some(entry))
                };
            }
            if entry.value.is_some() && previous.is_none() {
                previous = Some(entry.clone());
            }
            let kept = terms.fail_safe.is_some() && life != Life::Over && !invalidated;
            if kept && entry.value.is_some() && fallback.is_none() {
                previous = Some(entry.clone());
                fallback = Some((entry, from));
            }
        }
        if !loads {
            return Look::Done(Answered::Nothing, None);
        }
        match fallback {
            Some((entry, from)) if self.now < entry.shut => {
                Look::Done(self.served(&entry, from, How::OriginFailed), Some(entry))
            }
            fallback => Look::Load { fallback, previous },
        }
    }

    fn served(&self, entry: &Entry, from: From, how: How) -> Answered {
        let Some(value) = entry.value else { return Answered::Absent };
        let (age, fresh_for) = (self.now - entry.created, entry.soft.saturating_sub(self.now));
        Answered::Value { value, from, how, age, fresh_for }
    }

    pub fn get(&mut self, at: usize, place: Place) -> Answered {
        match self.look(at, place, false) {
            Look::Done(answered, _) | Look::Refresh(answered, _) => answered,
            Look::Load { .. } => Answered::Nothing,
        }
    }

    /// A read whose load, if there is one, answers so.
    pub fn load(&mut self, at: usize, place: Place, load: &Loads<'_>) -> Read {
        self.load_within(at, place, load, None)
    }

    /// In the loader of another read, of the place given last.
    fn load_within(&mut self, at: usize, place: Place, load: &Loads<'_>, within: Option<Place>) -> Read {
        let (answered, previous, fallback) = match self.look(at, place, true) {
            Look::Done(answered, served) => return Read { answered, called: false, inner: None, served },
            // It is being loaded already.
            Look::Refresh(answered, entry) if within == Some(place) => {
                return Read { answered, called: false, inner: None, served: Some(entry) };
            }
            Look::Refresh(answered, entry) => (Some(answered), Some(entry), None),
            Look::Load { fallback, previous } => (None, previous, fallback),
        };
        let inner = load.inner.map(|(inner, its)| self.load_within(at, inner, its, Some(place)));
        let mut gathered = Gathered::default();
        if let Some(served) = inner.as_ref().and_then(|inner| inner.served.as_ref()) {
            gathered.inherit(place, served, self.now);
        }
        let inner = inner.map(|inner| inner.called);
        let landed = self.land(at, place, load, gathered, previous.as_ref());
        let (answered, served) = match (answered, landed, fallback) {
            (Some(answered), ..) => (answered, previous),
            (None, Some(entry), _) => (self.served(&entry, From::Loader, How::Fresh), Some(entry)),
            (None, None, Some((entry, from))) => (self.served(&entry, from, How::OriginFailed), Some(entry)),
            (None, None, None) => (Answered::Failed, None),
        };
        Read { answered, called: true, inner, served }
    }

    /// What becomes of a loader's answer; `None` when it failed.
    fn land(
        &mut self,
        at: usize,
        place: Place,
        load: &Loads<'_>,
        mut gathered: Gathered,
        previous: Option<&Entry>,
    ) -> Option<Entry> {
        let answer = load.answer;
        gathered.tags.extend(answer.tags.iter().map(|n| (place.tenant, *n)));
        let value = match answer.kind {
            Kind::Value => Some(load.value),
            Kind::Absent => None,
            Kind::NotModified if previous.is_some_and(|previous| previous.value.is_some()) => {
                // As of now, but it still depends on what it depended on.
                if let Some(previous) = previous {
                    gathered.depend_on(previous);
                }
                previous.and_then(|previous| previous.value)
            }
            Kind::NotModified | Kind::Declined | Kind::Error => {
                self.failed(at, place, previous);
                return None;
            }
        };
        let ttl = answer.ttl.map(|ttl| u64::try_from(ttl.as_micros()).unwrap());
        let entry = self.loaded(place, value, gathered, ttl);
        if entry.soft > entry.created && !answer.do_not_store {
            self.keep_and_store(at, place, &entry);
        } else if value.is_none() && previous.is_some() {
            self.memory[at].remove(&place);
            self.store_of(place).map(|store| store.remove(&place));
        }
        Some(entry)
    }

    /// The origin is left alone for a while, by whoever finds the entry that the load was to replace.
    fn failed(&mut self, at: usize, place: Place, previous: Option<&Entry>) {
        let (Some(previous), Some((_, throttle))) = (previous, TERMS[place.region].fail_safe) else { return };
        let until = self.now + throttle;
        if let Some(there) = self.memory[at].get_mut(&place).filter(|there| there.id == previous.id) {
            there.shut = there.shut.max(until);
        }
    }

    fn loaded(&mut self, place: Place, value: Option<u64>, of: Gathered, ttl: Option<Micros>) -> Entry {
        let terms = &TERMS[place.region];
        self.ids += 1;
        let created = self.now;
        let ttl = ttl.unwrap_or(if value.is_some() { terms.ttl } else { terms.negative.unwrap_or(0) });
        let ttl = ttl.min(of.ttl_max.unwrap_or(Micros::MAX));
        let soft = created + ttl;
        let hard = if value.is_some() && ttl > 0 { soft + terms.window } else { soft };
        let end = match terms.fail_safe.filter(|_| value.is_some()) {
            Some((max_age, _)) => hard.max(created + max_age),
            None => hard,
        };
        let early = terms.refresh_after.filter(|_| value.is_some());
        let refresh = early.map_or(soft, |after| created + ttl * after / terms.ttl);
        let born = self.invalidations.len().min(of.born.unwrap_or(usize::MAX));
        let keys = [&[place], &of.keys[..]].concat();
        let (id, tags, unnamable) = (self.ids, of.tags, of.unnamable);
        Entry { id, value, keys, tags, unnamable, born, created, refresh, soft, hard, end, shut: 0 }
    }

    /// Memory keeps what is of use, and of two such what was born later.
    fn keep_and_store(&mut self, at: usize, place: Place, entry: &Entry) {
        self.keep(at, place, entry.clone());
        // What was dead on arrival would only take the place of something better.
        let there = self.memory[at].get(&place).filter(|there| there.id != entry.id);
        let superseded =
            there.is_some_and(|there| there.born >= entry.born && there.created >= entry.created);
        if !self.is_invalidated(entry) && !superseded {
            self.put_in_store(place, entry);
        }
    }

    fn keep(&mut self, at: usize, place: Place, entry: Entry) {
        let now = self.now;
        let there = self.memory[at].get(&place);
        let better = there
            .is_some_and(|there| there.born > entry.born && now < there.hard && !self.is_invalidated(there));
        if !self.is_invalidated(&entry) && !better {
            self.memory[at].insert(place, entry);
        }
    }

    fn put_in_store(&mut self, place: Place, entry: &Entry) {
        if entry.unnamable {
            return;
        }
        self.ids += 1;
        let copy = Entry { id: self.ids, ..entry.clone() };
        self.store_of(place).map(|store| store.insert(place, copy));
    }

    pub fn put(&mut self, at: usize, place: Place, value: u64, tags: &[usize]) {
        self.invalidate(place.tenant, &[Named::Key(place.region, place.key)]);
        self.fill(at, place, value, tags, None);
    }

    /// How many invalidations there have been.
    pub fn snapshot(&self) -> usize {
        self.invalidations.len()
    }

    /// Keeps a value read after a moment.
    pub fn fill(&mut self, at: usize, place: Place, value: u64, tags: &[usize], as_of: Option<usize>) {
        let tags = tags.iter().map(|n| (place.tenant, *n)).collect();
        let entry =
            self.loaded(place, Some(value), Gathered { tags, born: as_of, ..Gathered::default() }, None);
        self.keep_and_store(at, place, &entry);
    }

    pub fn remove(&mut self, at: usize, place: Place) {
        self.invalidate(place.tenant, &[Named::Key(place.region, place.key)]);
        self.memory[at].remove(&place);
        self.store_of(place).map(|store| store.remove(&place));
    }

    pub fn expire(&mut self, at: usize, place: Place) {
        let there = self.memory[at].get(&place).cloned();
        let Some(entry) = there.or_else(|| self.in_store(at, place)) else { return };
        self.ids += 1;
        let now = self.now;
        let (refresh, soft, hard) = (entry.refresh.min(now), entry.soft.min(now), entry.hard.min(now));
        let expired = Entry { id: self.ids, refresh, soft, hard, shut: 0, ..entry };
        self.memory[at].insert(place, expired.clone());
        self.put_in_store(place, &expired);
    }
}
