//! Looking through what is in Redis: some keys at a time, by SCAN, which no request ever waits for.
//!
//! One node does it at a time; the others find that it is not their turn. On the way it frees the large halves that belong to
//! no entry any more.

use super::handle::RedisStore;
use super::layout::{ELSEWHERE, ENTRY, LARGE, name, unlink};
use crate::redis::RedisError;
use larder_core::port::Leaf;
use redis::{Cmd, Value};

/// Whose turn it is to look through the keys that begin so.
const TURN: &[u8] = b"larder:turn:";
/// For how long, from each look on.
const TURN_MS: u64 = 30_000;

impl RedisStore {
    /// Some entries from this place on: which server, and how far on it. `None` when it is another's turn.
    pub(super) async fn leaf(
        &self,
        prefix: &[u8],
        from: u128,
        limit: usize,
    ) -> Result<Option<Leaf>, RedisError> {
        if !self.take_turn(prefix, from == 0).await? {
            return Ok(None);
        }
        let (server, cursor) = ((from >> 64) as usize, from as u64);
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(pattern(prefix)).arg("COUNT").arg(limit);
        let Some((answer, last)) = self.redis.ask_one_of::<(u64, Vec<Vec<u8>>)>(server, &scan).await? else {
            return Ok(Some(Leaf { entries: Vec::new(), next: None }));
        };
        let (cursor, names) = answer;
        let (keys, halves) = split(names);
        let entries = self.heads(keys).await;
        self.free_halves(halves).await;
        let next = match (cursor, last) {
            (0, true) => None,
            (0, false) => Some((server as u128 + 1) << 64),
            (cursor, _) => Some((server as u128) << 64 | u128::from(cursor)),
        };
        Ok(Some(Leaf { entries, next }))
    }

    /// Whether this node is to look. A turn that nobody goes on with is over after a while.
    async fn take_turn(&self, prefix: &[u8], begins: bool) -> Result<bool, RedisError> {
        let (id, turn) = (self.gossip.node(), name(TURN, prefix));
        let mut take = redis::cmd("SET");
        take.arg(&turn).arg(&id[..]).arg("PX").arg(TURN_MS);
        if begins && self.redis.ask::<bool>(take.clone().arg("NX")).await? {
            return Ok(true);
        }
        let holder: Option<Vec<u8>> = self.redis.ask(redis::cmd("GET").arg(&turn)).await?;
        if holder.as_deref() != Some(&id[..]) {
            return Ok(false);
        }
        self.redis.ask::<bool>(take.arg("XX")).await
    }

    /// The first bytes of entries. What cannot be read is left out.
    async fn heads(&self, keys: Vec<Vec<u8>>) -> Vec<(Vec<u8>, Vec<u8>)> {
        let cmds: Vec<Cmd> = keys.iter().map(|key| head(ENTRY, key)).collect();
        let mut heads = Vec::with_capacity(keys.len());
        let mut large = Vec::new();
        for (key, answer) in keys.into_iter().zip(self.redis.ask_each(&cmds).await) {
            match answer {
                Ok(Value::BulkString(bytes)) if bytes == [ELSEWHERE] => large.push(key),
                Ok(Value::BulkString(bytes)) => heads.push((key, bytes)),
                _ => {}
            }
        }
        let cmds: Vec<Cmd> = large.iter().map(|key| head(LARGE, key)).collect();
        for (key, answer) in large.into_iter().zip(self.redis.ask_each(&cmds).await) {
            if let Ok(Value::BulkString(bytes)) = answer {
                heads.push((key, bytes));
            }
        }
        heads
    }

    /// Frees large halves that nothing points to: their entry is whole, or gone.
    async fn free_halves(&self, halves: Vec<Vec<u8>>) {
        let cmds: Vec<Cmd> = halves.iter().map(|key| head(ENTRY, key)).collect();
        let answers = self.redis.ask_each(&cmds).await;
        let is_orphan = |answer: &Result<Value, RedisError>| matches!(answer, Ok(Value::BulkString(bytes)) if *bytes != [ELSEWHERE]);
        let orphans = halves.iter().zip(&answers).filter(|(_, answer)| is_orphan(answer));
        let cmds: Vec<Cmd> = orphans.map(|(key, _)| unlink([name(LARGE, key)])).collect();
        self.redis.ask_each(&cmds).await;
    }
}

fn head(place: &[u8], key: &[u8]) -> Cmd {
    let mut cmd = redis::cmd("GETRANGE");
    cmd.arg(name(place, key)).arg(0).arg(Leaf::HEAD_BYTES - 1);
    cmd
}

/// Names of entries and of large halves whose keys begin so; what means something in a pattern is escaped.
fn pattern(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = b"larder:[vl]:".to_vec();
    for byte in prefix {
        if b"*?[]^-\\".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(b'*');
    pattern
}

/// Keys of entries, and of large halves.
fn split(names: Vec<Vec<u8>>) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut keys, mut halves) = (Vec::new(), Vec::new());
    for name in names {
        if let Some(key) = name.strip_prefix(ENTRY) {
            keys.push(key.to_vec());
        } else if let Some(key) = name.strip_prefix(LARGE) {
            halves.push(key.to_vec());
        }
    }
    (keys, halves)
}

#[cfg(test)]
mod tests {
    use super::{pattern, split};

    #[test]
    fn a_pattern_means_its_prefix() {
        assert_eq!(pattern(b"a*[b]"), b"larder:[vl]:a\\*\\[b\\]*");
    }

    #[test]
    fn names_are_entries_or_halves() {
        let names = [&b"larder:v:a"[..], b"larder:l:b", b"larder:x:c"].map(<[u8]>::to_vec).to_vec();
        assert_eq!(split(names), (vec![b"a".to_vec()], vec![b"b".to_vec()]));
    }
}
