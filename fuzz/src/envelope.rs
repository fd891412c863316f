//! Envelopes: whatever a store hands back is the entry that was asked for, or refused.

use crate::input::{Input, seed};
use larder_core::{Content, Envelope, EnvelopeHead, Epoch, Limits, Link, Packing, Path, Tenant, key, tag};
use xxhash_rust::xxh3::xxh3_64;

/// Small, so that inputs reach them.
const LIMITS: Limits = Limits { stored_bytes_max: 4096, raw_bytes_max: 1 << 20, tags_max: 8, also_max: 8 };

/// Magic, version and length; and the checksum.
const HEADER_BYTES: usize = 13;
const CHECKSUM_BYTES: usize = 8;

/// The first byte says what the rest is: the bytes of an envelope, what stands between its header and its checksum,
/// or what an envelope is made of and what happens to it.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(3) {
        0 => {
            let key = input.bytes();
            decode(input.rest(), key);
        }
        1 => {
            let key = input.bytes();
            decode(&sealed(input.rest()), key);
        }
        _ => whole(&mut input),
    }
}

/// Around these bytes the header and the checksum that belong to them: nobody guesses a checksum.
fn sealed(middle: &[u8]) -> Vec<u8> {
    let length = (HEADER_BYTES + middle.len() + CHECKSUM_BYTES) as u64;
    let mut bytes = [b"LRDR\x01", &length.to_be_bytes()[..], middle].concat();
    bytes.extend_from_slice(&xxh3_64(&bytes).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8], key: &[u8]) {
    let envelope = match Envelope::decode(bytes, key, &LIMITS) {
        Ok(envelope) => envelope,
        Err(rejected) => {
            assert!(!rejected.as_str().is_empty() && !rejected.to_string().is_empty());
            return;
        }
    };
    assert_eq!(envelope.key, key);
    assert!(envelope.head.tags.len() <= LIMITS.tags_max && envelope.head.also.len() <= LIMITS.also_max);
    assert!(envelope.content.raw_bytes() <= LIMITS.raw_bytes_max);
    assert_eq!(envelope.encode(), bytes, "another encoding of the same envelope");
}

fn whole(input: &mut Input<'_>) {
    let key = input.bytes().to_vec();
    let stamp = Link { epoch: Epoch::new(input.u128()), position: input.u64(), nonce: input.u64() };
    let head = EnvelopeHead {
        schema: input.u64(),
        stamp,
        created_ms: input.u64(),
        soft_ms: input.u64(),
        hard_ms: input.u64(),
        keep_ms: input.u64(),
        tags: (0..input.below(10)).map(|_| input.tag()).collect(),
        also: (0..input.below(10)).map(|_| input.path()).collect(),
    };
    let body = input.bytes().to_vec();
    let content = match input.below(3) {
        0 => Content::Absent,
        1 => Content::Value { codec: input.byte(), packing: Packing::None, body: &body },
        _ => Content::Value {
            codec: input.byte(),
            packing: Packing::Lz4 { raw_bytes: input.u64() >> input.below(64) },
            body: &body,
        },
    };
    let envelope = Envelope { key: &key, head, content };
    let mut bytes = envelope.encode();
    let fits = envelope.head.tags.len() <= LIMITS.tags_max
        && envelope.head.also.len() <= LIMITS.also_max
        && content.raw_bytes() <= LIMITS.raw_bytes_max
        && bytes.len() as u64 <= LIMITS.stored_bytes_max;
    let back = Envelope::decode(&bytes, &key, &LIMITS);
    assert_eq!(back.is_ok(), fits, "{back:?}");
    if let Ok(back) = back {
        assert!(back == envelope, "another envelope came back");
    }
    let stranger = [&key[..], &[0]].concat();
    assert!(Envelope::decode(&bytes, &stranger, &LIMITS).is_err(), "the envelope of another key");
    damage(&mut bytes, input);
    assert!(Envelope::decode(&bytes, &key, &Limits::default()).is_err(), "a damaged envelope is taken");
}

/// One way in which stores damage bytes.
fn damage(bytes: &mut Vec<u8>, input: &mut Input<'_>) {
    let at = usize::from(input.byte()) << 8 | usize::from(input.byte());
    match input.below(3) {
        0 => bytes.truncate(at % bytes.len()),
        1 => bytes.push(input.byte()),
        _ => {
            let at = at % bytes.len();
            bytes[at] ^= 1 << input.below(8);
        }
    }
}

/// Envelopes as the engine writes them; their middles; and what a whole one is made of.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let key = b"booking\0slots\x07";
    let path = Path::of_region(&Tenant::named("acme"), "slots").below(&key![7]);
    let head = |tags, also| EnvelopeHead {
        schema: 0x5eed,
        stamp: Link { epoch: Epoch::new(1 << 100), position: 42, nonce: 99 },
        created_ms: 1_793_000_000_000,
        soft_ms: 1_793_000_060_000,
        hard_ms: 1_793_000_120_000,
        keep_ms: 1_793_000_600_000,
        tags,
        also,
    };
    let plain = head(vec![], vec![]);
    let tagged = head(vec![tag!["branch", 7], tag!["day", "2026-11-21"]], vec![path.clone(), path]);
    let value = |packing| Content::Value { codec: 1, packing, body: b"{\"free\":[9,10]}" };
    let lz4 = value(Packing::Lz4 { raw_bytes: 300 });
    let made = [
        ("absent", &plain, Content::Absent),
        ("value", &plain, value(Packing::None)),
        ("packed", &tagged, lz4),
        ("tagged", &tagged, value(Packing::None)),
        ("too-large", &plain, value(Packing::Lz4 { raw_bytes: 1 << 40 })),
    ];
    let keyed = |rest: &[u8]| [&[key.len() as u8][..], key, rest].concat();
    let mut seeds = Vec::new();
    for (name, head, content) in made {
        let bytes = Envelope { key, head: head.clone(), content }.encode();
        let middle = &bytes[HEADER_BYTES..bytes.len() - CHECKSUM_BYTES];
        seeds.push(seed(&format!("{name}-stored"), 0, &keyed(&bytes)));
        seeds.push(seed(&format!("{name}-middle"), 1, &keyed(middle)));
        if name == "tagged" {
            seeds.push(seed("cut", 0, &keyed(&bytes[..bytes.len() / 2])));
            seeds.push(seed("of-another-key", 0, &[&[1, b'x'][..], &bytes].concat()));
            let mut without_stamp = middle.to_vec();
            without_stamp.drain(17..33);
            without_stamp[16] = 0;
            seeds.push(seed("without-a-stamp", 1, &keyed(&without_stamp)));
        }
    }
    let numbers = [7u8; 16 + 7 * 8];
    let tags = [2, 1, 3, 7, 2, 0, 1, b'a', 6];
    let also = [1, 1, 1, b't', 1, b'r', 1, 3, 9];
    let body = [3, b'a', b'b', b'c'];
    for (name, way) in [("cut", 0), ("longer", 1), ("flipped", 2)] {
        let end = [1, 5, 0, 40, way, 3];
        let bytes = [&keyed(&numbers)[..], &tags, &also, &body, &end].concat();
        seeds.push(seed(&format!("whole-{name}"), 2, &bytes));
    }
    seeds
}
