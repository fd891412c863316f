//! The map: entries with their ends, what was invalidated in order, and for each read the one answer there is.
//!
//! Plain and slow. It knows the documented behaviour of a read and nothing of hashes, numbers, locks or tasks.

use crate::names::{Named, Place};
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
    tags: Vec<usize>,
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
    Done(Answered),
    /// Served, and to be loaded behind the reader's back.
    Refresh(Answered, Entry),
    Load {
        fallback: Option<(Entry, From)>,
        previous: Option<Entry>,
    },
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

    fn is_invalidated(&self, place: Place, entry: &Entry) -> bool {
        let since = &self.invalidations[entry.born..];
        since.iter().any(|(tenant, named)| named.iter().any(|n| n.reaches(*tenant, place, &entry.tags)))
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
            let (life, invalidated) = (entry.life(self.now), self.is_invalidated(place, &entry));
            if from == From::Store && life != Life::Over && !invalidated {
                self.keep(at, place, entry.clone());
            }
            if !invalidated && matches!(life, Life::Fresh | Life::Due | Life::Stale) {
                let how = if life == Life::Stale { How::Revalidating } else { How::Fresh };
                let answered = self.served(&entry, from, how);
                let refreshes = loads && life != Life::Fresh && entry.shut <= self.now;
                return if refreshes { Look::Refresh(answered, entry) } else { Look::Done(answered) };
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
            return Look::Done(Answered::Nothing);
        }
        match fallback {
            Some((entry, from)) if self.now < entry.shut => {
                Look::Done(self.served(&entry, from, How::OriginFailed))
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
            Look::Done(answered) | Look::Refresh(answered, _) => answered,
            Look::Load { .. } => Answered::Nothing,
        }
    }

    /// A read whose load, if there is one, answers so; also whether the loader is called.
    pub fn load(&mut self, at: usize, place: Place, answer: &Answer, value: u64) -> (Answered, bool) {
        match self.look(at, place, true) {
            Look::Done(answered) => (answered, false),
            Look::Refresh(answered, entry) => {
                let _ = self.land(at, place, answer, value, Some(&entry));
                (answered, true)
            }
            Look::Load { fallback, previous } => {
                let landed = self.land(at, place, answer, value, previous.as_ref());
                let answered = match (landed, fallback) {
                    (Some(entry), _) => self.served(&entry, From::Loader, How::Fresh),
                    (None, Some((entry, from))) => self.served(&entry, from, How::OriginFailed),
                    (None, None) => Answered::Failed,
                };
                (answered, true)
            }
        }
    }

    /// What becomes of a loader's answer; `None` when it failed.
    fn land(
        &mut self,
        at: usize,
        place: Place,
        answer: &Answer,
        value: u64,
        previous: Option<&Entry>,
    ) -> Option<Entry> {
        let mut tags = answer.tags.clone();
        let value = match answer.kind {
            Kind::Value => Some(value),
            Kind::Absent => None,
            Kind::NotModified if previous.is_some_and(|previous| previous.value.is_some()) => {
                tags.extend(previous.iter().flat_map(|previous| previous.tags.iter().copied()));
                previous.and_then(|previous| previous.value)
            }
            Kind::NotModified | Kind::Declined | Kind::Error => {
                self.failed(at, place, previous);
                return None;
            }
        };
        let ttl = answer.ttl.map(|ttl| u64::try_from(ttl.as_micros()).unwrap());
        let entry = self.loaded(place, value, tags, ttl);
        if entry.soft > entry.created && !answer.do_not_store {
            self.keep(at, place, entry.clone());
            self.put_in_store(place, &entry);
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

    fn loaded(&mut self, place: Place, value: Option<u64>, tags: Vec<usize>, ttl: Option<Micros>) -> Entry {
        let terms = &TERMS[place.region];
        self.ids += 1;
        let created = self.now;
        let ttl = ttl.unwrap_or(if value.is_some() { terms.ttl } else { terms.negative.unwrap_or(0) });
        let soft = created + ttl;
        let hard = if value.is_some() && ttl > 0 { soft + terms.window } else { soft };
        let end = match terms.fail_safe.filter(|_| value.is_some()) {
            Some((max_age, _)) => hard.max(created + max_age),
            None => hard,
        };
        let early = terms.refresh_after.filter(|_| value.is_some());
        let refresh = early.map_or(soft, |after| created + ttl * after / terms.ttl);
        let (id, born) = (self.ids, self.invalidations.len());
        Entry { id, value, tags, born, created, refresh, soft, hard, end, shut: 0 }
    }

    /// Memory keeps what is newest.
    fn keep(&mut self, at: usize, place: Place, entry: Entry) {
        if self.memory[at].get(&place).is_none_or(|there| there.born <= entry.born) {
            self.memory[at].insert(place, entry);
        }
    }

    fn put_in_store(&mut self, place: Place, entry: &Entry) {
        self.ids += 1;
        let copy = Entry { id: self.ids, ..entry.clone() };
        self.store_of(place).map(|store| store.insert(place, copy));
    }

    pub fn put(&mut self, at: usize, place: Place, value: u64, tags: &[usize]) {
        self.invalidate(place.tenant, &[Named::Key(place.region, place.key)]);
        let entry = self.loaded(place, Some(value), tags.to_vec(), None);
        self.keep(at, place, entry.clone());
        self.put_in_store(place, &entry);
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
