//! The key of the memory tier: a region's number and the segments, with their hash worked out once.

use foldhash::quality::SeedableRandomState;
use larder_core::Segments;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::OnceLock;

/// A key of one region, ready to be looked up: built once, used often. Made by [`crate::Region::key`].
///
/// Its fields in this order, so that what a hit on a short key reads lies side by side.
#[derive(Clone)]
#[repr(C)]
pub struct Key {
    pub(crate) hash: u64,
    /// Which region of which tenant of which cache, by a number unique in the process.
    pub(crate) scope: u32,
    pub(crate) segments: Segments,
}

impl Key {
    #[inline]
    pub(crate) fn new(scope: u32, segments: Segments) -> Self {
        let hash = hash(scope, segments.as_bytes());
        Key { hash, scope, segments }
    }

    /// The segments, without namespace, tenant and region.
    pub fn segments(&self) -> &Segments {
        &self.segments
    }
}

/// One seed for the process, drawn when it is first needed: keys compare across caches, nobody can aim collisions.
static SEED: OnceLock<SeedableRandomState> = OnceLock::new();

/// Leaves nothing to chance from here on, for simulations; too late once a key was made.
#[cfg(feature = "testing")]
pub(crate) fn fix_key_seed() {
    SEED.get_or_init(|| SeedableRandomState::with_seed(1, foldhash::SharedSeed::global_fixed()));
}

#[inline]
fn hash(scope: u32, bytes: &[u8]) -> u64 {
    let mut hasher = SEED.get_or_init(SeedableRandomState::random).build_hasher();
    hasher.write(bytes);
    hasher.write_u32(scope);
    hasher.finish()
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not its content, which may name a person: print `segments()` to show it on purpose.
        write!(f, "Key({:016x})", self.hash)
    }
}

impl PartialEq for Key {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.scope == other.scope && self.segments == other.segments
    }
}
impl Eq for Key {}

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Hands the hash a [`Key`] carries through to tables.
#[derive(Clone, Copy, Default)]
pub(crate) struct Carried(u64);

impl BuildHasher for Carried {
    type Hasher = Carried;
    #[inline]
    fn build_hasher(&self) -> Carried {
        Carried(0)
    }
}

impl Hasher for Carried {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
    #[inline]
    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
    fn write(&mut self, bytes: &[u8]) {
        // Only keys are hashed with this, and they write one number; anything else still hashes to something.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}
