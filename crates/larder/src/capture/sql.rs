//! The SQL of a mapping: one trigger function for each table. Text in, text out; talks to nobody.
//!
//! The function sees whole statements (transition tables), so that an UPDATE of many rows names each target once. It reads a
//! column only through its type's output function and encodes as `larder.column_segment` says. Everything it names says
//! where it is or is in `pg_catalog`: it runs with the rights of who applied it.

use super::mapping::{Kind, MappingError, TableRead, TargetRead};
use super::template::{Piece, Read};
use larder_core::{Path, Segments, Tag, Target, Tenant};
use std::fmt::Write as _;
use xxhash_rust::xxh3::xxh3_64;

/// What is left of 63 bytes for the table's name, beside a hash and the longest operation.
const NAME_BYTES: usize = 30;

/// Settings that what output functions write depends on.
pub(super) const SETTINGS: &str = "SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, YMD' \
    SET intervalstyle = 'postgres' SET bytea_output = 'hex' SET extra_float_digits = 1";

/// The function and its triggers.
pub(super) fn install(namespace: &str, table: &TableRead) -> Result<String, MappingError> {
    let (name, body) = (function(namespace, table)?, body(namespace, table));
    // Names in the body may hold anything.
    let quote = (0..).map(|n| format!("$capture{n}$")).find(|quote| !body.contains(quote.as_str()));
    let quote = quote.unwrap_or_default();
    let quoted = identifier(&name);
    Ok(format!(
        "CREATE OR REPLACE FUNCTION larder_capture.{quoted}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER\n\
         {SETTINGS}\nAS {quote}\n{body}{quote};\n\
         REVOKE ALL ON FUNCTION larder_capture.{quoted}() FROM PUBLIC;\n\
         SELECT larder.capture_attach({}, {}, {}, {}, {});\n",
        literal(namespace),
        literal(&table.schema),
        literal(&table.name),
        literal(&name),
        pairs(table),
    ))
}

/// What the mapping reads of a table, and where it says so.
fn pairs(table: &TableRead) -> String {
    let mut pairs = Vec::new();
    let mut add = |read: &Read, place: &str| {
        pairs.extend(
            read.columns().into_iter().map(|column| format!("[{}, {}]", literal(column), literal(place))),
        );
    };
    table.tenant.iter().for_each(|tenant| add(tenant, "tenant"));
    for target in &table.targets {
        target.parts.iter().for_each(|part| add(part, &target.place));
    }
    format!("ARRAY[{}]::text[]", pairs.join(", "))
}

/// Refuses what logical replication could not capture.
pub(super) fn check(tables: &[TableRead]) -> String {
    let checks = tables.iter().map(|table| {
        let (schema, name) = (literal(&table.schema), literal(&table.name));
        format!("SELECT larder.replication_check({schema}, {name}, {});\n", pairs(table))
    });
    checks.collect()
}

/// A publication of these tables.
pub(super) fn publish(publication: &str, tables: &[TableRead]) -> String {
    let all = tables.iter().map(|table| format!("{}.{}", identifier(&table.schema), identifier(&table.name)));
    let (all, quoted) = (all.collect::<Vec<_>>().join(", "), identifier(publication));
    let publish = literal(&format!("CREATE PUBLICATION {quoted} FOR TABLE {all}"));
    let again = literal(&format!("ALTER PUBLICATION {quoted} SET TABLE {all}"));
    let exists =
        format!("EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = {})", literal(publication));
    let block = format!("BEGIN IF {exists} THEN EXECUTE {again}; ELSE EXECUTE {publish}; END IF; END");
    format!("DO {};\n", literal(&block))
}

/// Takes them away.
pub(super) fn remove(namespace: &str, table: &TableRead) -> Result<String, MappingError> {
    Ok(format!("SELECT larder.capture_detach({});\n", literal(&function(namespace, table)?)))
}

/// The function's name: for people, and unlike that of any other namespace or table.
fn function(namespace: &str, table: &TableRead) -> Result<String, MappingError> {
    if namespace.contains('\0') {
        return Err(MappingError("the namespace holds a NUL, which Postgres' texts cannot".into()));
    }
    let mut end = table.name.len().min(NAME_BYTES);
    while !table.name.is_char_boundary(end) {
        end -= 1;
    }
    let all = format!("{namespace}\0{}\0{}", table.schema, table.name);
    Ok(format!("{}_{:016x}", &table.name[..end], xxh3_64(all.as_bytes())))
}

fn body(namespace: &str, table: &TableRead) -> String {
    let columns = columns(table);
    let mut fixed = String::new();
    let cleared = cleared(table);
    for (at, target) in cleared.iter().enumerate() {
        let comma = if at > 0 { ", " } else { "" };
        let _ = write!(fixed, "{comma}{}", bytes(&Target::encode_many(std::slice::from_ref(target))));
    }
    let both = "(SELECT * FROM larder_rows UNION ALL SELECT * FROM larder_rows_after)";
    let (rows, both) = (query(table, &columns, "larder_rows"), query(table, &columns, both));
    format!(
        "DECLARE\n    targets bytea[];\nBEGIN\n    \
         IF TG_OP = 'TRUNCATE' THEN\n        targets := ARRAY[{fixed}];\n    \
         ELSIF TG_OP = 'UPDATE' THEN\n        targets := ARRAY({both});\n    \
         ELSE\n        targets := ARRAY({rows});\n    END IF;\n    \
         PERFORM larder.capture({}, format('postgres trigger %s.%s %s', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP), targets);\n    \
         RETURN NULL;\nEND\n",
        literal(namespace),
    )
}

