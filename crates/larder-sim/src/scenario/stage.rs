//! The stage of a scripted scenario, and the few words its stories are told in.
//!
//! Nodes are real ones; what they do runs as tasks of theirs, so a paused node stands still and a killed one forgets.

use crate::app::{is_in_loader, read_many, read_row};
use crate::fake::{Failed, RowId, Transaction, bit};
use crate::node::{Node, REGIONS};
use crate::options::{Capture, JournalKind, Options};
use crate::oracle::{Region as Kind, Violation};
use crate::sched::{MS, NodeId, NodeRuntime, SECOND};
use crate::world::{Service, World};
use larder::{Cause, Error, Invalidated, Outcome, Source, Target, Token, tag};
use larder_core::interleave;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// Longer than any story takes.
const LONGEST: u64 = 600 * SECOND;

thread_local! {
    static IN_READER: Cell<bool> = const { Cell::new(false) };
}

/// What came of a story.
pub(crate) struct Played {
    pub(crate) violations: Vec<Violation>,
    pub(crate) trace: Vec<String>,
}

/// Where a story takes place.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) world: World,
    script: Arc<Mutex<Script>>,
}

/// What is to happen at some point of somebody's synchronous code.
#[derive(Default)]
struct Script {
    /// Which node's reader is overtaken, after how many more points, and for how long.
    overtakes: Option<(NodeId, u32, u64)>,
    is_overtaken: bool,
    is_held: bool,
}

/// What a read came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    /// `None`: absent, or failed.
    pub(crate) version: Option<u64>,
    pub(crate) source: Option<Source>,
    pub(crate) failed: bool,
}

/// Work of a node under way.
pub(crate) struct Underway<T>(oneshot::Receiver<T>);

impl<T> Underway<T> {
    /// Waits for it; forever, if its node dies.
    pub(crate) async fn done(self) -> T {
        match self.0.await {
            Ok(answer) => answer,
            Err(_) => std::future::pending().await,
        }
    }
}

/// Plays a story in a calm world of one tenant, changed as the story wants it.
pub(super) fn play<Fut>(
    seed: u64,
    set: impl FnOnce(&mut Options),
    story: impl FnOnce(Stage) -> Fut + Send + 'static,
) -> Played
where
    Fut: Future<Output = ()> + Send + 'static,
{
    let mut options = Options {
        nodes: 0,
        guarded_every: 0,
        tenants: 1,
        rows: 24,
        group: 4,
        bound_ms: 1000,
        ttl_ms: 60_000,
        journal: JournalKind::Beside,
        capture: Capture::Both,
        store: true,
        faulty_ms: LONGEST / MS,
        retention: 10_000,
        memory_kib: 4096,
        targets_max: 4096,
        loads_max: 16,
        intensity: 0.0,
        faults: Vec::new(),
        ..Options::drawn(seed)
    };
    set(&mut options);
    let world = World::new(options.clone(), true);
    world.authority().retain(options.retention);
    let stage = Stage { world: world.clone(), script: Arc::default() };
    let (hooked, ended) = (stage.clone(), Arc::new(Mutex::new(false)));
    interleave::hook(Rc::new(move || hooked.at_point()));
    let ending = ended.clone();
    world.sim().spawn_world(async move {
        story(stage).await;
        *lock(&ending) = true;
    });
    while !*lock(&ended) && world.sim().now() < LONGEST && !world.oracle().has_violations() {
        world.sim().run_until(world.sim().now() + 50 * MS);
    }
    interleave::unhook();
    if !*lock(&ended) && !world.oracle().has_violations() {
        let what = "it waits for something that does not happen".to_owned();
        world.oracle().violation("the story ends", world.sim().now(), NodeId::WORLD, None, what);
    }
    let (violations, _) = world.oracle().take();
    let trace = world.take_trace();
    world.shut_down();
    Played { violations, trace }
}

