//! What nodes say of the store to each other, on a channel of the store's own servers, and looking through it.
//!
//! May: lose a word, or bring it minutes late; nobody hears those of the other half. Never: make one up.

use super::{Payloads, StorePort};
use crate::fault::Fault;
use crate::sched::{MS, NodeId, SECOND, Time};
use crate::world::Service;
use larder_core::port::{BoxFuture, Browse, Leaf, News, StoreError, Told, Use};
use std::time::Duration;

/// Words remembered.
const WORDS_MAX: usize = 64;

/// How long one look through the store may take before it is another's turn.
const TURN: Time = 10 * SECOND;

/// What a node said of the store.
#[derive(Clone, Copy)]
pub(super) struct Word {
    from: NodeId,
    of: Use,
    news: News,
    heard_at: Time,
}

impl Payloads {
    /// A node has said that the store fails it, and has been silent since.
    pub(crate) fn said_long_ago(&mut self, from: NodeId, at: Time) {
        let says = |of| Word { from, of, news: News::Failing, heard_at: at };
        self.words.extend([Use::Reads, Use::Writes].map(says));
    }
}

impl StorePort {
    pub(super) fn say(&self, of: Use, news: News) {
        let (world, from) = (&self.world, self.rt.node);
        world.note(from, || format!("says of the store: {of:?} {news:?}"));
        if world.is_cut(from, Service::Store) || world.strikes(Fault::HintDrop, 0.3) {
            return;
        }
        let most = if world.strikes(Fault::HintDelay, 0.1) { 120 * SECOND } else { MS };
        let heard_at = world.sim().now() + world.sim().draw(|rng| rng.u64(50_000..=most));
        let mut payloads = world.payloads();
        payloads.words.push_back(Word { from, of, news, heard_at });
        if payloads.words.len() > WORDS_MAX {
            payloads.words.pop_front();
        }
    }

    pub(super) fn heard(&self, of: Use) -> Option<Told> {
        let (now, me) = (self.world.sim().now(), self.rt.node);
        let payloads = self.world.payloads();
        let is_heard = |word: &&Word| {
            let is_for_me = word.from != me && payloads.are_together(word.from.index(), me.index());
            word.of == of && is_for_me && word.heard_at <= now
        };
        // What came last counts, whenever it was said.
        let word = payloads.words.iter().filter(is_heard).max_by_key(|word| word.heard_at)?;
        let ago = Duration::from_nanos(now - word.heard_at);
        Some(Told { news: word.news, number: word.heard_at, ago })
    }
}

impl Browse for StorePort {
    fn browse<'a>(
        &'a self,
        prefix: &'a [u8],
        from: u128,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<Leaf>, StoreError>> {
        Box::pin(async move {
            self.ask().await?;
            let (now, me) = (self.world.sim().now(), self.rt.node);
            let leaf = {
                let mut payloads = self.world.payloads();
                if payloads.looks.is_some_and(|(who, until)| who != me && now < until) {
                    None
                } else {
                    let mine = payloads.all(me.index()).iter().filter(|(key, _)| key.starts_with(prefix));
                    let place = usize::try_from(from).unwrap_or(usize::MAX);
                    let head = |bytes: &[u8]| bytes[..bytes.len().min(Leaf::HEAD_BYTES)].to_vec();
                    let entries = mine.skip(place).take(limit).map(|(key, bytes)| (key.clone(), head(bytes)));
                    let entries: Vec<(Vec<u8>, Vec<u8>)> = entries.collect();
                    let next = (entries.len() == limit).then_some(from + limit as u128);
                    payloads.looks = next.map(|_| (me, now + TURN));
                    Some(Leaf { entries, next })
                }
            };
            self.answer().await?;
            Ok(leaf)
        })
    }

    fn rest(&self) -> Duration {
        Duration::from_secs(6)
    }
}
