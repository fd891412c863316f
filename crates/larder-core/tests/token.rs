//! Session tokens as strings: one form for each, fit for a header, and whatever is not a token is refused by name of what
//! is wrong with it.

#![allow(clippy::unwrap_used, reason = "in a test, it fails the test")]

use larder_core::{Epoch, Link, Token};

fn token(epoch: u128, position: u64, nonce: u64) -> Token {
    Token::new("booking", Link { epoch: Epoch::new(epoch), position, nonce })
}

#[test]
fn a_token_comes_back_from_its_string_whatever_its_numbers() {
    for epoch in [0, 1, u128::MAX] {
        for position in [0, 1, 0xabc, u64::MAX] {
            for nonce in [0, 7, u64::MAX] {
                let token = token(epoch, position, nonce);
                let text = token.to_string();
                assert_eq!(text.parse(), Ok(token), "{text}");
                assert!(text.len() <= 78, "{text}");
                assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{text}");
            }
        }
    }
}

#[test]
fn what_is_no_token_is_refused_and_the_error_says_why() {
    let text = token(5, 9, 3).to_string();
    let parts: Vec<&str> = text.split('-').collect();
    let with = |at: usize, part: &str| {
        let mut parts = parts.clone();
        parts[at] = part;
        parts.join("-")
    };
    let cases = [
        (String::new(), "version"),
        (with(0, "l2"), "version"),
        (with(1, "1234567"), "namespace"),
        (with(2, &"g".repeat(32)), "epoch"),
        (with(2, &"A".repeat(32)), "epoch"),
        (with(3, ""), "position"),
        (with(3, "10000000000000000"), "position"),
        (with(3, "+1"), "position"),
        (with(3, "09"), "position"),
        (with(4, "3"), "nonce"),
        (format!("{text}-"), "end"),
        (format!("{text} "), "nonce"),
    ];
    for (text, part) in cases {
        let error = text.parse::<Token>().unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("expected"), "{text:?}: {error}");
    }
    for cut in 0..text.len() {
        assert!(text[..cut].parse::<Token>().is_err(), "cut at {cut}");
    }
}

#[test]
fn a_token_knows_its_namespace() {
    assert!(token(1, 1, 1).is_of("booking"));
    assert!(!token(1, 1, 1).is_of("orders"));
}
