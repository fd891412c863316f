//! What an invalidation costs, how soon every node has it, and how many a second all of them keep up with: beside what is
//! usual on the same server, in the same run.
//!
//! - `invalidate`: a tag of 10, 1,000 and 100,000 entries, beside one raw INCR; and beside what others do for 100,000 keys,
//!   with what a bystander's GET waits meanwhile.
//! - `propagation`: from the acknowledgement until five nodes have applied it, beside a raw pub/sub hop to five listeners.
//! - `records`: a steady 20,000 a second, and whether five nodes keep up.
//!
//! All nodes are in one process, each on connections of its own.

use super::Only;
use super::engine::connection;
use crate::Failure;
use crate::output::progress;
use crate::stats::rounded;
use futures_util::StreamExt;
use larder::journal::RedisJournal;
use larder::{Bytes, Cache, Invalidated, Level, Policy, Target, key, tag};
use redis::aio::MultiplexedConnection;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const NODES: usize = 5;
const PER_S: u64 = 20_000;
const TTL: Duration = Duration::from_secs(24 * 3600);

/// One figure, as `--json` prints it.
#[derive(Debug, Serialize)]
#[serde(tag = "measure", rename_all = "lowercase")]
pub(super) enum Row {
    /// One invalidation, or what stands beside it.
    Invalidate {
        engine: &'static str,
        entries: u64,
        p50_us: f64,
        p99_us: f64,
        /// The longest that a GET of somebody else waited meanwhile.
        bystander_max_us: Option<f64>,
    },
    /// From the acknowledgement until all have it.
    Propagation { engine: &'static str, nodes: usize, p50_us: f64, p99_us: f64 },
    /// A steady stream.
    Records {
        nodes: usize,
        asked_per_s: u64,
        per_s: f64,
        /// The furthest any node was behind, looked at every 20 ms.
        behind_max: u64,
        /// After the last one, until all nodes had it.
        caught_up_us: f64,
        /// Records kept when another node joined, and how long that took.
        kept: u64,
        joined_ms: f64,
    },
}

/// How much is measured.
#[derive(Clone, Copy)]
pub(super) struct Effort {
    pub(super) calls: usize,
    pub(super) seconds: u64,
    pub(super) scanned: u64,
}

pub(super) async fn all(url: &str, effort: Effort, only: &Only) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    if only.has("invalidate") {
        rows.extend(invalidations(url, effort).await?);
    }
    if only.has("usual") {
        rows.extend(usual(url, effort).await?);
    }
    if only.has("propagation") {
        rows.extend(propagation(url, effort).await?);
    }
    if only.has("records") {
        rows.push(records(url, effort).await?);
    }
    Ok(rows)
}

async fn node(url: &str) -> Result<Cache, Failure> {
    let journal = RedisJournal::connect(url).await?;
    Ok(Cache::builder("journal").memory(Bytes::mib(256)).journal(journal).build().await?)
}

fn position(node: &Cache) -> u64 {
    node.stats().journal.position
}

/// In microseconds.
fn percentile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let at = (times.len().saturating_sub(1) as f64 * share) as usize;
    times.get(at).map_or(0.0, |time| rounded(time.as_nanos() as f64 / 1000.0, 1))
}

async fn incr(connection: &mut MultiplexedConnection) -> Result<Duration, Failure> {
    let began = Instant::now();
    redis::cmd("INCR").arg("compare:counter").query_async::<i64>(connection).await?;
    Ok(began.elapsed())
}

