//! Targets: they read back as written, refuse anything else, and never reach beyond their tenant.

#![allow(clippy::unwrap_used, reason = "in a test, it fails the test")]

mod names;

use larder_core::{Path, Pattern, Segments, Tag, Target, Tenant, key};
use names::{Known, names};
use proptest::prelude::*;

fn entry(tenant: &Tenant, region: &str, key: &Segments, tags: &[Segments]) -> Known {
    Known {
        keys: vec![Path::of_region(tenant, region).below(key)],
        tags: tags.iter().map(|tag| Path::of_tenant(tenant).below(tag)).collect(),
    }
}

fn segments() -> impl Strategy<Value = Segments> {
    let segment = prop_oneof![
        "[ab:*{\\x00]{0,2}".prop_map(|text| key![text]),
        (0u8..3).prop_map(|n| key![n]),
        prop::collection::vec(0u8..2, 0..2).prop_map(|bytes| key![bytes]),
    ];
    prop::collection::vec(segment, 0..4)
        .prop_map(|parts| parts.iter().fold(Segments::empty(), |key, part| key.join(part)))
}

fn region() -> impl Strategy<Value = String> {
    "[ab]{1,2}"
}

fn tenant() -> impl Strategy<Value = Tenant> {
    prop_oneof![Just(Tenant::common()), "[ab:*]{0,2}".prop_map(Tenant::named)]
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let part = prop_oneof![Just("*".to_owned()), "[ab*?:]{1,3}".prop_filter("`**` only last", |p| p != "**")];
    (prop::collection::vec(part, 1..4), any::<bool>()).prop_map(|(mut parts, rest)| {
        if rest {
            parts.push("**".to_owned());
        }
        Pattern::parse(&parts.join("/")).unwrap()
    })
}

fn target() -> impl Strategy<Value = Target> {
    let anywhere = prop_oneof![
        Just(Target::everything()),
        (region(), segments()).prop_map(|(region, key)| Target::key(&region, key)),
        (region(), segments()).prop_map(|(region, key)| Target::prefix(&region, key)),
        region().prop_map(|region| Target::region(&region)),
        segments().prop_map(|tag| Target::tag(Tag::new(tag))),
        (region(), pattern()).prop_map(|(region, pattern)| Target::pattern(&region, pattern)),
    ];
    (anywhere, prop::option::of(tenant())).prop_map(|(target, tenant)| match tenant {
        Some(tenant) => target.within(&tenant),
        None => target,
    })
}

proptest! {
    #[test]
    fn a_target_inside_one_tenant_names_nothing_of_another(
        target in target(), mine in tenant(), other in tenant(),
        region in region(), key in segments(), tags in prop::collection::vec(segments(), 0..3),
    ) {
        prop_assume!(mine != other);
        let scoped = target.within(&mine);
        prop_assert!(!names(&scoped, &entry(&other, &region, &key, &tags)));
        // It names inside the tenant exactly what it named in the common one.
        let home = target.within(&Tenant::common());
        prop_assert_eq!(
            names(&scoped, &entry(&mine, &region, &key, &tags)),
            names(&home, &entry(&Tenant::common(), &region, &key, &tags))
        );
    }

    #[test]
    fn everything_inside_a_tenant_is_all_it_has(
        mine in tenant(), region in region(), key in segments(), tags in prop::collection::vec(segments(), 0..3),
    ) {
        let everything = Target::everything().within(&mine);
        prop_assert!(names(&everything, &entry(&mine, &region, &key, &tags)));
    }

    #[test]
    fn a_region_names_its_own_keys_alone(a in region(), b in region(), key in segments()) {
        let known = entry(&Tenant::common(), &b, &key, &[]);
        prop_assert_eq!(names(&Target::region(&a), &known), a == b);
    }

    #[test]
    fn targets_read_back_as_written(targets in prop::collection::vec(target(), 0..6)) {
        let encoded = Target::encode_many(&targets);
        prop_assert_eq!(Target::decode_many(&encoded).unwrap(), targets);
    }

    #[test]
    fn targets_cut_short_are_refused_or_fewer(targets in prop::collection::vec(target(), 1..4)) {
        let encoded = Target::encode_many(&targets);
        for end in 0..encoded.len() {
            if let Ok(fewer) = Target::decode_many(&encoded[..end]) {
                prop_assert!(fewer.len() < targets.len() && targets.starts_with(&fewer));
            }
        }
    }

    #[test]
    fn bytes_at_random_are_refused_or_mean_one_list(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(targets) = Target::decode_many(&bytes) {
            prop_assert_eq!(Target::encode_many(&targets), bytes);
        }
    }

    #[test]
    fn targets_with_flipped_bits_never_panic(
        targets in prop::collection::vec(target(), 1..4), at: prop::sample::Index, bit in 0u8..8,
    ) {
        let mut encoded = Target::encode_many(&targets);
        let at = at.index(encoded.len());
        encoded[at] ^= 1 << bit;
        if let Ok(read) = Target::decode_many(&encoded) {
            prop_assert_ne!(&read, &targets);
            prop_assert_eq!(Target::encode_many(&read), encoded);
        }
    }
}

#[test]
fn a_target_of_a_kind_unknown_is_refused() {
    let error = Target::decode_many(&[0, 5]).unwrap_err();
    assert_eq!(error.to_string(), "malformed encoding: unknown kind of target");
}

#[test]
fn lengths_beyond_the_input_are_refused_without_being_allocated() {
    for kind in 1..=4u8 {
        let bytes = [&[kind][..], &[0xff; 9], &[0x01]].concat();
        assert!(Target::decode_many(&bytes).is_err());
    }
}
