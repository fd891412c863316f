//! What decoded rows feed: the mapping's targets, as the triggers name them. Where a row does not say it, all that any row of its
//! table could feed.

use super::decode::{Relation, Tuple, Value};
use crate::capture::mapping::{Kind, TableRead, TargetRead};
use crate::capture::sql::{cleared, name};
use crate::capture::template::{Piece, Read};
use larder_core::{Segment, Segments, SegmentsBuilder, Tag, Target, Tenant};
use std::borrow::Cow;
use std::collections::HashSet;

/// More targets than this of one transaction are too many to name.
const TARGETS_MAX: usize = 100_000;

mod oid {
    pub(super) const BOOL: u32 = 16;
    pub(super) const BYTEA: u32 = 17;
    pub(super) const NUMBERS: [u32; 5] = [20, 21, 23, 26, 1700];
    pub(super) const TIMESTAMP: u32 = 1114;
    pub(super) const TIMESTAMPTZ: u32 = 1184;
}

/// A column's value in one row.
#[derive(Clone, Copy)]
struct Field<'a> {
    kind: u32,
    words: Option<&'a str>,
}

/// The targets of one transaction, each once.
#[derive(Default)]
pub(super) struct Fed {
    targets: HashSet<Target>,
    /// Of these tables every row was named.
    cleared: HashSet<(String, String)>,
}

impl Fed {
    /// A row as it is or was.
    pub(super) fn row(
        &mut self,
        table: &TableRead,
        relation: &Relation,
        row: &Tuple<'_>,
        older: Option<&Tuple<'_>>,
    ) {
        let key = (table.schema.clone(), table.name.clone());
        if self.cleared.contains(&key) {
            return;
        }
        let Some(targets) = of_row(table, relation, row, older) else { return self.all(table) };
        self.targets.extend(targets);
        if self.targets.len() > TARGETS_MAX {
            self.everything();
        }
    }

    /// More than can be named, or something that nobody knows.
    pub(super) fn everything(&mut self) {
        self.targets = HashSet::from([Target::Everything]);
    }

    /// All that any row of a table feeds.
    pub(super) fn all(&mut self, table: &TableRead) {
        if self.cleared.insert((table.schema.clone(), table.name.clone())) {
            self.targets.extend(cleared(table));
        }
    }

    /// Each encoded.
    pub(super) fn encoded(&self) -> Vec<Vec<u8>> {
        self.targets.iter().map(|target| Target::encode_many(std::slice::from_ref(target))).collect()
    }
}

/// `None` when a value that a target needs is not there.
fn of_row(
    table: &TableRead,
    relation: &Relation,
    row: &Tuple<'_>,
    older: Option<&Tuple<'_>>,
) -> Option<Vec<Target>> {
    let field = |column: &str| {
        let at = relation.columns.iter().position(|one| one.name == column)?;
        let value = match row.get(at)? {
            Value::Unchanged => older?.get(at)?,
            value => value,
        };
        let words = match value {
            Value::Unchanged => return None,
            Value::Null => None,
            Value::Text(words) => Some(*words),
        };
        Some(Field { kind: relation.columns[at].kind, words })
    };
    let tenant = tenant(table.tenant.as_ref(), field)?;
    table.targets.iter().map(|target| Some(named(target, field)?.within(&tenant))).collect()
}

/// Whether the replica identity has all that the mapping reads.
pub(super) fn is_identified(table: &TableRead, relation: &Relation) -> bool {
    let reads = table.tenant.iter().chain(table.targets.iter().flat_map(|target| &target.parts));
    reads
        .flat_map(Read::columns)
        .all(|column| relation.columns.iter().any(|one| one.name == column && one.in_identity))
}

fn named<'a>(target: &TargetRead, field: impl Fn(&str) -> Option<Field<'a>>) -> Option<Target> {
    let mut segments = Segments::builder();
    for part in &target.parts {
        match part {
            Read::Column(column) => push(&mut segments, field(column)?)?,
            Read::Words(pieces) => segments.push(words(pieces, &field)?),
            fixed => drop(fixed.push_to(&mut segments)),
        }
    }
    let segments = segments.finish();
    Some(match (target.kind, &target.region) {
        (Kind::Key, Some(region)) => Target::key(region, segments),
        (Kind::Prefix, Some(region)) => Target::prefix(region, segments),
        _ => Target::tag(Tag::new(segments)),
    })
}

fn tenant<'a>(tenant: Option<&Read>, field: impl Fn(&str) -> Option<Field<'a>>) -> Option<Tenant> {
    let Some(tenant) = tenant else { return Some(Tenant::common()) };
    Some(match tenant {
        Read::Column(column) => match field(column)? {
            Field { words: None, .. } => Tenant::common(),
            field => Tenant::named(shown(field).into_owned()),
        },
        Read::Words(pieces) => Tenant::named(words(pieces, &field)?),
        fixed => Tenant::named(name(fixed)?),
    })
}

fn words<'a>(pieces: &[Piece], field: &impl Fn(&str) -> Option<Field<'a>>) -> Option<String> {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => Some(Cow::Borrowed(text.as_str())),
            Piece::Column(column) => field(column).map(shown),
        })
        .collect()
}

/// `larder.column_segment`, over again.
fn push(segments: &mut SegmentsBuilder, field: Field<'_>) -> Option<()> {
    let Some(words) = field.words else {
        segments.push(Segment::None);
        return Some(());
    };
    match field.kind {
        oid::BOOL => segments.push(words == "t"),
        oid::BYTEA => segments.push(bytes(words)?),
        kind if oid::NUMBERS.contains(&kind) => match (words.parse::<u128>(), words.strip_prefix('-')) {
            (Ok(number), _) => segments.push(number),
            (_, Some(digits)) => match digits.parse::<u128>() {
                Ok(0) => segments.push(0),
                Ok(number) => segments.push(Segment::Nint(number - 1)),
                Err(_) => segments.push(words),
            },
            _ => segments.push(words),
        },
        _ => segments.push(&*shown(field)),
    }
    Some(())
}

/// `larder.column_words`, over again.
fn shown(field: Field<'_>) -> Cow<'_, str> {
    let words = field.words.unwrap_or_default();
    match field.kind {
        oid::BOOL if field.words.is_some() => Cow::Borrowed(if words == "t" { "true" } else { "false" }),
        oid::TIMESTAMP => Cow::Owned(words.replacen(' ', "T", 1)),
        oid::TIMESTAMPTZ if words.contains(' ') => {
            Cow::Owned(words.replacen(' ', "T", 1).replace("+00", "Z"))
        }
        _ => Cow::Borrowed(words),
    }
}

fn bytes(words: &str) -> Option<Vec<u8>> {
    let digits = words.strip_prefix("\\x")?.as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
