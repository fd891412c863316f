//! A node: one cache in one process, which reads and invalidates as it is told. It judges nothing.

use std::{
    error::Error,
    io::{self, BufRead, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use larder::backplane::RedisBackplane;
use larder::journal::{RedisJournal, SqliteJournal};
use larder::redis::Redis;
use larder::store::RedisStore;
use larder::{Bytes, Cache, Compression, Invalidated, Level, Policy, Region, key};
use tokio::sync::mpsc;

use super::{
    origin::Origin,
    wire::{Answer, Ask, Line},
};

/// The level of the matrix.
pub(super) const BOUND: Duration = Duration::from_secs(1);
/// What the origin takes to answer: long enough for writes to come in between.
const ORIGIN: Duration = Duration::from_millis(2);
/// Values of every eighth key are larger than what a server answers from its fixed buffer.
const LARGE: usize = 24 * 1024;
const SMALL: usize = 100;
/// Few enough for reads to reach the second tier as well.
const ENTRIES: u64 = 150;

/// How a node is started.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The server, or the servers.
    #[arg(long)]
    url: String,
    /// The file of versions.
    #[arg(long)]
    origin: PathBuf,
    /// The journal: a SQLite file, instead of the server.
    #[arg(long)]
    journal: Option<PathBuf>,
    /// Serves what it has for as long as it lives, whoever says otherwise: for the matrix to see what staleness is.
    #[arg(long)]
    eventual: bool,
}

/// A version, and bytes to make it as large as wanted.
type Value = (u64, Vec<u8>);

/// Obeys until standard input ends.
pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(obey(args))
}

async fn obey(args: &Args) -> Result<(), Box<dyn Error>> {
    let node = Arc::new(Node::start(args).await?);
    node.say(Line { id: 0, said: Answer::Ready });
    let (sender, mut lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = lines.recv().await {
        let Some(Line { id, said }) = Line::<Ask>::parse(&line) else { continue };
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            let said = node.answer(said).await;
            node.say(Line { id, said });
        });
    }
    Ok(())
}

struct Node {
    region: Region<Value>,
    origin: Arc<Origin>,
    out: Mutex<io::Stdout>,
    _cache: Cache,
}

impl Node {
    async fn start(args: &Args) -> Result<Self, Box<dyn Error>> {
        let builder = Cache::builder("matrix").memory(Bytes::mib(16)).entries_max(ENTRIES);
        let cache = connected(builder, &args.url, args.journal.as_deref()).await?;
        let level = if args.eventual { Level::Eventual } else { Level::Bounded(BOUND) };
        // Nothing expires within a run: what is dropped was invalidated, or lost.
        let policy = Policy::ttl(Duration::from_secs(600)).level(level).compression(Compression::None);
        let region = cache.region("versions", policy)?;
        let origin = Arc::new(Origin::open(&args.origin)?);
        Ok(Self { region, origin, out: Mutex::new(io::stdout()), _cache: cache })
    }

    async fn answer(&self, ask: Ask) -> Answer {
        match ask {
            Ask::Read(key) => self.read(key).await,
            Ask::Written(key) => match self.region.invalidate(key![key]).await {
                Ok(Invalidated::Applied { .. }) => Answer::Applied,
                Ok(Invalidated::Queued) => Answer::Queued,
                Err(_) => Answer::Failed,
            },
        }
    }

    async fn read(&self, key: u64) -> Answer {
        let origin = Arc::clone(&self.origin);
        let load = async move |_: larder::Load<Value>| {
            let version = origin.version(key)?;
            // The snapshot is taken; what is written from now on, this load has not seen.
            tokio::time::sleep(ORIGIN).await;
            let length = if key.is_multiple_of(8) { LARGE } else { SMALL };
            Ok::<_, io::Error>((version, vec![0; length]))
        };
        match self.region.get_or_load(key![key], load).await {
            Ok(outcome) => {
                let hit = matches!(outcome.source(), larder::Source::Memory | larder::Source::Store(_));
                Answer::Value { version: outcome.0, hit }
            }
            Err(_) => Answer::Failed,
        }
    }

    fn say(&self, line: Line<Answer>) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody listens: standard input ends too, and the node with it.
        let _ = out.write_all(line.text().as_bytes()).and_then(|()| out.flush());
    }
}

/// The store is on the server; the journal too, unless it has a file: then the server carries hints.
async fn connected(
    builder: larder::CacheBuilder,
    url: &str,
    journal: Option<&Path>,
) -> Result<Cache, Box<dyn Error>> {
    let redis = Redis::connect(url).await?;
    let builder = match journal {
        Some(path) => builder.journal(SqliteJournal::open(path)?).backplane(RedisBackplane::on(&redis)),
        None => builder.journal(RedisJournal::on(&redis)),
    };
    Ok(builder.store(RedisStore::on(&redis)).build().await?)
}
