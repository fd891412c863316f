//! The program as people run it: flags, streams, exit codes, signals, and that a seed is a run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::process::{Command, Output, Stdio};

/// Worlds that take moments even without optimisation.
const SMALL: [&str; 8] = ["--faulty-ms", "1500", "--quiet-ms", "0", "--ops-per-s", "200", "--rows", "8"];

fn larder_sim() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder-sim"));
    command.env_remove("LARDER_SEEDED_BUG");
    command
}

fn ran(args: &[&str]) -> Output {
    larder_sim().args(args).output().unwrap()
}

fn ran_small(args: &[&str]) -> Output {
    ran(&[args, &SMALL].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn only_object(output: &Output) -> Value {
    // `from_slice` refuses anything before or after the one object.
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

#[test]
fn twenty_seeds_pass_and_the_summary_says_what_happened() {
    let output = ran_small(&["--seeds", "20", "--seed", "1"]);
    let (said, beside) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}\n{beside}");
    assert!(beside.contains("base seed 1"), "{beside}");
    for part in
        ["20 passed, 0 failed", "from memory", "store_rollback", "up to", "All seeds from 1 to 20 kept"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn json_is_one_object_with_every_kind_of_fault() {
    let output = ran_small(&["--seeds", "3", "--seed", "5", "--json"]);
    let summary = only_object(&output);
    assert!(output.status.success(), "{summary}");
    assert_eq!(summary["base_seed"], 5);
    assert_eq!(summary["runs"], 3);
    assert_eq!(summary["ok"], true);
    assert_eq!(summary["faults"].as_object().unwrap().len(), 44);
    assert!(summary["witnessed"]["reads"].as_u64() > Some(0), "{summary}");
    assert!(summary["failures"].as_array().unwrap().is_empty());
}

#[test]
fn a_base_seed_is_drawn_and_printed_when_none_is_given() {
    let bases: Vec<u64> = (0..2)
        .map(|_| only_object(&ran_small(&["--seeds", "1", "--json"]))["base_seed"].as_u64().unwrap())
        .collect();
    assert_ne!(bases[0], bases[1]);
}

#[test]
fn names_that_nobody_knows_are_refused_with_what_was_expected() {
    for (args, parts) in [
        (["--faults", "store_lost"], ["\"store_lost\"", "store_lose, store_evict"]),
        (["--seeds", "none"], ["'none'", "--seeds"]),
    ] {
        let output = ran(&args);
        let beside = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{beside}");
        assert!(parts.iter().all(|part| beside.contains(part)), "{beside}");
    }
}

#[test]
fn a_trace_is_the_same_each_time_and_tells_of_reads_and_writes() {
    let first = text(&ran_small(&["--seed", "11", "--trace"]).stdout);
    let again = text(&ran_small(&["--seed", "11", "--trace"]).stdout);
    assert_eq!(first, again);
    for part in ["starts, life 0", "read of row", "acknowledged", "seed 11 kept every promise"] {
        assert!(first.contains(part), "{part}: {first}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_campaign_says_what_it_has_done() {
    use std::io::{BufRead, BufReader};
    let mut child = larder_sim()
        .args(["--seconds", "600", "--jobs", "1"])
        .args(SMALL)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The second line comes some seconds after the first run began.
    let mut beside = BufReader::new(child.stderr.take().unwrap()).lines();
    for _ in 0..2 {
        beside.next().unwrap().unwrap();
    }
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("Stopped early, as asked.") && said.contains("passed, 0 failed"), "{said}");
}

#[test]
fn a_failure_comes_with_a_shorter_history_and_the_command_that_replays_it() {
    // Memory too small for the rows: the hit rate cannot recover, which is a promise of worlds with enough of it.
    let too_small = [
        "--faults",
        "hint_drop,hint_repeat",
        "--nodes",
        "2",
        "--rows",
        "600",
        "--memory-kib",
        "512",
        "--targets-max",
        "4096",
    ];
    let quiet = ["--ttl-ms", "60000", "--faulty-ms", "100", "--quiet-ms", "21000", "--ops-per-s", "10"];
    let output = ran(&[["--seed", "1", "--json"].as_slice(), &too_small, &quiet].concat());
    let summary = only_object(&output);
    assert_eq!(output.status.code(), Some(1), "{summary}");
    let failure = &summary["failures"][0];
    assert_eq!(failure["promise"], "the hit rate recovers", "{summary}");
    let shorter = &failure["shrunk"];
    assert_eq!(shorter["options"]["nodes"], 1, "{summary}");
    assert_eq!(shorter["options"]["faults"].as_array().unwrap().len(), 0, "{summary}");
    let replay = shorter["replay"].as_str().unwrap();
    let (cargo, flags) = replay.split_once(" -- ").unwrap();
    assert_eq!(cargo, "cargo run --release -p larder-sim");
    let output = ran(&flags.split(' ').collect::<Vec<_>>());
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{replay}: {said}");
    assert!(said.lines().last().unwrap().contains("BROKEN: the hit rate recovers"), "{replay}: {said}");
}

#[test]
fn a_scenario_is_played_by_its_name_and_an_unknown_one_refused_with_the_names_there_are() {
    let output = ran(&["--scenario", "the_race", "--seeds", "2"]);
    let said = text(&output.stdout);
    assert!(output.status.success() && said.contains("1 of 1 stories ended well, in 2 runs."), "{said}");
    let output = ran(&["--scenario", "the_tale"]);
    let beside = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{beside}");
    assert!(beside.contains("\"the_tale\"") && beside.contains("the_race, "), "{beside}");
    let output = ran(&["--scenario", "all", "--trace"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn an_unknown_seeded_bug_is_refused_before_anything_is_built() {
    let output = ran(&["--seeded-bugs", "--only", "no_such_bug"]);
    let beside = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{beside}");
    assert!(
        beside.contains("\"no_such_bug\": expected one of") && beside.contains("cursor_outbox"),
        "{beside}"
    );
}
