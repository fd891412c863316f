//! Typed segments and their encoding: the alphabet of keys, tags and prefixes.
//!
//! A [`Segments`] is a sequence of typed values encoded so that no two different sequences share an encoding
//! and no sequence is a byte-prefix of another by accident: every segment carries its type and its length.
//! User text is never joined with a separator. Anyone may build one; this module never interprets the content
//! and never allocates for encodings of up to [`INLINE_BYTES`] bytes.

use crate::decode::{Malformed, Reader, put_varint};
use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Encodings up to this length live inside the value itself, without an allocation.
pub const INLINE_BYTES: usize = 46;

const NONE: u8 = 0x00;
const TEXT: u8 = 0x01;
const BYTES: u8 = 0x02;
const FALSE: u8 = 0x03;
const TRUE: u8 = 0x04;
/// `UINT + n`: a non-negative integer of `n` significant bytes, most significant first; `n` is 0 to 16.
const UINT: u8 = 0x10;
/// `NINT + n`: the negative integer `-1 - m`, where `m` has `n` significant bytes; `n` is 0 to 16.
const NINT: u8 = 0x30;
const INT_BYTES_MAX: u8 = 16;

/// One segment, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// The absent segment; it stands where a key has no tenant.
    None,
    /// UTF-8 text of any content.
    Text(&'a str),
    /// Raw bytes of any content.
    Bytes(&'a [u8]),
    /// A truth value.
    Bool(bool),
    /// A non-negative integer; integers of every Rust type with the same value are the same segment.
    Uint(u128),
    /// The negative integer `-1 - m`.
    Nint(u128),
}

impl fmt::Display for Segment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Segment::None => f.write_str("-"),
            Segment::Text(text) => write!(f, "{text:?}"),
            Segment::Bytes(bytes) => {
                f.write_str("0x")?;
                bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
            Segment::Bool(b) => write!(f, "{b}"),
            Segment::Uint(n) => write!(f, "{n}"),
            Segment::Nint(m) => match m.checked_add(1) {
                Some(n) => write!(f, "-{n}"),
                None => f.write_str("-340282366920938463463374607431768211456"),
            },
        }
    }
}

