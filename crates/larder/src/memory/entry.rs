//! Entries as memory holds them: one allocation with what every hit reads and the value side by side, and a box with
//! the rest.
//!
//! Memory holds entries of all regions, so their types are hidden behind [`Cached`]; a region gets its own type back
//! by a checked downcast, never by trust.

use crate::memory::Key;
use larder_core::expiry::Times;
use larder_core::plan::RefreshGate;
use larder_core::port::Nanos;
use larder_core::sync::AtomicU64;
use larder_core::{Birth, Dependencies, Segments, Tag};
use std::any::Any;
use std::ops::Deref;
use std::sync::Arc;

/// An entry of any type; what the engine and the memory tier pass around as `Arc<Entry>`.
pub(crate) type Entry = dyn Cached;

/// What every entry can do, whatever its value's type.
pub(crate) trait Cached: Any + Send + Sync {
    fn head(&self) -> &Head;
    /// The value, unless the origin has nothing under the key.
    fn value(&self) -> Option<&dyn Any>;
    /// Another entry with this one's value.
    fn with_head(self: Arc<Self>, head: Head) -> Arc<Entry>;
}

impl Deref for dyn Cached {
    type Target = Head;

    #[inline]
    fn deref(&self) -> &Head {
        self.head()
    }
}

/// The entry as one of a region of `T`. `None` when it holds no value, or one of another type.
#[inline]
pub(crate) fn typed<T: Send + Sync + 'static>(entry: Arc<Entry>) -> Option<Arc<Typed<T>>> {
    let entry: Arc<dyn Any + Send + Sync> = entry;
    entry.downcast().ok()
}

/// What is known of an entry besides its value: what a hit reads, side by side. The table finds entries by their hash
/// alone; whose they are is read here, where a hit looks anyway.
#[repr(C)]
pub(crate) struct Head {
    /// As of when the rule last called it fresh; see `Fences::check`.
    pub(crate) checked: AtomicU64,
    /// Before this a hit has nothing to think about; `times.refresh` once more.
    fresh_until: Nanos,
    rest: Box<Rest>,
    scope: u32,
    weight: u32,
    segments: Segments,
}

/// What is read when something was applied since the last check, or on the slow paths.
pub(crate) struct Rest {
    pub(crate) dependencies: Dependencies,
    pub(crate) times: Times,
    pub(crate) gate: RefreshGate,
    /// What it was born with. `None`: it may be returned to its own reader, never kept.
    pub(crate) born: Option<Birth>,
    pub(crate) tags: Arc<[Tag]>,
    /// Some of what it depends on cannot be named in a store: memory only.
    pub(crate) unnamable: bool,
    /// Bytes the value takes, roughly.
    pub(crate) value_bytes: u64,
}

/// What an entry takes besides its value: its own fields and its place in the table.
const OVERHEAD_BYTES: u64 = 80 + (size_of::<Head>() + size_of::<Rest>()) as u64;

/// Weights are kept in units of this many bytes, so that 32 bits are enough for 64 GiB.
const WEIGHT_UNIT: u64 = 16;

impl Head {
    pub(crate) fn new(key: &Key, rest: Rest) -> Self {
        let tags = rest.tags.iter().map(|tag| size_of_val(tag) + tag.segments().heap_bytes()).sum::<usize>();
        let heap = tags + rest.dependencies.heap_bytes() + key.segments.heap_bytes();
        let weight = OVERHEAD_BYTES + rest.value_bytes + heap as u64;
        Head {
            checked: AtomicU64::new(0),
            fresh_until: rest.times.refresh,
            scope: key.scope,
            weight: u32::try_from(weight.div_ceil(WEIGHT_UNIT)).unwrap_or(u32::MAX),
            segments: key.segments.clone(),
            rest: Box::new(rest),
        }
    }

    /// Whether it is the entry of this key, and not of another with the same hash.
    #[inline]
    pub(crate) fn is_of(&self, key: &Key) -> bool {
        self.scope == key.scope && self.segments == key.segments
    }

    /// The number it was born with in this process; 0, below every floor, when it has no stamp.
    #[inline]
    pub(crate) fn local(&self) -> u64 {
        self.born.map_or(0, |born| born.local)
    }

