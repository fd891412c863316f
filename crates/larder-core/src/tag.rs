//! Tags: names an entry carries so that many entries can be invalidated together.
//!
//! A tag belongs to a tenant, not to a region: one tag may stand on entries of several regions. Written by
//! loaders and by whoever invalidates; it never reaches beyond its tenant.

use crate::segments::Segments;
use std::fmt;

/// A tag: typed segments, such as `tag!["branch", 7]`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Segments);

impl Tag {
    /// The tag of these segments.
    pub fn new(segments: Segments) -> Self {
        Tag(segments)
    }

    /// The segments.
    pub fn segments(&self) -> &Segments {
        &self.0
    }
}

impl From<&str> for Tag {
    fn from(text: &str) -> Self {
        Tag(Segments::builder().with(text).finish())
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}
