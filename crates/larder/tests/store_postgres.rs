//! The store on Postgres: the suite, the rights it needs, what has expired, and a server that dies.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod postgres_rig;

use larder::store::PostgresStore;
use larder::testing::store_suite::StoreBench;
use larder_core::port::{Store, StoreError, Stored};
use larder_rig::Postgres;
use postgres_rig::{Database, PATIENCE, database, until, wait};
use std::sync::Arc;
use std::time::{Duration, Instant};

const FAR: u64 = 32_503_680_000_000;

/// The suite moves megabytes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(10);

fn entry(key: &[u8], bytes: &[u8], expires_ms: u64) -> Stored {
    Stored { key: key.to_vec(), bytes: bytes.to_vec(), expires_ms }
}

/// Where no server is installed, what it would have been asked is asked of the store in memory. `larder-rig` says so.
fn bench() -> StoreBench {
    match wait(database()) {
        Some(database) => {
            let store = PostgresStore::open(&database.url()).unwrap().deadline(DEADLINE);
            StoreBench { store: Arc::new(store), keep: Box::new(database) }
        }
        None => StoreBench { store: Arc::new(larder::testing::FakeStore::default()), keep: Box::new(()) },
    }
}

larder::store_suite!(bench);

/// Nobody looks through the table for what is dead: each write takes some with it, more than it brings.
#[tokio::test]
async fn what_has_expired_goes_with_later_writes() {
    let Some(database) = database().await else { return };
    let store = PostgresStore::open(&database.url()).unwrap().deadline(DEADLINE);
    let dead = (0..60_u8).map(|n| entry(&[n], b"dead", 1)).collect();
    store.put_many(dead).await.unwrap();
    assert_eq!(store.usage().await.unwrap().0, 60);
    for n in 0..10_u8 {
        let new = (0..4_u8).map(|m| entry(&[100, n, m], b"new", FAR)).collect();
        store.put_many(new).await.unwrap();
    }
    assert_eq!(store.usage().await.unwrap().0, 40, "the dead are gone, and none of the others");
    // What is written again is not dropped for what it was.
    store.put_many(vec![entry(b"k", b"old", 1)]).await.unwrap();
    store.put_many(vec![entry(b"k", b"new", FAR)]).await.unwrap();
    store.put_many(vec![entry(b"l", b"x", FAR)]).await.unwrap();
    assert_eq!(store.get_many(&[b"k".to_vec()]).await.unwrap(), [Some(b"new".to_vec())]);
}

/// Two that write and remove the same rows, in orders of their own, would wait for each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_the_same_rows_do_not_deadlock() {
    let Some(database) = database().await else { return };
    let tasks = (0..4_u8).map(|task| {
        let store = PostgresStore::open(&database.url()).unwrap().deadline(DEADLINE);
        tokio::spawn(async move {
            let mut keys: Vec<Vec<u8>> = (0..40_u8).map(|n| vec![n]).collect();
            for round in 0..20 {
                keys.rotate_left(usize::from(task) * 7 + round);
                if (task + round as u8) % 2 == 1 {
                    keys.reverse();
                }
                store.put_many(keys.iter().map(|key| entry(key, b"v", FAR)).collect()).await.unwrap();
                store.remove_many(&keys).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn the_least_rights_are_enough() {
    let Some(database) = database().await else { return };
    let owner = database.session().await;
    let role = format!("stores_{}", database.name);
    let grants = format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA larder TO {role};
         GRANT EXECUTE ON FUNCTION larder.version TO {role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON larder.entries TO {role}"
    );
    owner.batch_execute(&grants).await.unwrap();
    let store = PostgresStore::open(&database.server.url(&role, &database.name)).unwrap().deadline(DEADLINE);
    store.put_many(vec![entry(b"k", b"v", FAR)]).await.unwrap();
    assert_eq!(store.get_many(&[b"k".to_vec()]).await.unwrap(), [Some(b"v".to_vec())]);
    store.remove_many(&[b"k".to_vec()]).await.unwrap();
    assert_eq!(store.usage().await.unwrap().0, 0);
}

/// Entries are in an unlogged table: after a crash there are none, and the store goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_comes_back_with_nothing_and_is_used_again() {
    if !Postgres::is_installed() {
        return;
    }
    let server = Postgres::start().unwrap();
    let database = Database::make(&server).await;
    let deadline = Duration::from_millis(300);
    let store = PostgresStore::open(&database.url()).unwrap().deadline(deadline);
    let key = [b"k".to_vec()];
    let put = async || store.put_many(vec![entry(b"k", b"v", FAR)]).await.is_ok();
    until("the first write", put).await;
    server.kill();
    let began = Instant::now();
    until("gone", async || store.get_many(&key).await.is_err()).await;
    assert!(began.elapsed() < PATIENCE / 2);
    server.restart().unwrap();
    let mut found = Err(StoreError::refused("not asked yet"));
    until("back", async || {
        found = store.get_many(&key).await;
        found.is_ok()
    })
    .await;
    assert_eq!(found.unwrap(), [None], "it is empty after a crash");
    until("used again", put).await;
    assert_eq!(store.get_many(&key).await.unwrap(), [Some(b"v".to_vec())]);
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_without_being_repeated() {
    let error = PostgresStore::open("postgres://me:secret@[").unwrap_err().to_string();
    assert!(error.contains("expected postgres://") && !error.contains("secret"), "{error}");
}
