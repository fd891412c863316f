//! The store that all nodes share, as Redis behaves on bad days, and one node's port to it.
//!
//! May: lose, evict, delay and repeat writes, go back to any state it had, split in two, answer slowly, wrongly or never,
//! hand out damaged bytes or those of another key. Never: anything else; what it holds was once written.

use super::flights::Leaders;
use super::gossip::Word;
use crate::fault::Fault;
use crate::sched::{MS, NodeId, NodeRuntime, SECOND, Time};
use crate::world::{Service, World};
use larder_core::port::{BoxFuture, Browse, News, SharedFlights, Store, StoreError, Stored, Told, Use};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_64;

/// What can be undone: more than a run writes.
const UNDO_MAX: usize = 200_000;

/// Bytes of an envelope's checksum.
const CHECKSUM: usize = 8;

pub(super) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// What the store holds; two halves while it is split.
#[derive(Default)]
pub(crate) struct Payloads {
    halves: [Rows; 2],
    leaders: [Leaders; 2],
    is_split: bool,
    /// What nodes said of the store, the newest last.
    pub(super) words: VecDeque<Word>,
    /// Who looks through it, until when.
    pub(super) looks: Option<(NodeId, Time)>,
    /// Questions about entries, answered or not.
    pub(crate) asked: u64,
    undo: VecDeque<(Time, Vec<u8>, Option<Vec<u8>>)>,
}

impl Payloads {
    fn rows(&mut self, side: usize) -> &mut Rows {
        let side = if self.is_split { side % 2 } else { 0 };
        &mut self.halves[side]
    }

    fn set(&mut self, side: usize, key: Vec<u8>, bytes: Option<Vec<u8>>, now: Time) {
        let rows = self.rows(side);
        let old = match bytes {
            Some(bytes) => rows.insert(key.clone(), bytes),
            None => rows.remove(&key),
        };
        self.undo.push_back((now, key, old));
        if self.undo.len() > UNDO_MAX {
            self.undo.pop_front();
        }
    }

    /// Whether two nodes talk to the same half.
    pub(super) fn are_together(&self, one: usize, other: usize) -> bool {
        !self.is_split || one % 2 == other % 2
    }

    /// All that it holds, as one of its nodes sees it.
    pub(super) fn all(&mut self, side: usize) -> &Rows {
        self.rows(side)
    }

    /// Who leads which flight, as the half on this side knows it.
    pub(super) fn leaders(&mut self, side: usize) -> &mut Leaders {
        &mut self.leaders[if self.is_split { side % 2 } else { 0 }]
    }

    pub(crate) fn len(&self) -> usize {
        self.halves[0].len()
    }

    /// Everything is gone. Whether there was anything.
    pub(crate) fn wipe(&mut self) -> bool {
        let bit = !self.halves[0].is_empty();
        self.halves[0].clear();
        self.leaders[0].forget();
        self.undo.clear();
        bit
    }

    /// Back to how it was then. Whether it was another.
    pub(crate) fn roll_back(&mut self, then: Time) -> bool {
        let mut bit = false;
        while self.undo.back().is_some_and(|(at, _, _)| *at > then) {
            let Some((_, key, old)) = self.undo.pop_back() else { break };
            bit = true;
            match old {
                Some(bytes) => self.halves[0].insert(key, bytes),
                None => self.halves[0].remove(&key),
            };
        }
        bit
    }

    /// Both halves go on, each for the nodes on its side.
    pub(crate) fn split(&mut self) {
        self.halves[1] = self.halves[0].clone();
        self.leaders[1] = self.leaders[0].clone();
        self.is_split = true;
        self.undo.clear();
    }

    /// One half wins. Whether the other had become another.
    pub(crate) fn join(&mut self, winner: usize) -> bool {
        let bit = self.halves[0] != self.halves[1];
        if winner == 1 {
            self.halves.swap(0, 1);
            self.leaders.swap(0, 1);
        }
        self.halves[1].clear();
        self.is_split = false;
        self.undo.clear();
        bit
    }

    /// Takes the stamps out of all envelopes, as if nobody had known them when these were written.
    pub(crate) fn forget_stamps(&mut self) {
        self.halves.iter_mut().flat_map(Rows::values_mut).for_each(forget_stamp);
    }

    /// One of those that are there, if any is.
    pub(crate) fn evict(&mut self, at: usize) -> bool {
        let key = self.halves[0].keys().nth(at % self.halves[0].len().max(1)).cloned();
        key.is_some_and(|key| self.halves[0].remove(&key).is_some())
    }
}

