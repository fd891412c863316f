//! What stands under which key in Redis, and the commands that put and remove it.
//!
//! An entry is a string under [`ENTRY`] and its key, with one byte after it: [`WHOLE`]. A large one is a string under
//! [`LARGE`] and its key, and what stands in its place is the byte [`ELSEWHERE`] alone; so that whoever reads many small
//! values never waits for a large one that came between.

use larder_core::port::Stored;
use redis::{Cmd, RedisWrite, ToRedisArgs, Value};
use std::io::Write as _;

/// Where entries are.
pub(super) const ENTRY: &[u8] = b"larder:v:";
/// Where large entries are.
pub(super) const LARGE: &[u8] = b"larder:l:";
/// From how many bytes on an entry is large.
pub(super) const LARGE_BYTES: usize = 128 << 10;

const WHOLE: u8 = b'=';
pub(super) const ELSEWHERE: u8 = b'>';

/// A lifetime no entry is given more of; Redis refuses those that overflow its clock.
const LIFETIME_MAX_MS: u64 = 10 * 365 * 24 * 3600 * 1000;

/// What was found in an entry's place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Entry(Vec<u8>),
    Elsewhere,
}

impl Found {
    /// The entry, if it is here.
    pub(super) fn into_entry(self) -> Option<Vec<u8>> {
        match self {
            Found::Entry(bytes) => Some(bytes),
            Found::Nothing | Found::Elsewhere => None,
        }
    }

    /// `None` when it is nothing this store has ever put there.
    pub(super) fn of(value: Value) -> Option<Self> {
        match value {
            Value::Nil => Some(Found::Nothing),
            Value::BulkString(mut bytes) => match bytes.pop() {
                Some(WHOLE) => Some(Found::Entry(bytes)),
                Some(ELSEWHERE) if bytes.is_empty() => Some(Found::Elsewhere),
                _ => None,
            },
            _ => None,
        }
    }
}

pub(super) fn name(place: &[u8], key: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(place.len() + key.len());
    name.extend_from_slice(place);
    name.extend_from_slice(key);
    name
}

pub(super) fn is_large(entry: &Stored) -> bool {
    entry.bytes.len() >= LARGE_BYTES
}

/// The commands that keep an entry, in the order in which they must have taken effect.
pub(super) struct Put {
    pub(super) entry: Cmd,
    /// After the other, over the connections for large values.
    pub(super) large: Option<Cmd>,
}

/// Keeps an entry until it expires. What has expired already replaces what was there all the same.
pub(super) fn put(mut entry: Stored, now_ms: u64) -> Put {
    let lifetime = entry.expires_ms.saturating_sub(now_ms).min(LIFETIME_MAX_MS);
    let place = name(ENTRY, &entry.key);
    if lifetime == 0 {
        return Put { large: None, entry: unlink([place]) };
    }
    let set = |name: &[u8], bytes: &[u8]| {
        let mut cmd = Cmd::with_capacity(5, name.len() + bytes.len() + 32);
        cmd.arg("SET").arg(name).arg(bytes).arg("PX").arg(lifetime);
        cmd
    };
    let is_large = is_large(&entry);
    entry.bytes.push(WHOLE);
    if is_large {
        let large = set(&name(LARGE, &entry.key), &entry.bytes);
        return Put { large: Some(large), entry: set(&place, &[ELSEWHERE]) };
    }
    Put { large: None, entry: set(&place, &entry.bytes) }
}

/// Reads one entry.
pub(super) fn get_one(key: &[u8]) -> Cmd {
    let mut cmd = Cmd::with_capacity(2, ENTRY.len() + key.len() + 3);
    cmd.arg("GET").arg(Name(ENTRY, key));
    cmd
}

