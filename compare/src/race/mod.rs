//! `race`: does an invalidation survive a load that was already running?
//!
//! The loader reads the old value; the origin is written and the key invalidated; the loader returns. An engine
//! that then stores what it was given serves the old value until its TTL. `round` plays it; the engines stand in
//! `peers`, `memoize` and `larder`.

mod larder;
mod memoize;
mod peers;
mod round;
mod stage;

use self::larder::{By, How, Larder};
use crate::output::{print, print_json, print_table, progress};
use crate::stats::share;
use crate::{Failure, Options};
use round::{Contender, Second, control, play};
use serde::Serialize;
use std::sync::Arc;

/// Rounds of each engine and path.
const ROUNDS: u32 = 200;

/// One engine on one path, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Row {
    engine: &'static str,
    path: String,
    rounds: u32,
    stale_share: f64,
}

/// Runs every round and prints the shares.
pub(crate) fn run(options: Options) -> Result<(), Failure> {
    let rounds = if options.quick { 20 } else { ROUNDS };
    // One thread: a round then has one order of events, and "settled" means that no task can run.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rows = runtime.block_on(all(rounds))?;
    if options.json { print_json(&rows) } else { print_for_people(&rows) }
}

async fn all(rounds: u32) -> Result<Vec<Row>, Failure> {
    let mut race = Race { rounds, rows: Vec::new(), next_key: 0 };
    race.peer("moka", peers::Moka::default()).await?;
    race.peer("foyer", peers::Foyer::default()).await?;
    race.peer("cached", memoize::Plain).await?;
    race.peer("cached-by-key", memoize::ByKey).await?;
    race.peer("quick_cache", peers::QuickCache::default()).await?;
    race.larder().await?;
    Ok(race.rows)
}

/// The rounds played so far; hands out keys that nobody used before.
struct Race {
    rounds: u32,
    rows: Vec<Row>,
    next_key: u64,
}

impl Race {
    /// The three paths of an engine that can invalidate by key only.
    async fn peer<C: Contender>(&mut self, engine: &'static str, contender: C) -> Result<(), Failure> {
        let contender = Arc::new(contender);
        self.path(engine, "foreground-key", &contender, Second::None).await?;
        self.path(engine, "foreground-key-second-reader", &contender, Second::Before).await?;
        self.path(engine, "follower-key", &contender, Second::After).await
    }

    /// Every way in, each way to invalidate, alone, with a second reader, and with one that comes late.
    async fn larder(&mut self) -> Result<(), Failure> {
        let ways = [
            (How::Foreground, "foreground", "follower"),
            (How::BackgroundRefresh, "background-refresh", "background-refresh-follower"),
            (How::Batch, "batch", "batch-follower"),
        ];
        for (how, alone, follower) in ways {
            for (by, word) in [(By::Key, "key"), (By::Tag, "tag")] {
                let contender = Arc::new(Larder::build(how, by).await?);
                let path = format!("{alone}-{word}");
                self.path("larder", &path, &contender, Second::None).await?;
                self.path("larder", &format!("{path}-second-reader"), &contender, Second::Before).await?;
                self.path("larder", &format!("{follower}-{word}"), &contender, Second::After).await?;
            }
        }
        Ok(())
    }

    async fn path<C: Contender>(
        &mut self,
        engine: &'static str,
        path: &str,
        contender: &Arc<C>,
        second: Second,
    ) -> Result<(), Failure> {
        progress(&format!("race: {engine} {path}"));
        let named = |failure: Failure| -> Failure { format!("{engine} {path}: {failure}").into() };
        control(contender, self.unused_key()).await.map_err(named)?;
        let mut stale = 0;
        for _ in 0..self.rounds {
            stale += u32::from(play(contender, self.unused_key(), second).await.map_err(named)?);
        }
        let stale_share = share(stale, self.rounds).ok_or("no rounds were asked for")?;
        self.rows.push(Row { engine, path: path.to_owned(), rounds: self.rounds, stale_share });
        Ok(())
    }

    fn unused_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }
}

fn print_for_people(rows: &[Row]) -> Result<(), Failure> {
    let lines: Vec<_> = rows
        .iter()
        .map(|row| {
            let percent = format!("{:.1} %", row.stale_share * 100.0);
            vec![row.engine.to_owned(), row.path.clone(), row.rounds.to_string(), percent]
        })
        .collect();
    print_table(&["engine", "path", "rounds", "old value left behind"], 2, &lines)?;
    print(
        "A key is invalidated while its loader holds the old value. Second reader: one that came before.\n\
         Follower: one that came after the invalidation; being given the old value counts too.",
    )
}
