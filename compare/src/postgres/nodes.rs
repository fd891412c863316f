//! Nodes that follow the journal: how soon, how many a second, at what price when nothing happens.

use super::{Effort, NAMESPACE, Row, connect, percentile};
use crate::Failure;
use crate::stats::{median, rounded};
use larder::journal::{MemoryJournal, PostgresJournal};
use larder::{Cache, Level, Policy, Region, Target, key, outbox, tag};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::AsyncMessage;

const NODES: usize = 5;
const PER_S: u64 = 5_000;
/// Clients of the stream.
const WRITERS: u64 = 16;

async fn node(url: &str) -> Result<Cache, Failure> {
    Ok(Cache::builder(NAMESPACE).journal(PostgresJournal::open(url)?).build().await?)
}

/// Each with a region that holds the bound, so that it asks for as long as it lives.
async fn nodes(url: &str) -> Result<Vec<Cache>, Failure> {
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        let node = node(url).await?;
        serve(&node).await?;
        nodes.push(node);
    }
    Ok(nodes)
}

async fn serve(node: &Cache) -> Result<Region<u64>, Failure> {
    let slots = node.region("slots", bounded())?;
    slots.get_or_load(key![1], async |_| Ok::<_, std::io::Error>(1)).await?;
    Ok(slots)
}

fn position(node: &Cache) -> u64 {
    node.stats().journal.position
}

