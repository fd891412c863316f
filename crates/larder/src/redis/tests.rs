//! The ground on a real server: answers, scripts, subscriptions, and what is said when the server is gone.

use super::{Heard, Redis, RedisOptions, Script};
use larder_rig::{Flavour, Server};
use std::time::Duration;

fn start() -> Server {
    Server::start(Flavour::Redis7).unwrap()
}

/// Tries until it works: servers take a moment to start.
async fn until<T, E: std::fmt::Debug>(mut attempt: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "still failing: {error:?}"),
        }
        tokio::task::yield_now().await;
    }
}

async fn ready(redis: &Redis) {
    until(async || redis.ask::<String>(&redis::cmd("PING")).await).await;
}

#[tokio::test]
async fn commands_scripts_and_errors() {
    let server = start();
    let redis = Redis::connect(&server.url()).await.unwrap();
    ready(&redis).await;
    let () = redis.ask(redis::cmd("SET").arg("k").arg("v")).await.unwrap();
    assert_eq!(redis.ask::<Vec<u8>>(redis::cmd("GET").arg("k")).await.unwrap(), b"v");
    let script = Script::new("return {KEYS[1], ARGV[1]}");
    for _ in 0..2 {
        let answer: (String, String) = redis.run(&script, &[b"a"], &[b"b"]).await.unwrap();
        assert_eq!(answer, ("a".to_owned(), "b".to_owned()));
    }
    let refused = redis.ask::<u64>(redis::cmd("INCR").arg("k")).await.unwrap_err();
    assert!(refused.is_refused() && !refused.is_indeterminate(), "{refused}");
    let half = Script::new("redis.call('SET', KEYS[1], 1) return redis.call('INCR', KEYS[2])");
    let began = redis.run::<u64>(&half, &[b"n", b"k"], &[]).await.unwrap_err();
    assert!(began.is_indeterminate(), "{began}");
    let cmds = [redis::cmd("GET").arg("k").clone(), redis::cmd("INCR").arg("k").clone()];
    let answers = redis.ask_each(&cmds).await;
    assert!(answers[0].is_ok() && answers[1].as_ref().unwrap_err().is_refused());
}

#[tokio::test]
async fn a_server_that_is_gone_and_comes_back() {
    let server = start();
    let redis = Redis::connect(&server.url()).await.unwrap();
    ready(&redis).await;
    let listener = redis.listen(b"news");
    assert_eq!(listener.heard().await, Heard::Gap);
    redis.publish(b"news", b"one").await.unwrap();
    assert_eq!(listener.heard().await, Heard::Message(b"one".to_vec()));
    server.kill();
    assert_eq!(listener.heard().await, Heard::Gap);
    until(async || match redis.ask::<String>(&redis::cmd("PING")).await {
        Err(error) if error.is_unsent() => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(redis.status().connected, 0);
    assert!(redis.status().fault.is_some());
    server.restart().unwrap();
    ready(&redis).await;
    until(async || if listener.is_subscribed() { Ok(()) } else { Err("not subscribed") }).await;
    redis.publish(b"news", b"two").await.unwrap();
    while listener.heard().await != Heard::Message(b"two".to_vec()) {}
    assert_eq!(redis.status().connected, 1);
}

#[tokio::test]
async fn a_frozen_server_is_late_and_nothing_waits_longer_than_the_deadline() {
    let server = start();
    let options = RedisOptions::parse(&server.url()).unwrap().deadline(Duration::from_millis(100));
    let redis = Redis::connect_with(options).await;
    ready(&redis).await;
    server.pause();
    let began = std::time::Instant::now();
    let late = redis.ask::<u64>(redis::cmd("INCR").arg("n")).await.unwrap_err();
    assert!(late.is_late() && late.is_indeterminate(), "{late}");
    assert!(began.elapsed() < Duration::from_secs(2));
    server.resume();
    ready(&redis).await;
}

#[tokio::test]
async fn nobody_there_from_the_start_is_no_error() {
    let server = start();
    server.kill();
    let url = format!("redis://:secret@127.0.0.1:{}", server.port());
    let redis = Redis::connect(&url).await.unwrap();
    let unsent = redis.ask::<String>(&redis::cmd("PING")).await.unwrap_err();
    assert!(unsent.is_unsent() && !unsent.to_string().contains("secret"), "{unsent}");
    assert!(!format!("{redis:?}").contains("secret"));
    server.restart().unwrap();
    // It asks for no password, and minds none.
    ready(&redis).await;
}

#[tokio::test]
async fn a_wrong_password_is_a_connection_that_cannot_be_made_and_says_so() {
    let server = Server::configure(Flavour::Redis7).user("larder", "on >right ~* +@all").start().unwrap();
    let url = |password: &str| format!("redis://larder:{password}@127.0.0.1:{}", server.port());
    let redis = Redis::connect(&url("wr0ng")).await.unwrap();
    let unsent = redis.ask::<String>(&redis::cmd("PING")).await.unwrap_err();
    assert!(unsent.is_unsent() && !unsent.to_string().contains("wr0ng"), "{unsent}");
    let fault = redis.status().fault.unwrap();
    assert!(fault.to_lowercase().contains("auth") || fault.contains("WRONGPASS"), "{fault}");
    assert!(!fault.contains("wr0ng") && !format!("{redis:?}").contains("wr0ng"));
    ready(&Redis::connect(&url("right")).await.unwrap()).await;
}

#[tokio::test]
async fn a_socket_of_this_machine_and_a_database_other_than_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("redis.sock");
    let server =
        Server::configure(Flavour::Redis7).setting("unixsocket", &path.to_string_lossy()).start().unwrap();
    let redis = Redis::connect(&format!("unix://{}?db=3", path.display())).await.unwrap();
    let () = redis.ask(redis::cmd("SET").arg("k").arg("v")).await.unwrap();
    assert!(server.ask(&["GET", "k"]).unwrap().bytes().is_empty());
    let same = Redis::connect(&format!("{}/3", server.url())).await.unwrap();
    assert_eq!(same.ask::<String>(redis::cmd("GET").arg("k")).await.unwrap(), "v");
}