/// The columns the mapping reads, each once.
fn columns(table: &TableRead) -> Vec<&str> {
    let reads = table.tenant.iter().chain(table.targets.iter().flat_map(|target| &target.parts));
    let mut columns: Vec<&str> = Vec::new();
    for column in reads.flat_map(Read::columns) {
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    columns
}

/// The targets of rows, each once.
fn query(table: &TableRead, columns: &[&str], rows: &str) -> String {
    let mut read = String::new();
    for (at, column) in columns.iter().enumerate() {
        let column = identifier(column);
        let comma = if at > 0 { ",\n" } else { "" };
        let _ = write!(
            read,
            "{comma}            pg_typeof(r.{column})::oid AS k{at}, \
             CASE WHEN r.{column} IS DISTINCT FROM NULL THEN format('%s', r.{column}) END AS c{at}"
        );
    }
    let seen = if columns.is_empty() {
        format!("SELECT FROM {rows} AS r LIMIT 1")
    } else {
        format!("SELECT DISTINCT\n{read}\n            FROM {rows} AS r")
    };
    let targets: Vec<String> = table.targets.iter().map(|target| of_row(table, target, columns)).collect();
    format!(
        "\n        SELECT DISTINCT t.target FROM ({seen}) AS c\n        \
         CROSS JOIN LATERAL (VALUES\n            {}) AS t(target)",
        targets.join(",\n            ")
    )
}

/// One target of a row, encoded.
fn of_row(table: &TableRead, target: &TargetRead, columns: &[&str]) -> String {
    let mut path = vec![tenant_segment(table.tenant.as_ref(), columns)];
    if let Some(region) = &target.region {
        path.push(bytes(Segments::builder().with(region.as_str()).finish().as_bytes()));
    }
    path.extend(target.parts.iter().map(|part| segment(part, columns)));
    format!("({} || larder.run({}))", bytes(&[target.kind as u8]), path.join(" || "))
}

/// Tenants are texts, or absent.
fn tenant_segment(tenant: Option<&Read>, columns: &[&str]) -> String {
    match tenant {
        None => bytes(Segments::builder().with(larder_core::Segment::None).finish().as_bytes()),
        Some(Read::Column(column)) => {
            let at = place(column, columns);
            format!(
                "CASE WHEN c.c{at} IS NULL THEN '\\x00'::bytea ELSE \
                 larder.text_segment(larder.column_words(c.k{at}, c.c{at})) END"
            )
        }
        Some(tenant) => match name(tenant) {
            Some(name) => bytes(Segments::builder().with(name.as_str()).finish().as_bytes()),
            None => segment(tenant, columns),
        },
    }
}

/// What a tenant that does not depend on the row is called.
pub(super) fn name(tenant: &Read) -> Option<String> {
    match tenant {
        Read::Int(number) => Some(number.to_string()),
        Read::Bool(truth) => Some(truth.to_string()),
        Read::Text(text) => Some(text.clone()),
        Read::Column(_) | Read::Words(_) => None,
    }
}

fn segment(part: &Read, columns: &[&str]) -> String {
    match part {
        Read::Column(column) => {
            let at = place(column, columns);
            format!("larder.column_segment(c.k{at}, c.c{at})")
        }
        Read::Words(pieces) => {
            let words = pieces.iter().map(|piece| match piece {
                Piece::Text(text) => literal(text),
                Piece::Column(column) => {
                    let at = place(column, columns);
                    format!("larder.column_words(c.k{at}, c.c{at})")
                }
            });
            format!("larder.text_segment({})", words.collect::<Vec<_>>().join(" || "))
        }
        fixed => bytes(fixed.fixed().unwrap_or_else(Segments::empty).as_bytes()),
    }
}

fn place(column: &str, columns: &[&str]) -> usize {
    columns.iter().position(|other| *other == column).unwrap_or_default()
}

/// What a table that was emptied fed: no row is left to say it, so it is all that a row could have named. A tag that depends on the
/// row can be any, so it is all of the tenant; a tenant that depends on the row can be any, so it is everything.
pub(super) fn cleared(table: &TableRead) -> Vec<Target> {
    let tenant = match &table.tenant {
        None => Tenant::common(),
        Some(tenant) => match name(tenant) {
            Some(name) => Tenant::named(name),
            None => return vec![Target::Everything],
        },
    };
    let mut cleared = Vec::new();
    for target in &table.targets {
        let mut segments = Segments::builder();
        let fixed = target.parts.iter().take_while(|part| part.push_to(&mut segments)).count();
        let (is_fixed, segments) = (fixed == target.parts.len(), segments.finish());
        let named = match (target.kind, &target.region) {
            (Kind::Tag, _) if is_fixed => Target::tag(Tag::new(segments)),
            (Kind::Key, Some(region)) if is_fixed => Target::key(region, segments),
            (Kind::Key | Kind::Prefix, Some(region)) => Target::prefix(region, segments),
            _ => Target::Prefix(Path::of_tenant(&tenant)),
        };
        let named = named.within(&tenant);
        if !cleared.contains(&named) {
            cleared.push(named);
        }
    }
    cleared
}

/// A name in SQL.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQL, whatever `standard_conforming_strings` says.
fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

fn bytes(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    format!("'\\x{hex}'::bytea")
}
