//! Packing: making encoded values smaller for the tiers below memory, and taking them back under a limit.
//!
//! LZ4 blocks without a size in front: the length is a field of the envelope, checked before anything is
//! allocated for it.

use super::error::{CodecError, Why};
use larder_core::Packing;
use lz4_flex::block;
use std::borrow::Cow;

/// An LZ4 block grows to less than this many times its length: one byte of a match's length stands for 255.
const LZ4_RATIO_MAX: u64 = 255;

/// Whether encoded values are compressed before they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Never.
    None,
    /// With LZ4, from this length on, and only when it makes the value smaller.
    Lz4 {
        /// Encoded values shorter than this are stored as they are.
        threshold_bytes: usize,
    },
}

impl Default for Compression {
    fn default() -> Self {
        Compression::Lz4 { threshold_bytes: 1024 }
    }
}

impl Compression {
    /// The encoded value as it is to be stored, and how it was packed.
    pub fn pack(self, raw: Vec<u8>) -> (Packing, Vec<u8>) {
        match self {
            Compression::Lz4 { threshold_bytes } if raw.len() >= threshold_bytes => {
                let packed = block::compress(&raw);
                if packed.len() < raw.len() {
                    (Packing::Lz4 { raw_bytes: raw.len() as u64 }, packed)
                } else {
                    (Packing::None, raw)
                }
            }
            _ => (Packing::None, raw),
        }
    }

    /// The encoded value from what was stored. Allocates no more than `raw_bytes_max`, and only when the packed
    /// bytes could hold that much.
    ///
    /// # Errors
    /// When it is over the limit, or does not unpack to exactly the length stored with it.
    pub fn unpack(packing: Packing, body: &[u8], raw_bytes_max: u64) -> Result<Cow<'_, [u8]>, CodecError> {
        let raw_bytes = match packing {
            Packing::None => body.len() as u64,
            Packing::Lz4 { raw_bytes } => raw_bytes,
        };
        let too_large = CodecError::unpacking(Why::TooLarge { raw_bytes, max: raw_bytes_max });
        let len = usize::try_from(raw_bytes).ok().filter(|_| raw_bytes <= raw_bytes_max).ok_or(too_large)?;
        if packing == Packing::None {
            return Ok(Cow::Borrowed(body));
        }
        let bad = CodecError::unpacking(Why::BadPacking);
        if raw_bytes > (body.len() as u64).saturating_mul(LZ4_RATIO_MAX) {
            return Err(bad);
        }
        let mut raw = vec![0; len];
        match block::decompress_into(body, &mut raw) {
            Ok(written) if written == len => Ok(Cow::Owned(raw)),
            _ => Err(bad),
        }
    }
}
