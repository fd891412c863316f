//! Values come back as they went in, or are refused in words that do not repeat them.

use super::{Codec, CodecError, Compression};
use larder_core::Packing;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

const CODECS: [Codec; 3] = [Codec::Json, Codec::Postcard, Codec::MessagePack];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Unit,
    Newtype(Option<String>),
    Tuple(i8, char),
    Struct { bytes: Vec<u8>, big: u128 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Slot {
    name: String,
    price: f64,
    ratio: f32,
    small: i128,
    note: Option<u32>,
    kinds: Vec<Kind>,
    by_number: BTreeMap<i64, bool>,
    by_name: BTreeMap<String, ()>,
}

fn finite() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("finite", |n| n.is_finite())
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Unit),
        any::<Option<String>>().prop_map(Kind::Newtype),
        any::<(i8, char)>().prop_map(|(n, c)| Kind::Tuple(n, c)),
        (prop::collection::vec(any::<u8>(), 0..20), any::<u128>())
            .prop_map(|(bytes, big)| Kind::Struct { bytes, big }),
    ]
}

fn slot() -> impl Strategy<Value = Slot> {
    let numbers = (
        finite(),
        any::<f32>().prop_filter("finite", |n| n.is_finite()),
        any::<i128>(),
        any::<Option<u32>>(),
    );
    let maps = (
        prop::collection::btree_map(any::<i64>(), any::<bool>(), 0..4),
        prop::collection::vec("\\PC{0,8}", 0..4),
    );
    (any::<String>(), numbers, prop::collection::vec(kind(), 0..4), maps).prop_map(
        |(name, (price, ratio, small, note), kinds, (by_number, names))| {
            let by_name = names.into_iter().map(|name| (name, ())).collect();
            Slot { name, price, ratio, small, note, kinds, by_number, by_name }
        },
    )
}

proptest! {
    #[test]
    fn every_codec_gives_back_what_it_was_given(slot in slot()) {
        for codec in CODECS {
            let bytes = codec.encode(&slot).unwrap();
            prop_assert_eq!(&codec.decode::<Slot>(&bytes).unwrap(), &slot, "{}", codec);
        }
    }

    #[test]
    fn floats_keep_every_bit(bits: u64) {
        let n = f64::from_bits(bits);
        for codec in CODECS {
            match codec.encode(&n) {
                Ok(bytes) => prop_assert_eq!(codec.decode::<f64>(&bytes).unwrap().to_bits(), bits, "{}", codec),
                Err(_) => prop_assert!(codec == Codec::Json && !n.is_finite()),
            }
        }
    }

    #[test]
    fn what_is_encoded_comes_back_the_same_or_is_refused(
        value in prop::collection::vec(any::<(Option<Option<Option<bool>>>, Option<()>, Option<f32>)>(), 0..6),
    ) {
        for codec in CODECS {
            if let Ok(bytes) = codec.encode(&value) {
                let read = codec.decode::<Vec<(Option<Option<Option<bool>>>, Option<()>, Option<f32>)>>(&bytes);
                prop_assert_eq!(format!("{read:?}"), format!("{:?}", Ok::<_, CodecError>(&value)), "{}", codec);
            }
        }
    }

    #[test]
    fn bytes_at_random_and_bytes_cut_short_never_panic(
        slot in slot(), bytes in prop::collection::vec(any::<u8>(), 0..100), at: prop::sample::Index,
    ) {
        for codec in CODECS {
            let _ = codec.decode::<Slot>(&bytes);
            let whole = codec.encode(&slot).unwrap();
            prop_assert!(codec.decode::<Slot>(&whole[..at.index(whole.len())]).is_err());
            prop_assert!(codec.decode::<Slot>(&[whole.as_slice(), &[0x01]].concat()).is_err());
        }
    }

    #[test]
    fn packed_bytes_unpack_to_what_they_were(
        run in prop::collection::vec(any::<u8>(), 0..200), repeated in 0usize..60, threshold_bytes in 0usize..4000,
    ) {
        let raw = run.repeat(repeated);
        let (packing, body) = Compression::Lz4 { threshold_bytes }.pack(raw.clone());
        prop_assert!(body.len() <= raw.len());
        prop_assert!(raw.len() >= threshold_bytes || packing == Packing::None);
        let max = raw.len() as u64;
        prop_assert_eq!(&*Compression::unpack(packing, &body, max).unwrap(), raw.as_slice());
        if max > 0 {
            prop_assert!(Compression::unpack(packing, &body, max - 1).unwrap_err().is_too_large());
        }
    }

    #[test]
    fn damaged_packed_bytes_never_panic_or_give_another_length(
        mut body in prop::collection::vec(any::<u8>(), 0..300), raw_bytes in 0u64..20_000, zeros in 0usize..2000,
    ) {
        if let Ok(raw) = Compression::unpack(Packing::Lz4 { raw_bytes }, &body, 10_000) {
            prop_assert_eq!(raw.len() as u64, raw_bytes);
        }
        let (packing, packed) = Compression::Lz4 { threshold_bytes: 0 }.pack(vec![0; 600 + zeros]);
        prop_assert_ne!(packing, Packing::None);
        body.extend(&packed);
        for body in [&body[..], &packed[..packed.len() - 1]] {
            if let Ok(raw) = Compression::unpack(packing, body, 10_000) {
                prop_assert_eq!(raw.len(), 600 + zeros);
            }
        }
    }
}