/// The raw client's commands and invalidations take turns, so that whatever else the machine does falls on all of them.
async fn invalidations(url: &str, effort: Effort) -> Result<Vec<Row>, Failure> {
    let mut raw = connection(url).await?;
    let floor = Floor::on(&mut raw).await?;
    let mut listener = redis::Client::open(url)?.get_async_pubsub().await?;
    listener.subscribe(HEARD).await?;
    let listening = tokio::spawn(async move { listener.into_on_message().count().await });
    let cache = node(url).await?;
    let policy = Policy::ttl(TTL).level(Level::Bounded(Duration::from_secs(1)));
    let region = cache.region::<u64>("slots", policy)?;
    let (mut rows, mut incrs, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    let (mut scripts, mut heard) = (Vec::new(), Vec::new());
    for entries in [10, 1_000, 100_000] {
        progress(&format!("redis: invalidating a tag of {entries} entries"));
        let mut times = Vec::new();
        for _ in 0..10 {
            for index in 0..entries {
                region.put_as_of(region.snapshot(), key![index], index, [tag!["branch", 7]])?;
            }
            for _ in 0..effort.calls / 10 {
                incrs.push(incr(&mut raw).await?);
            }
            for _ in 0..effort.calls / 10 {
                calls.push(timed(&floor.calls(), &mut raw).await?);
            }
            for _ in 0..effort.calls / 10 {
                scripts.push(timed(&floor.append(scripts.len(), "{compared}:silent"), &mut raw).await?);
            }
            for _ in 0..effort.calls / 10 {
                heard.push(timed(&floor.append(heard.len(), HEARD), &mut raw).await?);
            }
            for _ in 0..effort.calls / 10 {
                let began = Instant::now();
                cache.invalidate([Target::tag(tag!["branch", 7])]).await?;
                times.push(began.elapsed());
            }
        }
        rows.push(row("larder", entries, &mut times, None));
    }
    rows.insert(0, row(INCR, 1, &mut incrs, None));
    rows.insert(1, row(CALLS, 1, &mut calls, None));
    rows.insert(2, row(APPEND, 1, &mut scripts, None));
    rows.insert(3, row(APPEND_HEARD, 1, &mut heard, None));
    listening.abort();
    Ok(rows)
}

const INCR: &str = "redis-rs INCR";
/// Beneath this no append of one script can be.
const CALLS: &str = "redis-rs EVALSHA, the calls of an append alone";
/// Beneath this this append cannot be.
const APPEND: &str = "redis-rs EVALSHA, the append";

/// As a node does: it hears of every record, of its own too.
const APPEND_HEARD: &str = "redis-rs EVALSHA, the append, heard by its own process";
const HEARD: &str = "{compared}:changed";

/// What an invalidation asks of the server, asked by the raw client.
struct Floor {
    calls: String,
    append: String,
}

impl Floor {
    async fn on(raw: &mut MultiplexedConnection) -> Result<Self, Failure> {
        const CALLS: &str = "local head = redis.call('HGET', KEYS[1], 'head') \
             redis.call('XADD', KEYS[2], '*', 'r', ARGV[1]) redis.call('HSET', KEYS[1], 'head', head) \
             redis.call('PUBLISH', ARGV[2], ARGV[1]) return head";
        const APPEND: &str = include_str!("../../../crates/larder/src/journal/redis/scripts/append.lua");
        const HISTORY: &str = include_str!("../../../crates/larder/src/journal/redis/scripts/history.lua");
        redis::cmd("HSET").arg("{compare}:head").arg("head").arg("0".repeat(129)).exec_async(raw).await?;
        let history = ["{compared}:head", "{compared}:log", "{compared}:large"];
        redis::cmd("EVAL").arg(HISTORY).arg(3).arg(&history).arg("1".repeat(32)).exec_async(raw).await?;
        let mut load = async |code| redis::cmd("SCRIPT").arg("LOAD").arg(code).query_async(raw).await;
        Ok(Floor { calls: load(CALLS).await?, append: load(APPEND).await? })
    }

    fn calls(&self) -> redis::Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&self.calls).arg(2).arg("{compare}:head").arg("{compare}:log");
        cmd.arg(&[b'r'; 120]).arg("{compare}:changed");
        cmd
    }

    /// With a body as long as that of a tag's invalidation.
    fn append(&self, number: usize, channel: &str) -> redis::Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&self.append).arg(3).arg("{compared}:head").arg("{compared}:log").arg("{compared}:large");
        cmd.arg(format!("{number:016x}")).arg(&[b'b'; 48]).arg(100_000).arg(64 << 20);
        cmd.arg("PUBLISH").arg(channel);
        cmd
    }
}

async fn timed(cmd: &redis::Cmd, raw: &mut MultiplexedConnection) -> Result<Duration, Failure> {
    let began = Instant::now();
    cmd.query_async::<redis::Value>(raw).await?;
    Ok(began.elapsed())
}

fn row(engine: &'static str, entries: u64, times: &mut [Duration], bystander: Option<Duration>) -> Row {
    let bystander_max_us = bystander.map(|longest| rounded(longest.as_nanos() as f64 / 1000.0, 0));
    let (p50_us, p99_us) = (percentile(times, 0.5), percentile(times, 0.99));
    Row::Invalidate { engine, entries, p50_us, p99_us, bystander_max_us }
}

/// A connection for commands that take long.
async fn patient(url: &str) -> Result<MultiplexedConnection, Failure> {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    Ok(redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?)
}

