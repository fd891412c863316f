//! Patterns: globs over the segments of a key.
//!
//! A pattern has one part for each segment; a part never matches across a segment's boundary, whatever
//! characters the segment holds. Evaluated by the rule; matching takes time linear in the key for each star
//! and allocates nothing for text.

use crate::decode::{Malformed, Reader, push_run};
use crate::segments::{Segment, Segments, ToSegment};
use std::fmt;

/// A glob over the segments that follow the region in a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// One segment, of exactly this type and value.
    Exact(Segments),
    /// One segment whose text matches; `\` escapes.
    Glob(Box<str>),
    /// Any one segment.
    Any,
    /// Any segments that remain, none included.
    Rest,
}

/// A pattern that cannot be read; says where and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    pattern: String,
    why: &'static str,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pattern {:?}: {}", self.pattern, self.why)
    }
}

impl std::error::Error for PatternError {}

impl Pattern {
    /// The pattern with no parts yet: it matches the key of no segments. Add parts with the methods below.
    pub const fn new() -> Self {
        Pattern(Vec::new())
    }

    /// Adds: one segment of exactly this type and value.
    #[must_use]
    pub fn exact(self, value: impl ToSegment) -> Self {
        self.with(Part::Exact(Segments::builder().with(value).finish()))
    }

    /// Adds: any one segment.
    #[must_use]
    pub fn any(self) -> Self {
        self.with(Part::Any)
    }

    /// Adds: whatever segments remain, none included. Nothing is left for parts added after it: they are ignored.
    #[must_use]
    pub fn rest(self) -> Self {
        self.with(Part::Rest)
    }

    /// Adds: one segment whose text matches `glob` (`*` any run, `?` one character, `\` takes the next literally).
    /// Integers and truth values match by their usual spelling. Raw bytes and the absent segment have none: only
    /// a glob of nothing but stars takes them. A glob that ends in a single `\` matches nothing.
    #[must_use]
    pub fn glob(self, glob: &str) -> Self {
        self.with(Part::Glob(glob.into()))
    }

    /// Nothing follows [`Part::Rest`], so that what a pattern matches has one encoding.
    fn with(mut self, part: Part) -> Self {
        if self.0.last() != Some(&Part::Rest) {
            self.0.push(part);
        }
        self
    }

    /// Reads `7/*/2026-0?-*/**`: parts divided by `/`; `*` any one segment, `**` (last only) whatever remains,
    /// anything else a glob matched against the segment's text. `\` takes the next character literally.
    ///
    /// # Errors
    /// When the text is empty, a part is empty, `**` is not last, or a `\` ends it.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let error = |why| PatternError { pattern: text.to_owned(), why };
        let mut pattern = Pattern::new();
        let parts =
            split_unescaped(text).ok_or(error("ends with a single `\\`; write `\\\\` for a backslash"))?;
        let last = parts.len() - 1;
        for (i, part) in parts.into_iter().enumerate() {
            pattern = match part {
                "" => {
                    return Err(error(
                        "has an empty part; expected parts divided by `/`, such as `7/*/2026-*`",
                    ));
                }
                "*" => pattern.any(),
                "**" if i == last => pattern.rest(),
                "**" => return Err(error("`**` stands for all that remains and can only be the last part")),
                glob => pattern.glob(glob),
            };
        }
        Ok(pattern)
    }

    /// Whether the pattern matches these segments, all of them.
    pub fn matches<'a>(&self, segments: impl IntoIterator<Item = Segment<'a>>) -> bool {
        let mut segments = segments.into_iter();
        for part in &self.0 {
            if *part == Part::Rest {
                return true;
            }
            let Some(segment) = segments.next() else { return false };
            let hit = match part {
                Part::Exact(exact) => exact.iter().next().is_some_and(|(s, _)| s == segment),
                Part::Glob(glob) => glob_segment(glob, segment),
                Part::Any | Part::Rest => true,
            };
            if !hit {
                return false;
            }
        }
        segments.next().is_none()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.0 {
            match part {
                Part::Exact(segment) => {
                    out.push(0);
                    push_run(&mut out, segment.as_bytes());
                }
                Part::Glob(glob) => {
                    out.push(1);
                    push_run(&mut out, glob.as_bytes());
                }
                Part::Any => out.push(2),
                Part::Rest => out.push(3),
            }
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut parts = Vec::new();
        while !reader.is_empty() {
            if parts.last() == Some(&Part::Rest) {
                return Err(Malformed::new("nothing can follow the rest of a pattern"));
            }
            parts.push(match reader.byte()? {
                0 => {
                    let len = reader.length()?;
                    let segments = Segments::from_encoded(reader.take(len)?)?;
                    if segments.iter().count() != 1 {
                        return Err(Malformed::new("an exact part of a pattern is one segment"));
                    }
                    Part::Exact(segments)
                }
                1 => {
                    let len = reader.length()?;
                    let glob = std::str::from_utf8(reader.take(len)?)
                        .map_err(|_| Malformed::new("glob is not UTF-8"))?;
                    Part::Glob(glob.into())
                }
                2 => Part::Any,
                3 => Part::Rest,
                _ => return Err(Malformed::new("unknown part of a pattern")),
            });
        }
        Ok(Pattern(parts))
    }
}

impl Default for Pattern {
    fn default() -> Self {
        Pattern::new()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("/")?;
            }
            match part {
                Part::Exact(segment) => write!(f, "{segment}")?,
                Part::Glob(glob) => f.write_str(glob)?,
                Part::Any => f.write_str("*")?,
                Part::Rest => f.write_str("**")?,
            }
        }
        Ok(())
    }
}

/// Splits at `/` that no `\` escapes; `None` when a `\` ends the text.
fn split_unescaped(text: &str) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '/' => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!escaped).then_some(parts)
}

fn glob_segment(glob: &str, segment: Segment<'_>) -> bool {
    match segment {
        Segment::Text(text) => glob_text(glob, text),
        // These have no spelling: only a glob that takes anything takes them; the empty one takes the empty text.
        Segment::Bytes(_) | Segment::None => !glob.is_empty() && glob.chars().all(|c| c == '*'),
        other => glob_text(glob, &other.to_string()),
    }
}

/// The usual two-pointer glob: on a mismatch, go back to the last star and let it take one character more.
fn glob_text(glob: &str, text: &str) -> bool {
    let (mut g, mut t) = (glob.chars(), text.chars());
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let t_before = t.clone();
        let step = match (g.next(), t.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                retry = Some((g.clone(), t_before.clone()));
                t = t_before;
                continue;
            }
            (Some('?'), Some(_)) => true,
            (Some('\\'), Some(c)) => g.next() == Some(c),
            (Some(p), Some(c)) => p == c,
            _ => false,
        };
        if !step {
            let Some((after_star, mut from)) = retry.take() else { return false };
            if from.next().is_none() {
                return false;
            }
            g = after_star.clone();
            t = from.clone();
            retry = Some((after_star, from));
        }
    }
}
