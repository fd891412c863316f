//! The reference of what names what: whether a target names an entry, said as the documentation of
//! [`Target`] says it. Slow and plain; knows nothing of numbers, tables or hashes.

use larder_core::{Path, Segment, Target};

/// What an entry is known by: its key, the keys of the entries it was built from, and the tags of all of them.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) keys: Vec<Path>,
    pub(crate) tags: Vec<Path>,
}

/// The segments of `key` after those of `head`, if it begins with them.
fn segments_below<'a>(key: &'a Path, head: &Path) -> Option<Vec<Segment<'a>>> {
    let whole: Vec<_> = key.segments().iter().map(|(s, _)| s).collect();
    let head: Vec<_> = head.segments().iter().map(|(s, _)| s).collect();
    (whole.len() >= head.len() && whole[..head.len()] == head).then(|| whole[head.len()..].to_vec())
}

/// Whether a target names an entry.
pub(crate) fn names(target: &Target, entry: &Known) -> bool {
    match target {
        Target::Everything => true,
        Target::Key(path) => entry.keys.contains(path),
        Target::Prefix(path) => entry.keys.iter().any(|key| segments_below(key, path).is_some()),
        Target::Tag(path) => entry.tags.contains(path),
        Target::Pattern(path, pattern) => {
            entry.keys.iter().any(|key| segments_below(key, path).is_some_and(|rest| pattern.matches(rest)))
        }
    }
}