/// A value that can be one segment of a key or a tag.
pub trait ToSegment {
    /// Hands the segment this value stands for to `each`.
    fn with_segment<R>(&self, each: impl FnOnce(Segment<'_>) -> R) -> R;
}

macro_rules! integer_segments {
    ($($t:ty),*) => {$(
        impl ToSegment for $t {
            #[inline]
            #[allow(unused_comparisons, clippy::cast_sign_loss)]
            fn with_segment<R>(&self, each: impl FnOnce(Segment<'_>) -> R) -> R {
                let n = *self;
                // `!n` is `-1 - n`, which is non-negative for every negative `n`: no overflow at the minimum.
                each(if n >= 0 { Segment::Uint(n as u128) } else { Segment::Nint(!n as u128) })
            }
        }
    )*};
}
integer_segments!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);

impl ToSegment for str {
    #[inline]
    fn with_segment<R>(&self, each: impl FnOnce(Segment<'_>) -> R) -> R {
        each(Segment::Text(self))
    }
}
impl ToSegment for String {
    #[inline]
    fn with_segment<R>(&self, each: impl FnOnce(Segment<'_>) -> R) -> R {
        each(Segment::Text(self))
    }
}
impl ToSegment for Arc<str> {
    fn with_segment<R>(&self, each: impl FnOnce(Segment<'_>) -> R) -> R {
        each(Segment::Text(self))
    }
}
impl ToSegment for char {
    fn with_segment<R>(&self, each: impl FnOnce(Segment<'_>) -> R) -> R {
        each(Segment::Text(self.encode_utf8(&mut [0; 4])))
    }
}
impl ToSegment for bool {
    fn with_segment<R>(&self, each: impl FnOnce(Segment<'_>) -> R) -> R {
        each(Segment::Bool(*self))
    }
}
impl ToSegment for [u8] {
    fn with_segment<R>(&self, each: impl FnOnce(Segment<'_>) -> R) -> R {
        each(Segment::Bytes(self))
    }
}
impl ToSegment for Vec<u8> {
    fn with_segment<R>(&self, each: impl FnOnce(Segment<'_>) -> R) -> R {
        each(Segment::Bytes(self))
    }
}
impl<const N: usize> ToSegment for [u8; N] {
    fn with_segment<R>(&self, each: impl FnOnce(Segment<'_>) -> R) -> R {
        each(Segment::Bytes(self))
    }
}
impl ToSegment for Segment<'_> {
    fn with_segment<R>(&self, each: impl FnOnce(Segment<'_>) -> R) -> R {
        each(*self)
    }
}
impl<T: ToSegment + ?Sized> ToSegment for &T {
    #[inline]
    fn with_segment<R>(&self, each: impl FnOnce(Segment<'_>) -> R) -> R {
        (**self).with_segment(each)
    }
}

/// A sequence of typed segments, encoded. Equality, order and hash are those of the encoding.
#[derive(Clone)]
pub struct Segments(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE_BYTES] },
    Heap(Arc<[u8]>),
}

impl Segments {
    /// The empty sequence.
    pub const fn empty() -> Self {
        Segments(Repr::Inline { len: 0, bytes: [0; INLINE_BYTES] })
    }

    /// Starts a sequence to push segments to.
    #[inline]
    pub fn builder() -> SegmentsBuilder {
        SegmentsBuilder { len: 0, short: Segments::empty().0, spilled: Vec::new() }
    }

    /// Reads back an encoding made by [`Segments::as_bytes`]; anything else is refused.
    ///
    /// # Errors
    /// [`Malformed`] when a segment is cut short, of unknown type, not UTF-8, or not in its shortest form.
    pub fn from_encoded(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            read_segment(&mut reader)?;
        }
        Ok(Self::from_trusted(bytes))
    }

    pub(crate) fn from_trusted(bytes: &[u8]) -> Self {
        if bytes.len() <= INLINE_BYTES {
            let mut inline = [0; INLINE_BYTES];
            inline[..bytes.len()].copy_from_slice(bytes);
            Segments(Repr::Inline { len: bytes.len() as u8, bytes: inline })
        } else {
            Segments(Repr::Heap(bytes.into()))
        }
    }

    /// The encoding.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Heap(bytes) => bytes,
        }
    }

    /// Whether there are no segments.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// Bytes this value holds outside itself.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::Inline { .. } => 0,
            Repr::Heap(bytes) => bytes.len(),
        }
    }

    /// The segments in order, each with the offset at which its encoding ends.
    pub fn iter(&self) -> SegmentsIter<'_> {
        SegmentsIter { reader: Reader::new(self.as_bytes()) }
    }

    /// The segments of an encoding, as [`Segments::iter`]; as far as it is one.
    pub(crate) fn iter_encoded(bytes: &[u8]) -> SegmentsIter<'_> {
        SegmentsIter { reader: Reader::new(bytes) }
    }

    /// The sequence `self` followed by `other`.
    pub fn join(&self, other: &Segments) -> Segments {
        let (first, second) = (self.as_bytes(), other.as_bytes());
        let len = first.len() + second.len();
        if len <= INLINE_BYTES {
            let mut bytes = [0; INLINE_BYTES];
            bytes[..first.len()].copy_from_slice(first);
            bytes[first.len()..len].copy_from_slice(second);
            return Segments(Repr::Inline { len: len as u8, bytes });
        }
        // One allocation: the length is known.
        Segments(Repr::Heap(first.iter().chain(second).copied().collect()))
    }
}

/// Iterates the segments of a [`Segments`] with the end offset of each.
pub struct SegmentsIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for SegmentsIter<'a> {
    type Item = (Segment<'a>, usize);

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        // Only validated or self-built encodings get here; a malformed one would end the iteration.
        let segment = read_segment(&mut self.reader).ok()?;
        Some((segment, self.reader.offset()))
    }
}

fn read_segment<'a>(reader: &mut Reader<'a>) -> Result<Segment<'a>, Malformed> {
    let tag = reader.byte()?;
    Ok(match tag {
        NONE => Segment::None,
        TEXT => {
            let len = reader.length()?;
            let text =
                std::str::from_utf8(reader.take(len)?).map_err(|_| Malformed::new("text is not UTF-8"))?;
            Segment::Text(text)
        }
        BYTES => {
            let len = reader.length()?;
            Segment::Bytes(reader.take(len)?)
        }
        FALSE => Segment::Bool(false),
        TRUE => Segment::Bool(true),
        UINT..=0x20 => Segment::Uint(read_integer(reader, tag - UINT)?),
        NINT..=0x40 => Segment::Nint(read_integer(reader, tag - NINT)?),
        _ => return Err(Malformed::new("unknown segment type")),
    })
}

fn read_integer(reader: &mut Reader<'_>, len: u8) -> Result<u128, Malformed> {
    debug_assert!(len <= INT_BYTES_MAX);
    let bytes = reader.take(usize::from(len))?;
    if bytes.first() == Some(&0) {
        return Err(Malformed::new("integer is not in its shortest form"));
    }
    Ok(bytes.iter().fold(0, |n, b| n << 8 | u128::from(*b)))
}

/// Collects segments; see [`Segments::builder`] and the `key!` and `tag!` macros.
///
/// Short ones are written where they stay: moved as one piece, every time in the same way, a key just built is not
/// waited for.
pub struct SegmentsBuilder {
    len: usize,
    /// Always inline.
    short: Repr,
    spilled: Vec<u8>,
}

