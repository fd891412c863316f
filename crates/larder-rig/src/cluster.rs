//! A cluster of three shards, each a master and a replica: handed over, killed, and with slots on the move, so that
//! clients meet MOVED, ASK, READONLY and CLUSTERDOWN.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use crate::{Error, Flavour, Server, Setup, patience::until, server::addresses};

const SHARDS: usize = 3;
const SLOTS: u16 = 16_384;
/// A master that does not answer for this long is failed over, in milliseconds.
const NODE_TIMEOUT: &str = "1000";
/// How long gossip may take to agree on something: it is slow, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(40);

/// Six servers that know each other.
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<Server>,
}

/// A server as CLUSTER NODES of another one describes it.
#[derive(Debug)]
struct Seen {
    id: String,
    port: u16,
    is_master: bool,
    has_failed: bool,
    /// Of a replica.
    master: String,
    slots: Vec<Slots>,
}

/// What a master serves, and who follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Share {
    master: String,
    slots: Vec<Slots>,
    replicas: Vec<String>,
}

/// From the first to the last.
type Slots = RangeInclusive<u16>;

impl Cluster {
    /// Starts it, and waits until all its servers agree on who has what.
    ///
    /// # Errors
    /// When the flavour is not installed, a server does not start, or they do not agree.
    pub fn start(flavour: Flavour) -> Result<Self, Error> {
        Self::arranged(flavour, |setup| setup)
    }

