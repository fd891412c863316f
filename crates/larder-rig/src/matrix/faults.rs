//! The rows: what is done to the servers, the network and the nodes, and undone. Nothing here judges.

use std::time::Duration;

use larder_rig::{Error, Proxy};

use super::scene::{Scene, Servers};

/// Which servers a row needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Alone,
    Sentinel,
    Cluster,
}

type Deed = fn(&Scene) -> Result<(), Error>;

/// A row.
pub(super) struct Fault {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) begin: Deed,
    /// Some thirty times while it lasts.
    pub(super) again: Deed,
    pub(super) end: Deed,
    /// Nodes that promise nothing: the row that shows that staleness would be seen.
    pub(super) eventual: bool,
}

const PLAIN: Fault =
    Fault { name: "", kind: Kind::Alone, begin: nothing, again: nothing, end: nothing, eventual: false };

/// All of them.
pub(super) const FAULTS: &[Fault] = &[
    Fault { name: "none", ..PLAIN },
    Fault {
        name: "control: a node without a level, cut off",
        begin: cut_off,
        end: heal,
        eventual: true,
        ..PLAIN
    },
    Fault { name: "one node cut off", begin: cut_off, end: heal, ..PLAIN },
    Fault {
        name: "killed, restarted empty",
        begin: kill,
        end: |scene| scene.server()?.restart_empty(),
        ..PLAIN
    },
    Fault { name: "restarted empty at once", begin: |scene| scene.server()?.restart_empty(), ..PLAIN },
    Fault {
        name: "killed, restarted from an old dump",
        begin: Scene::take_dump,
        end: Scene::restart_from_dump,
        ..PLAIN
    },
    Fault { name: "FLUSHALL again and again", again: |scene| told(scene, &["FLUSHALL"]), ..PLAIN },
    Fault {
        name: "CLIENT PAUSE",
        begin: |scene| told(scene, &["CLIENT", "PAUSE", "600000", "ALL"]),
        end: |scene| told(scene, &["CLIENT", "UNPAUSE"]),
        ..PLAIN
    },
    Fault { name: "CLIENT KILL again and again", again: kill_clients, ..PLAIN },
    Fault { name: "half-open connections", begin: |scene| each(scene, Proxy::half_open), ..PLAIN },
    Fault { name: "connections reset again and again", again: |scene| each(scene, Proxy::reset), ..PLAIN },
    Fault {
        name: "everything sent is lost",
        begin: |scene| each(scene, |proxy| proxy.swallow(true)),
        end: heal,
        ..PLAIN
    },
    Fault {
        name: "200 ms of latency",
        begin: |scene| each(scene, |proxy| proxy.delay(Duration::from_millis(100))),
        end: heal,
        ..PLAIN
    },
    Fault {
        name: "bytes in crumbs",
        begin: |scene| each(scene, |proxy| proxy.slice(true)),
        end: heal,
        ..PLAIN
    },
    Fault {
        name: "connections refused",
        begin: |scene| {
            each(scene, |proxy| {
                proxy.refuse(true);
                proxy.cut();
            })
        },
        end: heal,
        ..PLAIN
    },
    Fault {
        name: "out of memory, noeviction",
        begin: |scene| told(scene, &["CONFIG", "SET", "maxmemory", "1"]),
        end: |scene| told(scene, &["CONFIG", "SET", "maxmemory", "0"]),
        ..PLAIN
    },
    Fault { name: "allkeys-lru churn", begin: churn, again: fill, end: calm, ..PLAIN },
    Fault { name: "output buffers killed", begin: small_buffers, end: large_buffers, ..PLAIN },
    Fault {
        name: "the server stands still (SIGSTOP)",
        begin: |scene| scene.server().map(larder_rig::Server::pause),
        end: |scene| scene.server().map(larder_rig::Server::resume),
        ..PLAIN
    },
    Fault {
        name: "a node killed, restarted",
        begin: |scene| {
            scene.node()?.kill();
            Ok(())
        },
        end: |scene| scene.node()?.restart(),
        ..PLAIN
    },
    Fault {
        name: "a node stands still (SIGSTOP)",
        begin: |scene| {
            scene.node()?.pause();
            Ok(())
        },
        end: |scene| {
            scene.node()?.resume();
            Ok(())
        },
        ..PLAIN
    },
    Fault { name: "Sentinel: master killed", kind: Kind::Sentinel, begin: kill_master, end: settle, ..PLAIN },
    Fault { name: "Sentinel: handed over", kind: Kind::Sentinel, begin: hand_over, ..PLAIN },
    Fault { name: "Cluster: master killed", kind: Kind::Cluster, begin: kill_master, end: settle, ..PLAIN },
    Fault { name: "Cluster: handed over", kind: Kind::Cluster, begin: hand_over, ..PLAIN },
    Fault { name: "Cluster: the journal's slot moves", kind: Kind::Cluster, begin: move_slot, ..PLAIN },
];

