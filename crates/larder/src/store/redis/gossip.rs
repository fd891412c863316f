//! What the nodes that share a store tell each other about how it fares: over a channel of the same servers.
//!
//! So it travels when a part fails (no room for writes, loading, one shard, answers too slow) and not when all does. It
//! decides nothing: the engine's breaker makes of it what it will.

use crate::redis::{Heard, Listener, Redis};
use larder_core::port::{News, Told, Use};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// Where it is said. Its slot is that of nothing else.
const CHANNEL: &[u8] = b"larder:health";

pub(super) struct Gossip {
    redis: Redis,
    /// Tells this node's words from others'.
    node: [u8; 8],
    last: Arc<Mutex<[Option<Said>; 2]>>,
    _ear: AbortOnDropHandle<()>,
}

/// The last thing another node said.
#[derive(Clone, Copy)]
struct Said {
    news: News,
    number: u64,
    at: Instant,
}

impl Gossip {
    pub(super) fn on(redis: &Redis) -> Self {
        // All nodes alike, if there is no randomness: each would take the others' words for its own, and know less.
        let node = getrandom::u64().unwrap_or_default().to_be_bytes();
        let last = Arc::default();
        let ear = tokio::spawn(hear(redis.listen(CHANNEL), node, Arc::clone(&last)));
        Gossip { redis: redis.clone(), node, last, _ear: AbortOnDropHandle::new(ear) }
    }

    /// What sets this node apart from others.
    pub(super) fn node(&self) -> [u8; 8] {
        self.node
    }

    pub(super) fn tell(&self, of: Use, news: News) {
        let (redis, word) = (self.redis.clone(), encode(self.node, of, news));
        tokio::spawn(async move {
            let _ = redis.publish(CHANNEL, &word).await;
        });
    }

    pub(super) fn told(&self, of: Use) -> Option<Told> {
        let said = self.last.lock().unwrap_or_else(PoisonError::into_inner)[of as usize]?;
        Some(Told { news: said.news, number: said.number, ago: said.at.elapsed() })
    }
}

async fn hear(listener: Listener, node: [u8; 8], last: Arc<Mutex<[Option<Said>; 2]>>) {
    let mut number = 0;
    loop {
        let Heard::Message(word) = listener.heard().await else { continue };
        let Some((_, of, news)) = decode(&word).filter(|(from, ..)| *from != node) else { continue };
        number += 1;
        let said = Said { news, number, at: Instant::now() };
        last.lock().unwrap_or_else(PoisonError::into_inner)[of as usize] = Some(said);
    }
}

fn encode(node: [u8; 8], of: Use, news: News) -> Vec<u8> {
    let of = match of {
        Use::Reads => b'r',
        Use::Writes => b'w',
    };
    let news = match news {
        News::Failing => b'-',
        News::Trying => b'?',
        News::Well => b'+',
    };
    [&node[..], &[of, news]].concat()
}

/// Who said it, and what. `None` for what is none of ours.
fn decode(word: &[u8]) -> Option<([u8; 8], Use, News)> {
    let (node, rest) = word.split_first_chunk::<8>()?;
    let of = match rest.first()? {
        b'r' => Use::Reads,
        b'w' => Use::Writes,
        _ => return None,
    };
    let news = match rest.get(1)? {
        b'-' => News::Failing,
        b'?' => News::Trying,
        b'+' => News::Well,
        _ => return None,
    };
    (rest.len() == 2).then_some((*node, of, news))
}

#[cfg(test)]
mod tests {
    use super::{News, Use, decode, encode};

    #[test]
    fn a_word_comes_back_as_it_was_said() {
        for of in [Use::Reads, Use::Writes] {
            for news in [News::Failing, News::Trying, News::Well] {
                assert_eq!(decode(&encode([7; 8], of, news)), Some(([7; 8], of, news)));
            }
        }
        for foreign in [&b""[..], b"12345678", b"12345678r", b"12345678x-", b"12345678rx", b"12345678r-+"] {
            assert_eq!(decode(foreign), None);
        }
    }
}
