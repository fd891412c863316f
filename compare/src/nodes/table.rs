//! The rows of `race-nodes` for people, and whether Larder's goals are met.

use super::Row;
use crate::Failure;
use crate::output::{print, print_table};

/// How much longer than its deadline a read without Redis may take: a load, a task's turn, a timer's grain.
const GRACE_MS: f64 = 50.0;

pub(crate) fn print_for_people(rows: &[Row]) -> Result<(), Failure> {
    let lines: Vec<_> = rows.iter().map(line).collect();
    print_table(&["engine", "round", "what", "figure"], 3, &lines)?;
    let missed: Vec<_> = rows.iter().filter(|row| !is_met(row)).map(|row| line(row)[1].clone()).collect();
    if missed.is_empty() {
        print("Larder's goals are met: 0 %, one load, and the deadline that was set.")
    } else {
        print(&format!("Larder's goals are missed: {}.", missed.join(", ")))
    }
}

fn line(row: &Row) -> Vec<String> {
    match row {
        Row::Stale { engine, round, node, rounds, stale_share } => vec![
            (*engine).to_owned(),
            (*round).to_owned(),
            format!("old value on node {node}, {rounds} rounds"),
            format!("{:.1} %", stale_share * 100.0),
        ],
        Row::Loads { engine, round, readers, rounds, loads_most, loads_mean, .. } => vec![
            (*engine).to_owned(),
            (*round).to_owned(),
            format!("loads for {readers} readers on two nodes, {rounds} rounds: mean, most"),
            format!("{loads_mean}, {loads_most}"),
        ],
        Row::Read { engine, round, first_ms, second_ms, .. } => vec![
            (*engine).to_owned(),
            (*round).to_owned(),
            "a cold read, and the next".to_owned(),
            format!("{first_ms} ms, {second_ms} ms"),
        ],
    }
}

/// Whether a row of Larder's is what it should be; others' always are.
fn is_met(row: &Row) -> bool {
    match row {
        Row::Stale { engine, stale_share, .. } => *engine != "larder" || *stale_share == 0.0,
        Row::Loads { engine, loads_most, .. } => *engine != "larder" || *loads_most == 1,
        Row::Read { first_ms, second_ms, deadline_ms, .. } => {
            deadline_ms.is_none_or(|deadline| first_ms.max(*second_ms) <= deadline + GRACE_MS)
        }
    }
}