impl Stage {
    fn script(&self) -> MutexGuard<'_, Script> {
        lock(&self.script)
    }

    /// A new node, its cache at work.
    pub(crate) async fn node(&self) -> Node {
        let sim = self.world.sim();
        let shown = sim.draw(|rng| rng.u64(SECOND..1_000_000 * SECOND));
        let node = sim.add_node(shown);
        self.life(NodeRuntime { sim: sim.clone(), node, life: 0 }).await
    }

    pub(crate) async fn nodes(&self) -> [Node; 2] {
        [self.node().await, self.node().await]
    }

    async fn life(&self, rt: NodeRuntime) -> Node {
        self.say(rt.node, "starts");
        let (world, starting) = (self.world.clone(), rt.clone());
        let started = underway(&rt, async move { Node::start(&world, &starting).await });
        match started.done().await {
            Ok(node) => node,
            Err(error) => {
                self.expect(false, &format!("the node starts: {error}"));
                std::future::pending().await
            }
        }
    }

    /// The process is killed, and its place stays empty.
    pub(crate) fn kill(&self, node: &Node) {
        self.say(node.rt.node, "is killed");
        self.world.sim().kill(node.rt.node);
        self.world.has_died(node.rt.node);
    }

    /// The process is killed and another takes its place, with nothing in memory.
    pub(crate) async fn restart(&self, node: &Node) -> Node {
        self.kill(node);
        let life = self.world.sim().revive(node.rt.node);
        self.life(NodeRuntime { life, ..node.rt.clone() }).await
    }

    /// SIGSTOP: the process stands still, its clock goes on.
    pub(crate) fn stop(&self, node: &Node) {
        self.say(node.rt.node, "is stopped");
        self.world.sim().pause(node.rt.node);
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self, node: &Node) {
        self.say(node.rt.node, "goes on");
        self.world.sim().resume(node.rt.node);
    }

    /// From now on, for so long, what the node sends there is refused.
    pub(crate) fn cut(&self, node: &Node, service: Service, ms: u64) {
        self.say(node.rt.node, &format!("is cut off from the {service:?} for {ms} ms"));
        self.world.cut(node.rt.node, service, self.world.sim().now() + ms * MS, false);
    }

    /// From now on, for so long and up to half a second longer, nothing passes between the node and there.
    pub(crate) fn hang(&self, node: &Node, service: Service, ms: u64) {
        self.say(node.rt.node, &format!("hears nothing from the {service:?} for {ms} ms"));
        self.world.cut(node.rt.node, service, self.world.sim().now() + ms * MS, true);
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, ms: u64) {
        self.world.sim().sleep(Duration::from_millis(ms)).await;
    }

    /// Lets the bound pass, and what clocks may be off by.
    pub(crate) async fn past_the_bound(&self) {
        let bound = self.world.options().bound_ms;
        self.pass(bound + bound / 1000 + 2).await;
    }

    /// Waits until it is so; for some seconds at most.
    pub(crate) async fn until(&self, is_so: impl Fn(&World) -> bool) {
        let patience = self.world.sim().now() + 5 * SECOND;
        while !is_so(&self.world) {
            self.world.sim().delay(3000, 10_000).await;
            if self.world.sim().now() > patience {
                self.expect(false, "what the story waits for happens");
                return;
            }
        }
    }

    /// The next load that the database answers to anybody: its answer takes so long to reach this node.
    pub(crate) fn hold_next_load(&self, node: &Node, ms: u64) {
        self.script().is_held = false;
        let (stage, node) = (self.clone(), node.clone());
        let before = self.world.database().reads;
        self.world.sim().spawn_world(async move {
            stage.until(|world| world.database().reads > before).await;
            stage.hang(&node, Service::Database, ms);
            stage.script().is_held = true;
        });
    }

    /// Waits until the load is held.
    pub(crate) async fn held(&self) {
        let script = self.script.clone();
        self.until(move |_| lock(&script).is_held).await;
    }

    /// The next reader of this node is overtaken by all others, for so long, at this point of its way (0: the first).
    pub(crate) fn overtake_next_reader(&self, node: &Node, point: u32, ms: u64) {
        let mut script = self.script();
        script.overtakes = Some((node.rt.node, point, ms * MS));
        script.is_overtaken = false;
    }

    /// Whether the reader came to that point.
    pub(crate) fn was_overtaken(&self) -> bool {
        let mut script = self.script();
        script.overtakes = None;
        script.is_overtaken
    }

    fn at_point(&self) {
        if is_in_loader() || !IN_READER.get() {
            return;
        }
        let pause = {
            let mut script = self.script();
            match &mut script.overtakes {
                Some((node, 0, pause)) if *node == self.world.sim().current() => {
                    let pause = *pause;
                    script.overtakes = None;
                    script.is_overtaken = true;
                    pause
                }
                Some((node, left, _)) if *node == self.world.sim().current() => {
                    *left = left.saturating_sub(1);
                    return;
                }
                _ => return,
            }
        };
        self.say(self.world.sim().current(), "a reader is overtaken");
        self.world.sim().overtake(pause);
        self.say(self.world.sim().current(), "the reader goes on");
    }

    /// The database fails over: what became visible after `kept_until` is lost, and the journal beside it too.
    pub(crate) fn fail_over(&self, kept_until: u64) {
        let now = self.world.sim().now();
        let mut database = self.world.database();
        database.fail_over(kept_until, now);
        self.world.authority().fail_over(kept_until, true, self.world.sim());
        self.world.oracle().failed_over(&database);
        self.say(NodeId::WORLD, "the database fails over");
    }

    /// The journal fails over to a replica that had not heard of so many records, and has other nodes on its list.
    pub(crate) fn promote_journal(&self, lost: usize) {
        self.change_journal(|world| {
            world.authority().promote(lost, world.sim());
        });
        self.say(NodeId::WORLD, &format!("the journal fails over, and {lost} records are lost"));
    }

    /// The journal's server starts with nothing.
    pub(crate) fn empty_journal(&self) {
        self.change_journal(|world| world.authority().empty(world.sim()));
        self.say(NodeId::WORLD, "the journal starts with nothing");
    }

    /// The journal is restored from the only dump there is.
    pub(crate) fn restore_journal(&self) {
        self.change_journal(|world| {
            world.authority().restore(world.sim());
        });
        self.say(NodeId::WORLD, "the journal is restored from a dump");
    }

    /// Another server takes itself for the journal's master too; these nodes talk to that one.
    pub(crate) fn split_journal(&self, nodes: &[&Node]) {
        let nodes = nodes.iter().fold(0, |all, node| all | bit(node.rt.node));
        self.change_journal(|world| world.authority().split(nodes, world.sim()));
        self.say(NodeId::WORLD, "the journal is split");
    }

    /// The other server is told that it is a replica.
    pub(crate) fn heal_journal(&self) {
        self.change_journal(|world| {
            let gave_up = world.authority().heal(false);
            world.oracle().split_is_over(gave_up, world.sim().now());
        });
        self.say(NodeId::WORLD, "the journal is one again");
    }

    fn change_journal(&self, change: impl FnOnce(&World)) {
        let before = self.world.authority().before();
        change(&self.world);
        self.world.journal_has_changed(Some(&before));
    }

    /// A session somewhere takes the sequencer's lock, and is in no hurry.
    pub(crate) fn hold_sequencer(&self) {
        let taken = self.world.authority().take_turn();
        self.expect(taken, "nobody else has the sequencer's lock");
    }

    /// That session moves what is visible in the outbox, and lets go of the lock.
    pub(crate) fn release_sequencer(&self) {
        let mut authority = self.world.authority();
        let visible = authority.outbox_snapshot();
        authority.sequence(&visible, self.world.sim());
        authority.is_sequencing = false;
    }

    /// Something else that a node does.
    pub(crate) async fn on<T: Send + 'static>(
        &self,
        node: &Node,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        underway(&node.rt, work).done().await
    }

    /// Begins a read.
    pub(crate) fn begin_read(&self, node: &Node, kind: Kind, row: RowId) -> Underway<Read> {
        let reader = node.clone();
        let reading = async move { Read::of(read_row(&reader, kind, row).await) };
        underway(&node.rt, Reader(Box::pin(reading)))
    }

    /// Begins to read the rows of a row's group with one call.
    pub(crate) fn begin_batch(&self, node: &Node, row: RowId) -> Underway<()> {
        let reader = node.clone();
        underway(&node.rt, async move { read_many(&reader, row).await })
    }

    /// Reads a row through a region.
    pub(crate) async fn read_in(&self, node: &Node, kind: Kind, row: RowId) -> Read {
        self.begin_read(node, kind, row).done().await
    }

    /// Reads a row through the bounded region.
    pub(crate) async fn read(&self, node: &Node, row: RowId) -> Read {
        self.read_in(node, Kind::Bounded, row).await
    }

    /// Writes a row, its invalidation in the same transaction; the version, once acknowledged.
    pub(crate) async fn write(&self, node: &Node, row: RowId) -> u64 {
        let targets = self.keys_of(node, row);
        self.begin_write(node, row, targets).done().await
    }

    /// Writes a row; its invalidation, in the same transaction, names it by its tag.
    pub(crate) async fn write_by_tag(&self, node: &Node, row: RowId) -> u64 {
        let targets = node.tenant_of(row).cache.targets([Target::tag(tag!["row", row.0])]);
        self.begin_write(node, row, targets).done().await
    }

    /// Writes a row until it does not exist (or does), as chance will have it.
    pub(crate) async fn write_until(&self, node: &Node, row: RowId, gone: bool) {
        loop {
            let version = self.write(node, row).await;
            if self.world.database().row(row).versions[version as usize].gone == gone {
                return;
            }
        }
    }

    /// Begins to write a row.
    pub(crate) fn begin_write(&self, node: &Node, row: RowId, targets: Vec<Target>) -> Underway<u64> {
        let (stage, writer) = (self.clone(), node.clone());
        underway(&node.rt, async move {
            let version = stage.transact(&writer, row, Some(targets)).await;
            stage.acknowledge(writer.rt.node, row, version, None);
            version
        })
    }

    /// Writes a row and tells nobody; the version.
    pub(crate) async fn commit(&self, node: &Node, row: RowId) -> u64 {
        let (stage, writer) = (self.clone(), node.clone());
        underway(&node.rt, async move { stage.transact(&writer, row, None).await }).done().await
    }

    /// Writes a row and invalidates it after its commit; the version.
    pub(crate) async fn write_direct(&self, node: &Node, row: RowId) -> u64 {
        let version = self.commit(node, row).await;
        self.invalidate(node, row, version).await;
        version
    }

    /// Writes a row and waits until all nodes have its invalidation; the version.
    pub(crate) async fn write_and_wait(&self, node: &Node, row: RowId) -> u64 {
        let version = self.commit(node, row).await;
        let (cache, targets) = (node.cache.clone(), self.keys_of(node, row));
        let done = self.on(node, async move { cache.invalidate_and_wait(targets).await }).await;
        self.expect(done.is_ok(), &format!("it is recorded and waited for: {done:?}"));
        version
    }

    /// Invalidates what was committed so; acknowledged, if it was recorded.
    pub(crate) async fn invalidate(&self, node: &Node, row: RowId, version: u64) -> Invalidated {
        self.begin_invalidation(node, row, version).done().await
    }

    /// Begins to invalidate what was committed so.
    pub(crate) fn begin_invalidation(&self, node: &Node, row: RowId, version: u64) -> Underway<Invalidated> {
        let (stage, caller, targets) = (self.clone(), node.clone(), self.keys_of(node, row));
        underway(&node.rt, async move {
            let invalidated = match caller.cache.invalidate(targets).await {
                Ok(invalidated) => invalidated,
                Err(error) => {
                    stage.expect(false, &format!("an invalidation is recorded or queued: {error}"));
                    std::future::pending().await
                }
            };
            let (now, of) = (stage.world.sim().now(), caller.rt.node);
            stage.world.oracle().announced(&stage.world.database(), of, row, version, now);
            if let Invalidated::Applied { token, .. } = invalidated {
                stage.acknowledge(of, row, version, Some(token));
            }
            invalidated
        })
    }

    async fn transact(&self, node: &Node, row: RowId, targets: Option<Vec<Target>>) -> u64 {
        let written: Result<u64, Failed> = async {
            let transaction = Transaction::begin(&self.world, &node.rt, row).await?;
            let version = transaction.version;
            transaction.commit(targets.map(|targets| (targets, Cause::new("told")))).await?;
            Ok(version)
        }
        .await;
        match written {
            Ok(version) => version,
            Err(why) => {
                self.expect(false, &format!("a write of row {} commits: {why:?}", row.0));
                std::future::pending().await
            }
        }
    }

    fn acknowledge(&self, node: NodeId, row: RowId, version: u64, token: Option<Token>) {
        self.world.acknowledge(node, row, version, token);
        self.say(NodeId::WORLD, &format!("row {} version {version} is acknowledged", row.0));
    }

    /// A row's key in every region.
    pub(crate) fn keys_of(&self, node: &Node, row: RowId) -> Vec<Target> {
        let keys = REGIONS.map(|region| Target::key(region, node.key_of(row)));
        node.tenant_of(row).cache.targets(keys)
    }

    /// What must be so.
    pub(crate) fn expect(&self, is_so: bool, what: &str) {
        if !is_so {
            let now = self.world.sim().now();
            self.world.oracle().violation("as told", now, NodeId::WORLD, None, what.to_owned());
        }
    }

    /// The read must have brought this version (or absence, if that is what it says).
    pub(crate) fn expect_version(&self, read: Read, row: RowId, version: u64, why: &str) {
        let gone = self.world.database().row(row).versions[version as usize].gone;
        let expected = (!gone).then_some(version);
        self.expect(
            !read.failed && read.version == expected,
            &format!("{why}: version {version}, not {read:?}"),
        );
    }

    /// This node serves what the primary shows.
    pub(crate) async fn expect_newest(&self, node: &Node, row: RowId) {
        let newest = self.world.database().primary(row);
        let read = self.read(node, row).await;
        self.expect_version(read, row, newest, "the newest is served");
    }

    fn say(&self, node: NodeId, what: &str) {
        self.world.note(node, || what.to_owned());
    }
}