/// What is usual: a set of the keys that carry a tag, or a walk through all keys.
async fn usual(url: &str, effort: Effort) -> Result<Vec<Row>, Failure> {
    let mut raw = patient(url).await?;
    let keys = 100_000;
    let (mut times, mut worst) = (Vec::new(), Duration::ZERO);
    progress("redis: SMEMBERS and UNLINK of 100,000 keys");
    for _ in 0..3 {
        let fill = "for i = 1, tonumber(ARGV[1]) do redis.call('SET', 'compare:e:' .. i, 'x') \
                    redis.call('SADD', 'compare:tag', 'compare:e:' .. i) end";
        redis::cmd("EVAL").arg(fill).arg(0).arg(keys).query_async::<()>(&mut patient(url).await?).await?;
        let bystander = Bystander::start(url).await?;
        let began = Instant::now();
        let members: Vec<Vec<u8>> = redis::cmd("SMEMBERS").arg("compare:tag").query_async(&mut raw).await?;
        let mut unlink = redis::cmd("UNLINK");
        unlink.arg("compare:tag").arg(&members);
        unlink.query_async::<u64>(&mut raw).await?;
        times.push(began.elapsed());
        worst = worst.max(bystander.longest().await?);
    }
    let mut rows = vec![row("SMEMBERS+UNLINK", keys, &mut times, Some(worst))];

    progress(&format!("redis: SCAN over {} keys", effort.scanned));
    for part in 0..10 {
        let fill =
            "for i = 1, tonumber(ARGV[1]) do redis.call('SET', 'compare:s:' .. ARGV[2] .. ':' .. i, 'x') end";
        let mut fill = redis::cmd("EVAL").arg(fill).arg(0).arg(effort.scanned / 10).clone();
        fill.arg(part).query_async::<()>(&mut patient(url).await?).await?;
    }
    let bystander = Bystander::start(url).await?;
    let began = Instant::now();
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg("compare:s:*:7").arg("COUNT").arg(1000);
        let (next, found): (u64, Vec<Vec<u8>>) = scan.query_async(&mut raw).await?;
        if !found.is_empty() {
            redis::cmd("UNLINK").arg(&found).query_async::<u64>(&mut raw).await?;
        }
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    let took = began.elapsed();
    rows.push(row("SCAN", effort.scanned, &mut [took], Some(bystander.longest().await?)));
    redis::cmd("FLUSHALL").query_async::<()>(&mut raw).await?;
    Ok(rows)
}

/// Somebody who only reads.
struct Bystander {
    stop: Arc<AtomicBool>,
    reading: tokio::task::JoinHandle<Result<Duration, Failure>>,
}

impl Bystander {
    async fn start(url: &str) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut connection, stopped) = (patient(url).await?, Arc::clone(&stop));
        let reading = tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                redis::cmd("GET")
                    .arg("compare:nothing")
                    .query_async::<Option<Vec<u8>>>(&mut connection)
                    .await?;
                longest = longest.max(began.elapsed());
            }
            Ok(longest)
        });
        Ok(Bystander { stop, reading })
    }

    async fn longest(self) -> Result<Duration, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        self.reading.await?
    }
}

/// Turns of both, one after the other.
async fn propagation(url: &str, effort: Effort) -> Result<Vec<Row>, Failure> {
    progress("redis: propagation to five nodes");
    let mut raw = connection(url).await?;
    let mut heard = Vec::new();
    for _ in 0..NODES {
        let mut listener = redis::Client::open(url)?.get_async_pubsub().await?;
        listener.subscribe("compare:hop").await?;
        let last = Arc::new(AtomicU64::new(0));
        heard.push(Arc::clone(&last));
        tokio::spawn(async move {
            let mut messages = listener.into_on_message();
            while let Some(message) = messages.next().await {
                let Ok(number) = message.get_payload::<u64>() else { return };
                last.store(number, Ordering::Release);
            }
        });
    }
    let writer = node(url).await?;
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(node(url).await?);
    }
    for node in nodes.iter().chain([&writer]) {
        all_at(|| node.stats().journal.connected).await;
    }
    let (mut hops, mut times) = (Vec::new(), Vec::new());
    for number in 1..=effort.calls as u64 {
        let began = Instant::now();
        let mut publisher = raw.clone();
        let publishing = tokio::spawn(async move {
            redis::cmd("PUBLISH").arg("compare:hop").arg(number).query_async::<u64>(&mut publisher).await
        });
        all_at(|| heard.iter().all(|last| last.load(Ordering::Acquire) >= number)).await;
        hops.push(began.elapsed());
        publishing.await??;
        incr(&mut raw).await?;

        let said = writer.invalidate([Target::tag(tag!["branch", 7])]).await?;
        let began = Instant::now();
        let Invalidated::Applied { position: at, .. } = said else { return Err("the journal failed".into()) };
        all_at(|| nodes.iter().all(|node| position(node) >= at)).await;
        times.push(began.elapsed());
    }
    let row = |engine, times: &mut Vec<Duration>| Row::Propagation {
        engine,
        nodes: NODES,
        p50_us: percentile(times, 0.5),
        p99_us: percentile(times, 0.99),
    };
    Ok(vec![row("pub/sub hop", &mut hops), row("larder", &mut times)])
}

