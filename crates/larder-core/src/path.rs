//! Paths: a tenant, a region and the segments of a key, as one encoding.
//!
//! A path is what the journal names and what stored entries are filed under. The first segment is always the
//! tenant ([`Segment::None`] when there is none), the second the region; so no key of one tenant can be
//! reached by a prefix, a pattern or a tag of another. Never holds the namespace: each has a journal of its own.

use crate::segments::{Segment, Segments};
use std::fmt;
use std::sync::Arc;

/// Who a key, a tag or a target belongs to. Without one, it belongs to the namespace's common tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tenant(Option<Arc<str>>);

impl Tenant {
    /// The tenant of this name; any text, the empty one included, is a name.
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Tenant(Some(name.into()))
    }

    /// The common tenant of a namespace.
    pub const fn common() -> Self {
        Tenant(None)
    }

    /// The name, if it is not the common tenant.
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }

    fn segment(&self) -> Segment<'_> {
        self.0.as_deref().map_or(Segment::None, Segment::Text)
    }
}

/// A tenant's path: its segment, and what follows.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(Segments);

impl Path {
    /// The path of everything a tenant has.
    pub fn of_tenant(tenant: &Tenant) -> Self {
        Path(Segments::builder().with(tenant.segment()).finish())
    }

    /// The path of a region of a tenant.
    pub fn of_region(tenant: &Tenant, region: &str) -> Self {
        Path(Segments::builder().with(tenant.segment()).with(region).finish())
    }

    /// This path with more segments below it.
    #[must_use]
    pub fn below(&self, segments: &Segments) -> Self {
        Path(self.0.join(segments))
    }

    /// The same path under another tenant.
    #[must_use]
    pub fn within(&self, tenant: &Tenant) -> Self {
        let rest = self.0.iter().next().map_or(0, |(_, end)| end);
        let mut builder = Segments::builder().with(tenant.segment());
        builder.push_encoded(&self.0.as_bytes()[rest..]);
        Path(builder.finish())
    }

    /// Reads back an encoding.
    ///
    /// # Errors
    /// [`crate::Malformed`] when it is not one, or does not begin with a tenant.
    pub fn from_encoded(bytes: &[u8]) -> Result<Self, crate::Malformed> {
        let segments = Segments::from_encoded(bytes)?;
        match segments.iter().next() {
            Some((Segment::None | Segment::Text(_), _)) => Ok(Path(segments)),
            _ => Err(crate::Malformed::new("a path begins with its tenant")),
        }
    }

    /// The encoding.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The segments, tenant first.
    pub fn segments(&self) -> &Segments {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.0)
    }
}
