//! Who is there, as the Redis journal keeps it: by the server's clock, whole for as long as one master has lived.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod servers;

use larder::journal::RedisJournal;
use larder::port::Journal;
use larder_core::{Attendance, Epoch, Link, NodeId};
use larder_rig::{Flavour, Sentinel, Server};
use servers::{cluster, own_word, patient, until};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(600);

fn place(position: u64) -> Link {
    Link { epoch: Epoch::new(u128::MAX - 7), position, nonce: u64::MAX - position }
}

async fn journal(url: &str) -> RedisJournal {
    RedisJournal::on(&patient(url, Duration::from_secs(10)).await)
}

async fn ask(journal: &RedisJournal, namespace: &str) -> Attendance {
    let mut attendance = journal.attendance(namespace).await.unwrap().expect("it keeps one");
    attendance.nodes.sort_unstable_by_key(|(node, _)| *node);
    attendance
}

async fn is_kept(url: &str) {
    let (a, b, namespace) = (journal(url).await, journal(url).await, own_word());
    assert_eq!(ask(&a, &namespace).await, Attendance { nodes: vec![], whole_for: Duration::ZERO });
    let nodes = [1, u128::MAX].map(NodeId::new);
    a.attend(&namespace, nodes[0], place(1), LONG).await.unwrap();
    b.attend(&namespace, nodes[1], place(2), LONG).await.unwrap();
    a.attend(&namespace, nodes[0], place(u64::from(u32::MAX)), LONG).await.unwrap();
    let there = vec![(nodes[0], place(u64::from(u32::MAX))), (nodes[1], place(2))];
    assert_eq!(ask(&b, &namespace).await.nodes, there);
    until("it has been whole for a while", async || {
        ask(&a, &namespace).await.whole_for >= Duration::from_millis(20)
    })
    .await;
    assert!(ask(&a, "elsewhere").await.nodes.is_empty());

    // Forgotten at once, and by the server's clock.
    a.attend(&namespace, nodes[1], place(3), Duration::ZERO).await.unwrap();
    assert_eq!(ask(&b, &namespace).await.nodes, there[..1]);
    a.attend(&namespace, nodes[0], place(4), Duration::from_millis(30)).await.unwrap();
    until("it is forgotten", async || ask(&b, &namespace).await.nodes.is_empty()).await;
    let whole_for = ask(&b, &namespace).await.whole_for;
    assert!(whole_for >= Duration::from_millis(30), "and nothing was lost by that: {whole_for:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_says_so_is_there_for_as_long_as_it_said() {
    for flavour in Flavour::installed() {
        is_kept(&Server::start(flavour).unwrap().url()).await;
    }
    if let Some(cluster) = cluster() {
        is_kept(&cluster.url()).await;
    }
}

/// Whoever spoke before may be missing.
async fn begins_anew(journal: &RedisJournal, lose: impl AsyncFnOnce()) {
    let namespace = own_word();
    journal.attend(&namespace, NodeId::new(1), place(1), LONG).await.unwrap();
    until("it has been whole for a while", async || {
        ask(journal, &namespace).await.whole_for >= Duration::from_millis(500)
    })
    .await;
    lose().await;
    until("it is there again", async || journal.attendance(&namespace).await.is_ok()).await;
    assert_eq!(ask(journal, &namespace).await.whole_for, Duration::ZERO);
    journal.attend(&namespace, NodeId::new(2), place(2), LONG).await.unwrap();
    let whole_for = ask(journal, &namespace).await.whole_for;
    assert!(whole_for < Duration::from_millis(500), "{whole_for:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_begins_it_anew_whatever_was_kept() {
    for flavour in Flavour::installed() {
        let server = Server::start(flavour).unwrap();
        let journal = journal(&server.url()).await;
        begins_anew(&journal, async || server.restart_empty().unwrap()).await;
        begins_anew(&journal, async || {
            let dump = server.dump().unwrap();
            server.restart_from(&dump).unwrap();
        })
        .await;
        begins_anew(&journal, async || drop(server.ask(&["FLUSHALL"]).unwrap())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_begins_it_anew_and_so_does_going_back() {
    let Some(flavour) = Flavour::installed().pop() else { return };
    let sentinel = Sentinel::start(flavour).unwrap();
    let journal = journal(&sentinel.url()).await;
    for _ in 0..2 {
        begins_anew(&journal, async || {
            sentinel.hand_over().unwrap();
            sentinel.settle().unwrap();
        })
        .await;
    }
}

/// A user who may not ask for the master's life is told that nothing is certain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_to_ask_nothing_is_certain() {
    let Some(flavour) = Flavour::installed().pop() else { return };
    let server = Server::configure(flavour).user("modest", "on >pw ~* &* +@all -info").start().unwrap();
    let url = format!("redis://modest:pw@127.0.0.1:{}", server.port());
    let journal = journal(&url).await;
    journal.attend("ns", NodeId::new(1), place(1), LONG).await.unwrap();
    let attendance = ask(&journal, "ns").await;
    assert_eq!((attendance.nodes.len(), attendance.whole_for), (1, Duration::ZERO));
}
