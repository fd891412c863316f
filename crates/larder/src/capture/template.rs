//! Templates: segments, some of which are filled in from a row. Read once; knows no SQL.

use larder_core::{Segments, SegmentsBuilder};

/// One segment as a mapping writes it: a whole number, a truth value, or a text. A text that is `{column}` is the column's value
/// with its type; inside of a longer text, `branch-{id}`, it is the value as words. `{{` and `}}` stand for braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part(Raw);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Raw {
    Int(i128),
    Bool(bool),
    Text(String),
}

macro_rules! whole_numbers {
    ($($t:ty),*) => {$(
        impl From<$t> for Part {
            fn from(number: $t) -> Self {
                Part(Raw::Int(number.into()))
            }
        }
    )*};
}
whole_numbers!(u8, u16, u32, u64, i8, i16, i32, i64, i128);

impl From<bool> for Part {
    fn from(truth: bool) -> Self {
        Part(Raw::Bool(truth))
    }
}

impl From<&str> for Part {
    fn from(text: &str) -> Self {
        Part(Raw::Text(text.into()))
    }
}

impl From<String> for Part {
    fn from(text: String) -> Self {
        Part(Raw::Text(text))
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Raw::Int(number) => write!(f, "{number}"),
            Raw::Bool(truth) => write!(f, "{truth}"),
            Raw::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// A segment that has been read.
pub(super) enum Read {
    Int(i128),
    Bool(bool),
    Text(String),
    /// The value of a column, with its type.
    Column(String),
    /// A text with columns in it.
    Words(Vec<Piece>),
}

#[derive(Clone)]
pub(super) enum Piece {
    Text(String),
    Column(String),
}

impl Read {
    pub(super) fn of(part: &Part) -> Result<Read, String> {
        let text = match &part.0 {
            Raw::Int(number) => return Ok(Read::Int(*number)),
            Raw::Bool(truth) => return Ok(Read::Bool(*truth)),
            Raw::Text(text) => text,
        };
        let mut pieces = pieces(text)?;
        Ok(match pieces.as_mut_slice() {
            [] => Read::Text(String::new()),
            [Piece::Text(text)] => Read::Text(std::mem::take(text)),
            [Piece::Column(column)] => Read::Column(std::mem::take(column)),
            _ => Read::Words(pieces),
        })
    }

    /// The columns it reads.
    pub(super) fn columns(&self) -> Vec<&str> {
        match self {
            Read::Int(_) | Read::Bool(_) | Read::Text(_) => Vec::new(),
            Read::Column(column) => vec![column],
            Read::Words(pieces) => pieces
                .iter()
                .filter_map(|piece| match piece {
                    Piece::Column(column) => Some(column.as_str()),
                    Piece::Text(_) => None,
                })
                .collect(),
        }
    }

    /// Appends it, unless it depends on the row.
    pub(super) fn push_to(&self, segments: &mut SegmentsBuilder) -> bool {
        match self {
            Read::Int(number) => segments.push(*number),
            Read::Bool(truth) => segments.push(*truth),
            Read::Text(text) => segments.push(text.as_str()),
            Read::Column(_) | Read::Words(_) => return false,
        }
        true
    }

    /// Its encoding, unless it depends on the row.
    pub(super) fn fixed(&self) -> Option<Segments> {
        let mut segments = Segments::builder();
        self.push_to(&mut segments).then(|| segments.finish())
    }
}

fn pieces(template: &str) -> Result<Vec<Piece>, String> {
    if template.contains('\0') {
        return Err("holds a NUL, which Postgres' texts cannot".into());
    }
    let (mut pieces, mut text) = (Vec::new(), String::new());
    let mut rest = template.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '{' | '}' if rest.peek() == Some(&c) => text.extend(rest.next()),
            '{' => {
                let mut column = String::new();
                loop {
                    match rest.next() {
                        Some('}') => break,
                        Some('{') | None => {
                            return Err(
                                "has a { that is not closed; expected {column}, or {{ for a brace".into()
                            );
                        }
                        Some(c) => column.push(c),
                    }
                }
                if column.is_empty() {
                    return Err("has {} without a name; expected {column}".into());
                }
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(Piece::Column(column));
            }
            '}' => return Err("has a } that closes nothing; expected }} for a brace".into()),
            c => text.push(c),
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}
