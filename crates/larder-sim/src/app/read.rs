//! Reading: one key, many keys, a value built from others; each answer goes to the oracle.

use crate::fake::{Origin, OriginError, RowId, Seen};
use crate::fault::Fault;
use crate::node::Node;
use crate::oracle::{Answer, Region as Kind};
use larder::{AbsentAsNone, Error, Freshness, Load, Loaded, Outcome, Region, Segments, Source, key, tag};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

thread_local! {
    static IN_LOADER: Cell<bool> = const { Cell::new(false) };
}

/// Whether a loader is being polled right now. Other tasks must not run inside of one: what they read would count as read
/// by the loader, which real threads never do to each other.
pub(crate) fn is_in_loader() -> bool {
    IN_LOADER.get()
}

struct InLoader<F>(F);

impl<F: Future + Unpin> Future for InLoader<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let before = IN_LOADER.replace(true);
        let polled = Pin::new(&mut self.0).poll(cx);
        IN_LOADER.set(before);
        polled
    }
}

/// One read by one user.
pub(super) async fn read(node: &Node, row: RowId) {
    match node.world.sim().draw(|rng| rng.u32(..100)) {
        0..55 => drop(read_row(node, Kind::Bounded, row).await),
        55..63 => drop(read_row(node, Kind::Eventual, row).await),
        63..67 => drop(read_row(node, Kind::Lagging, row).await),
        67..82 => drop(read_row(node, Kind::Safe, row).await),
        82..88 => read_sum(node, row).await,
        88..94 => read_many(node, row).await,
        94..97 => look_up(node, row).await,
        97..98 => drop(node.region_of(row, Kind::Bounded).expire(node.key_of(row)).await),
        98..99 => drop(node.region_of(row, Kind::Safe).remove(node.key_of(row)).await),
        _ => warm(node, row).await,
    }
}

/// Reads a row through a region; what came back, once the oracle has judged it.
pub(crate) async fn read_row(node: &Node, kind: Kind, row: RowId) -> Result<Option<Outcome<Seen>>, Error> {
    let begun = node.world.sim().now();
    let outcome = fetch(node, kind, row).await;
    judge(node, kind, row, begun, &outcome, None);
    outcome
}

/// Reads a row through a region; what came of it is nobody's business yet.
pub(super) async fn fetch(node: &Node, kind: Kind, row: RowId) -> Result<Option<Outcome<Seen>>, Error> {
    let load = load_row(node.origin.clone(), kind, row);
    node.region_of(row, kind).get_or_load(node.key_of(row), load).await.absent_as_none()
}

type Loading = InLoader<Pin<Box<dyn Future<Output = Result<Loaded<Seen>, OriginError>> + Send>>>;

fn load_row(origin: Origin, kind: Kind, row: RowId) -> impl FnOnce(Load<Seen>) -> Loading + Send + 'static {
    move |load| {
        InLoader(Box::pin(async move {
            let group = origin.world.database().group_of(row);
            load.tags([tag!["row", row.0], tag!["group", group]]);
            let read = match kind {
                Kind::Lagging if origin.world.options().has(Fault::DbReplicaLag) => {
                    origin.read_replica(row).await?
                }
                _ => origin.read(row).await?,
            };
            let Some(seen) = read else { return Ok(load.absent()) };
            let is_same = load.previous() == Some(&seen);
            if is_same && origin.world.sim().chance(0.5) {
                // Its owner's tag is on it already.
                return Ok(load.not_modified());
            }
            load.tag(tag!["owner", row.0, seen.owner]);
            Ok(Loaded::Value(seen))
        }))
    }
}

/// Reads the rows of a group as one value, built from the cached rows.
async fn read_sum(node: &Node, row: RowId) {
    let begun = node.world.sim().now();
    let siblings = node.world.database().siblings(row);
    let group = node.world.database().group_of(row);
    let region = &node.tenant_of(row).sums;
    let (working, parts) = (node.clone(), siblings.clone());
    let outcome = region
        .get_or_load(key![group], move |_load| {
            InLoader(Box::pin(async move {
                let mut sum = Vec::new();
                for row in parts {
                    let region = working.region_of(row, Kind::Bounded).clone();
                    let load = load_row(working.origin.clone(), Kind::Bounded, row);
                    let part = region.get_or_load(working.key_of(row), load).await.absent_as_none()?;
                    sum.extend(part.map(|part| *part));
                }
                Ok::<_, Error>(sum)
            }))
        })
        .await;
    let (database, ended) = (node.world.database(), node.world.sim().now());
    let mut oracle = node.world.oracle();
    match outcome {
        Err(_) => oracle.witnessed.failed_reads += 1,
        Ok(outcome) => {
            for row in siblings {
                let seen = outcome.iter().find(|seen| seen.row == row.0).copied();
                let (source, freshness) = (Some(outcome.source()), outcome.freshness());
                let node = node.rt.node;
                let answer = Answer {
                    node,
                    region: Kind::Sums,
                    row,
                    begun,
                    ended,
                    seen,
                    source,
                    freshness,
                    session: None,
                };
                oracle.judge(&database, &answer);
            }
        }
    }
}

