//! The matrix, in short: faults of each family under real nodes, and not one read beyond the level.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{collections::BTreeSet, process::Command};

use larder_rig::Flavour;
use serde_json::Value;

/// Runs the rows whose names contain one of these, each fault for a second.
fn play(server: &str, journal: &str, only: &str) -> Vec<Value> {
    if Flavour::installed().is_empty() {
        return Vec::new();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder-rig"));
    command.args(["matrix", "--json", "--lasts", "1000", "--journal", journal, "--only", only]);
    if !server.is_empty() {
        command.args(["--servers", server]);
    }
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    assert!(output.status.success(), "a promise was broken, or nodes did not recover: {report:#}");
    let rows = report["rows"].as_array().unwrap().clone();
    let names: BTreeSet<&str> = rows.iter().map(|row| row["fault"].as_str().unwrap()).collect();
    assert_eq!(names.len(), only.split(',').count(), "{names:?}");
    for row in &rows {
        assert!(row["reads"].as_u64() > Some(0) && row["writes_acknowledged"].as_u64() > Some(0), "{row:#}");
    }
    rows
}

fn installed(flavour: Flavour, name: &'static str) -> Option<&'static str> {
    Flavour::installed().contains(&flavour).then_some(name)
}

/// Nodes that promise nothing, one of them cut off: if this saw nothing, none of the others would prove anything.
#[test]
fn staleness_would_be_seen() {
    for row in play("", "redis", "control") {
        assert!(row["stale_reads"].as_u64() > Some(0), "{row:#}");
    }
}

#[test]
fn servers_that_lose_what_they_had() {
    play("", "redis", "killed and restarted empty,old dump,FLUSHALL,lru");
}

#[test]
fn servers_that_do_not_answer() {
    play("", "redis", "out of memory,SIGSTOP: the server");
}

#[test]
fn networks_that_lose_things() {
    play("", "redis", "half-open,one node is cut off,reset");
}

#[test]
fn nodes_that_die_and_nodes_that_sleep() {
    play("", "redis", "SIGSTOP: a node,kill -9: a node");
}

#[test]
fn masters_that_die() {
    play("", "redis", "Sentinel: the master is killed,Cluster: a master is killed");
}

#[test]
fn masters_that_sleep_and_slots_that_move() {
    play("", "redis", "Sentinel: the master stands still,Cluster: a slot moves");
}

#[test]
fn valkey_is_no_different() {
    if let Some(server) = installed(Flavour::Valkey9, "valkey9") {
        play(server, "redis", "killed and restarted empty,CLIENT KILL");
    }
}

#[test]
fn with_the_journal_in_sql_the_server_may_lose_anything() {
    if let Some(server) = installed(Flavour::Redis8, "redis8") {
        play(server, "sqlite", "old dump,FLUSHALL,one node is cut off");
    }
}
