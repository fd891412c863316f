//! What is named by what: tenants, regions, keys and tags made to be confused, and plain words on which invalidation
//! reaches which.

use larder::{Pattern, Segments, Tag, Target, key, tag};

/// A key of a region of a tenant, each by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// 0 is the common tenant.
    pub tenant: usize,
    pub region: usize,
    pub key: usize,
}

/// A tag of a tenant, by their numbers.
pub type Tagged = (usize, usize);

pub const TENANTS: usize = 2;
pub const REGIONS: [&str; 3] = ["r", "r/7", "7"];
pub const KEYS: usize = 10;
pub const TAGS: usize = 3;

/// A segment, as a person would write it down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seg {
    Text(&'static str),
    Number(i64),
    Bytes(&'static [u8]),
}

const SPELLED: [&[Seg]; KEYS] = [
    &[Seg::Number(7)],
    &[Seg::Number(71)],
    &[Seg::Text("7")],
    &[Seg::Text("71")],
    &[Seg::Number(7), Seg::Text("a")],
    &[Seg::Number(7), Seg::Text("a/b")],
    &[Seg::Number(7), Seg::Text("a"), Seg::Text("b")],
    &[],
    &[Seg::Text("*")],
    &[Seg::Bytes(b"7"), Seg::Text("")],
];

pub fn segments(key: usize) -> Segments {
    let mut builder = Segments::builder();
    for segment in SPELLED[key] {
        match *segment {
            Seg::Text(text) => builder.push(text),
            Seg::Number(n) => builder.push(n),
            Seg::Bytes(bytes) => builder.push(bytes),
        }
    }
    builder.finish()
}

pub fn tag(n: usize) -> Tag {
    [tag!["branch", 7], tag!["branch", "7"], tag![7]][n].clone()
}

/// The parts of each pattern: a literal or a glob of one segment, `*` any one, `**` all that remains.
pub const PATTERNS: [&str; 6] = ["7*", "*", "7/**", "*/a", "**", "\\*"];

/// What an invalidation names, in one region where it matters.
#[derive(Clone, Debug)]
pub enum Named {
    Everything,
    Key(usize, usize),
    Prefix(usize, usize),
    Region(usize),
    Tag(usize),
    Pattern(usize, usize),
}

impl Named {
    pub fn target(&self) -> Target {
        match *self {
            Named::Everything => Target::everything(),
            Named::Key(region, key) => Target::key(REGIONS[region], segments(key)),
            Named::Prefix(region, key) => Target::prefix(REGIONS[region], segments(key)),
            Named::Region(region) => Target::region(REGIONS[region]),
            Named::Tag(n) => Target::tag(tag(n)),
            Named::Pattern(region, n) => {
                Target::pattern(REGIONS[region], Pattern::parse(PATTERNS[n]).unwrap())
            }
        }
    }

    /// Whether it names a tag, said in a tenant's name.
    pub fn names_tag(&self, tenant: usize, tag: Tagged) -> bool {
        matches!(*self, Named::Tag(n) if (tenant, n) == tag)
    }

    /// Whether it names a key, said in a tenant's name.
    pub fn names_key(&self, tenant: usize, place: Place) -> bool {
        let key = SPELLED[place.key];
        let here = |region: usize| tenant == place.tenant && region == place.region;
        match *self {
            // Said in nobody's name, it is everything of everybody.
            Named::Everything => tenant == 0 || tenant == place.tenant,
            Named::Key(region, named) => here(region) && named == place.key,
            Named::Prefix(region, named) => here(region) && key.starts_with(SPELLED[named]),
            Named::Region(region) => here(region),
            Named::Tag(_) => false,
            Named::Pattern(region, n) => here(region) && matches(PATTERNS[n], key),
        }
    }
}

fn matches(pattern: &str, key: &[Seg]) -> bool {
    // `a/b` in a segment is no boundary: only the pattern's own slashes divide.
    let parts: Vec<&str> = pattern.split('/').collect();
    match parts.split_last() {
        Some((&"**", head)) => key.len() >= head.len() && all(head, key),
        _ => key.len() == parts.len() && all(&parts, key),
    }
}

fn all(parts: &[&str], key: &[Seg]) -> bool {
    parts.iter().zip(key).all(|(part, segment)| match (*part, segment) {
        ("*", _) => true,
        ("7*", Seg::Text(text)) => text.starts_with('7'),
        ("7*", Seg::Number(n)) => n.to_string().starts_with('7'),
        ("\\*", Seg::Text(text)) => *text == "*",
        (part, Seg::Text(text)) => part == *text,
        (part, Seg::Number(n)) => part == n.to_string(),
        (_, Seg::Bytes(_)) => false,
    })
}

#[test]
fn no_two_keys_are_the_same() {
    let distinct: std::collections::HashSet<Segments> = (0..KEYS).map(segments).collect();
    assert_eq!(distinct.len(), KEYS);
    assert_eq!(segments(7), key![]);
}
