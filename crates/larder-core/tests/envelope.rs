//! Envelopes: what was stored is what is read, and anything else is refused with the right reason, never a panic.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test, it fails the test")]

use larder_core::{
    Act, Cause, Content, Envelope, EnvelopeHead, Epoch, Fences, Limits, Link, Packing, Path, Record,
    Rejected, Segments, Tag, Target, Tenant, Verdict, key,
};
use proptest::prelude::*;
use std::sync::atomic::AtomicU64;
use xxhash_rust::xxh3::xxh3_64;

/// Where the format has its fields; the tests below rewrite some and seal the bytes again.
const VERSION_AT: usize = 4;
const LENGTH_AT: usize = 5;
const PLACED_AT: usize = 29;

fn head() -> EnvelopeHead {
    EnvelopeHead {
        schema: 0x5c4e_3a00,
        stamp: Link { epoch: Epoch::new(77), position: 12, nonce: 0xabcd },
        created_ms: 1_700_000_000_000,
        soft_ms: 1_700_000_060_000,
        hard_ms: 1_700_000_120_000,
        keep_ms: 1_700_003_600_000,
        tags: vec![Tag::from("branch"), Tag::new(key!["day", 7u8])],
        also: vec![Path::of_region(&Tenant::named("acme"), "staff").below(&key![3u64])],
    }
}

fn value(body: &[u8]) -> Content<'_> {
    Content::Value { codec: 1, packing: Packing::None, body }
}

