//! The in-process journal: the default for one process, and what tests run on.
//!
//! One handle may be cloned to several caches; they share one history per namespace, and each clone is closed by
//! itself. Nothing survives the process. Never blocks: its lock is held for a few map operations.

use super::limits::{self, INTENTS_MAX, RECORDS_MAX_DEFAULT};
use larder_core::port::{Appended, BoxFuture, Hint, History, Journal, JournalError, Page};
use larder_core::{Act, Attendance, Cause, Epoch, Intent, IntentId, Link, NodeId, Record, Target};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// A journal in memory. Clones share its histories.
pub struct MemoryJournal {
    shared: Arc<Shared>,
    /// The generation this handle's reader has looked at.
    seen: AtomicU64,
    closed: AtomicBool,
    alive: Arc<()>,
}

struct Shared {
    records_max: usize,
    namespaces: Mutex<Namespaces>,
    /// Counts changes; waiters of `changed` watch it.
    generation: watch::Sender<u64>,
}

type Namespaces = HashMap<Box<str>, Namespace>;

struct Namespace {
    oldest: Link,
    head: Link,
    /// The records right after `oldest`, up to `head`.
    records: VecDeque<Record>,
    /// As of the head, however old the records that opened them are.
    open: BTreeMap<IntentId, Intent>,
    /// Who is there, how far they have come, and the handle each came by: whoever drops it is gone, and nobody else is.
    present: BTreeMap<NodeId, (Link, Weak<()>)>,
}

impl MemoryJournal {
    /// A journal that keeps the newest [`RECORDS_MAX_DEFAULT`] records of each namespace.
    pub fn new() -> Self {
        Self::keeping(RECORDS_MAX_DEFAULT)
    }

    /// A journal that keeps the newest `records_max` records of each namespace, at least one.
    pub fn keeping(records_max: u64) -> Self {
        let records_max = usize::try_from(records_max.max(1)).unwrap_or(usize::MAX);
        let generation = watch::Sender::new(0);
        Self::of(Arc::new(Shared { records_max, namespaces: Mutex::default(), generation }))
    }

    fn of(shared: Arc<Shared>) -> Self {
        MemoryJournal {
            shared,
            seen: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            alive: Arc::default(),
        }
    }

    fn open(&self) -> Result<MutexGuard<'_, Namespaces>, JournalError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(JournalError::refused("the memory journal is closed"));
        }
        Ok(self.shared.namespaces.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn look(&self) {
        self.seen.fetch_max(*self.shared.generation.borrow(), Ordering::Relaxed);
    }

    fn record_now(
        &self,
        namespace: &str,
        act: Act,
        targets: &[Target],
        cause: &Cause,
    ) -> Result<Appended, JournalError> {
        limits::encode(targets)?;
        let nonce = limits::random_nonce().map_err(limits::no_random)?;
        let mut namespaces = self.open()?;
        let history = named(&mut namespaces, namespace)?;
        let after = history.head;
        let link = Link { position: after.position + 1, nonce, ..after };
        let record = Record { link, act, targets: targets.to_vec(), cause: cause.clone() };
        history.note_intent(&record)?;
        history.records.push_back(record);
        history.head = link;
        while history.records.len() > self.shared.records_max {
            if let Some(dropped) = history.records.pop_front() {
                history.oldest = dropped.link;
            }
        }
        drop(namespaces);
        self.shared.generation.send_modify(|g| *g += 1);
        Ok(Appended { link, after: Some(after) })
    }

    fn roll_now(&self, namespace: &str, seen: Epoch) -> Result<(), JournalError> {
        let (epoch, nonce) = (limits::random_epoch(), limits::random_nonce());
        let (epoch, nonce) = (epoch.map_err(limits::no_random)?, nonce.map_err(limits::no_random)?);
        let mut namespaces = self.open()?;
        if let Some(history) = namespaces.get_mut(namespace)
            && history.head.epoch == seen
        {
            let start = Link { epoch, position: history.head.position, nonce };
            (history.oldest, history.head) = (start, start);
            history.records.clear();
            drop(namespaces);
            self.shared.generation.send_modify(|g| *g += 1);
        }
        Ok(())
    }
}

fn named<'a>(namespaces: &'a mut Namespaces, name: &str) -> Result<&'a mut Namespace, JournalError> {
    if !namespaces.contains_key(name) {
        let epoch = limits::random_epoch().map_err(limits::no_random)?;
        let start = Link { epoch, position: 0, nonce: 0 };
        let (records, open) = (VecDeque::new(), BTreeMap::new());
        let present = BTreeMap::new();
        let history = Namespace { oldest: start, head: start, records, open, present };
        namespaces.insert(name.into(), history);
    }
    namespaces.get_mut(name).ok_or_else(|| JournalError::refused("the namespace is gone"))
}

