//! A cache (or two) and the map, told the same and compared.

use crate::Seen;
use crate::map::{Answered, From, How, Loads, Map, TERMS};
use crate::names::{KEYS, Place, REGIONS, TENANTS, segments, tag};
use crate::rig::{self, Down, Rig};
use crate::steps::{Answer, Kind, Step};
use larder::{Batch, Cache, Error, Freshness, Load, Loaded, Outcome, Region, Segments, Snapshot, Source};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Checked = Result<(), TestCaseError>;
type ManyAnswers = Result<Vec<(Segments, Loaded<u64>)>, Down>;

/// A third of the tightest bound: no later than this the follower renews.
const RENEWAL: Duration = Duration::from_millis(100);

pub struct Pair {
    rig: Rig,
    caches: Vec<Cache>,
    map: Map,
    /// Leases may have lapsed, and nobody has renewed them.
    lapsed: bool,
    /// Of each process, with what the map says of the same moment.
    snapshots: Vec<Vec<(Snapshot, usize)>>,
    pub seen: Seen,
}

impl Pair {
    pub async fn new(processes: usize, has_store: bool) -> Self {
        let rig = if has_store { Rig::with_store().await } else { Rig::new().await };
        let mut caches = vec![rig.cache.clone()];
        if processes > 1 {
            caches.push(rig.another().await);
        }
        let pair = Pair {
            rig,
            caches,
            map: Map::new(processes, has_store),
            lapsed: false,
            snapshots: vec![Vec::new(); processes],
            seen: Seen::new(),
        };
        // Regions stay for the life of the cache; their bounds set how often leases are renewed.
        for at in 0..processes {
            (0..TENANTS).for_each(|tenant| {
                (0..REGIONS.len()).for_each(|region| drop(pair.region(at, Place { tenant, region, key: 0 })));
            });
        }
        rig::settle().await;
        pair
    }

    fn region(&self, at: usize, place: Place) -> Region<u64> {
        let (name, policy) = (REGIONS[place.region], TERMS[place.region].policy());
        // The map knows no load that is spared because another process has just loaded the key; or this one, if memory
        // would not have what came of it, since what it had was born later. That was one case in some ten thousand.
        let policy = policy.own_flights();
        match place.tenant {
            0 => self.caches[at].region(name, policy).unwrap(),
            _ => self.caches[at].tenant("r").region(name, policy).unwrap(),
        }
    }

    pub async fn step(&mut self, number: u64, step: &Step) -> Checked {
        match step {
            Step::Get(at, place) => {
                let read = self.region(*at, *place).get(segments(place.key)).await;
                let expected = self.map.get(*at, *place);
                self.compare(answered(read), expected)?;
            }
            Step::Contains(at, place) => {
                let read = self.region(*at, *place).contains(segments(place.key)).await.unwrap();
                prop_assert_eq!(read, matches!(self.map.get(*at, *place), Answered::Value { .. }));
            }
            Step::Load(at, place, answer) => self.load(number * 100, *at, *place, answer).await?,
            Step::LoadMany(at, place, many, fails) => {
                self.load_many(number * 100, *at, *place, many, *fails).await?;
            }
            Step::Put(at, place, tags) => {
                let tagged = tags.iter().map(|n| tag(*n));
                let region = self.region(*at, *place);
                region.put_tagged(segments(place.key), number * 100, tagged).await.unwrap();
                self.map.put(*at, *place, number * 100, tags);
            }
            Step::Snapshot(at) => {
                let region = self.region(*at, Place { tenant: 0, region: 0, key: 0 });
                self.snapshots[*at].push((region.snapshot(), self.map.snapshot()));
            }
            Step::PutAsOf(at, place, tags, back) => {
                let taken = self.snapshots[*at].iter().rev().nth(*back);
                if let Some((snapshot, as_of)) = taken.copied() {
                    let tagged = tags.iter().map(|n| tag(*n));
                    let region = self.region(*at, *place);
                    region.put_as_of(snapshot, segments(place.key), number * 100, tagged).unwrap();
                    self.map.fill(*at, *place, number * 100, tags, Some(as_of));
                    self.count("put as of");
                }
            }
            Step::Nested(at, outer, answer, inner, its) => {
                self.nested(number * 100, *at, (*outer, answer), (*inner, its)).await?;
            }
            Step::Remove(at, place) => {
                self.region(*at, *place).remove(segments(place.key)).await.unwrap();
                self.map.remove(*at, *place);
            }
            Step::Expire(at, place) => {
                self.region(*at, *place).expire(segments(place.key)).await.unwrap();
                self.map.expire(*at, *place);
            }
            Step::Invalidate(at, tenant, named) => {
                let targets = named.iter().map(|named| named.target());
                match tenant {
                    0 => self.caches[*at].invalidate(targets).await.unwrap(),
                    _ => self.caches[*at].tenant("r").invalidate(targets).await.unwrap(),
                };
                self.map.invalidate(*tenant, named);
            }
            Step::Pass(time) => {
                self.rig.pass(*time).await;
                self.lapsed &= *time < RENEWAL;
                self.map.now += time.as_micros() as u64;
            }
            Step::Lapse(time) => {
                self.rig.lapse(*time);
                self.lapsed = true;
                self.map.now += time.as_micros() as u64;
            }
        }
        // What was begun behind the reader's back ends, and everybody has heard of everything.
        rig::settle().await;
        if matches!(step, Step::Put(..) | Step::Remove(..) | Step::Invalidate(..)) {
            for cache in &self.caches {
                cache.sync().await.unwrap();
            }
        }
        Ok(())
    }