fn nothing(_: &Scene) -> Result<(), Error> {
    Ok(())
}

fn told(scene: &Scene, words: &[&str]) -> Result<(), Error> {
    scene.server()?.ask(words).map(drop)
}

fn each(scene: &Scene, deed: impl Fn(&Proxy)) -> Result<(), Error> {
    scene.proxies().iter().for_each(deed);
    Ok(())
}

fn heal(scene: &Scene) -> Result<(), Error> {
    each(scene, Proxy::heal)
}

fn cut_off(scene: &Scene) -> Result<(), Error> {
    scene.proxies().iter().take(1).for_each(|proxy| proxy.swallow(true));
    Ok(())
}

fn kill(scene: &Scene) -> Result<(), Error> {
    scene.server().map(larder_rig::Server::kill)
}

fn kill_clients(scene: &Scene) -> Result<(), Error> {
    for kind in ["normal", "pubsub"] {
        told(scene, &["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"])?;
    }
    Ok(())
}

/// Little more room than what is there, and everything may go, the journal included.
fn churn(scene: &Scene) -> Result<(), Error> {
    let used: u64 = scene.server()?.info("used_memory")?.parse().unwrap_or(2 << 20);
    told(scene, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"])?;
    told(scene, &["CONFIG", "SET", "maxmemory", &(used + (200 << 10)).to_string()])
}

fn fill(scene: &Scene) -> Result<(), Error> {
    let mut connection = scene.server()?.connection()?;
    let junk = "x".repeat(8 << 10);
    for _ in 0..40 {
        // It may be out of memory for a moment: that is what this is about.
        match connection.ask(&["SET", &format!("junk:{}", fastrand::u64(..)), &junk]) {
            Err(error) if !error.is_refused() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn calm(scene: &Scene) -> Result<(), Error> {
    told(scene, &["CONFIG", "SET", "maxmemory", "0"])?;
    told(scene, &["CONFIG", "SET", "maxmemory-policy", "noeviction"])
}

fn small_buffers(scene: &Scene) -> Result<(), Error> {
    told(scene, &["CONFIG", "SET", "client-output-buffer-limit", "normal 1 1 0 pubsub 1 1 0"])
}

fn large_buffers(scene: &Scene) -> Result<(), Error> {
    told(scene, &["CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0 pubsub 33554432 8388608 60"])
}

/// The slot of the journal's keys on a cluster.
fn journal_slot(cluster: &larder_rig::Cluster) -> Result<u16, Error> {
    cluster.slot("{larder:matrix}")
}

fn kill_master(scene: &Scene) -> Result<(), Error> {
    match &scene.servers {
        Servers::Sentinel(set) => set.kill_master().map(drop),
        Servers::Cluster(cluster) => cluster.kill_master(journal_slot(cluster)?).map(drop),
        Servers::Alone(..) => Err(Error::new("a server alone is no master")),
    }
}

/// The fault ends when there is a master again: until then no client can help itself.
fn settle(scene: &Scene) -> Result<(), Error> {
    match &scene.servers {
        Servers::Sentinel(set) => set.settle(),
        Servers::Cluster(cluster) => cluster.settle(),
        Servers::Alone(..) => Ok(()),
    }
}

fn hand_over(scene: &Scene) -> Result<(), Error> {
    match &scene.servers {
        Servers::Sentinel(set) => set.hand_over(),
        Servers::Cluster(cluster) => cluster.hand_over(journal_slot(cluster)?),
        Servers::Alone(..) => Err(Error::new("a server alone has nobody to hand over to")),
    }
}

fn move_slot(scene: &Scene) -> Result<(), Error> {
    match &scene.servers {
        Servers::Cluster(cluster) => cluster.move_slot(journal_slot(cluster)?),
        _ => Err(Error::new("only a cluster has slots")),
    }
}