/// Reads several entries that live on one server.
pub(super) fn get_each<'a>(keys: impl ExactSizeIterator<Item = &'a Vec<u8>>) -> Cmd {
    if keys.len() == 1 {
        return keys.last().map_or_else(Cmd::new, |key| get_one(key));
    }
    let mut cmd = Cmd::with_capacity(1 + keys.len(), 64 * keys.len());
    cmd.arg("MGET");
    keys.for_each(|key| {
        cmd.arg(Name(ENTRY, key));
    });
    cmd
}

/// A name, written where it goes.
struct Name<'a>(&'a [u8], &'a [u8]);

impl ToRedisArgs for Name<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut writer = out.writer_for_next_arg();
        // Into memory: it cannot fail.
        let _ = writer.write_all(self.0).and_then(|()| writer.write_all(self.1));
    }
}

/// Reads one name, or several that live in one slot.
pub(super) fn get(names: &[Vec<u8>]) -> Cmd {
    let mut cmd = redis::cmd(if names.len() == 1 { "GET" } else { "MGET" });
    cmd.arg(names);
    cmd
}

/// Forgets names that live in one slot. The server frees the memory in the background.
pub(super) fn unlink(names: impl IntoIterator<Item = Vec<u8>>) -> Cmd {
    let mut cmd = redis::cmd("UNLINK");
    names.into_iter().for_each(|name| {
        cmd.arg(name);
    });
    cmd
}

#[cfg(test)]
mod tests {
    use super::{ENTRY, Found, LARGE_BYTES, get, get_each, get_one, put, unlink};
    use larder_core::port::Stored;
    use redis::Value;

    fn packed(cmd: &redis::Cmd) -> Vec<u8> {
        cmd.get_packed_command()
    }

    fn entry(bytes: Vec<u8>, expires_ms: u64) -> Stored {
        Stored { key: b"k".to_vec(), bytes, expires_ms }
    }

    #[test]
    fn one_command_to_keep_an_entry_and_one_to_read_it() {
        let small = put(entry(b"v".to_vec(), 1_500), 1_000);
        assert!(small.large.is_none());
        assert_eq!(
            packed(&small.entry),
            b"*5\r\n$3\r\nSET\r\n$10\r\nlarder:v:k\r\n$2\r\nv=\r\n$2\r\nPX\r\n$3\r\n500\r\n"
        );
        assert_eq!(packed(&get_one(b"k")), packed(&get(&[[ENTRY, b"k"].concat()])));
        let (one, two) = ([ENTRY, b"k"].concat(), [ENTRY, b"l"].concat());
        assert_eq!(packed(&get_each([b"k".to_vec(), b"l".to_vec()].iter())), packed(&get(&[one, two])));
        assert!(packed(&get(&[b"a".to_vec()])).starts_with(b"*2\r\n$3\r\nGET"));
        assert!(packed(&get(&[b"a".to_vec(), b"b".to_vec()])).starts_with(b"*3\r\n$4\r\nMGET"));
    }

    #[test]
    fn a_large_entry_stands_elsewhere() {
        let large = put(entry(vec![7; LARGE_BYTES], 2_000), 1_000);
        assert!(large.large.is_some() && packed(&large.entry).len() < 100);
    }

    #[test]
    fn what_has_expired_is_forgotten_at_once() {
        let expired = put(entry(b"v".to_vec(), 1_000), 1_000);
        assert_eq!(packed(&expired.entry), packed(&unlink([[ENTRY, b"k"].concat()])));
    }

    #[test]
    fn what_stands_in_an_entrys_place() {
        let of = |bytes: &[u8]| Found::of(Value::BulkString(bytes.to_vec()));
        assert_eq!(of(b"v="), Some(Found::Entry(b"v".to_vec())));
        assert_eq!(of(b"="), Some(Found::Entry(Vec::new())));
        assert_eq!(of(b">"), Some(Found::Elsewhere));
        assert_eq!(Found::of(Value::Nil), Some(Found::Nothing));
        assert_eq!((of(b""), of(b"v"), of(b"v>"), Found::of(Value::Int(1))), (None, None, None, None));
    }
}
