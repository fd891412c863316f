//! Keys and tags: no two sequences of segments share an encoding, prefixes are prefixes of segments, and
//! whatever was encoded is read back, for segments of any content.

use larder_core::{CAUSE_BYTES_MAX, Cause, INLINE_BYTES, Path, Segment, Segments, Tag, Tenant, key, tag};
use proptest::prelude::*;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// A segment that owns its content.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Owned {
    None,
    Text(String),
    Bytes(Vec<u8>),
    Bool(bool),
    Uint(u128),
    Nint(u128),
}

impl Owned {
    fn borrow(&self) -> Segment<'_> {
        match self {
            Owned::None => Segment::None,
            Owned::Text(text) => Segment::Text(text),
            Owned::Bytes(bytes) => Segment::Bytes(bytes),
            Owned::Bool(b) => Segment::Bool(*b),
            Owned::Uint(n) => Segment::Uint(*n),
            Owned::Nint(m) => Segment::Nint(*m),
        }
    }
}

/// Contents that trip up keys joined as text, and encodings that look like other encodings.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[ab:*{}\\x00\\x01\\x10/é]{0,6}",
        3 => "\\PC{0,60}",
        1 => (0usize..=65_536).prop_map(|n| ":".repeat(n)),
    ]
}

fn segment() -> impl Strategy<Value = Owned> {
    prop_oneof![
        Just(Owned::None),
        any::<bool>().prop_map(Owned::Bool),
        text().prop_map(Owned::Text),
        text().prop_map(|text| Owned::Bytes(text.into_bytes())),
        prop::collection::vec(any::<u8>(), 0..60).prop_map(Owned::Bytes),
        (any::<u128>(), 0u32..128).prop_map(|(n, shift)| Owned::Uint(n >> shift)),
        (any::<u128>(), 0u32..128).prop_map(|(n, shift)| Owned::Nint(n >> shift)),
        (0u128..300).prop_map(Owned::Uint),
    ]
}

fn sequence() -> impl Strategy<Value = Vec<Owned>> {
    prop::collection::vec(segment(), 0..5)
}

fn encode(segments: &[Owned]) -> Segments {
    let mut builder = Segments::builder();
    segments.iter().for_each(|s| builder.push(s.borrow()));
    builder.finish()
}

proptest! {
    #[test]
    fn what_was_encoded_is_read_back(segments in sequence()) {
        let encoded = encode(&segments);
        let expected: Vec<_> = segments.iter().map(Owned::borrow).collect();
        let read = Segments::from_encoded(encoded.as_bytes()).unwrap();
        prop_assert_eq!(&read, &encoded);
        prop_assert_eq!(read.iter().map(|(s, _)| s).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn keys_are_equal_exactly_when_their_segments_are(a in sequence(), b in sequence()) {
        let (x, y) = (encode(&a), encode(&b));
        prop_assert_eq!(x == y, a == b);
        prop_assert_eq!(x.cmp(&y).is_eq(), a == b);
        prop_assert_eq!(encode(&a.clone()), x);
    }

    #[test]
    fn an_encoding_begins_with_another_exactly_when_the_segments_do(a in sequence(), b in sequence()) {
        let (x, y) = (encode(&a), encode(&b));
        prop_assert_eq!(x.as_bytes().starts_with(y.as_bytes()), a.starts_with(&b));
        let joined = x.join(&y);
        prop_assert!(joined.as_bytes().starts_with(x.as_bytes()));
        prop_assert_eq!(joined, encode(&[a, b].concat()));
    }

    #[test]
    fn a_text_that_begins_with_another_is_no_prefix_of_segments(head in text(), tail in "[ab:0]{1,3}") {
        let (short, long) = (key![head.as_str()], key![format!("{head}{tail}")]);
        prop_assert!(!long.as_bytes().starts_with(short.as_bytes()));
    }

    #[test]
    fn the_ends_of_segments_are_where_the_shorter_keys_end(segments in sequence()) {
        let encoded = encode(&segments);
        for (i, (_, end)) in encoded.iter().enumerate() {
            let prefix = encode(&segments[..=i]);
            prop_assert_eq!(prefix.as_bytes(), &encoded.as_bytes()[..end]);
        }
    }

    #[test]
    fn equal_keys_hash_alike_also_as_bytes(segments in sequence()) {
        let state = RandomState::new();
        let (a, b) = (encode(&segments), encode(&segments));
        prop_assert_eq!(state.hash_one(&a), state.hash_one(&b));
        prop_assert_eq!(state.hash_one(&a), state.hash_one(a.as_bytes()));
    }

    #[test]
    fn no_two_encodings_of_bytes_at_random_mean_the_same(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(read) = Segments::from_encoded(&bytes) {
            let mut builder = Segments::builder();
            read.iter().for_each(|(s, _)| builder.push(s));
            let again = builder.finish();
            prop_assert_eq!(again.as_bytes(), bytes.as_slice());
        }
        let _ = Path::from_encoded(&bytes);
    }

    #[test]
    fn likely_looking_bytes_never_panic_and_mean_one_thing(
        bytes in prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 3, 4, 5, 0x10, 0x11, 0x20, 0x21, 0x30, 0x40, 0x41, 0x80, 0xff]), 0..24),
    ) {
        if let Ok(read) = Segments::from_encoded(&bytes) {
            let mut builder = Segments::builder();
            read.iter().for_each(|(s, _)| builder.push(s));
            let again = builder.finish();
            prop_assert_eq!(again.as_bytes(), bytes.as_slice());
        }
    }

    #[test]
    fn cutting_a_key_short_gives_an_error_or_a_shorter_key(segments in sequence(), at: prop::sample::Index) {
        let encoded = encode(&segments);
        let cut = &encoded.as_bytes()[..at.index(encoded.as_bytes().len() + 1)];
        let ends: Vec<_> = std::iter::once(0).chain(encoded.iter().map(|(_, end)| end)).collect();
        prop_assert_eq!(Segments::from_encoded(cut).is_ok(), ends.contains(&cut.len()));
    }

    #[test]
    fn tenants_never_share_a_path(a in text(), b in text(), region in "[a-c]{0,3}", segments in sequence()) {
        let key = encode(&segments);
        let path = |tenant: &Tenant| Path::of_region(tenant, &region).below(&key);
        let (one, other, common) = (Tenant::named(a.as_str()), Tenant::named(b.as_str()), Tenant::common());
        prop_assert_eq!(path(&one) == path(&other), a == b);
        prop_assert_ne!(path(&one), path(&common));
        prop_assert!(!path(&common).as_bytes().starts_with(Path::of_tenant(&one).as_bytes()));
        prop_assert!(!path(&one).as_bytes().starts_with(Path::of_tenant(&common).as_bytes()));
        if a != b {
            prop_assert!(!path(&one).as_bytes().starts_with(Path::of_tenant(&other).as_bytes()));
        }
        // Moving a path to another tenant and back loses nothing.
        prop_assert_eq!(path(&one).within(&other), path(&other));
        prop_assert_eq!(path(&one).within(&other).within(&one), path(&one));
        prop_assert_eq!(Path::from_encoded(path(&one).as_bytes()).unwrap(), path(&one));
    }

    #[test]
    fn tags_are_equal_exactly_when_their_segments_are(a in sequence(), b in sequence()) {
        prop_assert_eq!(Tag::new(encode(&a)) == Tag::new(encode(&b)), a == b);
    }

    #[test]
    fn a_cause_is_cut_at_a_character(words in "[aé€😀]{0,120}") {
        let cause = Cause::new(&words);
        prop_assert!(words.starts_with(cause.as_str()));
        prop_assert!(cause.as_str().len() <= CAUSE_BYTES_MAX);
        prop_assert!(words.len() == cause.as_str().len() || cause.as_str().len() > CAUSE_BYTES_MAX - 4);
    }
}

