//! Patterns: what they match, compared with a matcher too simple to be wrong, and what they refuse.

#![allow(clippy::unwrap_used, reason = "in a test, it fails the test")]

use larder_core::{Pattern, Segment, Segments, Target, key};
use proptest::prelude::*;

fn matches(pattern: &Pattern, segments: &Segments) -> bool {
    pattern.matches(segments.iter().map(|(segment, _)| segment))
}

fn parsed(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

#[test]
fn an_empty_glob_takes_the_empty_text_and_nothing_else() {
    let empty = Pattern::new().glob("");
    assert!(matches(&empty, &key![""]));
    for other in [key!["x"], key![[0u8; 0]], key![[1u8, 2]], key![0u8], key![Segment::None], key![]] {
        assert!(!matches(&empty, &other), "{other}");
    }
}

#[test]
fn segments_without_a_spelling_are_taken_by_stars_alone() {
    for unspelled in [key![[1u8, 2]], key![Segment::None]] {
        assert!(matches(&Pattern::new().glob("*"), &unspelled));
        assert!(matches(&Pattern::new().any(), &unspelled));
        for glob in ["?", "0x0102", "-", r"\*", "*?"] {
            assert!(!matches(&Pattern::new().glob(glob), &unspelled), "{glob} {unspelled}");
        }
    }
}

#[test]
fn parts_after_the_rest_are_ignored() {
    let pattern = Pattern::new().exact(1u8).rest().exact(2u8).any();
    assert_eq!(pattern, Pattern::new().exact(1u8).rest());
    assert!(matches(&pattern, &key![1u8]));
    assert!(matches(&pattern, &key![1u8, "anything", "at all"]));
    assert!(!matches(&pattern, &key![2u8]));
}

#[test]
fn a_part_never_matches_across_a_boundary_of_segments() {
    assert!(!matches(&parsed("a*b"), &key!["a", "b"]));
    assert!(!matches(&parsed("*"), &key!["a", "b"]));
    assert!(!matches(&parsed("a/b"), &key!["a/b"]));
    assert!(matches(&parsed(r"a\/b"), &key!["a/b"]));
    assert!(matches(&parsed("a*b"), &key!["a/:*{\0}b"]));
}

#[test]
fn numbers_and_truth_values_match_by_their_spelling() {
    assert!(matches(&parsed("7/-5/true/2026-*"), &key![7u64, -5i8, true, "2026-11-21"]));
    assert!(!matches(&parsed("7"), &key![70u64]));
    assert!(matches(&parsed("7?"), &key![70u64]));
    assert!(matches(&parsed("7"), &key!["7"]));
    assert!(!matches(&Pattern::new().exact(7u64), &key!["7"]));
    assert!(matches(&Pattern::new().exact(7u64), &key![7i8]));
}

#[test]
fn what_cannot_be_read_is_refused_with_the_reason() {
    for (text, why) in [
        ("", "empty part"),
        ("a//b", "empty part"),
        ("a/", "empty part"),
        ("**/a", "only be the last part"),
        ("a\\", "ends with a single"),
    ] {
        let error = Pattern::parse(text).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains(&format!("{text:?}")), "{error}");
    }
}

#[test]
fn a_glob_of_many_stars_takes_no_exponential_time() {
    let glob = "*a".repeat(2_000) + "b";
    assert!(!matches(&Pattern::new().glob(&glob), &key!["a".repeat(4_000)]));
}

/// The reference: tries every way.
fn naive_glob(glob: &[char], text: &[char]) -> bool {
    match (glob, text) {
        ([], text) => text.is_empty(),
        (['*', rest @ ..], text) => (0..=text.len()).any(|n| naive_glob(rest, &text[n..])),
        (['\\', c, rest @ ..], [t, text @ ..]) => c == t && naive_glob(rest, text),
        (['\\', ..], _) | (_, []) => false,
        (['?', rest @ ..], [_, text @ ..]) => naive_glob(rest, text),
        ([c, rest @ ..], [t, text @ ..]) => c == t && naive_glob(rest, text),
    }
}

proptest! {
    #[test]
    fn a_glob_agrees_with_trying_every_way(glob in r"[ab*?\\é]{0,8}", text in r"[ab*?\\é]{0,8}") {
        let naive = naive_glob(&glob.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>());
        prop_assert_eq!(matches(&Pattern::new().glob(&glob), &key![text]), naive);
    }

    #[test]
    fn parts_agree_with_comparing_segment_by_segment(
        parts in prop::collection::vec(0u8..5, 0..5),
        rest: bool,
        numbers in prop::collection::vec(0u8..3, 0..6),
    ) {
        let mut pattern = Pattern::new();
        for part in &parts {
            pattern = match part { 3 => pattern.any(), 4 => pattern.glob("[12]").any(), n => pattern.exact(*n) };
        }
        // `[12]` is no class: it takes that very text, which no number spells.
        let impossible = parts.contains(&4);
        if rest {
            pattern = pattern.rest();
        }
        let mut builder = Segments::builder();
        numbers.iter().for_each(|n| builder.push(*n));
        let lengths = if rest { numbers.len() >= parts.len() } else { numbers.len() == parts.len() };
        let naive = !impossible && lengths && parts.iter().zip(&numbers).all(|(p, n)| *p == 3 || p == n);
        prop_assert_eq!(matches(&pattern, &builder.finish()), naive);
    }

    #[test]
    fn an_escaped_text_matches_itself_alone(text in r"[a-c*?/\\{:\x00é]{1,8}", other in r"[a-c*?/\\{:]{1,8}") {
        let escaped: String = text.chars().flat_map(|c| ['\\', c]).collect();
        let pattern = parsed(&escaped);
        prop_assert!(matches(&pattern, &key![text.as_str()]));
        prop_assert_eq!(matches(&pattern, &key![other.as_str()]), text == other);
    }

    #[test]
    fn reading_a_pattern_never_panics(text in "\\PC*", segment in "\\PC*") {
        if let Ok(pattern) = Pattern::parse(&text) {
            matches(&pattern, &key![segment.as_str()]);
            let targets = [Target::pattern("region", pattern)];
            prop_assert_eq!(Target::decode_many(&Target::encode_many(&targets)).unwrap(), targets);
        }
    }
}
