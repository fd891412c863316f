//! Reading a target's input as choices, from the front, so that a change in one place leaves what came before as it
//! was. An input that ends answers with zeros and no bytes.

use larder_core::{Path, Pattern, Segment, Segments, Tag, Target, Tenant};

/// What is left of the input.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Input(bytes)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    /// Below `n`.
    pub(crate) fn below(&mut self, n: u8) -> u8 {
        self.byte() % n
    }

    pub(crate) fn u64(&mut self) -> u64 {
        (0..8).fold(0, |n, _| n << 8 | u64::from(self.byte()))
    }

    pub(crate) fn u128(&mut self) -> u128 {
        u128::from(self.u64()) << 64 | u128::from(self.u64())
    }

    /// Up to 255 bytes, their number first.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }

    /// The characters of some bytes that are text; what is none is left out.
    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).replace(char::REPLACEMENT_CHARACTER, "")
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn segment(&mut self) -> Owned {
        match self.below(7) {
            0 => Owned::Text(self.text()),
            1 => Owned::Bytes(self.bytes().to_vec()),
            2 => Owned::Bool(self.below(2) == 1),
            3 => Owned::Uint(u128::from(self.byte())),
            4 => Owned::Nint(u128::from(self.byte())),
            5 if self.below(2) == 0 => Owned::Uint(self.u128()),
            5 => Owned::Nint(self.u128()),
            _ => Owned::None,
        }
    }

    /// Up to five segments, their number first.
    pub(crate) fn segments(&mut self) -> Vec<Owned> {
        (0..self.below(6)).map(|_| self.segment()).collect()
    }

    pub(crate) fn tenant(&mut self) -> Tenant {
        if self.below(2) == 0 { Tenant::common() } else { Tenant::named(self.text()) }
    }

    pub(crate) fn path(&mut self) -> Path {
        let tenant = self.tenant();
        Path::of_region(&tenant, &self.text()).below(&encode(&self.segments()))
    }

    pub(crate) fn tag(&mut self) -> Tag {
        Tag::new(encode(&self.segments()))
    }

    pub(crate) fn pattern(&mut self) -> Pattern {
        (0..self.below(5)).fold(Pattern::new(), |pattern, _| match self.below(4) {
            0 => pattern.exact(self.segment().as_segment()),
            1 => pattern.glob(&self.text()),
            2 => pattern.any(),
            _ => pattern.rest(),
        })
    }

    pub(crate) fn target(&mut self) -> Target {
        match self.below(5) {
            0 => Target::Everything,
            1 => Target::Key(self.path()),
            2 => Target::Prefix(self.path()),
            3 => Target::Tag(self.path()),
            _ => Target::Pattern(self.path(), self.pattern()),
        }
    }
}

/// A segment with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owned {
    None,
    Text(String),
    Bytes(Vec<u8>),
    Bool(bool),
    Uint(u128),
    Nint(u128),
}

impl Owned {
    pub(crate) fn as_segment(&self) -> Segment<'_> {
        match self {
            Owned::None => Segment::None,
            Owned::Text(text) => Segment::Text(text),
            Owned::Bytes(bytes) => Segment::Bytes(bytes),
            Owned::Bool(b) => Segment::Bool(*b),
            Owned::Uint(n) => Segment::Uint(*n),
            Owned::Nint(n) => Segment::Nint(*n),
        }
    }
}

pub(crate) fn encode(segments: &[Owned]) -> Segments {
    let mut builder = Segments::builder();
    segments.iter().for_each(|segment| builder.push(segment.as_segment()));
    builder.finish()
}

/// The seeds of one target: the number of the way its input is read, then the input.
pub(crate) fn seed(name: &str, way: u8, bytes: &[u8]) -> (String, Vec<u8>) {
    (name.to_owned(), [&[way], bytes].concat())
}
