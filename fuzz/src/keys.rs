//! Keys: what is decoded is what was encoded, no two sequences share an encoding, and nothing is read that was not
//! written by the encoder.

use crate::input::{Input, Owned, encode, seed};
use larder_core::{INLINE_BYTES, Path, Segment, Segments, Tenant, key};

/// The first byte says whether the rest is an encoding or what to encode.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(2) {
        0 => decode(input.rest()),
        _ => encode_two(&mut input),
    }
}

fn decode(bytes: &[u8]) {
    let path = Path::from_encoded(bytes);
    let Ok(segments) = Segments::from_encoded(bytes) else {
        assert!(path.is_err(), "a path of what are no segments");
        return;
    };
    assert_eq!(segments.as_bytes(), bytes);
    assert_eq!(segments.heap_bytes() == 0, bytes.len() <= INLINE_BYTES);
    let mut again = Segments::builder();
    let mut before = 0;
    for (segment, end) in segments.iter() {
        again.push(segment);
        assert!(end > before && end <= bytes.len());
        let head = Segments::from_encoded(&bytes[..end]).expect("leading segments are segments");
        assert_eq!(head.iter().last().map(|(last, _)| last), Some(segment));
        before = end;
    }
    assert_eq!(before, bytes.len());
    assert_eq!(again.finish(), segments, "another encoding of the same segments");
    let begins_with_tenant = matches!(segments.iter().next(), Some((Segment::None | Segment::Text(_), _)));
    assert_eq!(path.is_ok(), begins_with_tenant);
    if let Ok(path) = path {
        moved(&path);
    }
}

/// A path under another tenant keeps all but its tenant, and comes back.
fn moved(path: &Path) {
    let own = match path.segments().iter().next() {
        Some((Segment::Text(name), _)) => Tenant::named(name),
        _ => Tenant::common(),
    };
    let there = path.within(&Tenant::named("another"));
    assert_eq!(there.segments().iter().count(), path.segments().iter().count());
    assert_eq!(there.segments().iter().next().map(|(first, _)| first), Some(Segment::Text("another")));
    assert_eq!(&there.within(&own), path);
}

fn encode_two(input: &mut Input<'_>) {
    let (one, other) = (input.segments(), input.segments());
    let (first, second) = (round_trip(&one), round_trip(&other));
    assert_eq!(first == second, one == other, "{one:?} and {other:?}");
    assert_eq!(first.join(&second), encode(&[one.clone(), other.clone()].concat()));
    let is_head = other.len() <= one.len() && one[..other.len()] == other;
    let begins = first.as_bytes().starts_with(second.as_bytes());
    assert_eq!(begins, is_head, "{one:?} begins with {other:?}");
}

fn round_trip(segments: &[Owned]) -> Segments {
    let encoded = encode(segments);
    let back: Vec<Segment<'_>> = encoded.iter().map(|(segment, _)| segment).collect();
    let own: Vec<Segment<'_>> = segments.iter().map(Owned::as_segment).collect();
    assert_eq!(back, own);
    decode(encoded.as_bytes());
    encoded
}

/// Encodings of every kind of segment, short and long, whole and damaged; and pairs.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let long = "x".repeat(INLINE_BYTES + 1);
    let keys = [
        ("empty", key![]),
        ("text", key!["room", "", "a/b:c", "\u{0}é*"]),
        ("integers", key![0u8, 1, 255, 256, u64::MAX, u128::MAX, -1, i64::MIN, i128::MIN]),
        ("bytes", key![[0u8; 0], [1u8, 2, 3], true, false, Segment::None]),
        ("inline-end", key!["x".repeat(INLINE_BYTES - 2)]),
        ("heap", key![7, long]),
        ("path", Path::of_region(&Tenant::named("t"), "r").below(&key![1, "a"]).segments().clone()),
        ("common", Path::of_region(&Tenant::common(), "r").below(&key!["71"]).segments().clone()),
    ];
    let mut seeds: Vec<_> = keys.iter().map(|(name, key)| seed(name, 0, key.as_bytes())).collect();
    let bytes = keys[1].1.as_bytes();
    seeds.push(seed("cut", 0, &bytes[..bytes.len() - 1]));
    seeds.push(seed("zero-led-integer", 0, &[0x12, 0, 1]));
    seeds.push(seed("long-varint", 0, &[0x01, 0x81, 0x00, b'a']));
    seeds.push(seed("pair-of-7-and-71", 1, &[2, 0, 1, b'7', 0, 0, 1, 0, 2, b'7', b'1']));
    seeds.push(seed("pair-of-heads", 1, &[2, 3, 7, 6, 1, 3, 7]));
    seeds.push(seed("pair-of-kinds", 1, &[1, 3, 1, 1, 1, 1, 1]));
    seeds
}
