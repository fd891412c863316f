//! Transactions with and without the outbox, in turns, so that whatever else the machine does falls on all of them.

use super::{Effort, NAMESPACE, Row, connect, percentile};
use crate::Failure;
use crate::stats::{median, rounded};
use larder::journal::PostgresJournal;
use larder::{Cache, Target, outbox, tag};
use std::time::{Duration, Instant};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

const CLIENTS: usize = 16;

/// What else is in a transaction that inserts one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Also {
    Nothing,
    /// A row into a table of one's own: what an outbox by hand would cost.
    Row,
    /// One tag, by Rust.
    Outbox,
    /// One tag, by Rust, sent together with the insert.
    Together,
    /// One tag, by SQL.
    Sql,
}

const ALL: [Also; 5] = [Also::Nothing, Also::Row, Also::Outbox, Also::Together, Also::Sql];

impl Also {
    fn name(self) -> &'static str {
        match self {
            Also::Nothing => "bare",
            Also::Row => "with a second insert",
            Also::Outbox => "larder: outbox::postgres::invalidate",
            Also::Together => "larder: the same, pipelined with the insert",
            Also::Sql => "larder: SELECT larder.invalidate(..)",
        }
    }
}

/// A client with its statements.
struct Writer {
    client: Client,
    insert: Statement,
    second: Statement,
    sql: Statement,
}

pub(super) async fn prepare(url: &str) -> Result<(), Failure> {
    let client = connect(url).await?;
    client
        .batch_execute(
            "CREATE TABLE bookings (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, branch bigint NOT NULL,
                 customer text NOT NULL, at timestamptz NOT NULL DEFAULT now());
             CREATE TABLE told (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what bytea NOT NULL)",
        )
        .await?;
    Ok(())
}

impl Writer {
    async fn new(url: &str) -> Result<Self, Failure> {
        let client = connect(url).await?;
        let insert = client.prepare("INSERT INTO bookings(branch, customer) VALUES ($1, 'somebody')").await?;
        let second = client.prepare("INSERT INTO told(what) VALUES ($1)").await?;
        let sql = format!(
            "SELECT larder.invalidate('{NAMESPACE}', tags => jsonb_build_array(jsonb_build_array('branch', $1::bigint)))"
        );
        let sql = client.prepare(&sql).await?;
        Ok(Writer { client, insert, second, sql })
    }

    async fn transact(&mut self, also: Also, branch: i64) -> Result<Duration, Failure> {
        let began = Instant::now();
        let tx = self.client.transaction().await?;
        let target = || [Target::tag(tag!["branch", branch])];
        match also {
            Also::Together => {
                let parameters: [&(dyn ToSql + Sync); 1] = [&branch];
                let (inserted, told) = tokio::join!(
                    tx.execute(&self.insert, &parameters),
                    outbox::postgres::invalidate(&tx, NAMESPACE, target(), "booked")
                );
                inserted?;
                told?;
            }
            _ => drop(tx.execute(&self.insert, &[&branch]).await?),
        }
        match also {
            Also::Nothing | Also::Together => {}
            Also::Row => drop(tx.execute(&self.second, &[&[7_u8; 40].as_slice()]).await?),
            Also::Outbox => outbox::postgres::invalidate(&tx, NAMESPACE, target(), "booked").await?,
            Also::Sql => drop(tx.execute(&self.sql, &[&branch]).await?),
        }
        tx.commit().await?;
        Ok(began.elapsed())
    }
}

/// A node that puts the outbox into order meanwhile, as in a service.
async fn follower(url: &str) -> Result<Cache, Failure> {
    let cache = Cache::builder(NAMESPACE).journal(PostgresJournal::open(url)?).build().await?;
    cache.sync().await?;
    Ok(cache)
}

pub(super) async fn alone(url: &str, effort: Effort) -> Result<Vec<Row>, Failure> {
    let follower = follower(url).await?;
    let mut writer = Writer::new(url).await?;
    let mut times: Vec<Vec<Duration>> = vec![Vec::with_capacity(effort.calls); ALL.len()];
    for call in 0..effort.calls + effort.calls / 10 {
        for place in 0..ALL.len() {
            let at = (call + place) % ALL.len();
            let took = writer.transact(ALL[at], (call % 100) as i64).await?;
            if call >= effort.calls / 10 {
                times[at].push(took);
            }
        }
    }
    follower.close().await;
    let row = |(also, times): (&Also, &mut Vec<Duration>)| Row::Insert {
        engine: also.name(),
        p50_us: percentile(times, 0.5),
        p99_us: percentile(times, 0.99),
    };
    Ok(ALL.iter().zip(&mut times).map(row).collect())
}

pub(super) async fn together(url: &str, effort: Effort) -> Result<Vec<Row>, Failure> {
    let follower = follower(url).await?;
    let mut writers = Vec::new();
    for _ in 0..CLIENTS {
        writers.push(Writer::new(url).await?);
    }
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); ALL.len()];
    let each = (effort.calls / CLIENTS * 2).max(20);
    for round in 0..=effort.rounds {
        for place in 0..ALL.len() {
            let at = (round + place) % ALL.len();
            let also = ALL[at];
            let began = Instant::now();
            let tasks = writers.drain(..).map(|mut writer| {
                tokio::spawn(async move {
                    for call in 0..each {
                        writer.transact(also, (call % 100) as i64).await?;
                    }
                    Ok::<_, Failure>(writer)
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                writers.push(task.await??);
            }
            // The first round warms up.
            if round > 0 {
                rates[at].push((each * CLIENTS) as f64 / began.elapsed().as_secs_f64());
            }
        }
    }
    follower.close().await;
    let row = |(also, rates): (&Also, &Vec<f64>)| {
        let per_s = median(rates).ok_or("no rounds were played")?;
        Ok(Row::Clients { engine: also.name(), clients: CLIENTS, per_s: rounded(per_s, 0) })
    };
    ALL.iter().zip(&rates).map(row).collect()
}
