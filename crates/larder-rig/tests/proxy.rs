//! What a client behind the proxy sees of each fault.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use larder_rig::{Proxy, until};

/// Longer than anything that passes takes.
const SILENCE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that says back what it hears.
fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
        }
    });
    address
}

fn client(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
}

fn hear(stream: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let heard = stream.read(&mut [0; 8]).map_err(|error| error.kind());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    heard == Err(ErrorKind::WouldBlock)
}

#[test]
fn passes_everything_also_in_crumbs_and_with_latency() {
    let proxy = Proxy::start(echo()).unwrap();
    let mut stream = client(&proxy);
    let text = "0123456789".repeat(10_000);
    for slice in [false, true] {
        proxy.slice(slice);
        let (mut sender, text) = (stream.try_clone().unwrap(), text.clone());
        let sending = thread::spawn(move || say(&mut sender, &text));
        assert_eq!(hear(&mut stream, 100_000), "0123456789".repeat(10_000));
        sending.join().unwrap();
    }
    proxy.heal();
    proxy.delay(Duration::from_millis(60));
    let began = Instant::now();
    say(&mut stream, "late");
    assert_eq!(hear(&mut stream, 4), "late");
    assert!(began.elapsed() >= Duration::from_millis(120), "{:?}", began.elapsed());
}

#[test]
fn what_is_held_arrives_when_it_is_let_go() {
    let proxy = Proxy::start(echo()).unwrap();
    let mut stream = client(&proxy);
    proxy.hold(true);
    say(&mut stream, "late");
    assert!(is_silent(&mut stream));
    proxy.hold(false);
    assert_eq!(hear(&mut stream, 4), "late");
}

#[test]
fn what_is_swallowed_never_arrives_and_its_connection_stays_lost() {
    let proxy = Proxy::start(echo()).unwrap();
    let mut stream = client(&proxy);
    say(&mut stream, "once");
    assert_eq!(hear(&mut stream, 4), "once");
    proxy.swallow(true);
    say(&mut stream, "lost");
    assert!(is_silent(&mut stream));
    proxy.heal();
    say(&mut stream, "also lost");
    assert!(is_silent(&mut stream));
    let mut other = client(&proxy);
    say(&mut other, "well");
    assert_eq!(hear(&mut other, 4), "well");
}

#[test]
fn half_open_connections_are_silent_and_new_ones_are_well() {
    let proxy = Proxy::start(echo()).unwrap();
    let mut stream = client(&proxy);
    say(&mut stream, "once");
    assert_eq!(hear(&mut stream, 4), "once");
    proxy.half_open();
    assert!(is_silent(&mut stream));
    say(&mut stream, "lost");
    assert!(is_silent(&mut stream));
    let mut other = client(&proxy);
    say(&mut other, "well");
    assert_eq!(hear(&mut other, 4), "well");
}

#[test]
fn connections_are_cut_reset_and_refused() {
    let proxy = Proxy::start(echo()).unwrap();
    let (mut first, mut second) = (client(&proxy), client(&proxy));
    for stream in [&mut first, &mut second] {
        say(stream, "once");
        assert_eq!(hear(stream, 4), "once");
    }
    proxy.cut();
    assert_eq!(first.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(second.read(&mut [0; 8]).unwrap(), 0);
    let mut third = client(&proxy);
    say(&mut third, "once");
    assert_eq!(hear(&mut third, 4), "once");
    proxy.reset();
    assert_eq!(third.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    proxy.refuse(true);
    until("refused", PATIENCE, || TcpStream::connect(proxy.address()).is_err()).unwrap();
    proxy.refuse(false);
    until("let in", PATIENCE, || TcpStream::connect(proxy.address()).is_ok()).unwrap();
}

#[test]
fn counts_the_connections_of_clients() {
    let proxy = Proxy::start(echo()).unwrap();
    let streams = [client(&proxy), client(&proxy)];
    until("two", PATIENCE, || proxy.connections() == 2).unwrap();
    for stream in &streams {
        stream.shutdown(Shutdown::Both).unwrap();
    }
    until("none", PATIENCE, || proxy.connections() == 0).unwrap();
}
