//! Postgres over TLS: verified, or not at all.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod postgres_rig;

use larder::journal::PostgresJournal;
use larder::port::{Journal, JournalError};
use larder_rig::Postgres;
use postgres_rig::{NS, until};

/// What the journal says when it is asked for the first time.
async fn ask(url: &str) -> Result<(), JournalError> {
    PostgresJournal::open(url)?.history(NS).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_verified_and_everything_goes_over_tls() {
    if !Postgres::is_installed() {
        return;
    }
    let (server, authority) = Postgres::start_tls().unwrap();
    let plain = server.url("larder", "postgres");
    let local = plain.replace("127.0.0.1", "localhost");
    let url = format!("{local}?sslmode=verify-full&sslrootcert={}", authority.display());
    larder::postgres::migrate(&url).await.unwrap();
    let journal = PostgresJournal::open(&url).unwrap();
    let link = postgres_rig::append(&journal, 1).await;
    assert_eq!(postgres_rig::head(&journal).await, link);
    until("it listens", async || {
        let _ = tokio::time::timeout(std::time::Duration::from_millis(20), journal.changed(NS)).await;
        journal.is_listening(NS) == Some(true)
    })
    .await;
    let watcher = postgres_rig::connect(&plain).await;
    let sql =
        "SELECT count(*) FILTER (WHERE ssl), count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'larder'";
    // It reads, writes and listens; the session that migrated may take a moment to end.
    until("three sessions, all over TLS", async || {
        let row = watcher.query_one(sql, &[]).await.unwrap();
        (row.get::<_, i64>(0), row.get::<_, i64>(1)) == (3, 3)
    })
    .await;
    // Nobody this machine trusts has signed it.
    let error = ask(&format!("{local}?sslmode=require")).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    // It is for another name.
    let other = format!("{}&hostaddr=127.0.0.1", url.replace("localhost", "other.example"));
    let error = ask(&other).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

/// Whoever asks for TLS and is offered none gets no connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tls_is_refused_when_tls_is_asked_for() {
    let Some(database) = postgres_rig::database().await else { return };
    let error = ask(&format!("{}?sslmode=require", database.url())).await.unwrap_err();
    assert!(error.to_string().contains("TLS"), "{error}");
    ask(&format!("{}?sslmode=prefer", database.url())).await.unwrap();
}
