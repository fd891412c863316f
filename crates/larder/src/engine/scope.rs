//! One region of one tenant, as the engine knows it: its names, its policy, its instruments; no type.

use crate::codec::{Codec, CodecError};
use crate::memory::{Entry, Head, Key};
use crate::observe::RegionStats;
use crate::policy::Policy;
use larder_core::{Bound, Path, Tenant};
use std::any::{Any, TypeId};
use std::sync::Arc;

/// The region's type, hidden: turning its values into bytes and back.
pub(crate) trait ValueCodec: Send + Sync {
    fn encode(&self, value: &dyn Any) -> Result<Vec<u8>, CodecError>;
    /// The entry with this head, of the value that is in these bytes.
    fn decode(&self, codec: Codec, bytes: &[u8], head: Head) -> Result<Arc<Entry>, CodecError>;
    /// Bytes the value takes, as near as can be told without a store.
    fn weigh(&self, value: &dyn Any) -> u64;
}

pub(crate) struct Scope {
    /// Unique in the process.
    pub(crate) id: u32,
    pub(crate) tenant: Tenant,
    pub(crate) tenant_path: Path,
    pub(crate) name: Arc<str>,
    pub(crate) path: Path,
    pub(crate) policy: Policy,
    pub(crate) bound: Bound,
    /// Fingerprint of the region's name and schema version: what one wrote, another refuses to decode.
    pub(crate) schema: u64,
    pub(crate) value_type: TypeId,
    pub(crate) codec: Arc<dyn ValueCodec>,
    pub(crate) source: Arc<super::limits::SourceLimit>,
    pub(crate) stats: Arc<RegionStats>,
    /// For loads from a replica that lags.
    pub(crate) hold_off: Option<super::SharedHoldOff>,
}

impl Scope {
    /// The path of a key of this region.
    pub(crate) fn path_of(&self, key: &Key) -> Path {
        self.path.below(&key.segments)
    }
}
