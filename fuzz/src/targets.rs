//! Targets and what a record carries: decoded only when the encoder wrote it, and the same on the other side.

use crate::input::{Input, seed};
use larder_core::{
    CAUSE_BYTES_MAX, Cause, Epoch, Link, Path, Pattern, Segment, Target, Tenant, Token, key, tag,
};

/// The first byte says whether the rest is an encoding, or what to encode, or the words of a cause, or
/// the string of a session token.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(4) {
        0 => decode(input.rest()),
        1 => {
            let mut targets = Vec::new();
            while !input.is_over() {
                targets.push(input.target());
            }
            let bytes = Target::encode_many(&targets);
            assert_eq!(Target::decode_many(&bytes).as_deref(), Ok(&targets[..]));
            decode(&bytes);
        }
        2 => cause(&String::from_utf8_lossy(input.rest())),
        _ => token(&String::from_utf8_lossy(input.rest())),
    }
}

fn decode(bytes: &[u8]) {
    let Ok(targets) = Target::decode_many(bytes) else { return };
    assert_eq!(Target::encode_many(&targets), bytes, "another encoding of the same targets");
    let mut one_by_one = Vec::new();
    for target in &targets {
        target.encode(&mut one_by_one);
        within(target);
        // What is said of a target in logs must not fail, whatever it names.
        assert!(!target.to_string().is_empty());
    }
    assert_eq!(one_by_one, bytes);
}

/// Inside a tenant a target reaches nobody else, whatever it named before.
fn within(target: &Target) {
    let tenant = Tenant::named("another");
    let inside = target.within(&tenant);
    assert_eq!(inside.within(&tenant), inside);
    let path = match &inside {
        Target::Everything => panic!("everything of all tenants, inside one"),
        Target::Key(path) | Target::Prefix(path) | Target::Tag(path) | Target::Pattern(path, _) => path,
    };
    assert_eq!(path.segments().iter().next().map(|(first, _)| first), Some(Segment::Text("another")));
}

fn cause(words: &str) {
    let cause = Cause::new(words);
    assert!(cause.as_str().len() <= CAUSE_BYTES_MAX && words.starts_with(cause.as_str()));
    let cut = words.len() - cause.as_str().len();
    assert!(cut == 0 || cause.as_str().len() > CAUSE_BYTES_MAX - 4, "cut by more than a character");
    assert_eq!(Cause::new(cause.as_str()), cause);
}

fn token(text: &str) {
    if let Ok(token) = text.parse::<Token>() {
        assert_eq!(token.to_string(), text, "another string of the same token");
    }
}

/// Records as they are written, damaged ones, and long causes.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let tenant = Tenant::named("acme");
    let glob = Pattern::parse("7/*/2026-0?-*/**").expect("a pattern");
    let parts = Pattern::new().exact(7).any().glob("a*").rest();
    let path = Path::of_region(&tenant, "slots").below(&key![7, "north", -1, true]);
    let targets = [
        Target::everything(),
        Target::key("slots", key![7, "2026-11-21"]),
        Target::prefix("slots", key![7]),
        Target::region("slots"),
        Target::tag(tag!["branch", 7]),
        Target::pattern("slots", glob),
        Target::pattern("slots", parts).within(&tenant),
        Target::Key(path.clone()),
        Target::Tag(path),
    ];
    let all = Target::encode_many(&targets);
    let token =
        Token::new("booking", Link { epoch: Epoch::new(1 << 99), position: 42, nonce: 7 }).to_string();
    let mut seeds = vec![
        seed("none", 0, &[]),
        seed("all", 0, &all),
        seed("cut", 0, &all[..all.len() - 3]),
        seed("unknown-kind", 0, &[9]),
        seed("path-without-tenant", 0, &[1, 2, 0x11, 7]),
        seed("cause", 2, "booked by a person with a long name ".repeat(8).as_bytes()),
        seed("cause-cut-in-a-character", 2, format!("x{}", "é".repeat(CAUSE_BYTES_MAX)).as_bytes()),
        seed("token", 3, token.as_bytes()),
        seed("token-zero-led", 3, token.replace("-2a-", "-02a-").as_bytes()),
        seed("built", 1, &[1, 0, 1, b'r', 1, 3, 7, 4, 1, 1, b't', 1, b'r', 0, 2, 1, 1, b'*', 3]),
    ];
    seeds.extend(targets.iter().zip(0..).map(|(target, n)| {
        seed(
            &format!("{}-{n}", target.kind().as_str()),
            0,
            &Target::encode_many(std::slice::from_ref(target)),
        )
    }));
    seeds
}
