//! Session tokens: how far a history had come when somebody saw something.
//!
//! Whoever presents a token to a node gets no older answer than what it stands for, once the node has applied the
//! journal that far. Made by the engine, carried by users in headers and cookies, and only ever compared with what a
//! node has applied. It proves nothing about who presents it.

use crate::position::{Epoch, Link};
use std::fmt;
use std::str::FromStr;
use xxhash_rust::xxh3::xxh3_64;

/// The first part of the string, and the version of all of it.
const VERSION: &str = "l1";

/// A place in the history of one namespace. As a string: letters, digits and dashes, at most 78 of them, fit for an
/// HTTP header, a cookie or a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    namespace: u32,
    link: Link,
}

impl Token {
    /// The token of this place in the history of a namespace; of a record, once it is committed.
    pub fn new(namespace: &str, link: Link) -> Self {
        Token { namespace: fingerprint(namespace), link }
    }

    /// Whether it was made for this namespace.
    pub fn is_of(&self, namespace: &str) -> bool {
        self.namespace == fingerprint(namespace)
    }

    /// The place it stands for.
    pub fn link(&self) -> Link {
        self.link
    }
}

fn fingerprint(namespace: &str) -> u32 {
    xxh3_64(namespace.as_bytes()) as u32
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Link { epoch, position, nonce } = self.link;
        write!(f, "{VERSION}-{:08x}-{:032x}-{position:x}-{nonce:016x}", self.namespace, epoch.get())
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut parts = text.split('-');
        let version = parts.next().unwrap_or_default();
        if version != VERSION {
            return Err(TokenError { what: "version", expected: VERSION });
        }
        let namespace = hex(parts.next(), 8..=8, "namespace", "8 hexadecimal digits")?;
        let epoch = hex(parts.next(), 32..=32, "epoch", "32 hexadecimal digits")?;
        let position = hex(parts.next(), 1..=16, "position", "1 to 16 hexadecimal digits, no zero in front")?;
        let nonce = hex(parts.next(), 16..=16, "nonce", "16 hexadecimal digits")?;
        if parts.next().is_some() {
            return Err(TokenError { what: "end", expected: "nothing after the nonce" });
        }
        // Bounded by their digits above.
        let link = Link { epoch: Epoch::new(epoch), position: position as u64, nonce: nonce as u64 };
        Ok(Token { namespace: namespace as u32, link })
    }
}

/// Lower case only, and no zeros in front of what may be short, so that one token has one string.
fn hex(
    part: Option<&str>,
    digits: std::ops::RangeInclusive<usize>,
    what: &'static str,
    expected: &'static str,
) -> Result<u128, TokenError> {
    let wrong = TokenError { what, expected };
    let part = part.ok_or(wrong.clone())?;
    let is_hex = part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_padded = part.len() > *digits.start() && part.starts_with('0');
    if !is_hex || is_padded || !digits.contains(&part.len()) {
        return Err(wrong);
    }
    u128::from_str_radix(part, 16).map_err(|_| wrong)
}

/// A string that is no token. Says which part is wrong and what was expected, never what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError {
    what: &'static str,
    expected: &'static str,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session token: its {} is malformed; expected {}", self.what, self.expected)
    }
}

impl std::error::Error for TokenError {}
