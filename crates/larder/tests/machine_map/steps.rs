//! What may happen, drawn at random.

use crate::names::{KEYS, Named, PATTERNS, Place, REGIONS, TAGS, TENANTS};
use proptest::prelude::*;
use std::time::Duration;

#[derive(Clone, Debug)]
pub enum Step {
    Get(usize, Place),
    Contains(usize, Place),
    Load(usize, Place, Answer),
    /// A load whose loader reads, and perhaps loads, another place.
    Nested(usize, Place, Answer, Place, Answer),
    /// Several keys of the place's region; the last is whether the whole load fails.
    LoadMany(usize, Place, Vec<(usize, Answer)>, bool),
    Put(usize, Place, Vec<usize>),
    /// A moment is noted, for values that are read after it.
    Snapshot(usize),
    /// A value read after one of the last of those moments.
    PutAsOf(usize, Place, Vec<usize>, usize),
    Remove(usize, Place),
    Expire(usize, Place),
    /// In the name of a tenant.
    Invalidate(usize, usize, Vec<Named>),
    /// Time, with the follower's renewals.
    Pass(Duration),
    /// Time in which nobody renews: leases lapse.
    Lapse(Duration),
}

/// What a loader answers, and what it says of the entry.
#[derive(Clone, Debug)]
pub struct Answer {
    pub kind: Kind,
    pub tags: Vec<usize>,
    pub ttl: Option<Duration>,
    pub do_not_store: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Value,
    Absent,
    NotModified,
    Declined,
    Error,
}

fn place() -> impl Strategy<Value = Place> {
    // One of few keys most of the time, so that steps meet.
    let key = prop_oneof![6 => 0..2usize, 1 => 0..KEYS];
    let tenant = prop_oneof![6 => Just(0), 1 => 0..TENANTS];
    // The middle one has every term there is.
    let region = prop_oneof![3 => Just(1), 1 => 0..REGIONS.len()];
    (tenant, region, key).prop_map(|(tenant, region, key)| Place { tenant, region, key })
}

fn tags() -> impl Strategy<Value = Vec<usize>> {
    proptest::sample::subsequence((0..TAGS).collect::<Vec<_>>(), 0..=2)
}

fn answer() -> impl Strategy<Value = Answer> {
    let kind = prop_oneof![
        8 => Just(Kind::Value),
        2 => Just(Kind::Absent),
        2 => Just(Kind::NotModified),
        1 => Just(Kind::Declined),
        2 => Just(Kind::Error),
    ];
    let ttl = prop_oneof![5 => Just(None), 1 => time().prop_map(Some), 1 => Just(Some(Duration::ZERO))];
    (kind, tags(), ttl, prop::bool::weighted(0.05)).prop_map(|(kind, tags, ttl, do_not_store)| Answer {
        kind,
        tags,
        ttl,
        do_not_store,
    })
}

/// Around the moments at which something ends, and at them.
fn time() -> impl Strategy<Value = Duration> {
    let ms = prop_oneof![
        4 => prop::sample::select(&[1_000u64, 2_000, 3_000, 5_000, 10_000, 15_000][..]),
        2 => prop::sample::select(&[1u64, 999, 2_999, 4_999, 9_999, 14_999][..]),
        1 => 0..70_000u64,
    ];
    ms.prop_map(Duration::from_millis)
}

fn named() -> impl Strategy<Value = Named> {
    let (region, key) = (0..REGIONS.len(), 0..KEYS);
    prop_oneof![
        1 => Just(Named::Everything),
        6 => (region.clone(), key.clone()).prop_map(|(region, key)| Named::Key(region, key)),
        2 => (region.clone(), key).prop_map(|(region, key)| Named::Prefix(region, key)),
        1 => region.clone().prop_map(Named::Region),
        3 => (0..TAGS).prop_map(Named::Tag),
        2 => (region, 0..PATTERNS.len()).prop_map(|(region, n)| Named::Pattern(region, n)),
    ]
}

fn step(processes: usize) -> impl Strategy<Value = Step> {
    let at = 0..processes;
    let many = prop::collection::vec((0..KEYS, answer()), 1..5);
    prop_oneof![
        3 => (at.clone(), place()).prop_map(|(at, place)| Step::Get(at, place)),
        1 => (at.clone(), place()).prop_map(|(at, place)| Step::Contains(at, place)),
        12 => (at.clone(), place(), answer()).prop_map(|(at, place, answer)| Step::Load(at, place, answer)),
        2 => (at.clone(), place(), many, prop::bool::weighted(0.2))
            .prop_map(|(at, place, many, fails)| Step::LoadMany(at, place, many, fails)),
        1 => (at.clone(), place(), tags()).prop_map(|(at, place, tags)| Step::Put(at, place, tags)),
        3 => (at.clone(), place(), answer(), place(), answer())
            .prop_map(|(at, outer, answer, inner, its)| Step::Nested(at, outer, answer, inner, its)),
        1 => at.clone().prop_map(Step::Snapshot),
        1 => (at.clone(), place(), tags(), 0..2usize)
            .prop_map(|(at, place, tags, back)| Step::PutAsOf(at, place, tags, back)),
        1 => (at.clone(), place()).prop_map(|(at, place)| Step::Remove(at, place)),
        1 => (at.clone(), place()).prop_map(|(at, place)| Step::Expire(at, place)),
        1 => (at, 0..TENANTS, prop::collection::vec(named(), 1..3))
            .prop_map(|(at, tenant, named)| Step::Invalidate(at, tenant, named)),
        4 => time().prop_map(Step::Pass),
        1 => time().prop_map(Step::Lapse),
    ]
}

pub fn steps(processes: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(processes), 1..60)
}