    async fn load(&mut self, value: u64, at: usize, place: Place, answer: &Answer) -> Checked {
        let calls = Calls::default();
        let loader = loader(&calls, answer, value);
        let read = self.region(at, place).get_or_load(segments(place.key), loader).await;
        rig::settle().await;
        let expected = self.map.load(at, place, &Loads { answer, value, inner: None });
        self.compare(answered(read.map(Some)), expected.answered)?;
        prop_assert_eq!(calls.load(Ordering::SeqCst), u64::from(expected.called), "calls of the loader");
        self.count_load(expected.answered, expected.called);
        Ok(())
    }

    /// A loader that reads another place, and answers whatever came of that.
    async fn nested(
        &mut self,
        value: u64,
        at: usize,
        (outer, answer): (Place, &Answer),
        (inner, its): (Place, &Answer),
    ) -> Checked {
        let (calls, inner_calls) = (Calls::default(), Calls::default());
        let (last, inner_loader) = (loader(&calls, answer, value), loader(&inner_calls, its, value + 50));
        let inner_region = self.region(at, inner);
        let outer_loader = move |load: Load<u64>| async move {
            let _ = inner_region.get_or_load(segments(inner.key), inner_loader).await;
            last(load).await
        };
        let read = self.region(at, outer).get_or_load(segments(outer.key), outer_loader).await;
        rig::settle().await;
        let its = Loads { answer: its, value: value + 50, inner: None };
        let expected = self.map.load(at, outer, &Loads { answer, value, inner: Some((inner, &its)) });
        self.compare(answered(read.map(Some)), expected.answered)?;
        prop_assert_eq!(calls.load(Ordering::SeqCst), u64::from(expected.called), "calls of the loader");
        let called = expected.inner.unwrap_or_default();
        prop_assert_eq!(inner_calls.load(Ordering::SeqCst), u64::from(called), "calls of the inner loader");
        if expected.inner.is_some() {
            self.count("nested");
        }
        Ok(())
    }

    async fn load_many(
        &mut self,
        value: u64,
        at: usize,
        place: Place,
        many: &[(usize, Answer)],
        fails: bool,
    ) -> Checked {
        // Of a key named twice the first answer counts.
        let mut answers: BTreeMap<usize, Answer> = BTreeMap::new();
        for (key, answer) in many {
            answers.entry(*key).or_insert_with(|| answer.clone());
        }
        let asked: Vec<usize> = many.iter().map(|(key, _)| *key).collect();
        let batches = Arc::new(Mutex::new(Vec::new()));
        let (noted, said) = (batches.clone(), answers.clone());
        let loader = move |batch: Batch<u64>| -> Ready<ManyAnswers> {
            let keys: Vec<usize> = said.keys().copied().collect();
            let keys = keys.into_iter().filter(|key| batch.keys().any(|k| *k == segments(*key)));
            let keys: Vec<usize> = keys.collect();
            noted.lock().unwrap().push(keys.clone());
            if fails {
                return ready(Err(Down));
            }
            let answer = |key: usize| {
                let (segments, said) = (segments(key), &said[&key]);
                said.tags.iter().for_each(|n| batch.tag(&segments, tag(*n)));
                said.ttl.into_iter().for_each(|ttl| batch.ttl(&segments, ttl));
                if said.do_not_store {
                    batch.do_not_store(&segments);
                }
                // One answer of many: an error is said of the key; one that is left out is absent.
                match said.kind {
                    Kind::Error => Some((segments, Loaded::Failed("down".to_owned()))),
                    Kind::Absent if key < KEYS / 2 => None,
                    kind => Some((segments, loaded(kind, value + key as u64).ok()?)),
                }
            };
            ready(Ok(keys.into_iter().filter_map(answer).collect()))
        };
        let region = self.region(at, place);
        let reads = region.get_many_or_load(asked.iter().map(|key| segments(*key)), loader).await;
        rig::settle().await;
        let mut expected = BTreeMap::new();
        for (key, answer) in &answers {
            let kind = if fails { Kind::Error } else { answer.kind };
            let place = Place { key: *key, ..place };
            let answer = Answer { kind, ..answer.clone() };
            let load = Loads { answer: &answer, value: value + *key as u64, inner: None };
            expected.insert(*key, self.map.load(at, place, &load));
        }
        for (key, read) in asked.iter().zip(reads) {
            self.compare(answered(read.map(Some)), expected[key].answered)?;
        }
        let called: Vec<usize> =
            expected.iter().filter(|(_, read)| read.called).map(|(key, _)| *key).collect();
        let called: Vec<Vec<usize>> = if called.is_empty() { vec![] } else { vec![called] };
        prop_assert_eq!(&*batches.lock().unwrap(), &called, "keys given to the loader");
        Ok(())
    }