    /// The same, with settings of one's own in every server.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn arranged(flavour: Flavour, arrange: impl Fn(Setup) -> Setup) -> Result<Self, Error> {
        let setup = || {
            let setup = arrange(Server::configure(flavour)).cluster();
            setup
                .setting("cluster-node-timeout", NODE_TIMEOUT)
                .setting("cluster-replica-validity-factor", "0")
        };
        let mut servers = vec![setup().start()?];
        for _ in 1..2 * SHARDS {
            servers.push(setup().certified_as(&servers[0]).start()?);
        }
        let cluster = Self { servers };
        cluster.introduce()?;
        cluster.settle()?;
        Ok(cluster)
    }

    fn introduce(&self) -> Result<(), Error> {
        let (masters, replicas) = self.servers.split_at(SHARDS);
        for (server, shard) in masters.iter().zip(0_u16..) {
            let share = |shard: u16| u32::from(SLOTS) * u32::from(shard) / SHARDS as u32;
            let (first, last) = (share(shard).to_string(), (share(shard + 1) - 1).to_string());
            server.ask(&["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
            server.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(shard + 1).to_string()])?;
        }
        for server in &self.servers {
            for other in self.servers.iter().filter(|other| other.port() != server.port()) {
                let (port, bus) = (other.public_port(), other.bus().unwrap_or_default());
                let (port, bus) = (port.to_string(), bus.to_string());
                server.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
            }
        }
        for (replica, master) in replicas.iter().zip(masters) {
            let id = master.ask(&["CLUSTER", "MYID"])?.text();
            // Refused until the two have met.
            until("a replica knows its master", PATIENCE, || {
                replica.ask(&["CLUSTER", "REPLICATE", &id]).is_ok()
            })?;
        }
        Ok(())
    }

    /// Waits until every server that runs sees all slots served, each by a master with a replica that follows it, dead
    /// servers aside.
    ///
    /// # Errors
    /// When that does not come to be.
    pub fn settle(&self) -> Result<(), Error> {
        until("the cluster agrees", PATIENCE, || self.is_settled().unwrap_or(false))
    }

    fn is_settled(&self) -> Result<bool, Error> {
        let running: Vec<u16> = self.running().map(Server::port).collect();
        let mut agreed: Option<Vec<Share>> = None;
        for server in self.running() {
            let ok = server.ask(&["CLUSTER", "INFO"])?.text().contains("cluster_state:ok");
            let follows = server.info("role")? == "master" || server.info("master_link_status")? == "up";
            let seen = seen_by(server)?;
            let well = seen.iter().filter(|one| !one.has_failed && running.contains(&one.port)).count();
            let shares = shares(&seen);
            let covered: usize =
                shares.iter().flat_map(|share| &share.slots).map(ExactSizeIterator::len).sum();
            // A server that was told something first is of another opinion than the others for a while.
            let agrees = agreed.get_or_insert_with(|| shares.clone()) == &shares;
            if !(ok && follows && agrees && well == running.len() && covered == usize::from(SLOTS)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All of them, in no order that means something after a fail-over.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// How a client of Larder finds it.
    pub fn url(&self) -> String {
        let scheme = if self.authority().is_some() { "rediss" } else { "redis" };
        format!("{scheme}+cluster://{}", addresses(&self.servers))
    }

    /// The certificate of who signed its servers', if it was set up with TLS.
    pub fn authority(&self) -> Option<PathBuf> {
        self.servers.first().and_then(Server::authority)
    }

    fn running(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(|server| server.process_id().is_some())
    }

    /// The slot of a key: of what is between its first braces, if it has any.
    ///
    /// # Errors
    /// When no server answers.
    pub fn slot(&self, key: impl AsRef<[u8]>) -> Result<u16, Error> {
        let slot = self.any()?.ask(&[b"CLUSTER".as_slice(), b"KEYSLOT", key.as_ref()])?.number();
        slot.and_then(|slot| u16::try_from(slot).ok()).ok_or_else(|| Error::new("a slot is a small number"))
    }

    fn any(&self) -> Result<&Server, Error> {
        self.running().next().ok_or_else(|| Error::new("no server of the cluster runs"))
    }

    fn seen(&self) -> Result<Vec<Seen>, Error> {
        seen_by(self.any()?)
    }

    fn at(&self, port: u16) -> Result<&Server, Error> {
        let server = self.servers.iter().find(|server| server.port() == port);
        server.ok_or_else(|| Error::new("the cluster knows a server that is not the rig's"))
    }

    /// Who serves this slot.
    ///
    /// # Errors
    /// When nobody does, or no server answers.
    pub fn master(&self, slot: u16) -> Result<&Server, Error> {
        let seen = self.seen()?;
        let owner =
            seen.iter().find(|one| !one.has_failed && one.slots.iter().any(|slots| slots.contains(&slot)));
        self.at(owner.ok_or_else(|| Error::new("nobody serves the slot"))?.port)
    }

    /// Who follows the one that serves this slot.
    ///
    /// # Errors
    /// When nobody does, or no server answers.
    pub fn replica(&self, slot: u16) -> Result<&Server, Error> {
        let master = self.master(slot)?.ask(&["CLUSTER", "MYID"])?.text();
        let seen = self.seen()?;
        let replica = seen.iter().find(|one| one.master == master && !one.has_failed);
        self.at(replica.ok_or_else(|| Error::new("the slot has no replica"))?.port)
    }

    /// The replica takes over in good order, losing nothing. The old master follows it.
    ///
    /// # Errors
    /// When it does not.
    pub fn hand_over(&self, slot: u16) -> Result<(), Error> {
        let replica = self.replica(slot)?;
        replica.ask(&["CLUSTER", "FAILOVER"])?;
        until("the replica takes over", PATIENCE, || {
            replica.info("role").is_ok_and(|role| role == "master")
        })?;
        self.settle()
    }

    /// kill -9 of who serves this slot; returns at once, with the dead. Its replica takes over by itself, within seconds,
    /// and may lack what was written last: [`Cluster::settle`] waits for that.
    ///
    /// # Errors
    /// When nobody serves it.
    pub fn kill_master(&self, slot: u16) -> Result<&Server, Error> {
        let master = self.master(slot)?;
        master.kill();
        Ok(master)
    }

    /// Begins to move a slot to another shard: from now on keys of it that its server does not have are answered with ASK.
    ///
    /// # Errors
    /// When a server refuses.
    pub fn begin_move(&self, slot: u16) -> Result<Move<'_>, Error> {
        let from = self.master(slot)?;
        let other = self
            .seen()?
            .iter()
            .find(|one| !one.slots.is_empty() && one.port != from.port())
            .map(|one| one.port);
        let to = self.at(other.ok_or_else(|| Error::new("there is no other shard"))?)?;
        let (source, target) = (from.ask(&["CLUSTER", "MYID"])?.text(), to.ask(&["CLUSTER", "MYID"])?.text());
        let number = slot.to_string();
        to.ask(&["CLUSTER", "SETSLOT", &number, "IMPORTING", &source])?;
        from.ask(&["CLUSTER", "SETSLOT", &number, "MIGRATING", &target])?;
        Ok(Move { cluster: self, slot: number, from, to, target })
    }

    /// Moves a slot to another shard, from its beginning to its end.
    ///
    /// # Errors
    /// As [`Cluster::begin_move`] and [`Move::finish`].
    pub fn move_slot(&self, slot: u16) -> Result<(), Error> {
        self.begin_move(slot)?.finish()
    }
}

/// A slot between two shards.
#[derive(Debug)]
#[must_use = "a slot stays between two shards until the move is finished"]
pub struct Move<'a> {
    cluster: &'a Cluster,
    slot: String,
    from: &'a Server,
    to: &'a Server,
    target: String,
}

