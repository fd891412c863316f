//! The servers as one: a single one, the master of a Sentinel set, or a cluster. Knows which commands go where.

use super::address::{Address, Topology};
use super::cluster::Cluster;
use super::error::RedisError;
use super::line::{Aim, Deadline};
use super::node::{Lane, Node};
use super::options::RedisOptions;
use super::reply;
use super::sentinel::Sentinels;
use super::slot::slot;
use redis::{Arg, Cmd, Pipeline, Value};
use std::sync::Arc;

pub(super) enum Servers {
    One { node: Node, sentinels: Option<Arc<Sentinels>> },
    Cluster(Cluster),
}

impl Servers {
    pub(super) fn of(options: &Arc<RedisOptions>) -> Self {
        let node = |aim| Node::at(aim, Arc::clone(options));
        match options.location.topology.clone() {
            Topology::Single(address) => Servers::One { node: node(Aim::Server(address)), sentinels: None },
            Topology::Sentinel { sentinels, master } => {
                let sentinels = Arc::new(Sentinels::new(sentinels, master));
                Servers::One { node: node(Aim::Master(Arc::clone(&sentinels))), sentinels: Some(sentinels) }
            }
            Topology::Cluster { seeds } => Servers::Cluster(Cluster::new(seeds, Arc::clone(options))),
        }
    }

    /// Sends a command to where its key lives.
    pub(super) async fn send(&self, cmd: &Cmd, lane: Lane, by: Deadline) -> Result<Value, RedisError> {
        match self {
            Servers::One { node, .. } => node.line(lane).send(cmd, by).await,
            // Boxed, so that a hit on a single server is not as large as all that a cluster may need.
            Servers::Cluster(cluster) => Box::pin(cluster.send(cmd, key_of(cmd).map(slot), lane, by)).await,
        }
    }

    /// Sends commands together, at once to all the nodes concerned; the answers are in the commands' order.
    pub(super) async fn send_each(
        &self,
        cmds: &[Cmd],
        lane: Lane,
        by: Deadline,
    ) -> Vec<Result<Value, RedisError>> {
        let cluster = match self {
            Servers::One { node, .. } => return send_together(node, cmds.iter(), lane, by).await,
            Servers::Cluster(cluster) => cluster,
        };
        // By owner: one packet to each, and the few that were sent elsewhere once more by themselves.
        let mut groups: Vec<(Arc<Node>, Vec<usize>)> = Vec::new();
        let mut answers: Vec<Result<Value, RedisError>> = Vec::with_capacity(cmds.len());
        for (at, cmd) in cmds.iter().enumerate() {
            match cluster.owner(key_of(cmd).map(slot), by).await {
                Err(error) => answers.push(Err(error)),
                Ok(owner) => {
                    answers.push(Ok(Value::Nil));
                    match groups.iter_mut().find(|(node, _)| Arc::ptr_eq(node, &owner)) {
                        Some((_, group)) => group.push(at),
                        None => groups.push((owner, vec![at])),
                    }
                }
            }
        }
        let sent = groups.iter().map(|(node, group)| async move {
            let mut replies = send_together(node, group.iter().map(|at| &cmds[*at]), lane, by).await;
            for (reply, at) in replies.iter_mut().zip(group) {
                if matches!(reply, Err(error) if error.elsewhere().is_some() || error.code() == Some("TRYAGAIN")) {
                    let cmd = &cmds[*at];
                    *reply = cluster.send(cmd, key_of(cmd).map(slot), lane, by).await;
                }
            }
            if replies.iter().any(|reply| matches!(reply, Err(error) if !error.is_refused())) {
                cluster.doubt();
            }
            replies
        });
        let sent = join(sent.collect()).await;
        for ((_, group), replies) in groups.iter().zip(sent) {
            for (at, reply) in group.iter().zip(replies) {
                answers[*at] = reply;
            }
        }
        answers
    }

    /// The same command to every master.
    pub(super) async fn send_to_all(&self, cmd: &Cmd, by: Deadline) -> Result<Vec<Value>, RedisError> {
        match self {
            Servers::One { node, .. } => Ok(vec![node.line(Lane::Ordinary).send(cmd, by).await?]),
            Servers::Cluster(cluster) => {
                cluster.settle(by).await;
                let masters = cluster.masters();
                if masters.is_empty() {
                    return Err(RedisError::unsent("no master of the cluster is known"));
                }
                let sent = masters.iter().map(|node| node.line(Lane::Ordinary).send(cmd, by));
                join(sent.collect()).await.into_iter().collect()
            }
        }
    }