/// `larder-core/src/envelope/wire.rs` says where what stands in an envelope, and that its checksum comes last.
fn forget_stamp(envelope: &mut Vec<u8>) {
    const LENGTH: Range<usize> = 5..13;
    const HAS_PLACE: usize = 29;
    const PLACE: Range<usize> = 30..46;
    if envelope.get(HAS_PLACE) != Some(&1) || envelope.len() < PLACE.end + CHECKSUM {
        return;
    }
    envelope[HAS_PLACE] = 0;
    envelope.drain(PLACE);
    let (length, covered) = (envelope.len() as u64, envelope.len() - CHECKSUM);
    envelope[LENGTH].copy_from_slice(&length.to_be_bytes());
    let checksum = xxh3_64(&envelope[..covered]);
    envelope[covered..].copy_from_slice(&checksum.to_be_bytes());
}

/// One node's way to the store.
pub(crate) struct StorePort {
    pub(super) world: World,
    pub(super) rt: NodeRuntime,
}

impl StorePort {
    pub(crate) fn new(world: &World, rt: &NodeRuntime) -> Self {
        StorePort { world: world.clone(), rt: rt.clone() }
    }

    pub(super) fn side(&self) -> usize {
        self.rt.node.index()
    }

    /// The way back of an answer.
    pub(super) async fn answer(&self) -> Result<(), StoreError> {
        self.world.travel(&self.rt, Service::Store).await.map_err(|e| StoreError::new("cut off", e))
    }

    pub(super) async fn ask(&self) -> Result<(), StoreError> {
        let world = &self.world;
        world.payloads().asked += 1;
        world.travel(&self.rt, Service::Store).await.map_err(|e| StoreError::new("cut off", e))?;
        if world.strikes(Fault::StoreError, 0.02) {
            return Err(StoreError::new("the store refused", "simulated"));
        }
        if world.strikes(Fault::StoreHang, 0.003) {
            world.sim().sleep(std::time::Duration::from_secs(60)).await;
        }
        if world.strikes(Fault::StoreSlow, 0.02) {
            world.sim().delay(5 * MS, 3 * SECOND).await;
        }
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let world = &self.world;
        let mut payloads = world.payloads();
        let rows = payloads.rows(self.rt.node.index());
        let mut bytes = rows.get(key).cloned()?;
        if world.strikes(Fault::StoreSwap, 0.01) {
            let at = world.sim().draw(|rng| rng.usize(..rows.len()));
            bytes = rows.values().nth(at).cloned()?;
        }
        if world.strikes(Fault::StoreDamage, 0.01) {
            let at = world.sim().draw(|rng| rng.usize(..bytes.len().max(1)));
            match bytes.get_mut(at) {
                Some(byte) => *byte ^= 0x10,
                None => bytes.push(0),
            }
        }
        Some(bytes)
    }

    /// Writes, unless that is lost; once more later, when it is repeated.
    fn set(&self, key: Vec<u8>, bytes: Option<Vec<u8>>) {
        let (world, side) = (&self.world, self.rt.node.index());
        if world.strikes(Fault::StoreLose, 0.05) {
            return;
        }
        let now = world.sim().now();
        if world.strikes(Fault::StoreDuplicate, 0.05) {
            let (world, key, bytes) = (world.clone(), key.clone(), bytes.clone());
            world.clone().sim().spawn_world(async move {
                world.sim().delay(MS, 20 * SECOND).await;
                let now = world.sim().now();
                world.payloads().set(side, key, bytes, now);
            });
        }
        world.payloads().set(side, key, bytes, now);
    }
}

impl Store for StorePort {
    fn get_many<'a>(
        &'a self,
        keys: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<Vec<Option<Vec<u8>>>, StoreError>> {
        Box::pin(async move {
            self.ask().await?;
            let rows = keys.iter().map(|key| self.get(key)).collect();
            self.answer().await?;
            Ok(rows)
        })
    }

    fn put_many(&self, entries: Vec<Stored>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.ask().await?;
            for entry in entries {
                self.set(entry.key, Some(entry.bytes));
            }
            Ok(())
        })
    }

    fn remove_many<'a>(&'a self, keys: &'a [Vec<u8>]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.ask().await?;
            for key in keys {
                self.set(key.clone(), None);
            }
            Ok(())
        })
    }

    fn usage(&self) -> BoxFuture<'_, Result<(u64, u64), StoreError>> {
        Box::pin(async move {
            self.ask().await?;
            Ok((self.world.payloads().len() as u64, 0))
        })
    }

    fn tell(&self, of: Use, news: News) {
        self.say(of, news);
    }

    fn told(&self, of: Use) -> Option<Told> {
        self.heard(of)
    }

    fn flights(&self) -> Option<&dyn SharedFlights> {
        Some(self)
    }

    fn browsable(&self) -> Option<&dyn Browse> {
        Some(self)
    }

    fn name(&self) -> &'static str {
        "simulated"
    }
}
