//! Signatures of session tokens: HMAC-SHA256 (RFC 2104), the first half of it.
//!
//! A token says nothing secret and lets nobody in. But one that is made up makes a node distrust all that it keeps, so what
//! comes from outside must be shown to be ours. Compared in constant time; never printed.

use hmac::{Hmac, KeyInit, Mac};
use larder_core::Token;
use sha2::Sha256;
use std::fmt;

/// The shortest secret taken, in bytes.
pub(super) const SECRET_BYTES_MIN: usize = 16;

/// What is signed begins so: with the same secret nothing else is a session.
const CONTEXT: &[u8] = b"larder-session\n";

/// 128 bits, as digits.
const DIGITS: usize = 32;

/// A secret, ready to sign with.
#[derive(Clone)]
pub(super) struct Signer(Hmac<Sha256>);

impl Signer {
    /// `None` if the secret is too short.
    pub(super) fn new(secret: &[u8]) -> Option<Self> {
        let is_long = secret.len() >= SECRET_BYTES_MIN;
        Hmac::new_from_slice(secret).ok().filter(|_| is_long).map(Signer)
    }

    fn over(&self, token: &str) -> Hmac<Sha256> {
        self.0.clone().chain_update(CONTEXT).chain_update(token.as_bytes())
    }

    /// The token with its signature: letters, digits, dashes and a dot.
    pub(super) fn sign(&self, token: Token) -> String {
        let token = token.to_string();
        let whole = self.over(&token).finalize().into_bytes();
        let half = whole.iter().take(DIGITS / 2).fold(0_u128, |half, byte| half << 8 | u128::from(*byte));
        format!("{token}.{half:0DIGITS$x}")
    }

    fn has_signed(&self, token: &str, half: &[u8; DIGITS / 2]) -> bool {
        self.over(token).verify_truncated_left(half).is_ok()
    }
}

/// The token in a text that one of these has signed; what is wrong with it otherwise.
pub(super) fn verified(text: &str, signers: &[Signer]) -> Result<Token, Wrong> {
    let (token, half) = text.split_once('.').ok_or(Wrong::Unsigned)?;
    let is_hex = half.len() == DIGITS && half.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let half = u128::from_str_radix(half, 16).ok().filter(|_| is_hex).ok_or(Wrong::Signature)?;
    let half = half.to_be_bytes();
    if !signers.iter().any(|signer| signer.has_signed(token, &half)) {
        return Err(Wrong::Signature);
    }
    token.parse().map_err(|_| Wrong::Version)
}

/// Why a text is no session of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Unsigned,
    Signature,
    Version,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wrong::Unsigned => "it is not signed; expected what an earlier answer had in this header",
            Wrong::Signature => {
                "its signature is not this service's; expected what an earlier answer had in this header"
            }
            Wrong::Version => {
                "it is signed, and of another version of Larder; expected one that this node can read"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_core::{Epoch, Link};

    fn token(position: u64) -> Token {
        Token::new("booking", Link { epoch: Epoch::new(7), position, nonce: 9 })
    }

    #[test]
    fn what_was_signed_is_verified_and_nothing_else() {
        let (ours, theirs) =
            (Signer::new(b"a secret of ours, long").unwrap(), Signer::new(b"a secret of theirs").unwrap());
        let text = ours.sign(token(3));
        assert_eq!(verified(&text, &[theirs.clone(), ours.clone()]), Ok(token(3)));
        assert_eq!(verified(&text, std::slice::from_ref(&theirs)), Err(Wrong::Signature));
        assert_eq!(verified(&token(3).to_string(), std::slice::from_ref(&ours)), Err(Wrong::Unsigned));
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(verified(&changed, std::slice::from_ref(&ours)).is_err(), "byte {at}");
        }
        let other = ours.sign(token(4));
        let swapped = format!("{}.{}", token(3), other.split_once('.').unwrap().1);
        assert_eq!(verified(&swapped, &[ours]), Err(Wrong::Signature));
    }

    /// As Python does it: `hmac.new(secret, b"larder-session\n" + token, hashlib.sha256).hexdigest()[:32]`.
    #[test]
    fn it_is_hmac_sha256() {
        let text = Signer::new(b"0123456789abcdef").unwrap().sign(token(3));
        assert_eq!(text.split_once('.').unwrap().1, "44610c3821ad005bcb07c2c44234e5ab");
    }

    #[test]
    fn a_short_secret_is_none() {
        assert!(Signer::new(&[1; SECRET_BYTES_MIN - 1]).is_none());
        assert!(Signer::new(&[1; SECRET_BYTES_MIN]).is_some());
    }
}