impl Namespace {
    /// Opens or closes the intent this record is about.
    fn note_intent(&mut self, record: &Record) -> Result<(), JournalError> {
        match record.act {
            Act::Invalidate => {}
            Act::Open { intent, .. } if self.open.len() >= INTENTS_MAX || self.open.contains_key(&intent) => {
                return Err(limits::not_opened());
            }
            Act::Open { intent: id, lasts } => {
                let intent = Intent { id, lasts, targets: record.targets.as_slice().into() };
                self.open.insert(id, intent);
            }
            Act::Close { intent } => drop(self.open.remove(&intent)),
        }
        Ok(())
    }

    fn history(&self) -> History {
        History { oldest: self.oldest, head: self.head, open: self.open.values().cloned().collect() }
    }

    fn page(&self, after: Link, limit: usize) -> Result<Page, JournalError> {
        if after.epoch != self.head.epoch {
            return Err(JournalError::diverged(format!(
                "epoch is {}; expected {}",
                after.epoch, self.head.epoch
            )));
        }
        if after.position > self.head.position {
            return Err(JournalError::diverged(format!("{after} is beyond the head {}", self.head)));
        }
        let Some(from) = after.position.checked_sub(self.oldest.position) else {
            return Err(JournalError::compacted(format!(
                "{after} is before the oldest kept {}",
                self.oldest
            )));
        };
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let there = from.checked_sub(1).map_or(Some(self.oldest), |i| self.records.get(i).map(|r| r.link));
        if there != Some(after) {
            return Err(JournalError::diverged(format!("{after} has a nonce that is not in this history")));
        }
        let records = self.records.iter().skip(from).take(limit.max(1)).cloned().collect();
        Ok(Page { records, head: self.head })
    }
}

impl Journal for MemoryJournal {
    fn history<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Result<History, JournalError>> {
        Box::pin(async move {
            self.look();
            let mut namespaces = self.open()?;
            named(&mut namespaces, namespace).map(|history| history.history())
        })
    }

    fn read<'a>(
        &'a self,
        namespace: &'a str,
        after: Link,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, JournalError>> {
        Box::pin(async move {
            self.look();
            match self.open()?.get(namespace) {
                Some(history) => history.page(after, limit),
                None => Err(JournalError::diverged("the namespace has no history")),
            }
        })
    }

    fn record<'a>(
        &'a self,
        namespace: &'a str,
        act: Act,
        targets: &'a [Target],
        cause: &'a Cause,
    ) -> BoxFuture<'a, Result<Appended, JournalError>> {
        Box::pin(async move { self.record_now(namespace, act, targets, cause) })
    }

    fn roll<'a>(&'a self, namespace: &'a str, seen: Epoch) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move { self.roll_now(namespace, seen) })
    }

    fn attend<'a>(
        &'a self,
        namespace: &'a str,
        node: NodeId,
        applied: Link,
        lasts: Duration,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            let mut namespaces = self.open()?;
            let present = &mut named(&mut namespaces, namespace)?.present;
            if lasts.is_zero() {
                present.remove(&node);
            } else {
                present.insert(node, (applied, Arc::downgrade(&self.alive)));
            }
            Ok(())
        })
    }

    fn attendance<'a>(
        &'a self,
        namespace: &'a str,
    ) -> BoxFuture<'a, Result<Option<Attendance>, JournalError>> {
        Box::pin(async move {
            let mut namespaces = self.open()?;
            let present = &mut named(&mut namespaces, namespace)?.present;
            present.retain(|_, (_, handle)| handle.strong_count() > 0);
            let nodes = present.iter().map(|(node, (applied, _))| (*node, *applied)).collect();
            // Nobody can have been there before it was.
            Ok(Some(Attendance { nodes, whole_for: Duration::MAX }))
        })
    }

    fn changed<'a>(&'a self, _namespace: &'a str) -> BoxFuture<'a, Hint> {
        Box::pin(async move {
            let seen = self.seen.load(Ordering::Relaxed);
            let mut generation = self.shared.generation.subscribe();
            if let Ok(now) = generation.wait_for(|g| *g > seen).await {
                self.seen.fetch_max(*now, Ordering::Relaxed);
            }
            Hint::Look
        })
    }

    fn name(&self) -> &'static str {
        "memory"
    }

    /// Closes this handle; its clones go on.
    fn close(&self) -> BoxFuture<'_, ()> {
        self.closed.store(true, Ordering::Relaxed);
        Box::pin(ready(()))
    }
}

impl Clone for MemoryJournal {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.shared))
    }
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new()
    }
}
