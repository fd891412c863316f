//! The SQLite journal against a plain list: whatever is appended, committed, rolled back, rolled over and reopened, a
//! reader sees exactly what the list says, or is told that it cannot.
#![allow(clippy::unwrap_used)]

use larder::journal::{SqliteJournal, SqliteJournalOptions};
use larder::outbox;
use larder_core::port::Journal;
use larder_core::{Cause, Epoch, Link, Target, tag};
use proptest::prelude::*;
use rusqlite::Connection;

const NS: &str = "model";
const RECORDS_MAX: u64 = 20;

#[derive(Clone, Debug)]
enum Step {
    /// Through the journal, this many at once.
    Append(u8),
    /// Through the outbox, in one transaction that commits, or does not.
    Outbox {
        records: u8,
        commit: bool,
    },
    /// Two records, of which a savepoint takes the second with it.
    Savepoint,
    Roll,
    RollStale,
    Reopen,
    /// The reader reads one page of at most this many.
    Read(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1..70u8).prop_map(Step::Append),
        4 => (1..70u8, any::<bool>()).prop_map(|(records, commit)| Step::Outbox { records, commit }),
        2 => Just(Step::Savepoint),
        1 => Just(Step::Roll),
        1 => Just(Step::RollStale),
        1 => Just(Step::Reopen),
        6 => (1..60u8).prop_map(Step::Read),
    ]
}

struct Model {
    /// The link before the first record of the epoch, then one per record.
    links: Vec<Link>,
    targets: Vec<Target>,
    next: u64,
}

impl Model {
    fn target(&mut self) -> Target {
        self.next += 1;
        Target::tag(tag!["n", self.next])
    }

    fn push(&mut self, link: Link, target: Target) {
        let head = self.links.last().unwrap();
        assert_eq!((link.epoch, link.position), (head.epoch, head.position + 1));
        self.links.push(link);
        self.targets.push(target);
    }
}

struct Run {
    dir: tempfile::TempDir,
    journal: SqliteJournal,
    app: Connection,
    model: Model,
    reader: Link,
}

impl Run {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(&dir);
        let app = Connection::open(dir.path().join("app.db")).unwrap();
        app.execute_batch("PRAGMA synchronous = OFF").unwrap();
        let start = journal.history(NS).await.unwrap().head;
        let model = Model { links: vec![start], targets: Vec::new(), next: 0 };
        Run { dir, journal, app, model, reader: start }
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Append(records) => {
                for _ in 0..*records {
                    let target = self.model.target();
                    let targets = [target.clone()];
                    let link = self.journal.append(NS, &targets, &Cause::default()).await.unwrap();
                    self.model.push(link, target);
                }
            }
            Step::Outbox { records, commit } => self.outbox(*records, *commit),
            Step::Savepoint => self.savepoint(),
            Step::Roll => self.roll().await,
            Step::RollStale => self.journal.roll(NS, Epoch::new(7)).await.unwrap(),
            Step::Reopen => {
                self.journal.close().await;
                self.journal = open(&self.dir);
            }
            Step::Read(limit) => self.read(usize::from(*limit)).await,
        }
    }

    fn outbox(&mut self, records: u8, commit: bool) {
        let tx = self.app.transaction().unwrap();
        let written: Vec<(Link, Target)> = (0..records)
            .map(|_| {
                let target = self.model.target();
                (outbox::invalidate(&tx, NS, [target.clone()], "").unwrap(), target)
            })
            .collect();
        if commit {
            tx.commit().unwrap();
            written.into_iter().for_each(|(link, target)| self.model.push(link, target));
        } else {
            tx.rollback().unwrap();
        }
    }

    fn savepoint(&mut self) {
        let mut tx = self.app.transaction().unwrap();
        let target = self.model.target();
        let link = outbox::invalidate(&tx, NS, [target.clone()], "").unwrap();
        {
            let inner = tx.savepoint().unwrap();
            outbox::invalidate(&inner, NS, [Target::everything()], "").unwrap();
        }
        tx.commit().unwrap();
        self.model.push(link, target);
    }

    async fn roll(&mut self) {
        let head = *self.model.links.last().unwrap();
        self.journal.roll(NS, head.epoch).await.unwrap();
        let start = self.journal.history(NS).await.unwrap().head;
        assert_ne!(start.epoch, head.epoch);
        assert_eq!(start.position, head.position);
        self.model.links = vec![start];
        self.model.targets.clear();
    }

    async fn read(&mut self, limit: usize) {
        let history = self.journal.history(NS).await.unwrap();
        let (first, head) = (self.model.links[0], *self.model.links.last().unwrap());
        assert_eq!(history.head, head);
        let dropped = (history.oldest.position - first.position) as usize;
        assert_eq!(history.oldest, self.model.links[dropped]);
        assert!(dropped == 0 || (self.model.targets.len() - dropped) as u64 >= RECORDS_MAX);
        assert!(((self.model.targets.len() - dropped) as u64) < RECORDS_MAX + 64);
        match self.journal.read(NS, self.reader, limit).await {
            Ok(page) => {
                assert_eq!((self.reader.epoch, page.head), (head.epoch, head));
                let from = (self.reader.position - first.position) as usize;
                let to = self.model.targets.len().min(from + limit);
                let read: Vec<_> = page.records.iter().map(|r| (r.link, r.targets[0].clone())).collect();
                let expected: Vec<_> =
                    (from..to).map(|i| (self.model.links[i + 1], self.model.targets[i].clone())).collect();
                assert_eq!(read, expected);
                self.reader = page.records.last().map_or(self.reader, |r| r.link);
            }
            Err(error) if error.is_diverged() => {
                assert_ne!(self.reader.epoch, head.epoch);
                self.reader = history.oldest;
            }
            Err(error) => {
                assert!(error.is_compacted(), "{error}");
                assert!(self.reader.position < history.oldest.position);
                self.reader = history.oldest;
            }
        }
    }
}

fn open(dir: &tempfile::TempDir) -> SqliteJournal {
    let options = SqliteJournalOptions::default().records_max(RECORDS_MAX);
    SqliteJournal::open_with(dir.path().join("app.db"), options).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_reader_sees_what_was_committed_and_nothing_else(steps in prop::collection::vec(step(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new().await;
            for step in &steps {
                run.step(step).await;
            }
            run.step(&Step::Read(60)).await;
        });
    }
}