#[test]
fn integers_of_every_type_with_one_value_are_one_segment() {
    let seven = [
        key![7u8],
        key![7u16],
        key![7u32],
        key![7u64],
        key![7u128],
        key![7usize],
        key![7i8],
        key![7i16],
        key![7i32],
        key![7i64],
        key![7i128],
        key![7isize],
    ];
    assert!(seven.iter().all(|k| *k == seven[0]));
    assert_eq!(key![-1i8], key![-1i128]);
    assert_eq!(key![i64::MIN], key![i128::from(i64::MIN)]);
    let distinct = [
        key![0u8],
        key![-1i8],
        key![1u8],
        key![u64::MAX],
        key![u128::MAX],
        key![i8::MIN],
        key![i128::MIN],
        key![i128::MAX],
        key!["0"],
        key!["-1"],
        key![false],
        key![true],
        key![[0u8]],
        key![""],
        key![],
        key![0u8, 0u8],
    ];
    assert_eq!(distinct.iter().collect::<HashSet<_>>().len(), distinct.len());
}

#[test]
fn extreme_integers_are_spelled_right() {
    assert_eq!(key![i128::MIN].to_string(), i128::MIN.to_string());
    assert_eq!(key![u128::MAX].to_string(), u128::MAX.to_string());
    assert_eq!(key![i64::MIN, -1i8, 0u8].to_string(), format!("{}/-1/0", i64::MIN));
}

#[test]
fn text_and_bytes_of_the_same_content_differ() {
    assert_ne!(key!["ab"], key![*b"ab"]);
    assert_eq!(key!['é'], key!["é"]);
    assert_eq!(key![vec![1u8]], key![[1u8]]);
}

#[test]
fn keys_around_the_inline_length_read_back() {
    for len in INLINE_BYTES - 4..INLINE_BYTES + 4 {
        for key in [key!["x".repeat(len)], key!["x".repeat(len - 3), 1u8], key!["", "x".repeat(len), ""]] {
            assert_eq!(Segments::from_encoded(key.as_bytes()).unwrap(), key);
            assert_eq!(key.heap_bytes() == 0, key.as_bytes().len() <= INLINE_BYTES);
        }
    }
}

#[test]
fn a_path_must_begin_with_a_tenant() {
    assert!(Path::from_encoded(&[]).is_err());
    for no_tenant in [key![7u8], key![true], key![[1u8]], key![-1i8]] {
        assert!(Path::from_encoded(no_tenant.as_bytes()).is_err(), "{no_tenant}");
    }
    assert!(Path::from_encoded(key![Segment::None].as_bytes()).is_ok());
    assert!(Path::from_encoded(key!["acme"].as_bytes()).is_ok());
    assert_ne!(Path::of_tenant(&Tenant::named("")), Path::of_tenant(&Tenant::common()));
}

#[test]
fn a_tag_of_text_is_the_tag_of_one_segment() {
    assert_eq!(Tag::from("branch"), tag!["branch"]);
    assert_ne!(Tag::from("branch/7"), tag!["branch", "7"]);
}
