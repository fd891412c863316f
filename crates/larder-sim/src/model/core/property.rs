//! What the core model promises, and what must happen in it for the promise to mean something.

use super::Core;
use super::state::{Applier, At, Reader, Renewal, State};
use stateright::Property;

impl Core {
    /// Readers about to serve a cached value: the rule was passed and the clock is before the lease.
    fn serving<'a>(&self, state: &'a State) -> impl Iterator<Item = (&'a Reader, u8)> {
        let readers = state.readers[..self.readers.len()].iter();
        readers
            .filter(|reader| reader.at == At::Ready && reader.lease > 0)
            .filter_map(|reader| reader.entry.map(|entry| (reader, entry.value)))
    }

    /// Whether the rule calls what the store holds fresh on some node whose memory has nothing as good.
    fn store_helps(&self, state: &State) -> bool {
        let Some(entry) = state.store.now else { return false };
        state.nodes[..self.nodes].iter().any(|node| {
            node.lease > 0
                && node.memory.is_none()
                && entry.born >= node.floor
                && node.last[self.tag(entry.value)] <= entry.born
        })
    }

    pub(super) fn promises(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always("bounded", |core: &Core, state: &State| {
                core.serving(state).all(|(reader, value)| value >= reader.due)
            }),
            Property::always("nothing uncommitted", |core: &Core, state: &State| {
                core.serving(state).all(|(_, value)| value <= state.origin.committed)
            }),
            Property::sometimes("a hit serves what is newest after a write", |core: &Core, state: &State| {
                core.serving(state).any(|(_, value)| value > 0 && value == state.origin.committed)
            }),
            Property::sometimes("a hit is stale inside the bound", |core: &Core, state: &State| {
                core.serving(state).any(|(_, value)| value < state.origin.acked)
            }),
            Property::sometimes("a lapsed lease refuses a hit", |_: &Core, state: &State| {
                state.readers.iter().any(|reader| reader.at == At::Ready && reader.lease == 0)
            }),
            Property::sometimes("the last write is applied everywhere", |core: &Core, state: &State| {
                state.nodes[..core.nodes].iter().all(|node| node.applied == core.writes)
            }),
        ];
        if self.returns {
            all.push(Property::always("fresh after return", |core: &Core, state: &State| {
                core.serving(state).all(|(reader, value)| value >= reader.returned)
            }));
            all.push(Property::sometimes(
                "a write returns before Δ has passed",
                |core: &Core, state: &State| {
                    let write = usize::from(state.origin.returned);
                    write > 0 && state.origin.ages[write - 1] < core.bound()
                },
            ));
        }
        all.extend(self.faults());
        all
    }

    fn faults(&self) -> Vec<Property<Self>> {
        let mut all = Vec::new();
        if self.sequencer {
            all.push(Property::sometimes(
                "a renewal waits for a busy sequencer",
                |_: &Core, state: &State| {
                    state.lock.is_some() && state.nodes.iter().any(|node| node.renewal == Renewal::Noted)
                },
            ));
        }
        if self.store {
            all.push(Property::sometimes(
                "the store has what memory has not",
                |core: &Core, state: &State| core.store_helps(state),
            ));
        }
        if self.rollback {
            all.push(Property::sometimes(
                "a store that was rolled back helps",
                |core: &Core, state: &State| state.store.rolled_back && core.store_helps(state),
            ));
        }
        if self.flights {
            all.push(Property::sometimes("a reader follows another's load", |_: &Core, state: &State| {
                let at = |at: At| state.readers.iter().any(|reader| reader.at == at);
                at(At::Following) && at(At::Loaded)
            }));
        }
        if self.transactions {
            all.push(Property::sometimes(
                "a write succeeds after one was rolled back",
                |_: &Core, state: &State| state.origin.aborted && state.origin.acked > 0,
            ));
        }
        if self.restart {
            all.push(Property::sometimes("a node that restarted serves", |core: &Core, state: &State| {
                let mut homes = core.readers.iter().zip(&state.readers);
                homes.any(|(home, reader)| {
                    reader.at == At::Ready && reader.lease > 0 && state.nodes[usize::from(*home)].restarted
                })
            }));
        }
        if self.gaps {
            all.push(Property::sometimes("a node loses its place", |_: &Core, state: &State| {
                state.nodes.iter().any(|node| node.applier == Applier::Lost && !node.restarted)
            }));
        }
        if self.slots < self.tags {
            all.push(Property::sometimes("a full table raises the floor", |_: &Core, state: &State| {
                state.nodes.iter().any(|node| node.applier == Applier::Dropped && node.floor > 0)
            }));
        }
        all
    }
}