impl Move<'_> {
    /// Carries over the keys that are there now: from now on they too are answered with ASK.
    ///
    /// # Errors
    /// When a server refuses.
    pub fn carry(&self) -> Result<(), Error> {
        loop {
            let keys = self.from.ask(&["CLUSTER", "GETKEYSINSLOT", &self.slot, "100"])?;
            if keys.list().is_empty() {
                return Ok(());
            }
            let port = self.to.public_port().to_string();
            let head = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "REPLACE", "KEYS"];
            let keys = keys.list().iter().map(crate::Reply::bytes);
            let command: Vec<&[u8]> = head.into_iter().map(str::as_bytes).chain(keys).collect();
            self.from.ask(&command)?;
        }
    }

    /// Carries over what is left, and says so to all: from now on the old server answers with MOVED.
    ///
    /// # Errors
    /// When a server refuses, or they do not agree in time.
    pub fn finish(self) -> Result<(), Error> {
        self.carry()?;
        for server in [self.to, self.from] {
            server.ask(&["CLUSTER", "SETSLOT", &self.slot, "NODE", &self.target])?;
        }
        let slot: u16 = self.slot.parse().unwrap_or_default();
        let owned = |server: &Server| {
            seen_by(server).is_ok_and(|seen| {
                let mut owners =
                    seen.iter().filter(|one| one.slots.iter().any(|slots| slots.contains(&slot)));
                owners.next().is_some_and(|one| one.id == self.target)
            })
        };
        until("all know where the slot is", PATIENCE, || self.cluster.running().all(owned))
    }
}

/// In the order of the masters' ids, of those that have not failed.
fn shares(seen: &[Seen]) -> Vec<Share> {
    let well = || seen.iter().filter(|one| !one.has_failed);
    let share = |master: &Seen| {
        let followers = well().filter(|one| one.master == master.id);
        let mut replicas: Vec<String> = followers.map(|one| one.id.clone()).collect();
        replicas.sort();
        Share { master: master.id.clone(), slots: master.slots.clone(), replicas }
    };
    let mut shares: Vec<Share> =
        well().filter(|one| one.is_master && !one.slots.is_empty()).map(share).collect();
    shares.sort_by(|a, b| a.master.cmp(&b.master));
    shares
}

fn seen_by(server: &Server) -> Result<Vec<Seen>, Error> {
    let lines = server.ask(&["CLUSTER", "NODES"])?.text();
    Ok(lines.lines().filter_map(seen).collect())
}

/// `ID 127.0.0.1:PORT@BUS,HOST FLAGS MASTER PING PONG EPOCH LINK SLOT-SLOT SLOT …`; slots on the move are in brackets.
fn seen(line: &str) -> Option<Seen> {
    let mut words = line.split_whitespace();
    let (id, address, flags, master) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let port = address.split('@').next()?.rsplit(':').next()?.parse().ok()?;
    let flags: Vec<&str> = flags.split(',').collect();
    let slots = words.skip(4).filter_map(|word| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    Some(Seen {
        id: id.into(),
        port,
        is_master: flags.contains(&"master"),
        // Suspected is not failed, but nobody's basis for anything.
        has_failed: ["fail", "fail?", "handshake", "noaddr"].iter().any(|flag| flags.contains(flag)),
        master: master.into(),
        slots: slots.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::seen;

    #[test]
    fn reads_what_a_server_says_of_another() {
        let line = "e7d1eecce10f 127.0.0.1:30001@31001,host myself,master - 0 0 1 connected 0-5460 7000 [93->-292f8b]";
        let one = seen(line).unwrap();
        assert_eq!(
            (one.id.as_str(), one.port, one.is_master, one.has_failed),
            ("e7d1eecce10f", 30001, true, false)
        );
        assert_eq!(one.slots, [0..=5460, 7000..=7000]);
        let line = "07c37dfeb235 127.0.0.1:30004@31004 slave,fail e7d1eecce10f 1426238317239 1426238316232 4 disconnected";
        let one = seen(line).unwrap();
        assert!(!one.is_master && one.has_failed && one.slots.is_empty() && one.master == "e7d1eecce10f");
    }
}
