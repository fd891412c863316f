//! Databases for the tests: each has one of its own, with Larder's schema in it, on a server that a binary's tests share.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use larder::journal::{PostgresJournal, PostgresJournalOptions};
use larder::port::Journal;
use larder_core::{Cause, Link, Record, Target, tag};
use larder_rig::Postgres;
use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

pub const NS: &str = "booking";

/// How long something that happens by itself may take before a test calls it lost.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The server that tests share; `None` where none is installed.
pub fn shared() -> Option<&'static Postgres> {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    Postgres::is_installed().then(|| SERVER.get_or_init(|| Postgres::start().expect("a server")))
}

/// A database with the schema in it.
pub struct Database<'a> {
    pub server: &'a Postgres,
    pub name: String,
}

impl<'a> Database<'a> {
    pub async fn make(server: &'a Postgres) -> Self {
        let database = Self::bare(server).await;
        larder::postgres::migrate(&database.url()).await.expect("a schema");
        database
    }

    /// Without the schema.
    pub async fn bare(server: &'a Postgres) -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let name = format!("t{}", MADE.fetch_add(1, Ordering::Relaxed));
        let maker = connect(&server.url("larder", "postgres")).await;
        maker.batch_execute(&format!("CREATE DATABASE {name} STRATEGY file_copy")).await.expect("a database");
        Database { server, name }
    }

    pub fn url(&self) -> String {
        self.server.url("larder", &self.name)
    }

    /// A session of the application's.
    pub async fn session(&self) -> Client {
        connect(&self.url()).await
    }

    pub fn journal(&self) -> PostgresJournal {
        PostgresJournal::open(&self.url()).expect("a journal")
    }

    pub fn keeping(&self, records_max: u64) -> PostgresJournal {
        let options = PostgresJournalOptions::default().records_max(records_max);
        PostgresJournal::open_with(&self.url(), options).expect("a journal")
    }
}

/// A database on the server that tests share; `None` where none is installed.
pub async fn database() -> Option<Database<'static>> {
    Some(Database::make(shared()?).await)
}

pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a session");
    tokio::spawn(connection);
    client
}

/// Runs from a function that is not async inside of a test that is.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

pub fn target(n: u64) -> Target {
    Target::tag(tag!["n", n])
}

/// What a transaction calls to invalidate [`target`].
pub fn call(n: u64) -> String {
    format!("SELECT larder.invalidate('{NS}', tags => '[[\"n\", {n}]]', cause => 'test')")
}

pub async fn head(journal: &PostgresJournal) -> Link {
    journal.history(NS).await.expect("history").head
}

pub async fn append(journal: &PostgresJournal, n: u64) -> Link {
    journal.append(NS, &[target(n)], &Cause::from("test")).await.expect("append")
}

/// Everything after a place.
pub async fn read_all(journal: &PostgresJournal, mut after: Link) -> Vec<Record> {
    let mut records = Vec::new();
    loop {
        let page = journal.read(NS, after, 1000).await.expect("read");
        after = page.records.last().map_or(after, |record| record.link);
        records.extend(page.records);
        if after == page.head {
            return records;
        }
    }
}

pub fn named(records: &[Record]) -> Vec<Target> {
    records.iter().flat_map(|record| record.targets.clone()).collect()
}

/// Waits for something that happens by itself, and looks again every few milliseconds.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        pace.tick().await;
    }
}

/// What a node's role may do, and a writer's, as docs/concepts/postgres.md has it.
pub const GRANTS: &str = "
    GRANT USAGE ON SCHEMA larder TO node, writer;
    GRANT EXECUTE ON FUNCTION larder.version, larder.history, larder.read, larder.record, larder.roll, larder.attend,
        larder.attendance TO node;
    GRANT EXECUTE ON FUNCTION larder.invalidate, larder.outbox_add TO writer;
";

/// A database whose users `node` and `writer` have the least rights.
pub async fn with_roles(database: &Database<'_>) {
    let session = database.session().await;
    // Roles belong to the server, and another test may have made them.
    for role in ["node", "writer"] {
        let _ = session.batch_execute(&format!("CREATE ROLE {role} LOGIN")).await;
    }
    session.batch_execute(GRANTS).await.expect("grants");
}