/// Looks again and again, and lets others run in between.
async fn all_at(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

async fn records(url: &str, effort: Effort) -> Result<Row, Failure> {
    progress(&format!("redis: {PER_S} records a second for {} s", effort.seconds));
    let writer = node(url).await?;
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(node(url).await?);
    }
    let (goal, sent) = (PER_S * effort.seconds, Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let writing: Vec<_> = (0..64)
        .map(|_| {
            let (writer, sent) = (writer.clone(), Arc::clone(&sent));
            tokio::spawn(async move {
                loop {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    if number >= goal {
                        return Ok::<_, Failure>(());
                    }
                    let due = Duration::from_secs_f64(number as f64 / PER_S as f64);
                    tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
                    writer.invalidate([Target::key("slots", key![number])]).await?;
                }
            })
        })
        .collect();
    let watching = {
        let (writer, nodes, over) = (writer.clone(), nodes.clone(), Arc::clone(&sent));
        tokio::spawn(async move {
            let mut behind_max = 0;
            while over.load(Ordering::Relaxed) < goal {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let head = position(&writer);
                let behind = nodes.iter().map(|node| head.saturating_sub(position(node))).max();
                behind_max = behind_max.max(behind.unwrap_or(0));
            }
            behind_max
        })
    };
    for task in writing {
        task.await??;
    }
    let took = began.elapsed();
    let head = position(&writer);
    let waited = Instant::now();
    all_at(|| nodes.iter().all(|node| position(node) >= head)).await;
    let caught_up_us = rounded(waited.elapsed().as_nanos() as f64 / 1000.0, 0);
    let behind_max = watching.await?;
    let joining = Instant::now();
    let joined = node(url).await?;
    Ok(Row::Records {
        nodes: NODES,
        asked_per_s: PER_S,
        per_s: rounded(goal as f64 / took.as_secs_f64(), 0),
        behind_max,
        caught_up_us,
        kept: joined.stats().journal.applied,
        joined_ms: rounded(joining.elapsed().as_secs_f64() * 1000.0, 1),
    })
}

/// Lines for people: what, who, p50, p99, remarks.
pub(super) fn lines(rows: &[Row]) -> Vec<Vec<String>> {
    let line = |what: String, engine: &str, p50: &f64, p99: &f64, remark: String| {
        vec![what, engine.to_owned(), format!("{p50:.1}"), format!("{p99:.1}"), remark]
    };
    rows.iter()
        .map(|row| match row {
            Row::Invalidate { engine, entries, p50_us, p99_us, bystander_max_us } => {
                let remark =
                    bystander_max_us.map_or_else(String::new, |us| format!("a bystander waited {us:.0} us"));
                line(format!("invalidate {entries}"), engine, p50_us, p99_us, remark)
            }
            Row::Propagation { engine, nodes, p50_us, p99_us } => {
                line(format!("to {nodes} nodes"), engine, p50_us, p99_us, String::new())
            }
            Row::Records { per_s, behind_max, caught_up_us, kept, joined_ms, .. } => vec![
                "records".to_owned(),
                "larder".to_owned(),
                format!("{per_s:.0}/s"),
                format!("{behind_max} behind"),
                format!(
                    "all had the last after {caught_up_us:.0} us; one that joins {kept}: {joined_ms:.0} ms"
                ),
            ],
        })
        .collect()
}

/// The goals, in words, and whether they are met.
pub(super) fn goals(rows: &[Row]) -> Vec<(String, bool)> {
    let mut goals = Vec::new();
    let of = |name: &str, at: f64, most: f64| (format!("{name}: {at:.2}, of at most {most}"), at <= most);
    let raw = rows.iter().find_map(|row| match row {
        Row::Invalidate { engine: INCR, p50_us, .. } => Some(*p50_us),
        _ => None,
    });
    let hop = rows.iter().find_map(|row| match row {
        Row::Propagation { engine: "pub/sub hop", p99_us, .. } => Some(*p99_us),
        _ => None,
    });
    for row in rows {
        match row {
            Row::Invalidate { engine: "larder", entries, p50_us, .. } => {
                let name = format!("an invalidation of {entries} entries, in INCRs");
                goals.extend(raw.map(|raw| of(&name, p50_us / raw, 1.5)));
            }
            Row::Invalidate { engine: engine @ (CALLS | APPEND | APPEND_HEARD), p50_us, .. } => {
                goals
                    .extend(raw.map(|raw| of(&format!("(the floor) {engine}, in INCRs"), p50_us / raw, 1.5)));
            }
            Row::Propagation { engine: "larder", p99_us, .. } => {
                goals.extend(hop.map(|hop| of("p99 to five nodes, in pub/sub hops", p99_us / hop, 2.0)));
            }
            Row::Records { asked_per_s, per_s, .. } => {
                let name = format!("records a second: {per_s:.0}, of {asked_per_s}");
                goals.push((name, *per_s >= *asked_per_s as f64 * 0.99));
            }
            Row::Invalidate { .. } | Row::Propagation { .. } => {}
        }
    }
    goals
}
