//! Envelopes: the form in which an entry is kept by a tier of bytes.
//!
//! An envelope carries everything needed to decide about a stored entry without trusting where it came from:
//! its full key, its stamp, its expiries, its dependencies, and a checksum over all of it. The engine writes
//! and reads them; stores see bytes. Decoding refuses whatever is not exactly what was asked for, with a reason
//! to count by, and never panics. It decides nothing about freshness: that is the rule's, from the stamp.
//!
//! Pure: values arrive encoded and packed (compressed), and leave so.
//!
//! The checksum finds damage, not malice: whoever may write to a store may forge an envelope.

mod rejected;
mod wire;

pub use rejected::Rejected;

use crate::path::Path;
use crate::position::Stamp;
use crate::tag::Tag;
use std::fmt;

/// An entry as a tier of bytes keeps it. Its `Debug` form shows neither key nor value.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The full key, namespace included, in any encoding the caller likes. Compared on decoding.
    pub key: &'a [u8],
    /// What decides about the entry.
    pub head: EnvelopeHead,
    /// What it holds.
    pub content: Content<'a>,
}

/// What decides about a stored entry: where it stands in history, for how long, and on what it depends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeHead {
    /// Fingerprint of the value's type and schema version; see [`Envelope::check_schema`].
    pub schema: u64,
    /// The link the entry was born with. An envelope without one cannot be made, and is refused when read.
    pub stamp: Stamp,
    /// When the value was loaded, in milliseconds since 1970, as are the three below.
    pub created_ms: u64,
    /// From when on it should be refreshed.
    pub soft_ms: u64,
    /// From when on it is no hit any more.
    pub hard_ms: u64,
    /// From when on it is of no use even when the origin fails, and may be reclaimed.
    pub keep_ms: u64,
    /// Its tags, of the key's tenant.
    pub tags: Vec<Tag>,
    /// The keys of the cached entries it was built from.
    pub also: Vec<Path>,
}

/// What a stored entry holds. Its `Debug` form does not show the value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// The origin has nothing under this key.
    Absent,
    /// A value.
    Value {
        /// Which codec encoded it: a number the caller gives meaning to.
        codec: u8,
        /// How the encoded value was packed.
        packing: Packing,
        /// The encoded value, packed.
        body: &'a [u8],
    },
}

/// How an encoded value was made smaller. Numbers on the wire: 0 none, 1 LZ4, 2 reserved for zstd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    None,
    /// One LZ4 block, without a size in front.
    Lz4 {
        /// Its length when unpacked, in bytes.
        raw_bytes: u64,
    },
}

impl Content<'_> {
    /// Bytes the encoded value takes when unpacked; 0 without a value.
    pub fn raw_bytes(&self) -> u64 {
        match self {
            Content::Absent => 0,
            Content::Value { packing: Packing::None, body, .. } => body.len() as u64,
            Content::Value { packing: Packing::Lz4 { raw_bytes }, .. } => *raw_bytes,
        }
    }
}

/// The most an envelope may hold; what exceeds it is refused before anything is allocated for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The whole envelope, as stored.
    pub stored_bytes_max: u64,
    /// The encoded value, when unpacked.
    pub raw_bytes_max: u64,
    /// Tags of an entry.
    pub tags_max: usize,
    /// Keys an entry was built from.
    pub also_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { stored_bytes_max: 64 << 20, raw_bytes_max: 256 << 20, tags_max: 1024, also_max: 1024 }
    }
}

impl Envelope<'_> {
    /// Whether the value was written under this schema. Apart from decoding, for callers that read several.
    ///
    /// # Errors
    /// [`Rejected::WrongSchema`] when it was not.
    pub fn check_schema(&self, expected: u64) -> Result<(), Rejected> {
        if self.head.schema == expected { Ok(()) } else { Err(Rejected::WrongSchema) }
    }
}

impl fmt::Debug for Envelope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("stamp", &self.head.stamp)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Absent => f.write_str("Absent"),
            Content::Value { codec, packing, body } => f
                .debug_struct("Value")
                .field("codec", codec)
                .field("packing", packing)
                .field("body_bytes", &body.len())
                .finish(),
        }
    }
}
