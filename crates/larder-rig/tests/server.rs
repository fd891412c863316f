//! A server of the rig: what it keeps, what it loses, and that it does not outlive who started it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    env,
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    time::Duration,
};

use larder_rig::{Connection, Flavour, Process, Reply, Server, until};

/// Set for the process that holds a server and is killed.
const HOLDER: &str = "LARDER_RIG_HOLDER";

fn value(server: &Server) -> Reply {
    server.ask(&["GET", "name"]).unwrap()
}

#[test]
fn starts_again_on_its_port_with_what_was_saved_or_without() {
    for flavour in Flavour::installed() {
        let server = Server::start(flavour).unwrap();
        let port = server.port();
        server.ask(&["SET", "name", "old"]).unwrap();
        let dump = server.dump().unwrap();
        server.ask(&["SET", "name", "new"]).unwrap();
        server.kill();
        assert!(server.ask(&["PING"]).is_err(), "{flavour} answers after kill -9");
        server.restart().unwrap();
        assert_eq!(value(&server), Reply::Nothing, "{flavour} saved something on its own");
        server.restart_from(&dump).unwrap();
        assert_eq!(value(&server), Reply::Bytes("old".into()));
        server.restart_empty().unwrap();
        assert_eq!(value(&server), Reply::Nothing);
        assert_eq!(server.port(), port);
    }
}

#[test]
fn a_paused_server_answers_when_it_is_resumed() {
    for flavour in Flavour::installed() {
        let server = Server::start(flavour).unwrap();
        server.pause();
        let state = std::fs::read_to_string(format!("/proc/{}/stat", server.process_id().unwrap())).unwrap();
        assert!(state.contains(") T "), "{state}");
        server.resume();
        server.ask(&["PING"]).unwrap();
    }
}

#[test]
fn a_server_ends_with_its_handle() {
    for flavour in Flavour::installed() {
        let server = Server::start(flavour).unwrap();
        let port = server.port();
        drop(server);
        assert!(Connection::open(port).is_err(), "{flavour} outlives its handle");
    }
}

#[test]
fn users_have_their_rules_and_errors_say_so() {
    for flavour in Flavour::installed() {
        let server = Server::configure(flavour).user("reader", "on >secret ~* +get").start().unwrap();
        let mut connection = server.connection().unwrap();
        connection.ask(&["AUTH", "reader", "secret"]).unwrap();
        connection.ask(&["GET", "name"]).unwrap();
        let error = connection.ask(&["SET", "name", "value"]).unwrap_err();
        assert!(error.is_refused() && error.to_string().contains("NOPERM"), "{error}");
    }
}

#[test]
fn speaks_tls_with_a_certificate_that_its_authority_signed() {
    for flavour in Flavour::installed().into_iter().filter(|flavour| flavour.has_tls()) {
        let server = Server::configure(flavour).tls().start().unwrap();
        let address = server.tls_url().unwrap().replace("rediss://", "");
        let output = Command::new("openssl")
            .args([
                "s_client",
                "-connect",
                &address,
                "-verify_return_error",
                "-verify_hostname",
                "localhost",
                "-CAfile",
            ])
            .arg(server.authority().unwrap())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The one that is killed: names its server's port, and waits to be killed.
#[test]
fn holder() {
    if env::var_os(HOLDER).is_none() {
        return;
    }
    let Some(flavour) = Flavour::installed().pop() else { return };
    let server = Server::start(flavour).unwrap();
    println!("\nport {}", server.port());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// What was left behind here once: a test was ended by its runner, and its servers ran on for days.
#[test]
fn a_server_ends_when_its_parent_is_killed() {
    if Flavour::installed().is_empty() {
        return;
    }
    let mut parent = Process::start(env::current_exe().unwrap(), |command| {
        command.args(["--exact", "holder", "--nocapture"]).env(HOLDER, "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
    })
    .unwrap();
    let out = BufReader::new(parent.streams().stdout.take().unwrap());
    let port = out.lines().find_map(|line| line.unwrap().strip_prefix("port ")?.parse().ok()).unwrap();
    let mut connection = Connection::open(port).unwrap();
    connection.ask(&["PING"]).unwrap();
    parent.kill();
    // The end of the connection is the end of the server.
    let error = connection.reply().unwrap_err();
    assert!(error.to_string().contains("closed") || error.to_string().contains("reset"), "{error}");
    until("nobody listens", Duration::from_secs(10), || Connection::open(port).is_err()).unwrap();
}
