//! The error of the library: opaque, cloneable, with predicates that say what a caller can do about it.
//!
//! Never holds a cached value or a key's content.

use larder_core::port::{JournalError, StoreError};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Whatever a loader returned as its error.
pub type LoadError = Box<dyn std::error::Error + Send + Sync>;

/// Why an operation did not do what was asked. Cheap to clone: followers of a failed load share it.
#[derive(Clone)]
pub struct Error(Arc<Kind>);

enum Kind {
    Absent,
    Load(LoadError),
    Declined(String),
    Panicked(String),
    TimedOut { after: Duration },
    Overloaded { source: String, cap: usize, waited: Duration },
    Abandoned,
    NotModified,
    Closed,
    Invalid(String),
    GuardExpired,
    Uncommitted(JournalError),
    Journal(JournalError),
    Store(StoreError),
}

impl Error {
    fn of(kind: Kind) -> Self {
        Error(Arc::new(kind))
    }
    pub(crate) fn absent() -> Self {
        Self::of(Kind::Absent)
    }
    pub(crate) fn load(error: LoadError) -> Self {
        Self::of(Kind::Load(error))
    }
    pub(crate) fn declined(why: String) -> Self {
        Self::of(Kind::Declined(why))
    }
    pub(crate) fn panicked(message: String) -> Self {
        Self::of(Kind::Panicked(message))
    }
    pub(crate) fn timed_out(after: Duration) -> Self {
        Self::of(Kind::TimedOut { after })
    }
    pub(crate) fn overloaded(source: &str, cap: usize, waited: Duration) -> Self {
        Self::of(Kind::Overloaded { source: source.to_owned(), cap, waited })
    }
    pub(crate) fn abandoned() -> Self {
        Self::of(Kind::Abandoned)
    }
    pub(crate) fn not_modified() -> Self {
        Self::of(Kind::NotModified)
    }
    pub(crate) fn closed() -> Self {
        Self::of(Kind::Closed)
    }
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::of(Kind::Invalid(message.into()))
    }
    pub(crate) fn guard_expired() -> Self {
        Self::of(Kind::GuardExpired)
    }
    pub(crate) fn uncommitted(error: JournalError) -> Self {
        Self::of(Kind::Uncommitted(error))
    }

    /// The loader said that the origin has nothing under this key (now, or when it was last asked).
    pub fn is_absent(&self) -> bool {
        matches!(*self.0, Kind::Absent)
    }

    /// The origin failed: the loader returned an error or declined, panicked, or said "not modified" of nothing.
    pub fn is_load(&self) -> bool {
        matches!(*self.0, Kind::Load(_) | Kind::Declined(_) | Kind::Panicked(_) | Kind::NotModified)
    }

    /// The loader panicked.
    pub fn is_panic(&self) -> bool {
        matches!(*self.0, Kind::Panicked(_))
    }

    /// The loader took longer than its hard timeout and was dropped.
    pub fn is_timeout(&self) -> bool {
        matches!(*self.0, Kind::TimedOut { .. })
    }

    /// The source's concurrency cap was reached and stayed so past the queue deadline. Worth trying later.
    pub fn is_overloaded(&self) -> bool {
        matches!(*self.0, Kind::Overloaded { .. })
    }

    /// The cache, or the runtime it ran on, was shut down.
    pub fn is_closed(&self) -> bool {
        matches!(*self.0, Kind::Closed | Kind::Abandoned)
    }

    /// What was asked is wrong in itself: a setting, a region's type, a key of another region. The message says what
    /// was expected.
    pub fn is_invalid(&self) -> bool {
        matches!(*self.0, Kind::Invalid(_))
    }

    /// The journal failed. For an invalidation: it was neither recorded nor queued; this node alone has fenced it.
    pub fn is_journal(&self) -> bool {
        matches!(*self.0, Kind::Journal(_))
    }

    /// A write guard's time is over. Its intent expires, which invalidates its targets: what was written in time is seen;
    /// what is written from now on is not guarded.
    pub fn is_guard_expired(&self) -> bool {
        matches!(*self.0, Kind::GuardExpired)
    }

    /// The end of a guarded write could not be recorded, or its answer was lost. No node serves an older value: the intent
    /// stays open, and its targets uncacheable, until it is closed or expires, which invalidates them.
    pub fn is_uncommitted(&self) -> bool {
        matches!(*self.0, Kind::Uncommitted(_))
    }

    /// A store failed.
    pub fn is_store(&self) -> bool {
        matches!(*self.0, Kind::Store(_))
    }

    /// The error the loader returned, to downcast.
    pub fn load_error(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        match &*self.0 {
            Kind::Load(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}

impl From<JournalError> for Error {
    fn from(error: JournalError) -> Self {
        Self::of(Kind::Journal(error))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::of(Kind::Store(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Absent => f.write_str("the origin has nothing under this key"),
            Kind::Load(error) => write!(f, "the load failed: {error}"),
            Kind::Declined(why) => write!(f, "the load failed: {why}"),
            Kind::Panicked(message) => write!(f, "the loader panicked: {message}"),
            Kind::TimedOut { after } => write!(f, "the load took longer than its hard timeout of {after:?}"),
            Kind::Overloaded { source, cap, waited } => write!(
                f,
                "source {source:?} is overloaded: {cap} loads were running and none ended within {waited:?}"
            ),
            Kind::Abandoned => f.write_str("the load was abandoned: the runtime is shutting down"),
            Kind::NotModified => {
                f.write_str("the loader said \"not modified\" although it had been given no previous value")
            }
            Kind::Closed => f.write_str("the cache is closed"),
            Kind::Invalid(message) => f.write_str(message),
            Kind::GuardExpired => f.write_str("the write guard's time is over; its intent expires"),
            Kind::Uncommitted(error) => {
                write!(
                    f,
                    "the end of a guarded write may not have been recorded; its intent expires: {error}"
                )
            }
            Kind::Journal(error) => error.fmt(f),
            Kind::Store(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self})")
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            Kind::Load(error) => Some(&**error),
            Kind::Journal(error) | Kind::Uncommitted(error) => Some(error),
            Kind::Store(error) => Some(error),
            _ => None,
        }
    }
}