async fn until_all(nodes: &[Cache], position_then: u64) -> Result<(), Failure> {
    let began = Instant::now();
    while nodes.iter().any(|node| position(node) < position_then) {
        if began.elapsed() > Duration::from_secs(30) {
            return Err("a node did not catch up within 30 s".into());
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// From the acknowledgement of a commit, by `Cache::sync` of the node that made it: the step is a commit of its own, and a hop.
/// Beside it just that: a commit of one row that notifies, until five sessions that listen have heard.
pub(super) async fn fresh(url: &str, effort: Effort) -> Result<Vec<Row>, Failure> {
    let nodes = nodes(url).await?;
    let mut session = connect(url).await?;
    let table = "CREATE TABLE hops (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)";
    session.batch_execute(table).await?;
    let heard = Arc::new(AtomicU64::new(0));
    let mut listening = Vec::new();
    for _ in 0..NODES {
        let (client, mut connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        let heard = Arc::clone(&heard);
        listening.push(tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|c| connection.poll_message(c)).await {
                if matches!(message, AsyncMessage::Notification(_)) {
                    heard.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
        client.batch_execute("LISTEN hop").await?;
        // It listens for as long as it is there.
        listening.push(tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(client);
        }));
    }
    let (mut hops, mut freshened) = (Vec::new(), Vec::new());
    let calls = effort.calls / 2;
    for call in 0..calls {
        let before = heard.load(Ordering::Relaxed);
        let began = Instant::now();
        session.batch_execute("BEGIN; INSERT INTO hops DEFAULT VALUES; NOTIFY hop; COMMIT").await?;
        while heard.load(Ordering::Relaxed) < before + NODES as u64 {
            tokio::task::yield_now().await;
        }
        hops.push(began.elapsed());
        let tx = session.transaction().await?;
        outbox::postgres::invalidate(&tx, NAMESPACE, [Target::tag(tag!["branch", call as u64])], "booked")
            .await?;
        tx.commit().await?;
        let began = Instant::now();
        let writer = nodes.get(call % NODES).ok_or("no node")?;
        let place = writer.sync().await?;
        until_all(&nodes, place).await?;
        freshened.push(began.elapsed());
    }
    listening.iter().for_each(tokio::task::JoinHandle::abort);
    for node in &nodes {
        node.close().await;
    }
    Ok(vec![
        row("the floor: a commit that notifies, heard by all", &mut hops),
        row("larder: Cache::sync after the commit", &mut freshened),
    ])
}

fn row(engine: &'static str, times: &mut [Duration]) -> Row {
    Row::Fresh { engine, nodes: NODES, p50_us: percentile(times, 0.5), p99_us: percentile(times, 0.99) }
}

/// Transactions that invalidate, at a set pace.
pub(super) async fn stream(url: &str, effort: Effort) -> Result<Row, Failure> {
    let nodes = nodes(url).await?;
    let start = nodes.iter().map(position).min().unwrap_or(0);
    let committed = Arc::new(AtomicU64::new(0));
    let total = PER_S * effort.seconds;
    let began = Instant::now();
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let session = connect(url).await?;
        let committed = Arc::clone(&committed);
        writers.push(tokio::spawn(async move {
            for n in (writer..total).step_by(WRITERS as usize) {
                let due = began + Duration::from_secs_f64(n as f64 / PER_S as f64);
                tokio::time::sleep_until(due.into()).await;
                let target = [Target::tag(tag!["branch", n % 1000])];
                outbox::postgres::invalidate(&session, NAMESPACE, target, "booked").await?;
                committed.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, Failure>(())
        }));
    }
    let mut behind_max = 0;
    while writers.iter().any(|writer| !writer.is_finished()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        // What was committed before the look at the slowest.
        let done = committed.load(Ordering::Relaxed);
        let slowest = nodes.iter().map(position).min().unwrap_or(0);
        behind_max = behind_max.max((start + done).saturating_sub(slowest));
    }
    for writer in writers {
        writer.await??;
    }
    let took = began.elapsed();
    until_all(&nodes, start + total).await?;
    let caught_up = began.elapsed() - took;
    for node in &nodes {
        node.close().await;
    }
    Ok(Row::Stream {
        nodes: NODES,
        asked_per_s: PER_S,
        per_s: rounded(total as f64 / took.as_secs_f64(), 0),
        behind_max,
        caught_up_ms: rounded(caught_up.as_secs_f64() * 1e3, 1),
    })
}

/// How often one node with nothing to do asks, as the database counts the calls of what nodes ask.
pub(super) async fn idle(url: &str, effort: Effort) -> Result<Row, Failure> {
    let watcher = connect(url).await?;
    watcher.batch_execute("ALTER ROLE larder SET track_functions = 'pl'").await?;
    let cache = node(url).await?;
    serve(&cache).await?;
    let count = async || -> Result<i64, Failure> {
        let sql = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_user_functions
            WHERE schemaname = 'larder' AND funcname IN ('read', 'history', 'record', 'roll', 'attendance')";
        Ok(watcher.query_one(sql, &[]).await?.get(0))
    };
    // Sessions report what they have done once a second at most.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (began, before) = (Instant::now(), count().await?);
    tokio::time::sleep(Duration::from_secs(2 * effort.seconds)).await;
    let asked = count().await? - before;
    let per_s = asked as f64 / began.elapsed().as_secs_f64();
    cache.close().await;
    watcher.batch_execute("ALTER ROLE larder RESET track_functions").await?;
    Ok(Row::Idle { per_s: rounded(per_s, 2) })
}

fn bounded() -> Policy {
    Policy::ttl(Duration::from_secs(600)).level(Level::Bounded(Duration::from_secs(1)))
}

/// One key, again and again: bounded by the journal on Postgres, and by one in the process.
pub(super) async fn hits(url: &str, effort: Effort) -> Result<Vec<Row>, Failure> {
    let postgres = node(url).await?;
    let memory = Cache::builder(NAMESPACE).journal(MemoryJournal::new()).build().await?;
    let mut regions = Vec::new();
    for (engine, cache) in [("a journal in the process", &memory), ("the journal on Postgres", &postgres)] {
        regions.push((engine, serve(cache).await?, Vec::new()));
    }
    const HITS: u32 = 200_000;
    for _ in 0..effort.rounds {
        for (_, region, times) in &mut regions {
            let began = Instant::now();
            for _ in 0..HITS {
                region.get(key![1]).await?.ok_or("not a hit")?;
            }
            times.push(began.elapsed().as_nanos() as f64 / f64::from(HITS));
        }
    }
    let rows = regions.iter().map(|(engine, _, times)| {
        let p50_ns = median(times).ok_or("no rounds were played")?;
        Ok(Row::Hit { engine, p50_ns: rounded(p50_ns, 1) })
    });
    let rows = rows.collect();
    postgres.close().await;
    rows
}
