//! Larder.

mod codec;
pub mod observe;

pub use codec::{Codec, CodecError, Compression};
