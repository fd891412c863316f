//! A cluster: which node owns which slot, learnt from the nodes and from being sent elsewhere.
//!
//! It follows MOVED and ASK, which say that nothing happened, within the operation's deadline. Unlike the client
//! library's own cluster connection, it never sends a command again whose answer was lost.

use super::address::Address;
use super::dial::dial;
use super::error::RedisError;
use super::line::{Aim, Deadline};
use super::node::{Lane, Node};
use super::options::{RedisOptions, Role};
use super::reply;
use super::slot::SLOTS;
use crate::backoff::{Backoff, jittered};
use arc_swap::ArcSwapOption;
use redis::{Cmd, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

/// How often the nodes are asked who owns what, without a reason.
const REFRESH: Duration = Duration::from_secs(10);
/// The shortest time between two such questions.
const REST: Duration = Duration::from_millis(100);
/// How often one command may be sent elsewhere. A cluster that is well needs two.
const HOPS: usize = 8;
/// How long to wait for keys that are just being moved.
const MOVING: Duration = Duration::from_millis(10);

pub(super) struct Cluster {
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

struct Shared {
    options: Arc<RedisOptions>,
    seeds: Vec<Address>,
    map: ArcSwapOption<Map>,
    nodes: Mutex<HashMap<Address, Arc<Node>>>,
    wanted: Notify,
    /// What the last question ended with; `None` before the first.
    asked: watch::Sender<Option<Result<(), RedisError>>>,
}

/// Who owns what, as of one answer.
struct Map {
    owners: Vec<Option<Arc<Node>>>,
    masters: Vec<Arc<Node>>,
}

impl Cluster {
    pub(super) fn new(seeds: Vec<Address>, options: Arc<RedisOptions>) -> Self {
        let shared = Arc::new(Shared {
            options,
            seeds,
            map: ArcSwapOption::empty(),
            nodes: Mutex::default(),
            wanted: Notify::new(),
            asked: watch::Sender::new(None),
        });
        let task = tokio::spawn(survey(Arc::clone(&shared)));
        Cluster { shared, _task: AbortOnDropHandle::new(task) }
    }

    /// Sends a command to the owner of its slot, or to any master when it has none.
    pub(super) async fn send(
        &self,
        cmd: &Cmd,
        slot: Option<u16>,
        lane: Lane,
        by: Deadline,
    ) -> Result<Value, RedisError> {
        let mut node = self.owner(slot, by).await?;
        let mut asking = false;
        let mut hops = 0;
        loop {
            let result = if asking {
                let mut pipe = redis::Pipeline::with_capacity(2);
                pipe.cmd("ASKING").add_command(cmd.clone());
                let answers = node.line(lane).send_all(&pipe, 1, by).await;
                answers.and_then(|mut answers| reply::of(Ok(answers.pop().unwrap_or(Value::Nil))))
            } else {
                node.line(lane).send(cmd, by).await
            };
            let Err(error) = result else { return result };
            hops += 1;
            match (error.code(), error.elsewhere()) {
                (Some(code @ ("MOVED" | "ASK")), Some((slot, place))) if hops < HOPS => {
                    asking = code == "ASK";
                    node = self.shared.node(place, &node)?;
                    if !asking {
                        self.shared.wanted.notify_one();
                        self.shared.correct(slot, &node);
                    }
                }
                // Some of the keys are here and some are there.
                (Some("TRYAGAIN"), _) if hops < HOPS => tokio::time::sleep(MOVING).await,
                _ => {
                    if !error.is_refused() || error.code() == Some("CLUSTERDOWN") {
                        self.shared.wanted.notify_one();
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Who owns a slot; any master when there is none.
    pub(super) async fn owner(&self, slot: Option<u16>, by: Deadline) -> Result<Arc<Node>, RedisError> {
        let find = |map: &Map| match slot {
            Some(slot) => map.owners[usize::from(slot) % SLOTS].clone(),
            None => map.masters.iter().find(|node| node.is_up()).or(map.masters.first()).cloned(),
        };
        if let Some(node) = self.shared.map.load().as_deref().and_then(find) {
            return Ok(node);
        }
        self.settle(by).await;
        if let Some(node) = self.shared.map.load().as_deref().and_then(find) {
            return Ok(node);
        }
        self.shared.wanted.notify_one();
        Err(match &*self.shared.asked.borrow() {
            Some(Err(error)) => RedisError::unsent(format!("the cluster cannot be reached: {error}")),
            _ => RedisError::unsent("no node of the cluster owns the slot"),
        })
    }

    /// Waits for the first answer to who owns what.
    pub(super) async fn settle(&self, by: Deadline) {
        let mut asked = self.shared.asked.subscribe();
        let _ = tokio::time::timeout_at(by.at, asked.wait_for(Option::is_some)).await;
    }

    pub(super) fn masters(&self) -> Vec<Arc<Node>> {
        self.shared.map.load().as_deref().map(|map| map.masters.clone()).unwrap_or_default()
    }

    pub(super) fn fault(&self) -> Option<RedisError> {
        self.shared.asked.borrow().as_ref().and_then(|asked| asked.as_ref().err().cloned())
    }

    /// Asks anew who owns what, soon.
    pub(super) fn doubt(&self) {
        self.shared.wanted.notify_one();
    }
}

impl Shared {
    /// The node at a place that `at` named; an empty host is its own.
    fn node(&self, place: &str, at: &Node) -> Result<Arc<Node>, RedisError> {
        let place = match (place.strip_prefix(':'), at.address()) {
            (Some(port), Some(Address::Tcp(host, _))) => format!("{host}:{port}"),
            _ => place.to_owned(),
        };
        // IPv6 comes without brackets: the port is what follows the last colon.
        let (host, port) = place.rsplit_once(':').unwrap_or((&place, ""));
        let port = port.parse().map_err(|_| RedisError::unintelligible("where a cluster sends to"))?;
        Ok(self.node_at(Address::Tcp(host.trim_matches(['[', ']']).to_owned(), port)))
    }

    fn node_at(&self, address: Address) -> Arc<Node> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let node = || Arc::new(Node::at(Aim::Server(address.clone()), Arc::clone(&self.options)));
        Arc::clone(nodes.entry(address.clone()).or_insert_with(node))
    }

    /// One slot has another owner; the rest of the map stands until it is asked for.
    fn correct(&self, slot: u16, node: &Arc<Node>) {
        let Some(map) = self.map.load_full() else { return };
        if map.owners[usize::from(slot) % SLOTS].as_ref().is_some_and(|owner| Arc::ptr_eq(owner, node)) {
            return;
        }
        let mut owners = map.owners.clone();
        owners[usize::from(slot) % SLOTS] = Some(Arc::clone(node));
        let mut masters = map.masters.clone();
        if !masters.iter().any(|master| Arc::ptr_eq(master, node)) {
            masters.push(Arc::clone(node));
        }
        self.map.store(Some(Arc::new(Map { owners, masters })));
    }

    /// Asks the nodes known so far, and the seeds, until one answers.
    async fn ask(&self) -> Result<Map, RedisError> {
        let known = self.map.load_full();
        let masters = known.iter().flat_map(|map| &map.masters).filter(|node| node.is_up());
        let mut places: Vec<Address> = masters.filter_map(|node| node.address().cloned()).collect();
        places.extend(self.seeds.iter().cloned());
        let mut last = RedisError::unsent("no node was asked");
        for place in places {
            match self.ask_one(&place).await {
                Ok(map) => return Ok(map),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask_one(&self, place: &Address) -> Result<Map, RedisError> {
        let mut connection = dial(&self.options, place, Role::Server, |_| {}).await?;
        let mut cmd = redis::cmd("CLUSTER");
        cmd.arg("SLOTS");
        let deadline = self.options.connect_deadline();
        let answer = tokio::time::timeout(deadline, connection.send_packed_command(&cmd)).await;
        let answer = reply::of(answer.map_err(|_| RedisError::late(deadline))?)?;
        let mut map = Map { owners: vec![None; SLOTS], masters: Vec::new() };
        for (first, last, master) in ranges(answer, place)? {
            let node = self.node_at(master);
            map.owners[usize::from(first)..=usize::from(last)].fill(Some(Arc::clone(&node)));
            if !map.masters.iter().any(|known| Arc::ptr_eq(known, &node)) {
                map.masters.push(node);
            }
        }
        if map.masters.is_empty() {
            return Err(RedisError::unsent(format!("{place} knows no owner of any slot")));
        }
        Ok(map)
    }
}

/// The slots and their masters, out of `CLUSTER SLOTS`.
fn ranges(answer: Value, place: &Address) -> Result<Vec<(u16, u16, Address)>, RedisError> {
    let unintelligible = || RedisError::unintelligible("ranges of slots");
    let Value::Array(rows) = answer else { return Err(unintelligible()) };
    let mut ranges = Vec::with_capacity(rows.len());
    for row in rows {
        let Value::Array(row) = row else { return Err(unintelligible()) };
        let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &row[..] else {
            return Err(unintelligible());
        };
        let [host, Value::Int(port), ..] = &master[..] else { return Err(unintelligible()) };
        let host: Option<String> = redis::from_redis_value_ref(host).map_err(|_| unintelligible())?;
        // Without a name for itself, it is where we found it.
        let host = match (host.filter(|host| !host.is_empty() && host != "?"), place) {
            (Some(host), _) => host,
            (None, Address::Tcp(host, _)) => host.clone(),
            (None, Address::Unix(_)) => return Err(unintelligible()),
        };
        let number = |number: i64| u16::try_from(number).map_err(|_| unintelligible());
        let (first, last) = (number(*first)?, number(*last)?);
        if first > last || usize::from(last) >= SLOTS {
            return Err(unintelligible());
        }
        ranges.push((first, last, Address::Tcp(host, number(*port)?)));
    }
    Ok(ranges)
}

/// Keeps the map: now and then, and whenever somebody was sent elsewhere or found a node gone.
async fn survey(shared: Arc<Shared>) {
    let mut backoff = Backoff::default();
    loop {
        let answer = shared.ask().await;
        let outcome = answer.map(|map| {
            let mut nodes = shared.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            nodes.retain(|_, node| map.masters.iter().any(|master| Arc::ptr_eq(master, node)));
            drop(nodes);
            shared.map.store(Some(Arc::new(map)));
        });
        let pause = match &outcome {
            Ok(()) => {
                backoff.reset();
                jittered(REFRESH)
            }
            Err(_) => backoff.next(),
        };
        if let Err(error) = &outcome
            && !matches!(&*shared.asked.borrow(), Some(Err(_)))
        {
            tracing::warn!(%error, "cannot learn who owns what in the Redis cluster; attempts go on");
        }
        let failed = outcome.is_err();
        shared.asked.send_replace(Some(outcome));
        tokio::time::sleep(jittered(REST)).await;
        tokio::select! {
            () = shared.wanted.notified(), if !failed => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, ranges};

    fn of(text: &str) -> Result<Vec<(u16, u16, Address)>, super::RedisError> {
        let value = redis::parse_redis_value(text.as_bytes()).unwrap();
        ranges(value, &Address::Tcp("asked".to_owned(), 1))
    }

    #[test]
    fn ranges_of_slots() {
        let found =
            of("*2\r\n*3\r\n:0\r\n:5\r\n*2\r\n$1\r\na\r\n:7\r\n*3\r\n:6\r\n:16383\r\n*2\r\n$0\r\n\r\n:8\r\n");
        let tcp = |host: &str, port| Address::Tcp(host.to_owned(), port);
        assert_eq!(found.unwrap(), [(0, 5, tcp("a", 7)), (6, 16_383, tcp("asked", 8))]);
        assert!(of("*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:7\r\n").is_err());
        assert!(of("*1\r\n*3\r\n:9\r\n:2\r\n*2\r\n$1\r\na\r\n:7\r\n").is_err());
        assert!(of("+OK\r\n").is_err());
    }
}
