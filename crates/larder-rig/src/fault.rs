//! What can be done to servers and the ways to them, and undone: the list that the matrix and `booking --chaos` share.

use std::time::Duration;

use crate::{Error, Kind, Place, Proxy};

type Deed = fn(&Place) -> Result<(), Error>;

/// Something that goes wrong for a while.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// In words.
    pub name: &'static str,
    /// What it happens to.
    pub kind: Kind,
    begin: Deed,
    again: Deed,
    end: Deed,
}

const PLAIN: Fault = Fault { name: "", kind: Kind::Alone, begin: nothing, again: nothing, end: nothing };

const SENTINEL: Fault = Fault { kind: Kind::Sentinel, ..PLAIN };
/// On a cluster, what happens to a shard happens to the one that has the key of the place.
const CLUSTER: Fault = Fault { kind: Kind::Cluster, ..PLAIN };

impl Fault {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self { name: "restarted empty at once", begin: |place| place.server()?.restart_empty(), ..PLAIN },
        Self {
            name: "killed and restarted empty",
            begin: kill,
            end: |place| place.server()?.restart_empty(),
            ..PLAIN
        },
        Self {
            name: "restarted from an old dump",
            begin: Place::take_dump,
            end: Place::restart_from_dump,
            ..PLAIN
        },
        Self { name: "FLUSHALL again and again", again: |place| told(place, &["FLUSHALL"]), ..PLAIN },
        Self {
            name: "CLIENT PAUSE of 2 s",
            begin: |place| told(place, &["CLIENT", "PAUSE", "2000", "ALL"]),
            // Answered once it is over: nothing but time ends it.
            end: |place| told(place, &["PING"]),
            ..PLAIN
        },
        Self { name: "CLIENT KILL again and again", again: kill_clients, ..PLAIN },
        Self { name: "half-open connections", begin: |place| each(place, Proxy::half_open), ..PLAIN },
        Self { name: "connections reset again and again", again: |place| each(place, Proxy::reset), ..PLAIN },
        Self {
            name: "everything sent is lost",
            begin: |place| each(place, |proxy| proxy.swallow(true)),
            end: heal,
            ..PLAIN
        },
        Self { name: CUT_OFF, begin: cut_off, end: heal, ..PLAIN },
        Self {
            name: "200 ms of latency",
            begin: |place| each(place, |proxy| proxy.delay(Duration::from_millis(100))),
            end: heal,
            ..PLAIN
        },
        Self {
            name: "bytes in crumbs",
            begin: |place| each(place, |proxy| proxy.slice(true)),
            end: heal,
            ..PLAIN
        },
        Self { name: "connections refused", begin: refuse, end: heal, ..PLAIN },
        Self {
            name: "out of memory, noeviction",
            begin: |place| told(place, &["CONFIG", "SET", "maxmemory", "1"]),
            end: |place| told(place, &["CONFIG", "SET", "maxmemory", "0"]),
            ..PLAIN
        },
        Self { name: "allkeys-lru churn", begin: little_room, again: fill, end: enough_room, ..PLAIN },
        Self { name: "output buffers killed", begin: small_buffers, end: large_buffers, ..PLAIN },
        Self {
            name: "SIGSTOP: the server stands still",
            begin: |place| {
                place.server()?.pause();
                Ok(())
            },
            end: Place::resume,
            ..PLAIN
        },
        Self { name: "Sentinel: the master is killed", begin: kill_master, end: Place::settle, ..SENTINEL },
        Self { name: "Sentinel: the master hands over", begin: Place::hand_over, ..SENTINEL },
        Self {
            name: "Sentinel: the master stands still",
            begin: pause_master,
            end: Place::resume,
            ..SENTINEL
        },
        Self { name: "Sentinel: emptied again and again", again: flush_all, ..SENTINEL },
        Self { name: "Cluster: a master is killed", begin: kill_master, end: Place::settle, ..CLUSTER },
        Self { name: "Cluster: a master hands over", begin: Place::hand_over, ..CLUSTER },
        Self { name: "Cluster: a master stands still", begin: pause_master, end: Place::resume, ..CLUSTER },
        Self { name: "Cluster: a slot moves", begin: Place::move_slot, ..CLUSTER },
        Self { name: "Cluster: emptied again and again", again: flush_all, ..CLUSTER },
    ];

    /// By its name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|fault| fault.name == name)
    }

    /// Those that happen to servers of a kind.
    pub fn on(kind: Kind) -> Vec<&'static Self> {
        Self::ALL.iter().filter(|fault| fault.kind == kind).collect()
    }

    /// It sets in. What an earlier one has killed is alive again by then.
    ///
    /// # Errors
    /// When the server does not do as told.
    pub fn begin(&self, place: &Place) -> Result<(), Error> {
        place.revive()?;
        (self.begin)(place)
    }

    /// To be called now and then while it lasts: some faults are a series of blows.
    ///
    /// # Errors
    /// As [`Fault::begin`].
    pub fn again(&self, place: &Place) -> Result<(), Error> {
        (self.again)(place)
    }

    /// It is over, and all is as before; what the server has lost stays lost.
    ///
    /// # Errors
    /// As [`Fault::begin`].
    pub fn end(&self, place: &Place) -> Result<(), Error> {
        (self.end)(place)
    }
}

