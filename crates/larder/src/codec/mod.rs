//! Codecs: how a region's values become bytes for the tiers below memory, and come back.
//!
//! Used when an entry is stored or read back; memory keeps values as they are. A value that cannot be encoded
//! is not stored; one that does not decode is a miss. Errors never contain parts of a value.
//!
//! Every codec here gives back what it was given, or refuses it: where a format would silently change a
//! value (JSON writes `NaN` as `null`; JSON and MessagePack write `Some(None)` as `None`), encoding fails
//! instead. What remains the type's own affair is that its `Serialize` and `Deserialize` agree.

mod error;
mod exact;
mod packing;

pub use error::CodecError;
pub use packing::Compression;

use error::{Doing, Why};
use exact::Exact;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// More than any value that [`Exact`] lets pass needs; its own default, 1024, exhausts a thread's stack.
const MESSAGE_PACK_DEPTH_MAX: usize = 300;

/// The format a region's values take in the tiers below memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Readable by people and by other languages. Keys of maps must be text, numbers, characters or truth values.
    #[default]
    Json,
    /// The smallest and fastest. Not self-describing: types that use `#[serde(untagged)]`, `flatten`,
    /// `skip_serializing_if`, or hold a `serde_json::Value`, do not read back. Sets no limit to the depth of types
    /// that contain themselves. Change the region's schema version
    /// with every change of the type.
    Postcard,
    /// Self-describing, compact, and takes any key of a map. Structs are written with the names of their fields.
    MessagePack,
}

impl Codec {
    /// The number stored with values of this codec; never changes its meaning.
    pub const fn id(self) -> u8 {
        match self {
            Codec::Json => 1,
            Codec::Postcard => 2,
            Codec::MessagePack => 3,
        }
    }

    /// The codec of a stored number; `None` when this program does not know it.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Codec::Json),
            2 => Some(Codec::Postcard),
            3 => Some(Codec::MessagePack),
            _ => None,
        }
    }

    /// The name used in messages and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Codec::Json => "json",
            Codec::Postcard => "postcard",
            Codec::MessagePack => "messagepack",
        }
    }

    /// The value as bytes.
    ///
    /// # Errors
    /// When the value has no form in this codec from which it would come back unchanged.
    pub fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<Vec<u8>, CodecError> {
        let error = |why| CodecError::new(self, Doing::Encode, why);
        match self {
            Codec::Json => {
                Exact::JSON.check(value).map_err(error)?;
                serde_json::to_vec(value).map_err(|_| error(Why::Refused))
            }
            Codec::Postcard => postcard::to_stdvec(value).map_err(|_| error(Why::Refused)),
            Codec::MessagePack => {
                Exact::MESSAGE_PACK.check(value).map_err(error)?;
                rmp_serde::to_vec_named(value).map_err(|_| error(Why::Refused))
            }
        }
    }

    /// The value these bytes stand for, all of them.
    ///
    /// # Errors
    /// When they are not of this codec, not of this type, or more than one value.
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, CodecError> {
        let error = |why| CodecError::new(self, Doing::Decode, why);
        match self {
            Codec::Json => serde_json::from_slice(bytes)
                .map_err(|e| error(Why::Mismatch { place: Some((e.line(), e.column())) })),
            Codec::Postcard => match postcard::take_from_bytes(bytes) {
                Ok((value, [])) => Ok(value),
                Ok(_) => Err(error(Why::LeftOver)),
                Err(_) => Err(error(Why::Mismatch { place: None })),
            },
            Codec::MessagePack => {
                let mut rest = bytes;
                let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
                deserializer.set_max_depth(MESSAGE_PACK_DEPTH_MAX);
                let value =
                    T::deserialize(&mut deserializer).map_err(|_| error(Why::Mismatch { place: None }))?;
                if rest.is_empty() { Ok(value) } else { Err(error(Why::LeftOver)) }
            }
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
