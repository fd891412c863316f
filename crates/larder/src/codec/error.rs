//! The error of codecs and packings. Serde's own messages quote values, so none is passed on.

use super::Codec;
use std::fmt;

/// A value that could not be encoded, or bytes that could not be decoded. Contains no part of the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecError {
    codec: Option<Codec>,
    doing: Doing,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Encode,
    Decode,
    Unpack,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// A float that the format has no form for.
    NotFinite,
    /// `Some` around what the format writes as it writes `None`.
    NestedNull,
    /// Nested deeper than it would be read back.
    TooDeep,
    /// The codec or the type's own `Serialize` refused.
    Refused,
    /// Not this type, or not this codec; where, if the format has places (line and column).
    Mismatch { place: Option<(usize, usize)> },
    /// A value, and then more bytes.
    LeftOver,
    /// The unpacked length is over the limit.
    TooLarge { raw_bytes: u64, max: u64 },
    /// The packed bytes do not unpack to the length stored with them.
    BadPacking,
}

impl CodecError {
    pub(super) const fn new(codec: Codec, doing: Doing, why: Why) -> Self {
        CodecError { codec: Some(codec), doing, why }
    }

    pub(super) const fn unpacking(why: Why) -> Self {
        CodecError { codec: None, doing: Doing::Unpack, why }
    }

    /// Whether stored bytes claimed to unpack to more than the limit.
    pub fn is_too_large(&self) -> bool {
        matches!(self.why, Why::TooLarge { .. })
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.doing, self.codec) {
            (Doing::Encode, Some(codec)) => write!(f, "value cannot be encoded as {codec}: ")?,
            (Doing::Decode, Some(codec)) => write!(f, "bytes cannot be decoded as {codec}: ")?,
            _ => f.write_str("bytes cannot be unpacked: ")?,
        }
        match self.why {
            Why::NotFinite => f.write_str(
                "it has a number that is NaN or infinite, which this format turns into null; use postcard or messagepack",
            ),
            Why::NestedNull => {
                f.write_str("it has a `Some` of nothing, which this format turns into `None`; use postcard")
            }
            Why::TooDeep => f.write_str("it is nested deeper than can be read back"),
            Why::Refused => f.write_str("the format has no form for it, or its own Serialize failed"),
            Why::Mismatch { place: Some((line, column)) } => {
                write!(f, "not a value of the region's type, at line {line}, column {column}")
            }
            Why::Mismatch { place: None } => f.write_str("not a value of the region's type"),
            Why::LeftOver => f.write_str("bytes left over after the value"),
            Why::TooLarge { raw_bytes, max } => write!(f, "they claim {raw_bytes} bytes, at most {max} may be"),
            Why::BadPacking => f.write_str("they do not unpack to the length stored with them"),
        }
    }
}

impl std::error::Error for CodecError {}