/// The one that hits a single client.
const CUT_OFF: &str = "one node is cut off";

fn nothing(_: &Place) -> Result<(), Error> {
    Ok(())
}

fn told(place: &Place, words: &[&str]) -> Result<(), Error> {
    place.server()?.ask(words).map(drop)
}

fn each(place: &Place, deed: impl Fn(&Proxy)) -> Result<(), Error> {
    place.proxies().iter().for_each(deed);
    Ok(())
}

fn heal(place: &Place) -> Result<(), Error> {
    each(place, Proxy::heal)
}

fn cut_off(place: &Place) -> Result<(), Error> {
    place.proxies().iter().take(1).for_each(|proxy| proxy.swallow(true));
    Ok(())
}

fn refuse(place: &Place) -> Result<(), Error> {
    each(place, |proxy| {
        proxy.refuse(true);
        proxy.cut();
    })
}

fn kill(place: &Place) -> Result<(), Error> {
    place.server()?.kill();
    Ok(())
}

fn kill_master(place: &Place) -> Result<(), Error> {
    place.master()?.kill();
    Ok(())
}

fn pause_master(place: &Place) -> Result<(), Error> {
    place.master()?.pause();
    Ok(())
}

fn flush_all(place: &Place) -> Result<(), Error> {
    place.tell_all(&["FLUSHALL"])
}

fn kill_clients(place: &Place) -> Result<(), Error> {
    for kind in ["normal", "pubsub"] {
        told(place, &["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"])?;
    }
    Ok(())
}

/// Little more room than for what is there, and everything may go, a journal included.
fn little_room(place: &Place) -> Result<(), Error> {
    let used: u64 = place.server()?.info("used_memory")?.parse().unwrap_or(2 << 20);
    told(place, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"])?;
    told(place, &["CONFIG", "SET", "maxmemory", &(used + (200 << 10)).to_string()])
}

fn fill(place: &Place) -> Result<(), Error> {
    let mut connection = place.server()?.connection()?;
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

fn enough_room(place: &Place) -> Result<(), Error> {
    told(place, &["CONFIG", "SET", "maxmemory", "0"])?;
    told(place, &["CONFIG", "SET", "maxmemory-policy", "noeviction"])
}

/// Every answer that does not fit the fixed buffer ends its connection.
fn small_buffers(place: &Place) -> Result<(), Error> {
    told(place, &["CONFIG", "SET", "client-output-buffer-limit", "normal 1 1 0 pubsub 1 1 0"])
}

fn large_buffers(place: &Place) -> Result<(), Error> {
    told(place, &["CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0 pubsub 33554432 8388608 60"])
}
