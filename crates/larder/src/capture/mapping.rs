//! The mapping: which tables feed what. Plain data, checked when SQL is made of it; knows no server.

use super::sql;
use super::template::{Part, Read};
use std::fmt;

/// What the rows of some tables feed, in one namespace.
///
/// ```
/// use larder::capture::{Mapping, Table};
///
/// let mapping = Mapping::new("booking").table(
///     Table::new("public", "appointment")
///         .tag(["branch", "{branch_id}"])
///         .key("availability", ["{branch_id}", "{day}"]),
/// );
/// assert!(mapping.sql()?.contains("CREATE OR REPLACE FUNCTION"));
/// # Ok::<_, larder::capture::MappingError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Mapping {
    pub(super) namespace: String,
    pub(super) tables: Vec<Table>,
}

impl Mapping {
    /// A mapping for the caches of this namespace; of no table yet.
    pub fn new(namespace: impl Into<String>) -> Self {
        Mapping { namespace: namespace.into(), tables: Vec::new() }
    }

    /// With this table.
    #[must_use]
    pub fn table(mut self, table: Table) -> Self {
        self.tables.push(table);
        self
    }

    /// The SQL that [`super::apply`] runs: the same text for the same mapping, to be read, or kept among an application's own
    /// migrations. Running it again changes nothing.
    ///
    /// # Errors
    /// When a template is not well-formed, a table is named twice, or names nothing.
    pub fn sql(&self) -> Result<String, MappingError> {
        let mut text = String::new();
        for (at, table) in self.tables.iter().enumerate() {
            let is_twice = self.tables[..at]
                .iter()
                .any(|other| (&other.schema, &other.name) == (&table.schema, &table.name));
            if is_twice {
                return Err(MappingError(format!(
                    "table {table} is mapped twice; expected all its targets in one place"
                )));
            }
            text.push_str(&sql::install(&self.namespace, &table.read()?)?);
        }
        Ok(text)
    }

    /// The SQL that takes it all away again: [`super::remove`].
    pub(super) fn removal(&self) -> Result<String, MappingError> {
        let mut text = String::new();
        for table in &self.tables {
            text.push_str(&sql::remove(&self.namespace, &table.read()?)?);
        }
        Ok(text)
    }
}

/// One table, and the targets that each of its rows feeds. Whatever changes in a row, all of them are invalidated: those of the
/// row as it was and as it is.
#[derive(Clone, Debug)]
pub struct Table {
    schema: String,
    name: String,
    tenant: Option<Part>,
    targets: Vec<Template>,
}

#[derive(Clone, Debug)]
struct Template {
    kind: Kind,
    region: Option<String>,
    parts: Vec<Part>,
}

/// Numbered as `larder_core::Target` encodes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Key = 1,
    Prefix = 2,
    Tag = 3,
}

impl Table {
    /// The table of this name in this schema, both as they are, without quotes.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Table { schema: schema.into(), name: name.into(), tenant: None, targets: Vec::new() }
    }

    /// Whose keys and tags these are: a name, or a column that holds it (`{company}`; the common tenant where it is NULL).
    /// Without it, those of the common tenant.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<Part>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Each row invalidates this tag.
    #[must_use]
    pub fn tag<P: Into<Part>>(self, parts: impl IntoIterator<Item = P>) -> Self {
        self.target(Kind::Tag, None, parts)
    }

    /// Each row invalidates this key of a region.
    #[must_use]
    pub fn key<P: Into<Part>>(self, region: impl Into<String>, parts: impl IntoIterator<Item = P>) -> Self {
        self.target(Kind::Key, Some(region.into()), parts)
    }

    /// Each row invalidates all keys of a region that begin like this.
    #[must_use]
    pub fn prefix<P: Into<Part>>(
        self,
        region: impl Into<String>,
        parts: impl IntoIterator<Item = P>,
    ) -> Self {
        self.target(Kind::Prefix, Some(region.into()), parts)
    }

    fn target<P: Into<Part>>(
        mut self,
        kind: Kind,
        region: Option<String>,
        parts: impl IntoIterator<Item = P>,
    ) -> Self {
        let parts = parts.into_iter().map(Into::into).collect();
        self.targets.push(Template { kind, region, parts });
        self
    }

    pub(super) fn read(&self) -> Result<TableRead, MappingError> {
        let refused = |place: &str, part: &Part, why: String| {
            MappingError(format!("table {self}, {place}: {part} {why}"))
        };
        let texts = [&self.schema, &self.name]
            .into_iter()
            .chain(self.targets.iter().filter_map(|t| t.region.as_ref()));
        if texts.clone().any(|text| text.contains('\0')) {
            return Err(MappingError(format!(
                "table {self}: a name holds a NUL, which Postgres' texts cannot"
            )));
        }
        if self.targets.is_empty() {
            return Err(MappingError(format!(
                "table {self} feeds nothing; expected a tag, a key or a prefix"
            )));
        }
        let tenant = match &self.tenant {
            None => None,
            Some(part) => Some(Read::of(part).map_err(|why| refused("tenant", part, why))?),
        };
        let mut targets = Vec::new();
        for template in &self.targets {
            let place = template.place();
            let parts =
                template.parts.iter().map(|part| Read::of(part).map_err(|why| refused(&place, part, why)));
            let parts = parts.collect::<Result<Vec<_>, _>>()?;
            targets.push(TargetRead { kind: template.kind, region: template.region.clone(), parts, place });
        }
        Ok(TableRead { schema: self.schema.clone(), name: self.name.clone(), tenant, targets })
    }
}

impl Template {
    /// How messages name it: `tag ["branch", "{branch_id}"]`.
    fn place(&self) -> String {
        let kind = match self.kind {
            Kind::Key => "key",
            Kind::Prefix => "prefix",
            Kind::Tag => "tag",
        };
        let region = self.region.iter().map(|region| format!("{region:?}"));
        let parts = region.chain(self.parts.iter().map(Part::to_string)).collect::<Vec<_>>();
        format!("{kind} [{}]", parts.join(", "))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A table whose templates have been read.
pub(super) struct TableRead {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) tenant: Option<Read>,
    pub(super) targets: Vec<TargetRead>,
}

pub(super) struct TargetRead {
    pub(super) kind: Kind,
    pub(super) region: Option<String>,
    pub(super) parts: Vec<Read>,
    pub(super) place: String,
}

/// What is wrong with a mapping: where, what is there, what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingError(pub(super) String);

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mapping: {}", self.0)
    }
}

impl std::error::Error for MappingError {}