fn envelope(content: Content<'static>) -> Envelope<'static> {
    Envelope { key: b"booking\0availability/7", head: head(), content }
}

fn decode<'a>(bytes: &'a [u8], of: &Envelope<'_>) -> Result<Envelope<'a>, Rejected> {
    Envelope::decode(bytes, of.key, &Limits::default())
}

/// What a writer that made these bytes would have sent: right length, right checksum.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let covered = bytes.len() - 8;
    let length = bytes.len() as u64;
    bytes[LENGTH_AT..LENGTH_AT + 8].copy_from_slice(&length.to_be_bytes());
    let checksum = xxh3_64(&bytes[..covered]);
    bytes[covered..].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// The same envelope from a writer that did not know when its entry was born.
fn without_stamp(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[PLACED_AT] = 0;
    bytes.drain(PLACED_AT + 1..PLACED_AT + 17);
    sealed(bytes)
}

#[test]
fn an_envelope_without_a_stamp_is_refused_not_taken_for_position_zero() {
    let original = envelope(value(b"free slots"));
    let unstamped = without_stamp(original.encode());
    let refused = decode(&unstamped, &original);
    assert_eq!(
        refused,
        Err(Rejected::NoStamp),
        "no stamp was read as {:?}",
        refused.as_ref().map(|e| e.head.stamp)
    );
}

/// What a node does with stored bytes: reads them, finds their place in its history, and asks the rule.
fn judged(node: &Fences, key: &Path, bytes: &[u8]) -> Option<Verdict> {
    let envelope = Envelope::decode(bytes, key.as_bytes(), &Limits::default()).ok()?;
    let born = node.locate(envelope.head.stamp)?;
    let dependencies = node.dependencies(key, &envelope.head.tags, &envelope.head.also);
    Some(node.check(born, &dependencies, &AtomicU64::new(0), || key.clone()))
}

/// A node at the beginning of a history has a floor of zero, and nothing was named yet. An entry whose writer did
/// not know its birth, taken for one born at zero, would pass the rule there, and an old value would be served
/// as a fresh hit until something happened to name it.
#[test]
fn a_node_at_the_beginning_of_a_history_never_serves_an_entry_without_a_stamp() {
    let start = Link { epoch: Epoch::new(77), position: 0, nonce: 0 };
    let node = Fences::new(1, 1024);
    node.adopt(start, &[]);
    let key = Path::of_region(&Tenant::common(), "availability").below(&key![7u64]);
    let stamped = Envelope {
        key: key.as_bytes(),
        head: EnvelopeHead { stamp: start, ..head() },
        content: Content::Absent,
    };
    let bytes = stamped.encode();
    assert_eq!(judged(&node, &key, &bytes), Some(Verdict::Fresh));
    assert_eq!(judged(&node, &key, &without_stamp(bytes.clone())), None);

    let link = Link { position: 1, nonce: 5, ..start };
    let record = Record {
        link,
        act: Act::Invalidate,
        targets: vec![Target::tag(Tag::from("branch"))],
        cause: Cause::default(),
    };
    node.apply(&record).unwrap();
    assert_eq!(judged(&node, &key, &bytes), Some(Verdict::Invalidated));
}

#[test]
fn position_zero_is_a_place_when_it_is_said() {
    let mut original = envelope(value(b"free slots"));
    original.head.stamp = Link { epoch: Epoch::new(77), position: 0, nonce: 0 };
    assert_eq!(decode(&original.encode(), &original).unwrap(), original);
}

#[test]
fn another_version_is_isolated_before_anything_else_is_read() {
    let original = envelope(Content::Absent);
    for version in [0, 2, 255] {
        let mut bytes = original.encode();
        bytes[VERSION_AT] = version;
        for bytes in [bytes.clone(), sealed(bytes.clone()), bytes[..VERSION_AT + 1].to_vec()] {
            assert_eq!(decode(&bytes, &original), Err(Rejected::ForeignVersion { version }));
        }
    }
}

#[test]
fn foreign_rows_are_told_from_torn_ones() {
    let original = envelope(Content::Absent);
    for foreign in [&b"{\"json\": true}"[..], b"\0\0\0\0\0", b"LRDX", b"M"] {
        assert_eq!(decode(foreign, &original), Err(Rejected::Foreign));
    }
    for torn in [&b""[..], b"L", b"LRDR", b"LRDR\x01", b"LRDR\x01\0\0\0\0\0\0\0\0"] {
        assert_eq!(decode(torn, &original), Err(Rejected::Truncated), "{torn:?}");
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    let original = envelope(value(b"x"));
    let longer = [original.encode(), vec![0]].concat();
    assert_eq!(decode(&longer, &original), Err(Rejected::Corrupt));
    assert_eq!(decode(&sealed(longer), &original).unwrap_err().as_str(), "malformed");
}

#[test]
fn limits_hold_for_what_is_claimed_as_for_what_is_there() {
    let content = Content::Value { codec: 1, packing: Packing::Lz4 { raw_bytes: 1 << 40 }, body: b"x" };
    let original = envelope(content);
    let bytes = original.encode();
    let all =
        Limits { stored_bytes_max: bytes.len() as u64, raw_bytes_max: 1 << 40, tags_max: 2, also_max: 1 };
    let decode = |limits| Envelope::decode(&bytes, original.key, &limits);
    assert_eq!(decode(all).unwrap(), original);
    for (limits, limit) in [
        (Limits { stored_bytes_max: all.stored_bytes_max - 1, ..all }, "stored_bytes_max"),
        (Limits { raw_bytes_max: (1 << 40) - 1, ..all }, "raw_bytes_max"),
        (Limits { tags_max: 1, ..all }, "tags_max"),
        (Limits { also_max: 0, ..all }, "also_max"),
    ] {
        match decode(limits) {
            Err(Rejected::TooLarge { limit: found, .. }) => assert_eq!(found, limit),
            other => panic!("{limit}: {other:?}"),
        }
    }
}

#[test]
fn a_value_of_another_schema_is_refused_by_the_check_for_it() {
    let original = envelope(Content::Absent);
    assert_eq!(original.check_schema(0x5c4e_3a00), Ok(()));
    assert_eq!(original.check_schema(0x5c4e_3a01), Err(Rejected::WrongSchema));
}

#[test]
fn reasons_say_nothing_of_keys_or_values() {
    let original = envelope(value(b"12 secrets"));
    let bytes = original.encode();
    let refused = Envelope::decode(&bytes, b"stranger", &Limits::default()).unwrap_err();
    assert_eq!(refused, Rejected::WrongKey);
    let said = format!("{refused} {refused:?} {} {original:?}", refused.as_str());
    assert!(
        !said.contains("secret")
            && !said.contains("115, 101")
            && !said.contains("availability")
            && !said.contains("stranger")
    );
}

/// The parts of an envelope, owned.
#[derive(Clone, Debug)]
struct Parts {
    key: Vec<u8>,
    head: EnvelopeHead,
    content: Option<(u8, Option<u64>, Vec<u8>)>,
}

impl Parts {
    fn envelope(&self) -> Envelope<'_> {
        let content = match &self.content {
            None => Content::Absent,
            Some((codec, raw_bytes, body)) => Content::Value {
                codec: *codec,
                packing: raw_bytes.map_or(Packing::None, |raw_bytes| Packing::Lz4 { raw_bytes }),
                body,
            },
        };
        Envelope { key: &self.key, head: self.head.clone(), content }
    }
}

fn segments() -> impl Strategy<Value = Segments> {
    prop::collection::vec("[ab:*{\\x00]{0,30}", 0..3).prop_map(|texts| {
        let mut builder = Segments::builder();
        texts.iter().for_each(|text| builder.push(text));
        builder.finish()
    })
}

fn parts() -> impl Strategy<Value = Parts> {
    let head = (
        (any::<u64>(), any::<u128>(), any::<u64>(), any::<u64>()),
        any::<[u64; 4]>(),
        prop::collection::vec(segments().prop_map(Tag::new), 0..4),
        prop::collection::vec(
            segments().prop_map(|s| Path::of_region(&Tenant::common(), "r").below(&s)),
            0..3,
        ),
    )
        .prop_map(
            |((schema, epoch, position, nonce), [created_ms, soft_ms, hard_ms, keep_ms], tags, also)| {
                let stamp = Link { epoch: Epoch::new(epoch), position, nonce };
                EnvelopeHead { schema, stamp, created_ms, soft_ms, hard_ms, keep_ms, tags, also }
            },
        );
    let body = prop::collection::vec(any::<u8>(), 0..200);
    let content = prop::option::of((any::<u8>(), prop::option::of(0u64..1 << 20), body));
    (prop::collection::vec(any::<u8>(), 0..40), head, content).prop_map(|(key, head, content)| Parts {
        key,
        head,
        content,
    })
}

proptest! {
    #[test]
    fn what_was_stored_is_what_is_read(parts in parts()) {
        let original = parts.envelope();
        let bytes = original.encode();
        prop_assert_eq!(decode(&bytes, &original).unwrap(), original);
    }

    #[test]
    fn cut_short_anywhere_it_is_refused(parts in parts()) {
        let original = parts.envelope();
        let bytes = original.encode();
        for end in 0..bytes.len() {
            prop_assert_eq!(decode(&bytes[..end], &original), Err(Rejected::Truncated));
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed(parts in parts(), bit in 0u8..8) {
        let original = parts.envelope();
        let mut bytes = original.encode();
        for at in 0..bytes.len() {
            bytes[at] ^= 1 << bit;
            let refused = decode(&bytes, &original).unwrap_err();
            let expected: &[&str] = match at {
                0..VERSION_AT => &["foreign"],
                VERSION_AT => &["foreign_version"],
                LENGTH_AT..13 => &["truncated", "corrupt"],
                _ => &["corrupt"],
            };
            prop_assert!(expected.contains(&refused.as_str()), "{} at {}", refused.as_str(), at);
            bytes[at] ^= 1 << bit;
        }
    }

    #[test]
    fn damage_its_writer_sealed_never_panics_and_reads_as_what_it_says(
        parts in parts(), at: prop::sample::Index, byte: u8,
    ) {
        let original = parts.envelope();
        let mut bytes = original.encode();
        let at = 13 + at.index(bytes.len() - 13);
        bytes[at] = byte;
        let bytes = sealed(bytes);
        if let Ok(read) = decode(&bytes, &original) {
            // Every field has one form, so what is read is what would be written.
            prop_assert_eq!(read.encode(), bytes);
        }
    }

    #[test]
    fn an_envelope_under_another_key_is_refused(parts in parts(), other in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assume!(parts.key != other);
        let bytes = parts.envelope().encode();
        prop_assert_eq!(Envelope::decode(&bytes, &other, &Limits::default()), Err(Rejected::WrongKey));
    }

    #[test]
    fn without_a_stamp_every_envelope_is_refused(parts in parts()) {
        let original = parts.envelope();
        let unstamped = without_stamp(original.encode());
        prop_assert_eq!(decode(&unstamped, &original), Err(Rejected::NoStamp));
    }

    #[test]
    fn bytes_at_random_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Envelope::decode(&bytes, b"", &Limits::default()).is_err());
    }

    #[test]
    fn fields_at_random_behind_a_sound_header_never_panic(bytes in prop::collection::vec(prop_oneof![0u8..4, any::<u8>()], 8..200)) {
        let bytes = sealed([&b"LRDR\x01\0\0\0\0\0\0\0\0"[..], &bytes].concat());
        if let Ok(read) = Envelope::decode(&bytes, b"", &Limits::default()) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }
}