    /// Whether a hit at `now` has nothing to think about: neither stale nor due for a refresh.
    #[inline]
    pub(crate) fn is_fresh_at(&self, now: Nanos) -> bool {
        now < self.fresh_until
    }

    /// Bytes the entry is counted as; asked for by the table at each of its steps.
    pub(crate) fn weight(&self) -> u64 {
        u64::from(self.weight) * WEIGHT_UNIT
    }
}

impl Deref for Head {
    type Target = Rest;

    #[inline]
    fn deref(&self) -> &Rest {
        &self.rest
    }
}

impl Rest {
    /// The same entry, past its TTL.
    pub(crate) fn expired(&self, now: Nanos) -> Rest {
        Rest {
            dependencies: self.dependencies.clone(),
            times: self.times.expired(now),
            gate: RefreshGate::default(),
            born: self.born,
            tags: self.tags.clone(),
            unnamable: self.unnamable,
            value_bytes: self.value_bytes,
        }
    }
}

/// An entry of a region of `T`.
#[repr(C)]
pub(crate) struct Typed<T> {
    pub(crate) head: Head,
    value: Held<T>,
}

enum Held<T> {
    Own(T),
    /// The value of an older entry, which never holds another's itself.
    Of(Arc<Typed<T>>),
}

impl<T: Send + Sync + 'static> Typed<T> {
    /// The entry of this value.
    pub(crate) fn file(head: Head, value: T) -> Arc<Entry> {
        Arc::new(Typed { head, value: Held::Own(value) })
    }
}

impl<T> Typed<T> {
    #[inline]
    pub(crate) fn value(&self) -> &T {
        match &self.value {
            Held::Own(value) => value,
            Held::Of(older) => older.value(),
        }
    }
}

impl<T: Send + Sync + 'static> Cached for Typed<T> {
    fn head(&self) -> &Head {
        &self.head
    }

    fn value(&self) -> Option<&dyn Any> {
        Some(Typed::<T>::value(self))
    }

    fn with_head(self: Arc<Self>, head: Head) -> Arc<Entry> {
        let owner = match &self.value {
            Held::Own(_) => self,
            Held::Of(older) => older.clone(),
        };
        Arc::new(Typed { head, value: Held::Of(owner) })
    }
}

/// "The origin has nothing under this key", for regions of any type.
struct Absent(Head);

impl Cached for Absent {
    fn head(&self) -> &Head {
        &self.0
    }

    fn value(&self) -> Option<&dyn Any> {
        None
    }

    fn with_head(self: Arc<Self>, head: Head) -> Arc<Entry> {
        Arc::new(Absent(head))
    }
}

/// A value on its way into an entry, its type hidden.
pub(crate) trait Unfiled: Send + Sync {
    fn value(&self) -> &dyn Any;
    fn file(self: Box<Self>, head: Head) -> Arc<Entry>;
}

/// What an entry is made of besides its head.
pub(crate) enum Value {
    New(Box<dyn Unfiled>),
    /// That of another entry.
    Of(Arc<Entry>),
    Absent,
}

struct New<T>(T);

impl<T: Send + Sync + 'static> Unfiled for New<T> {
    fn value(&self) -> &dyn Any {
        &self.0
    }

    fn file(self: Box<Self>, head: Head) -> Arc<Entry> {
        Typed::file(head, self.0)
    }
}

impl Value {
    pub(crate) fn new<T: Send + Sync + 'static>(value: T) -> Self {
        Value::New(Box::new(New(value)))
    }

    pub(crate) fn as_any(&self) -> Option<&dyn Any> {
        match self {
            Value::New(value) => Some(value.value()),
            Value::Of(entry) => entry.value(),
            Value::Absent => None,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        self.as_any().is_none()
    }

    /// The entry of this key with this value.
    pub(crate) fn file(self, key: &Key, rest: Rest) -> Arc<Entry> {
        let head = Head::new(key, rest);
        match self {
            Value::New(value) => value.file(head),
            Value::Of(entry) => entry.with_head(head),
            Value::Absent => Arc::new(Absent(head)),
        }
    }
}