/// Reads the rows of a group with one call.
pub(crate) async fn read_many(node: &Node, row: RowId) {
    let begun = node.world.sim().now();
    let siblings = node.world.database().siblings(row);
    let keys: BTreeMap<Vec<u8>, RowId> =
        siblings.iter().map(|row| (node.key_of(*row).as_bytes().to_vec(), *row)).collect();
    let origin = node.origin.clone();
    let asked = siblings.iter().map(|row| node.key_of(*row));
    let outcomes = node
        .region_of(row, Kind::Bounded)
        .get_many_or_load(asked, move |batch| {
            InLoader(Box::pin(async move {
                let missing: Vec<(Segments, RowId)> =
                    batch.keys().filter_map(|key| Some((key.clone(), *keys.get(key.as_bytes())?))).collect();
                let rows: Vec<RowId> = missing.iter().map(|(_, row)| *row).collect();
                let seen = origin.read_many(&rows).await?;
                let mut answers = Vec::new();
                for ((key, row), seen) in missing.into_iter().zip(seen) {
                    let group = origin.world.database().group_of(row);
                    batch.tag(&key, tag!["row", row.0]);
                    batch.tag(&key, tag!["group", group]);
                    if let Some(seen) = seen {
                        batch.tag(&key, tag!["owner", row.0, seen.owner]);
                        answers.push((key, seen));
                    }
                }
                Ok::<_, OriginError>(answers)
            }))
        })
        .await;
    for (row, outcome) in siblings.into_iter().zip(outcomes) {
        judge(node, Kind::Bounded, row, begun, &outcome.absent_as_none(), None);
    }
}

/// Looks without loading.
async fn look_up(node: &Node, row: RowId) {
    let begun = node.world.sim().now();
    match node.region_of(row, Kind::Bounded).get(node.key_of(row)).await {
        Ok(Some(outcome)) => judge(node, Kind::Bounded, row, begun, &Ok(Some(outcome)), None),
        Err(error) if error.is_absent() => judge(node, Kind::Bounded, row, begun, &Ok(None), None),
        Ok(None) | Err(_) => {}
    }
}

/// Puts what it reads from the database itself.
async fn warm(node: &Node, row: RowId) {
    let region: &Region<Seen> = node.region_of(row, Kind::Bounded);
    let snapshot = region.snapshot();
    if let Ok(Some(seen)) = node.origin.look(row).await {
        let group = node.world.database().group_of(row);
        let tags = [tag!["row", row.0], tag!["group", group], tag!["owner", row.0, seen.owner]];
        let _ = region.put_as_of(snapshot, node.key_of(row), seen, tags);
    }
}

/// Hands an answer to the oracle. `session`: what the session it belongs to has seen already.
pub(super) fn judge(
    node: &Node,
    region: Kind,
    row: RowId,
    begun: u64,
    outcome: &Result<Option<Outcome<Seen>>, Error>,
    session: Option<u64>,
) {
    let world = &node.world;
    let ended = world.sim().now();
    let database = world.database();
    let mut oracle = world.oracle();
    let Ok(outcome) = outcome else {
        oracle.witnessed.failed_reads += 1;
        return;
    };
    let seen = outcome.as_ref().map(|outcome| **outcome);
    let source = outcome.as_ref().map(Outcome::source);
    let freshness = outcome.as_ref().map_or(Freshness::Fresh, Outcome::freshness);
    let answer = Answer { node: node.rt.node, region, row, begun, ended, seen, source, freshness, session };
    oracle.judge(&database, &answer);
    drop((oracle, database));
    world.note(node.rt.node, || {
        let began = (begun - crate::sched::SECOND) as f64 / 1e9;
        format!("read of row {} begun {began:.6}: {seen:?} {source:?} {freshness:?} {region:?}", row.0)
    });
}

/// Where the rows of a sweep came from; those that exist.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    pub(crate) reads: u64,
    pub(crate) from_memory: u64,
    pub(crate) from_store: u64,
}

/// After the faults: every row through every region must be the newest there is.
pub(crate) async fn sweep(node: &Node) -> Swept {
    let mut swept = Swept::default();
    for row in (0..node.world.options().rows).map(RowId) {
        for kind in [Kind::Bounded, Kind::Eventual, Kind::Safe] {
            let source = match read_row(node, kind, row).await {
                Ok(Some(outcome)) => Some(outcome.source()),
                Ok(None) => continue,
                Err(_) => None,
            };
            swept.reads += 1;
            swept.from_memory += u64::from(source == Some(Source::Memory));
            swept.from_store += u64::from(matches!(source, Some(Source::Store(_))));
        }
    }
    swept
}