    fn compare(&mut self, read: Answered, expected: Answered) -> Checked {
        match (read, expected) {
            // Found in the store while the lease had lapsed: kept, the lease renewed, and the read begun again.
            (
                Answered::Value { from: From::Memory, .. },
                Answered::Value { value, from: From::Store, how, age, fresh_for },
            ) if self.lapsed => {
                prop_assert_eq!(read, Answered::Value { value, from: From::Memory, how, age, fresh_for });
            }
            _ => prop_assert_eq!(read, expected),
        }
        self.count(match expected {
            Answered::Value { how: How::OriginFailed, .. } => "fallback",
            Answered::Value { how: How::Revalidating, .. } => "revalidating",
            Answered::Value { from: From::Memory, .. } => "memory",
            Answered::Value { from: From::Store, .. } => "store",
            Answered::Value { from: From::Loader, .. } => "loader",
            Answered::Nothing => "nothing",
            Answered::Absent => "absent",
            Answered::Failed => "failed",
        });
        Ok(())
    }

    fn count_load(&mut self, expected: Answered, called: bool) {
        match (expected, called) {
            (Answered::Value { from: From::Memory | From::Store, how, .. }, true)
                if how != How::OriginFailed =>
            {
                self.count("refreshed");
            }
            (Answered::Value { how: How::OriginFailed, .. }, false) => self.count("throttled"),
            _ => {}
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }
}

type Calls = Arc<AtomicU64>;

/// A loader that counts its calls.
fn loader(
    calls: &Calls,
    answer: &Answer,
    value: u64,
) -> impl FnOnce(Load<u64>) -> Ready<Result<Loaded<u64>, Down>> + Send + use<> {
    let (calls, answer) = (calls.clone(), answer.clone());
    move |load| {
        calls.fetch_add(1, Ordering::SeqCst);
        load.tags(answer.tags.iter().map(|n| tag(*n)));
        answer.ttl.into_iter().for_each(|ttl| load.ttl(ttl));
        if answer.do_not_store {
            load.do_not_store();
        }
        ready(loaded(answer.kind, value))
    }
}

fn loaded(kind: Kind, value: u64) -> Result<Loaded<u64>, Down> {
    match kind {
        Kind::Value => Ok(Loaded::Value(value)),
        Kind::Absent => Ok(Loaded::Absent),
        Kind::NotModified => Ok(Loaded::NotModified),
        Kind::Declined => Ok(Loaded::Failed("declined".to_owned())),
        Kind::Error => Err(Down),
    }
}

/// A read in words of the map.
fn answered(read: Result<Option<Outcome<u64>>, Error>) -> Answered {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap();
    match read {
        Ok(Some(outcome)) => Answered::Value {
            value: *outcome.value(),
            from: match outcome.source() {
                Source::Memory => From::Memory,
                Source::Store(_) => From::Store,
                Source::Loader => From::Loader,
                Source::Flight => panic!("a flight, and nobody else reads"),
            },
            how: match outcome.freshness() {
                Freshness::Fresh => How::Fresh,
                Freshness::Revalidating => How::Revalidating,
                Freshness::OriginFailed => How::OriginFailed,
                Freshness::OriginSlow => panic!("an origin that answers at once is called slow"),
            },
            age: micros(outcome.age()),
            fresh_for: micros(outcome.fresh_for()),
        },
        Ok(None) => Answered::Nothing,
        Err(error) if error.is_absent() => Answered::Absent,
        Err(error) if error.is_load() => Answered::Failed,
        Err(error) => panic!("a read fails: {error}"),
    }
}
