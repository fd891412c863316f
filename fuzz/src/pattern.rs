//! Patterns: reading and matching, compared with a table filled cell by cell; and their encoding.

use crate::input::{Input, Owned, seed};
use larder_core::{Path, Pattern, Segment, Target, Tenant};

/// Longer texts find nothing more, and fill large tables.
const CHARS_MAX: usize = 64;

/// One part of a pattern, as the documentation says it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Exact(Owned),
    Glob(String),
    Any,
    Rest,
}

/// The first byte says whether a pattern is given as text or as parts; segments follow.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (pattern, parts) = match input.below(2) {
        0 => {
            let text: String = input.text().chars().take(CHARS_MAX).collect();
            let (pattern, parts) = (Pattern::parse(&text), parse(&text));
            assert_eq!(pattern.is_ok(), parts.is_some(), "{text:?}");
            let (Ok(pattern), Some(parts)) = (pattern, parts) else { return };
            assert_eq!(pattern.to_string(), text);
            (pattern, parts)
        }
        _ => build(&mut input),
    };
    coded(&pattern);
    while !input.is_over() {
        let segments = input.segments();
        let own = segments.iter().map(Owned::as_segment);
        assert_eq!(pattern.matches(own), matches(&parts, &segments), "{pattern} and {segments:?}");
    }
}

fn build(input: &mut Input<'_>) -> (Pattern, Vec<Part>) {
    let (mut pattern, mut parts) = (Pattern::new(), Vec::new());
    for _ in 0..input.below(5) {
        let part = match input.below(4) {
            0 => Part::Exact(input.segment()),
            1 => Part::Glob(input.text().chars().take(CHARS_MAX).collect()),
            2 => Part::Any,
            _ => Part::Rest,
        };
        pattern = match &part {
            Part::Exact(segment) => pattern.exact(segment.as_segment()),
            Part::Glob(glob) => pattern.glob(glob),
            Part::Any => pattern.any(),
            Part::Rest => pattern.rest(),
        };
        // What is added after the rest is ignored.
        if parts.last() != Some(&Part::Rest) {
            parts.push(part);
        }
    }
    (pattern, parts)
}

/// A pattern travels in records and means the same there.
fn coded(pattern: &Pattern) {
    let target = Target::Pattern(Path::of_region(&Tenant::common(), "r"), pattern.clone());
    let bytes = Target::encode_many(std::slice::from_ref(&target));
    assert_eq!(Target::decode_many(&bytes).as_deref(), Ok(&[target][..]));
}

/// Reads the text of a pattern: parts at each `/` that is not escaped; `None` for what must be refused.
fn parse(text: &str) -> Option<Vec<Part>> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '/' {
            parts.push(String::new());
            continue;
        }
        let part = parts.last_mut()?;
        part.push(c);
        if c == '\\' {
            part.push(chars.next()?);
        }
    }
    let last = parts.len() - 1;
    let read = |(at, part): (usize, String)| match part.as_str() {
        "" => None,
        "*" => Some(Part::Any),
        "**" => (at == last).then_some(Part::Rest),
        _ => Some(Part::Glob(part)),
    };
    parts.into_iter().enumerate().map(read).collect()
}

fn matches(parts: &[Part], segments: &[Owned]) -> bool {
    match (parts.split_first(), segments.split_first()) {
        (None, None) => true,
        (Some((Part::Rest, _)), _) => true,
        (Some((part, parts)), Some((segment, segments))) => {
            part_matches(part, segment) && matches(parts, segments)
        }
        _ => false,
    }
}

fn part_matches(part: &Part, segment: &Owned) -> bool {
    match part {
        Part::Any | Part::Rest => true,
        Part::Exact(exact) => exact == segment,
        Part::Glob(glob) => match segment {
            Owned::Text(text) => table(glob, text),
            Owned::None | Owned::Bytes(_) => !glob.is_empty() && glob.chars().all(|c| c == '*'),
            Owned::Bool(b) => table(glob, if *b { "true" } else { "false" }),
            Owned::Uint(n) => table(glob, &n.to_string()),
            Owned::Nint(_) => table(glob, &spelled(segment)),
        },
    }
}

fn spelled(negative: &Owned) -> String {
    match negative.as_segment() {
        // One below the least that -1 - m can say.
        Segment::Nint(u128::MAX) => "-340282366920938463463374607431768211456".to_owned(),
        Segment::Nint(m) => format!("-{}", m + 1),
        other => other.to_string(),
    }
}

/// What one character of a glob takes.
enum Takes {
    Run,
    One,
    This(char),
}

/// `cell[g][t]`: whether the first `g` of the glob match the first `t` characters of the text.
fn table(glob: &str, text: &str) -> bool {
    let mut takes = Vec::new();
    let mut chars = glob.chars();
    while let Some(c) = chars.next() {
        takes.push(match c {
            '*' => Takes::Run,
            '?' => Takes::One,
            '\\' => match chars.next() {
                Some(literal) => Takes::This(literal),
                None => return false,
            },
            c => Takes::This(c),
        });
    }
    let text: Vec<char> = text.chars().collect();
    let mut row = vec![false; text.len() + 1];
    row[0] = true;
    for take in takes {
        let before = row.clone();
        row[0] = before[0] && matches!(take, Takes::Run);
        for t in 1..row.len() {
            row[t] = match take {
                Takes::Run => before[t] || row[t - 1],
                Takes::One => before[t - 1],
                Takes::This(c) => before[t - 1] && c == text[t - 1],
            };
        }
    }
    row[text.len()]
}

/// Patterns as people write them, each with keys that match and keys that do not.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let texts = [
        ("date", "7/*/2026-0?-*/**", vec![vec![uint(7), text("x"), text("2026-01-02")], vec![uint(7)]]),
        ("stars", "a*b*c*d", vec![vec![text("abcabcd")], vec![text("abcabc")]]),
        ("escaped", "a\\/b/\\*", vec![vec![text("a/b"), text("*")], vec![text("a"), text("b")]]),
        ("number", "1?", vec![vec![uint(12)], vec![text("12")], vec![uint(120)]]),
        ("unspelled", "***", vec![vec![vec![6]], vec![vec![1, 1, 9]], vec![text("")]]),
        ("negative", "-?", vec![vec![vec![4, 0]], vec![vec![4, 8]]]),
        ("wide", "é?ü", vec![vec![text("éöü")]]),
        ("rest-in-the-middle", "**/a", vec![]),
        ("empty-part", "a//b", vec![]),
        ("dangling", "a\\", vec![]),
    ];
    let mut seeds = Vec::new();
    for (name, pattern, keys) in texts {
        let mut bytes = vec![pattern.len() as u8];
        bytes.extend_from_slice(pattern.as_bytes());
        for key in keys {
            bytes.push(key.len() as u8);
            bytes.extend(key.concat());
        }
        seeds.push(seed(name, 0, &bytes));
    }
    let exact = [&[3, 0][..], &uint(7), &[2], &[3], &[2], &uint(7), &text("a")].concat();
    seeds.push(seed("exact-any-rest", 1, &exact));
    let dangling = [&[1, 1, 2][..], b"a\\", &[1], &text("a\\")].concat();
    seeds.push(seed("dangling-part", 1, &dangling));
    seeds
}

fn text(text: &str) -> Vec<u8> {
    [&[0, text.len() as u8], text.as_bytes()].concat()
}

fn uint(n: u8) -> Vec<u8> {
    vec![3, n]
}