impl Read {
    fn of(outcome: Result<Option<Outcome<crate::fake::Seen>>, Error>) -> Self {
        let failed = outcome.is_err();
        let outcome = outcome.ok().flatten();
        Read {
            version: outcome.as_ref().map(|outcome| outcome.version),
            source: outcome.as_ref().map(Outcome::source),
            failed,
        }
    }

    /// Whether memory had it.
    pub(crate) fn is_hit(&self) -> bool {
        self.source == Some(Source::Memory)
    }

    /// Whether a store had it.
    pub(crate) fn is_from_store(&self) -> bool {
        matches!(self.source, Some(Source::Store(_)))
    }

    /// Whether the loader brought it.
    pub(crate) fn is_loaded(&self) -> bool {
        self.source == Some(Source::Loader)
    }
}

fn underway<T: Send + 'static>(
    rt: &NodeRuntime,
    work: impl Future<Output = T> + Send + 'static,
) -> Underway<T> {
    let (answer, answered) = oneshot::channel();
    rt.spawn(async move { drop(answer.send(work.await)) });
    Underway(answered)
}

/// A reader, told apart from whatever else its node does.
struct Reader<F>(Pin<Box<F>>);

impl<F: Future> Future for Reader<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let before = IN_READER.replace(true);
        let polled = self.0.as_mut().poll(cx);
        IN_READER.set(before);
        polled
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