impl SegmentsBuilder {
    /// Appends one segment.
    #[inline]
    pub fn push(&mut self, value: impl ToSegment) {
        value.with_segment(|segment| match segment {
            Segment::None => self.push_encoded(&[NONE]),
            Segment::Text(text) => self.push_run(TEXT, text.as_bytes()),
            Segment::Bytes(bytes) => self.push_run(BYTES, bytes),
            Segment::Bool(b) => self.push_encoded(&[if b { TRUE } else { FALSE }]),
            Segment::Uint(n) => self.push_integer(UINT, n),
            Segment::Nint(m) => self.push_integer(NINT, m),
        });
    }

    /// [`SegmentsBuilder::push`] for chains.
    #[must_use]
    #[inline]
    pub fn with(mut self, value: impl ToSegment) -> Self {
        self.push(value);
        self
    }

    /// The finished sequence.
    #[inline(always)]
    pub fn finish(self) -> Segments {
        let SegmentsBuilder { short, spilled, .. } = self;
        if spilled.is_empty() { Segments(short) } else { Segments(Repr::Heap(spilled.into())) }
    }

    /// Room for `used` more bytes of a short one, with `spare` behind them to be written with zeros; counts them as
    /// written. `None` when there is not as much.
    #[inline(always)]
    fn room(&mut self, used: usize, spare: usize) -> Option<&mut [u8]> {
        let Repr::Inline { len, bytes } = &mut self.short else { return None };
        if !self.spilled.is_empty() {
            return None;
        }
        let room = bytes.get_mut(self.len..)?.get_mut(..used + spare)?;
        self.len += used;
        *len = self.len as u8;
        Some(room)
    }

    #[inline]
    fn push_run(&mut self, tag: u8, run: &[u8]) {
        if run.len() < 0x80
            && let Some([kind, len, room @ ..]) = self.room(2 + run.len(), 0)
        {
            (*kind, *len) = (tag, run.len() as u8);
            room.copy_from_slice(run);
            return;
        }
        let mut head = [tag; 11];
        let used = 1 + put_varint(&mut head[1..], run.len() as u64);
        self.push_encoded(&head[..used]);
        self.push_encoded(run);
    }

    #[inline]
    fn push_integer(&mut self, tag: u8, n: u128) {
        let skip = n.leading_zeros() / 8;
        let significant = INT_BYTES_MAX - skip as u8;
        // Significant bytes first, zeros behind: as the bytes after the end of an inline encoding must be.
        let number = n.checked_shl(skip * 8).unwrap_or(0).to_be_bytes();
        // All of the number, whose length is known when compiling.
        if let Some([kind, room @ ..]) = self.room(1 + usize::from(significant), usize::from(skip as u8)) {
            *kind = tag + significant;
            room.copy_from_slice(&number);
        } else {
            self.push_encoded(&[tag + significant]);
            self.push_encoded(&number[..usize::from(significant)]);
        }
    }

    #[inline]
    pub(crate) fn push_encoded(&mut self, bytes: &[u8]) {
        if let Some(room) = self.room(bytes.len(), 0) {
            room.copy_from_slice(bytes);
            return;
        }
        if self.spilled.is_empty()
            && let Repr::Inline { bytes, .. } = &self.short
        {
            self.spilled.extend_from_slice(&bytes[..self.len]);
        }
        self.spilled.extend_from_slice(bytes);
        self.len += bytes.len();
    }
}

impl PartialEq for Segments {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            // With the padding, so that lengths are known when compiling; its end only when there is something in it.
            (Repr::Inline { len, bytes }, Repr::Inline { len: other_len, bytes: others }) => {
                len == other_len
                    && bytes.first_chunk::<16>() == others.first_chunk::<16>()
                    && (*len <= 16 || bytes.last_chunk::<30>() == others.last_chunk::<30>())
            }
            _ => self.as_bytes() == other.as_bytes(),
        }
    }
}
impl Eq for Segments {}
impl PartialOrd for Segments {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Segments {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}
impl Hash for Segments {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}
impl Borrow<[u8]> for Segments {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (segment, _)) in self.iter().enumerate() {
            if i > 0 {
                f.write_str("/")?;
            }
            write!(f, "{segment}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

/// Builds the segments of a key: `key![company, "rooms", 7]`.
#[macro_export]
macro_rules! key {
    ($($segment:expr),* $(,)?) => {{
        #[allow(unused_mut)]
        let mut builder = $crate::Segments::builder();
        $(builder.push(&$segment);)*
        builder.finish()
    }};
}

/// Builds a tag: `tag!["branch", branch]`.
#[macro_export]
macro_rules! tag {
    ($($segment:expr),* $(,)?) => { $crate::Tag::new($crate::key![$($segment),*]) };
}