#[test]
fn a_claimed_length_that_the_bytes_cannot_hold_is_refused_before_it_is_allocated() {
    let claimed = Packing::Lz4 { raw_bytes: 1 << 50 };
    assert!(Compression::unpack(claimed, &[0; 100], u64::MAX).is_err());
    assert!(Compression::unpack(claimed, &[0; 100], 1 << 20).unwrap_err().is_too_large());
}

#[test]
fn the_longest_run_of_one_byte_still_unpacks() {
    let (packing, body) = Compression::default().pack(vec![7; 8 << 20]);
    assert!(body.len() < 64 << 10);
    assert_eq!(Compression::unpack(packing, &body, 8 << 20).unwrap().len(), 8 << 20);
}

#[test]
fn values_below_the_threshold_and_values_that_do_not_shrink_stay_as_they_are() {
    assert_eq!(Compression::default().pack(vec![0; 1023]).0, Packing::None);
    assert_ne!(Compression::default().pack(vec![0; 1024]).0, Packing::None);
    assert_eq!(Compression::None.pack(vec![0; 4096]).0, Packing::None);
    let noise: Vec<u8> = (0..1024u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let (packing, body) = Compression::default().pack(noise.clone());
    assert!(packing == Packing::None && body == noise || body.len() < noise.len());
}

#[test]
fn json_refuses_what_it_would_turn_into_null() {
    for value in [vec![1.0, f64::NAN], vec![f64::INFINITY]] {
        let error = Codec::Json.encode(&value).unwrap_err().to_string();
        assert!(error.contains("as json") && error.contains("NaN or infinite"), "{error}");
        assert!(Codec::Postcard.encode(&value).is_ok() && Codec::MessagePack.encode(&value).is_ok());
    }
}

#[test]
fn formats_without_nested_options_refuse_some_of_none() {
    let value: Vec<Option<Option<u8>>> = vec![None, Some(Some(1)), Some(None)];
    for codec in [Codec::Json, Codec::MessagePack] {
        let error = codec.encode(&value).unwrap_err().to_string();
        assert!(error.contains("`Some` of nothing"), "{error}");
        assert!(codec.encode(&value[..2].to_vec()).is_ok());
    }
    let bytes = Codec::Postcard.encode(&value).unwrap();
    assert_eq!(Codec::Postcard.decode::<Vec<Option<Option<u8>>>>(&bytes).unwrap(), value);
}

#[test]
fn maps_with_keys_that_json_has_no_form_for_are_refused_by_json_alone() {
    let map = HashMap::from([((1u8, 2u8), "x".to_owned())]);
    assert!(Codec::Json.encode(&map).unwrap_err().to_string().contains("no form for it"));
    for codec in [Codec::Postcard, Codec::MessagePack] {
        let bytes = codec.encode(&map).unwrap();
        assert_eq!(codec.decode::<HashMap<(u8, u8), String>>(&bytes).unwrap(), map);
    }
}

#[test]
fn errors_never_repeat_the_value() {
    let bytes: Vec<_> = CODECS.map(|codec| codec.encode("hunter2 is the secret").unwrap()).into();
    for (codec, bytes) in CODECS.into_iter().zip(bytes) {
        let error = codec.decode::<BTreeMap<u8, Kind>>(&bytes).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        assert!(error.to_string().contains(codec.as_str()));
    }
    struct Loud;
    impl Serialize for Loud {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("hunter2 is not allowed"))
        }
    }
    for codec in CODECS {
        let error = codec.encode(&Loud).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

#[test]
fn codec_numbers_are_fixed_and_unknown_ones_are_none() {
    assert_eq!(CODECS.map(Codec::id), [1, 2, 3]);
    assert!(CODECS.iter().all(|codec| Codec::from_id(codec.id()) == Some(*codec)));
    assert!([0, 4, 255].iter().all(|id| Codec::from_id(*id).is_none()));
}

#[test]
fn bytes_that_nest_too_deep_are_an_error_not_an_overflow() {
    let deep = "[".repeat(100_000);
    assert!(Codec::Json.decode::<serde_json::Value>(deep.as_bytes()).is_err());
    let deep = vec![0x91; 100_000];
    assert!(Codec::MessagePack.decode::<serde_json::Value>(&deep).is_err());
}

#[test]
fn values_are_refused_from_the_depth_on_at_which_they_would_not_be_read_back() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Nest {
        Leaf,
        List(Vec<Nest>),
        Pair(u8, Box<Nest>),
        Named { inner: Option<Box<Nest>> },
    }
    let wrap: [fn(Nest) -> Nest; 3] = [
        |inner| Nest::List(vec![inner]),
        |inner| Nest::Pair(1, Box::new(inner)),
        |inner| Nest::Named { inner: Some(Box::new(inner)) },
    ];
    for codec in [Codec::Json, Codec::MessagePack] {
        for wrap in wrap {
            for depth in 60..70 {
                let nest = (0..depth).fold(Nest::Leaf, |nest, _| wrap(nest));
                match codec.encode(&nest) {
                    Ok(bytes) => assert_eq!(codec.decode::<Nest>(&bytes).unwrap(), nest, "{codec} {depth}"),
                    Err(error) => {
                        assert!(depth > 62 && error.to_string().contains("deeper"), "{codec} {depth}")
                    }
                }
            }
        }
    }
}