    /// A command to the master of this number, and whether it is the last; `None` when there are fewer.
    pub(super) async fn send_to_one_of(
        &self,
        number: usize,
        cmd: &Cmd,
        by: Deadline,
    ) -> Result<Option<(Value, bool)>, RedisError> {
        match self {
            Servers::One { .. } if number > 0 => Ok(None),
            Servers::One { node, .. } => Ok(Some((node.line(Lane::Ordinary).send(cmd, by).await?, true))),
            Servers::Cluster(cluster) => {
                cluster.settle(by).await;
                let masters = cluster.masters();
                let Some(node) = masters.get(number) else { return Ok(None) };
                let answer = node.line(Lane::Ordinary).send(cmd, by).await?;
                Ok(Some((answer, number + 1 == masters.len())))
            }
        }
    }

    /// Waits until the first attempt to connect has ended, either way.
    pub(super) async fn settle(&self, by: Deadline) {
        match self {
            Servers::One { node, .. } => node.line(Lane::Ordinary).settle(by.at).await,
            Servers::Cluster(cluster) => {
                cluster.settle(by).await;
                let masters = cluster.masters();
                join(masters.iter().map(|node| node.line(Lane::Ordinary).settle(by.at)).collect()).await;
            }
        }
    }

    /// The server on which a channel is heard, and whether its messages stay within a shard.
    pub(super) async fn place_of(
        &self,
        channel: &[u8],
        options: &RedisOptions,
    ) -> Result<(Address, bool), RedisError> {
        match self {
            Servers::One { sentinels: Some(sentinels), .. } => {
                Ok((sentinels.find_master(options).await?, false))
            }
            Servers::One { node, .. } => match node.address() {
                Some(address) => Ok((address.clone(), false)),
                None => Err(RedisError::unsent("no address")),
            },
            Servers::Cluster(cluster) => {
                let by = Deadline::after(options.connect_deadline());
                let owner = cluster.owner(Some(slot(channel)), by).await?;
                match owner.address() {
                    Some(address) => Ok((address.clone(), true)),
                    None => Err(RedisError::unsent("no address")),
                }
            }
        }
    }

    /// What was found out about the servers may be wrong: it is looked at anew.
    pub(super) fn doubt(&self) {
        if let Servers::Cluster(cluster) = self {
            cluster.doubt();
        }
    }

    /// The masters, as far as they are known: whether each is connected, how often it was, and what it failed with.
    pub(super) fn each_master(&self, mut look: impl FnMut(bool, u64, Option<RedisError>)) {
        let mut look = |node: &Node| look(node.is_up(), node.made(), node.fault());
        match self {
            Servers::One { node, .. } => look(node),
            Servers::Cluster(cluster) => cluster.masters().iter().for_each(|node| look(node)),
        }
    }

    pub(super) fn fault(&self) -> Option<RedisError> {
        match self {
            Servers::One { .. } => None,
            Servers::Cluster(cluster) => cluster.fault(),
        }
    }
}

/// Several commands in one packet over one line; one alone travels as itself.
async fn send_together<'a>(
    node: &Node,
    cmds: impl ExactSizeIterator<Item = &'a Cmd>,
    lane: Lane,
    by: Deadline,
) -> Vec<Result<Value, RedisError>> {
    let count = cmds.len();
    if count == 0 {
        return Vec::new();
    }
    let mut cmds = cmds;
    if count == 1 {
        return match cmds.next() {
            Some(cmd) => vec![node.line(lane).send(cmd, by).await],
            None => Vec::new(),
        };
    }
    let mut pipe = Pipeline::with_capacity(count);
    cmds.for_each(|cmd| {
        pipe.add_command(cmd.clone());
    });
    match node.line(lane).send_all(&pipe, 0, by).await {
        Ok(answers) if answers.len() == count => {
            answers.into_iter().map(|answer| reply::of(Ok(answer))).collect()
        }
        Ok(_) => vec![Err(RedisError::unintelligible("one answer to each command")); count],
        Err(error) => vec![Err(error); count],
    }
}

/// The key by which a command is routed; `None` for those without.
fn key_of(cmd: &Cmd) -> Option<&[u8]> {
    let mut args = cmd.args_iter().map(|arg| match arg {
        Arg::Simple(bytes) => bytes,
        _ => &b"0"[..],
    });
    match args.next()? {
        b"EVAL" | b"EVALSHA" => args.nth(2),
        b"PING" | b"DBSIZE" | b"INFO" | b"TIME" | b"PUBLISH" | b"SCAN" | b"SCRIPT" | b"ROLE" => None,
        _ => args.next(),
    }
}

/// All of these at once, in their order.
pub(super) async fn join<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::key_of;

    #[test]
    fn the_key_of_a_command() {
        assert_eq!(key_of(redis::cmd("GET").arg("k")), Some(&b"k"[..]));
        assert_eq!(key_of(redis::cmd("EVALSHA").arg("hash").arg(1).arg("k").arg("a")), Some(&b"k"[..]));
        assert_eq!(key_of(redis::cmd("SPUBLISH").arg("channel").arg("m")), Some(&b"channel"[..]));
        assert_eq!(key_of(redis::cmd("INFO").arg("memory")), None);
    }
}
