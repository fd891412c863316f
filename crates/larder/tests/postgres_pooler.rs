//! Behind a pooler that gives each transaction another session: nothing depends on one, and a listener that hears nothing costs
//! nothing but time.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod postgres_rig;

use larder::journal::PostgresJournal;
use larder::store::PostgresStore;
use larder::{Cache, Level, Load, Policy, key, outbox};
use larder_core::{Target, tag};
use larder_rig::Pooler;
use postgres_rig::{Database, NS, call, connect, named, read_all, target, until};
use std::convert::Infallible;
use std::time::Duration;

/// Writers, journals, a store and two caches, all behind three sessions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_goes_through_a_pooler_in_transaction_mode() {
    let Some(server) = postgres_rig::shared().filter(|_| Pooler::is_installed()) else { return };
    let database = Database::make(server).await;
    let pooler = Pooler::start(server).unwrap();
    let url = pooler.url("larder", &database.name);
    let open = || PostgresJournal::open(&url).unwrap();
    let (journal, other) = (open(), open());
    let start = postgres_rig::head(&journal).await;
    let mut writers = Vec::new();
    for writer in 0..4 {
        let mut session = connect(&url).await;
        writers.push(tokio::spawn(async move {
            for n in 0..25 {
                let tx = session.transaction().await.unwrap();
                if n % 2 == 0 {
                    tx.batch_execute(&call(writer * 25 + n)).await.unwrap();
                } else {
                    let target = [target(writer * 25 + n)];
                    outbox::postgres::invalidate(&tx, NS, target, "booked").await.unwrap();
                }
                tx.commit().await.unwrap();
            }
        }));
    }
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let (a, b) = tokio::join!(read_all(&journal, start), read_all(&other, start));
        let shorter = a.len().min(b.len());
        assert_eq!(a[..shorter], b[..shorter]);
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let records = read_all(&other, start).await;
    let mut found = named(&records);
    let mut all: Vec<Target> = (0..100).map(target).collect();
    let text = |target: &Target| target.to_string();
    found.sort_by_key(text);
    all.sort_by_key(text);
    assert_eq!(found, all);
    assert_eq!(records.last().unwrap().link.position, start.position + 100, "dense");

    let store = || PostgresStore::open(&url).unwrap().deadline(Duration::from_secs(5));
    let bound = Duration::from_millis(300);
    let policy = || Policy::ttl(Duration::from_secs(600)).level(Level::Bounded(bound));
    let load = async |load: Load<_>| {
        load.tag(tag!["branch", 7]);
        Ok::<_, Infallible>(9)
    };
    let one = Cache::builder(NS).journal(open()).store(store()).build().await.unwrap();
    let two = Cache::builder(NS).journal(open()).store(store()).build().await.unwrap();
    let (here, there) =
        (one.region::<u32>("slots", policy()).unwrap(), two.region("slots", policy()).unwrap());
    here.get_or_load(key![1], load).await.unwrap();
    there.get_or_load(key![1], load).await.unwrap();
    let session = connect(&url).await;
    let branch = [Target::tag(tag!["branch", 7])];
    outbox::postgres::invalidate(&session, NS, branch, "booked").await.unwrap();
    one.sync().await.unwrap();
    assert!(here.get(key![1]).await.unwrap().is_none());
    // Nobody tells the other: it asks when its lease is due.
    until("the other has it too", async || there.get(key![1]).await.unwrap().is_none()).await;
    one.close().await;
    two.close().await;
}
