//! The program as people run it: flags, streams, signals, and what it leaves behind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which the lint takes for code")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn booking(temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_booking"));
    command.env("TMPDIR", temporary).current_dir(temporary);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn left_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn only_object(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    // `from_slice` refuses anything before or after the one object.
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

#[test]
fn json_is_one_object_of_the_promised_shape_and_no_files_stay() {
    let temporary = tempfile::tempdir().unwrap();
    let args = ["--json", "--seconds", "1", "--users", "4", "--seed", "7"];
    let output = booking(temporary.path()).args(args).output().unwrap();
    let report = only_object(&output);
    assert_eq!(report["seed"], 7);
    assert_eq!(report["source"], "generated");
    let runs = report["runs"].as_array().unwrap();
    let caches: Vec<&str> = runs.iter().map(|run| run["cache"].as_str().unwrap()).collect();
    assert_eq!(caches, ["none", "ttl", "larder"]);
    for run in runs {
        for field in [
            "bookings",
            "booked",
            "rescheduled",
            "cancelled",
            "refused",
            "reads",
            "loads",
            "origin_queries",
            "stale_reads",
            "late_reads",
            "offered_taken",
            "session_violations",
            "session_reads",
            "linearizability_violations",
            "linearizable_reads",
        ] {
            assert!(run[field].is_u64(), "{field}: {run}");
        }
        for field in ["hit_rate", "staleness_ms_max", "duration_s"] {
            assert!(run[field].is_f64(), "{field}: {run}");
        }
        assert!(run["hits"]["l1"].is_u64() && run["hits"]["l2"].is_u64(), "{run}");
        for percentile in ["p50", "p95", "p99"] {
            assert!(run["read_us"][percentile].is_f64(), "{run}");
        }
        assert!(run["booked"].as_u64() > Some(0) && run["reads"].as_u64() > Some(0), "{run}");
        assert!(run["booked"].as_u64() <= run["bookings"].as_u64(), "{run}");
    }
    for run in &runs[1..] {
        let hits = run["hits"]["l1"].as_u64().unwrap() + run["hits"]["l2"].as_u64().unwrap();
        let reads = run["reads"].as_u64().unwrap();
        assert!(hits > 0 && hits < reads && run["loads"].as_u64().unwrap() < reads, "{run}");
        assert!((run["hit_rate"].as_f64().unwrap() - hits as f64 / reads as f64).abs() < 0.001, "{run}");
    }
    assert_eq!(runs[2]["stale_reads"], 0, "Larder kept its bound: {}", runs[2]);
    assert_ordered(&runs[2]);
    let none = &runs[0];
    assert_eq!(
        (&none["stale_reads"], &none["late_reads"], &none["offered_taken"]),
        (&0.into(), &0.into(), &0.into())
    );
    assert_ordered(none);
    assert_eq!(none["loads"], none["reads"]);
    assert!(left_in(temporary.path()).is_empty(), "{:?}", left_in(temporary.path()));
}

/// Sessions and linearizable reads were looked at, and held.
fn assert_ordered(run: &Value) {
    for (violations, reads) in
        [("session_violations", "session_reads"), ("linearizability_violations", "linearizable_reads")]
    {
        assert_eq!(run[violations], 0, "{run}");
        assert!(run[reads].as_u64() > Some(0), "{reads}: {run}");
    }
}

#[test]
fn nodes_on_postgres_go_through_its_faults_without_a_stale_read_and_with_their_sessions() {
    if !larder_rig::Postgres::is_installed() {
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let args = ["--json", "--seconds", "4", "--users", "12", "--cache", "larder"];
    let nodes = ["--nodes", "3", "--postgres", "spawn", "--chaos"];
    let output = booking(temporary.path()).args(args).args(nodes).output().unwrap();
    let report = only_object(&output);
    let run = &report["runs"][0];
    assert_eq!((&run["nodes"], &run["stale_reads"]), (&3.into(), &0.into()), "{run}");
    assert_ordered(run);
    assert!(run["propagation_us"]["p50"].as_f64() > Some(0.0) && run["booked"].as_u64() > Some(0), "{run}");
    let faults = run["faults"].as_array().unwrap();
    let of_postgres =
        |fault: &Value| fault["fault"].as_str().is_some_and(|name| name.starts_with("Postgres"));
    assert!(!faults.is_empty() && faults.iter().all(of_postgres), "{run}");
    assert!(left_in(temporary.path()).is_empty(), "{:?}", left_in(temporary.path()));
}

#[test]
fn a_postgres_that_cannot_be_reached_is_said_without_its_password() {
    let temporary = tempfile::tempdir().unwrap();
    for url in ["postgres://user:secret@127.0.0.1:1/app", "postgres://user:secret@127.0.0.1:x/app"] {
        let output = booking(temporary.path()).args(["--postgres", url]).output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
        let said = text(&output.stderr);
        assert!(said.contains("no database on Postgres") && !said.contains("secret"), "{said}");
    }
}

#[test]
fn nodes_share_a_database_and_a_server_through_faults_without_a_stale_read() {
    if larder_rig::Flavour::installed().is_empty() {
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let args = ["--json", "--seconds", "4", "--users", "12", "--cache", "larder"];
    let nodes = ["--nodes", "3", "--redis", "spawn", "--chaos"];
    let output = booking(temporary.path()).args(args).args(nodes).output().unwrap();
    let report = only_object(&output);
    let run = &report["runs"][0];
    assert_eq!((&run["nodes"], &run["stale_reads"]), (&3.into(), &0.into()), "{run}");
    let rates = run["node_hit_rates"].as_array().unwrap();
    assert!(rates.len() == 3 && rates.iter().all(Value::is_f64), "{run}");
    let propagation = &run["propagation_us"];
    assert!(propagation["p50"].as_f64() > Some(0.0) && propagation["p99"].is_f64(), "{run}");
    assert!(run["cross_node_stampedes"].is_u64(), "{run}");
    for fault in run["faults"].as_array().unwrap() {
        assert!(
            fault["fault"].is_string() && fault["at_s"].is_f64() && fault["lasted_s"].is_f64(),
            "{fault}"
        );
    }
    assert!(!run["faults"].as_array().unwrap().is_empty(), "{run}");
    assert!(left_in(temporary.path()).is_empty(), "{:?}", left_in(temporary.path()));
}

#[test]
fn without_a_server_to_spawn_it_says_what_to_install() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = booking(temporary.path());
    command.args(["--redis", "spawn"]).env("PATH", "").env("CARGO_TARGET_DIR", temporary.path());
    let output = command.output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    let said = text(&output.stderr);
    assert!(said.contains("apt-get install redis-server") && said.contains("--redis URL"), "{said}");
}

#[test]
fn chaos_is_for_a_server_of_our_own() {
    let temporary = tempfile::tempdir().unwrap();
    let args = ["--redis", "redis://user:secret@127.0.0.1:1", "--chaos"];
    let output = booking(temporary.path()).args(args).output().unwrap();
    assert!(!output.status.success());
    let said = text(&output.stderr);
    assert!(said.contains("--redis spawn") && !said.contains("secret"), "{said}");
}

#[test]
fn without_json_the_table_and_the_sentences_are_the_output() {
    let temporary = tempfile::tempdir().unwrap();
    let args = ["--cache", "none", "--seconds", "1", "--users", "2"];
    let output = booking(temporary.path()).args(args).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let (shown, progress) = (text(&output.stdout), text(&output.stderr));
    assert!(shown.contains("stale reads") && shown.contains("no cache: none of"), "{shown}");
    assert!(progress.contains("250 bookings"), "{progress}");
}

#[test]
fn a_bookings_file_is_replayed_and_its_malformed_rows_reported() {
    let temporary = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("hotels.csv");
    let header = "hotel,lead_time,arrival_date_year,arrival_date_month,arrival_date_day_of_month,reserved_room_type,\
                  booking_changes,reservation_status,reservation_status_date";
    let rows = "City,30,2015,July,31,A,1,Canceled,7/20/2015\nCity,soon,2015,July,31,A,0,Check-Out,7/31/2015\n\
                City,3,2015,July,31,B,0,Check-Out,8/2/2015\n";
    std::fs::write(&file, format!("{header}\n{rows}")).unwrap();
    let mut command = booking(temporary.path());
    command.args(["--json", "--cache", "none", "--seconds", "1", "--users", "3", "--bookings"]).arg(&file);
    let output = command.output().unwrap();
    let report = only_object(&output);
    let run = &report["runs"][0];
    assert_eq!(report["source"], file.to_str().unwrap());
    for (field, count) in [("bookings", 2), ("booked", 2), ("rescheduled", 1), ("cancelled", 1)] {
        assert_eq!(run[field], count, "{field}: {run}");
    }
    let said = text(&output.stderr);
    assert!(said.contains("line 3: field `lead_time`: got \"soon\", expected a whole number"), "{said}");
    assert!(said.contains("1 malformed rows skipped"), "{said}");
}

#[test]
fn a_file_with_other_columns_is_refused_and_nothing_is_printed_as_a_result() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("stays.csv");
    std::fs::write(&file, "guest,nights\nAda,3\n").unwrap();
    let output = booking(temporary.path()).args(["--json", "--bookings"]).arg(&file).output().unwrap();
    assert!(!output.status.success());
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    let said = text(&output.stderr);
    assert!(said.contains("stays.csv: columns missing: hotel, lead_time"), "{said}");
    assert!(said.contains("expected a header row with at least"), "{said}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_early_prints_what_was_measured_and_cleans_up() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = booking(temporary.path());
    command
        .args(["--json", "--seconds", "600", "--users", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut progress = BufReader::new(child.stderr.take().unwrap());
    // The first progress line means that a run is under way.
    let mut line = String::new();
    while !line.contains("reads/s") {
        line.clear();
        assert_ne!(progress.read_line(&mut line).unwrap(), 0, "ended before it was stopped");
    }
    signal(&child, "-INT");
    std::io::copy(&mut progress, &mut std::io::sink()).unwrap();
    let output = child.wait_with_output().unwrap();
    let report = only_object(&output);
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1);
    assert!(runs[0]["reads"].as_u64() > Some(0) && runs[0]["duration_s"].as_f64() < Some(600.0), "{report}");
    assert!(left_in(temporary.path()).is_empty(), "{:?}", left_in(temporary.path()));
}

/// One request on a connection of its own; the status and the body.
#[cfg(unix)]
fn ask(address: &str, request: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

#[cfg(unix)]
fn serve(directory: &Path, cache: &str) -> (Child, String) {
    let mut command = booking(directory);
    command.args(["serve", "--port", "0", "--database", "shop.db", "--cache", cache]).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
    let address = first.split("http://").nth(1).unwrap().split(',').next().unwrap().to_owned();
    (child, address)
}

#[cfg(unix)]
fn stop(child: Child) {
    signal(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
}

#[cfg(unix)]
#[test]
fn serve_keeps_its_bookings_in_the_file_and_stops_when_asked() {
    for cache in ["none", "ttl", "larder"] {
        let directory = tempfile::tempdir().unwrap();
        let (child, address) = serve(directory.path(), cache);
        let body = r#"{"service": 1, "starts": "2027-03-01T09:30", "customer": "Ada"}"#;
        let (status, made) = ask(&address, "POST /companies/1/branches/1/appointments", body);
        assert_eq!(status, 201, "{cache}: {made}");
        stop(child);
        let (child, address) = serve(directory.path(), cache);
        let (status, found) = ask(&address, "GET /appointments/1", "");
        assert_eq!((status, &found["customer"]), (200, &"Ada".into()), "{cache}");
        assert_eq!(ask(&address, "GET /admin/cache/health", "").0, 200, "{cache}");
        stop(child);
    }
}

#[cfg(unix)]
#[test]
fn serve_refuses_a_file_that_is_not_its_own() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("notes.db"), "no database at all, just text. ".repeat(100)).unwrap();
    let output =
        booking(directory.path()).args(["serve", "--port", "0", "--database", "notes.db"]).output().unwrap();
    assert!(!output.status.success());
    assert!(
        text(&output.stderr).contains("database notes.db: file is not a database"),
        "{}",
        text(&output.stderr)
    );
}

/// Who is free at nine, by the answer of a whole day.
#[cfg(unix)]
fn free_at_nine(address: &str) -> Vec<i64> {
    let (status, shown) =
        ask(address, "GET /companies/1/branches/1/availability?service=1&day=2027-03-01", "");
    assert_eq!(status, 200, "{shown}");
    let slots = shown["slots"].as_array().unwrap();
    let nine = slots.iter().find(|slot| slot["starts"] == "2027-03-01T09:00");
    nine.map(|slot| slot["staff"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect())
        .unwrap_or_default()
}

#[cfg(unix)]
fn book_at_nine(address: &str, staff: i64) {
    let body =
        format!(r#"{{"service": 1, "starts": "2027-03-01T09:00", "staff": {staff}, "customer": "Ada"}}"#);
    let (status, made) = ask(address, "POST /companies/1/branches/1/appointments", &body);
    assert_eq!(status, 201, "{made}");
}

#[cfg(unix)]
#[test]
fn killed_at_once_after_a_booking_it_neither_forgets_it_nor_offers_the_slot_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut booked = Vec::new();
    for _ in 0..4 {
        let (mut child, address) = serve(directory.path(), "larder");
        let free = free_at_nine(&address);
        assert_eq!(free.len(), 5 - booked.len());
        assert!(booked.iter().all(|staff| !free.contains(staff)), "{free:?} after {booked:?}");
        assert_eq!(free_at_nine(&address), free);
        book_at_nine(&address, free[0]);
        booked.push(free[0]);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[cfg(unix)]
#[test]
fn without_a_usable_second_tier_the_bookings_go_on_and_health_says_so() {
    let directory = tempfile::tempdir().unwrap();
    // A directory where the second tier's file should be: even root cannot open that as a database.
    std::fs::create_dir(directory.path().join("shop.cache.db")).unwrap();
    let (child, address) = serve(directory.path(), "larder");
    let free = free_at_nine(&address);
    book_at_nine(&address, free[0]);
    assert_eq!(free_at_nine(&address), free[1..]);
    let (status, health) = ask(&address, "GET /admin/cache/health", "");
    assert_eq!((status, &health["status"]), (200, &"degraded".into()), "{health}");
    stop(child);
}

#[cfg(unix)]
#[test]
fn two_processes_on_one_file_show_each_others_bookings_and_share_the_second_tier() {
    let directory = tempfile::tempdir().unwrap();
    let (one, here) = serve(directory.path(), "larder");
    let (two, there) = serve(directory.path(), "larder");
    let free = free_at_nine(&here);
    assert_eq!(free_at_nine(&there), free);
    book_at_nine(&here, free[0]);
    assert_eq!(free_at_nine(&here), free[1..], "whoever booked sees it at once");
    let booked = std::time::Instant::now();
    while free_at_nine(&there) == free {
        // The bound is 1 s; a read that began within it may still have been answered after it.
        assert!(booked.elapsed().as_secs() < 10, "the other process never noticed");
    }
    assert_eq!(free_at_nine(&there), free[1..]);
    stop(one);
    stop(two);
}
