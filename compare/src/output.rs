//! How results leave the program: one JSON array of rows on standard output, or a table for people.
//! The only module that writes to standard output.

use crate::Failure;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;
use std::io::Write;

/// Prints exactly one JSON array, one row to a line so that two runs can be compared with `diff`.
pub(crate) fn print_json<R: Serialize>(rows: &[R]) -> Result<(), Failure> {
    let mut lines = Vec::with_capacity(rows.len());
    for row in rows {
        lines.push(serde_json::to_string(row)?);
    }
    print(&format!("[{}]", lines.join(",\n")))
}

/// Prints a table; every column after the first `text_columns` is right-aligned.
pub(crate) fn print_table(
    headings: &[&str],
    text_columns: usize,
    rows: &[Vec<String>],
) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings);
    table.add_rows(rows);
    for index in text_columns..headings.len() {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    print(&table.to_string())
}

/// Prints one line of text.
pub(crate) fn print(line: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout().lock(), "{line}")?;
    Ok(())
}

/// Tells the person waiting what is happening; standard error, so that `--json` stays clean.
pub(crate) fn progress(line: &str) {
    // Progress is a courtesy: a closed standard error must not end a measurement.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
