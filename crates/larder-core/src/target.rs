//! Targets: what an invalidation names.
//!
//! A target is made by whoever knows what changed, travels in journal records, and is only ever compared by
//! the rule. Building one touches nothing; it reaches only its own tenant, save [`Target::everything`].

use crate::decode::{Malformed, Reader, push_run};
use crate::path::{Path, Tenant};
use crate::pattern::Pattern;
use crate::segments::Segments;
use crate::tag::Tag;
use std::fmt;

/// What one record names. Cheap to clone for short names.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// Every entry of the namespace, of every tenant.
    Everything,
    /// One key.
    Key(Path),
    /// Every key whose leading segments these are; the key of exactly these segments too.
    Prefix(Path),
    /// Every entry that carries the tag (its path is the tenant and the tag's segments).
    Tag(Path),
    /// Every key of a region that the pattern matches.
    Pattern(Path, Pattern),
}

/// What kind of thing a target names; the label metrics and misses carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetKind {
    /// Everything.
    Everything,
    /// One key.
    Key,
    /// Leading segments.
    Prefix,
    /// A tag.
    Tag,
    /// A glob over segments.
    Pattern,
}

impl TargetKind {
    /// The word used in metrics and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            TargetKind::Everything => "everything",
            TargetKind::Key => "key",
            TargetKind::Prefix => "prefix",
            TargetKind::Tag => "tag",
            TargetKind::Pattern => "pattern",
        }
    }
}

impl Target {
    /// Every entry of the namespace; through a tenant's handle, every entry of that tenant.
    pub const fn everything() -> Self {
        Target::Everything
    }

    /// One key of a region.
    pub fn key(region: &str, segments: Segments) -> Self {
        Target::Key(Path::of_region(&Tenant::common(), region).below(&segments))
    }

    /// Every key of a region that begins with these segments.
    pub fn prefix(region: &str, segments: Segments) -> Self {
        Target::Prefix(Path::of_region(&Tenant::common(), region).below(&segments))
    }

    /// Every key of a region.
    pub fn region(region: &str) -> Self {
        Target::Prefix(Path::of_region(&Tenant::common(), region))
    }

    /// Every entry that carries this tag.
    pub fn tag(tag: Tag) -> Self {
        Target::Tag(Path::of_tenant(&Tenant::common()).below(tag.segments()))
    }

    /// Every key of a region that the pattern matches.
    pub fn pattern(region: &str, pattern: Pattern) -> Self {
        Target::Pattern(Path::of_region(&Tenant::common(), region), pattern)
    }

    /// The same target inside one tenant: whatever tenant it named before, it cannot reach another.
    #[must_use]
    pub fn within(&self, tenant: &Tenant) -> Self {
        match self {
            Target::Everything => Target::Prefix(Path::of_tenant(tenant)),
            Target::Key(path) => Target::Key(path.within(tenant)),
            Target::Prefix(path) => Target::Prefix(path.within(tenant)),
            Target::Tag(path) => Target::Tag(path.within(tenant)),
            Target::Pattern(path, pattern) => Target::Pattern(path.within(tenant), pattern.clone()),
        }
    }

    /// What kind of thing this names.
    pub fn kind(&self) -> TargetKind {
        match self {
            Target::Everything => TargetKind::Everything,
            Target::Key(_) => TargetKind::Key,
            Target::Prefix(_) => TargetKind::Prefix,
            Target::Tag(_) => TargetKind::Tag,
            Target::Pattern(..) => TargetKind::Pattern,
        }
    }

    /// Appends the encoding read back by [`Target::decode_many`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Target::Everything => out.push(0),
            Target::Key(path) => encode_path(out, 1, path),
            Target::Prefix(path) => encode_path(out, 2, path),
            Target::Tag(path) => encode_path(out, 3, path),
            Target::Pattern(path, pattern) => {
                encode_path(out, 4, path);
                push_run(out, &pattern.encode());
            }
        }
    }

    /// The encoding of a list of targets.
    pub fn encode_many(targets: &[Target]) -> Vec<u8> {
        let mut out = Vec::new();
        targets.iter().for_each(|t| t.encode(&mut out));
        out
    }

    /// Reads back a list of targets.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are not such a list; the caller must then distrust the whole record.
    pub fn decode_many(bytes: &[u8]) -> Result<Vec<Target>, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut targets = Vec::new();
        while !reader.is_empty() {
            targets.push(match reader.byte()? {
                0 => Target::Everything,
                1 => Target::Key(decode_path(&mut reader)?),
                2 => Target::Prefix(decode_path(&mut reader)?),
                3 => Target::Tag(decode_path(&mut reader)?),
                4 => {
                    let path = decode_path(&mut reader)?;
                    let len = reader.length()?;
                    Target::Pattern(path, Pattern::decode(reader.take(len)?)?)
                }
                _ => return Err(Malformed::new("unknown kind of target")),
            });
        }
        Ok(targets)
    }
}

fn encode_path(out: &mut Vec<u8>, kind: u8, path: &Path) {
    out.push(kind);
    push_run(out, path.as_bytes());
}

fn decode_path(reader: &mut Reader<'_>) -> Result<Path, Malformed> {
    let len = reader.length()?;
    Path::from_encoded(reader.take(len)?)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Everything => f.write_str("everything"),
            Target::Key(path) => write!(f, "key {path}"),
            Target::Prefix(path) => write!(f, "prefix {path}"),
            Target::Tag(path) => write!(f, "tag {path}"),
            Target::Pattern(path, pattern) => write!(f, "pattern {path}/{pattern}"),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
