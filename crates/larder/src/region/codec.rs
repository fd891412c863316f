//! The region's type turned into bytes and back, behind the engine's untyped port.

use crate::codec::{Codec, CodecError};
use crate::engine::ValueCodec;
use crate::memory::{Entry, Head, Typed};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

/// For regions whose values go to stores.
pub(crate) struct Serialized<T> {
    codec: Codec,
    value: PhantomData<fn() -> T>,
}

impl<T> Serialized<T> {
    pub(crate) fn new(codec: Codec) -> Self {
        Serialized { codec, value: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> ValueCodec for Serialized<T> {
    fn encode(&self, value: &dyn Any) -> Result<Vec<u8>, CodecError> {
        match value.downcast_ref::<T>() {
            Some(value) => self.codec.encode(value),
            None => unreachable!("a region's entries are of its type"),
        }
    }

    fn decode(&self, codec: Codec, bytes: &[u8], head: Head) -> Result<Arc<Entry>, CodecError> {
        // What an older program wrote with another codec is still readable, as long as this one knows it.
        Ok(Typed::file(head, codec.decode::<T>(bytes)?))
    }

    fn weigh(&self, value: &dyn Any) -> u64 {
        let Some(value) = value.downcast_ref::<T>() else { return 0 };
        // Postcard's size is near what the value holds, and is found without writing it. A type postcard cannot
        // size (sequences of unknown length) is written out in the region's codec instead.
        let size = postcard::experimental::serialized_size(value).ok();
        let size = size.or_else(|| self.codec.encode(value).ok().map(|bytes| bytes.len()));
        (size.unwrap_or(0) + size_of::<T>()) as u64
    }
}

/// For regions of types that have no form in bytes: memory only.
pub(crate) struct InMemory<T> {
    weigh: Box<dyn Fn(&T) -> u64 + Send + Sync>,
}

impl<T> InMemory<T> {
    pub(crate) fn new(weigh: impl Fn(&T) -> u64 + Send + Sync + 'static) -> Self {
        InMemory { weigh: Box::new(weigh) }
    }
}

impl<T: Send + Sync + 'static> ValueCodec for InMemory<T> {
    fn encode(&self, _value: &dyn Any) -> Result<Vec<u8>, CodecError> {
        unreachable!("a region in memory has no stores")
    }

    fn decode(&self, _codec: Codec, _bytes: &[u8], _head: Head) -> Result<Arc<Entry>, CodecError> {
        unreachable!("a region in memory has no stores")
    }

    fn weigh(&self, value: &dyn Any) -> u64 {
        value.downcast_ref::<T>().map_or(0, |value| (self.weigh)(value))
    }
}
