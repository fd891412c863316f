//! What can be done to a server and the ways to it, and undone: the list that the matrix and `booking --chaos` share.

use std::time::Duration;

use crate::{Error, Proxy, Site};

type Deed = fn(&Site) -> Result<(), Error>;

/// Something that goes wrong for a while.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// In words.
    pub name: &'static str,
    begin: Deed,
    again: Deed,
    end: Deed,
}

const PLAIN: Fault = Fault { name: "", begin: nothing, again: nothing, end: nothing };

impl Fault {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self { name: "restarted empty at once", begin: |site| site.server().restart_empty(), ..PLAIN },
        Self {
            name: "killed and restarted empty",
            begin: kill,
            end: |site| site.server().restart_empty(),
            ..PLAIN
        },
        Self {
            name: "restarted from an old dump",
            begin: Site::take_dump,
            end: Site::restart_from_dump,
            ..PLAIN
        },
        Self { name: "FLUSHALL again and again", again: |site| told(site, &["FLUSHALL"]), ..PLAIN },
        Self {
            name: "CLIENT PAUSE of 2 s",
            begin: |site| told(site, &["CLIENT", "PAUSE", "2000", "ALL"]),
            // Answered once it is over: nothing but time ends it.
            end: |site| told(site, &["PING"]),
            ..PLAIN
        },
        Self { name: "CLIENT KILL again and again", again: kill_clients, ..PLAIN },
        Self { name: "half-open connections", begin: |site| each(site, Proxy::half_open), ..PLAIN },
        Self { name: "connections reset again and again", again: |site| each(site, Proxy::reset), ..PLAIN },
        Self {
            name: "everything sent is lost",
            begin: |site| each(site, |proxy| proxy.swallow(true)),
            end: heal,
            ..PLAIN
        },
        Self { name: CUT_OFF, begin: cut_off, end: heal, ..PLAIN },
        Self {
            name: "200 ms of latency",
            begin: |site| each(site, |proxy| proxy.delay(Duration::from_millis(100))),
            end: heal,
            ..PLAIN
        },
        Self {
            name: "bytes in crumbs",
            begin: |site| each(site, |proxy| proxy.slice(true)),
            end: heal,
            ..PLAIN
        },
        Self { name: "connections refused", begin: refuse, end: heal, ..PLAIN },
        Self {
            name: "out of memory, noeviction",
            begin: |site| told(site, &["CONFIG", "SET", "maxmemory", "1"]),
            end: |site| told(site, &["CONFIG", "SET", "maxmemory", "0"]),
            ..PLAIN
        },
        Self { name: "allkeys-lru churn", begin: little_room, again: fill, end: enough_room },
        Self { name: "output buffers killed", begin: small_buffers, end: large_buffers, ..PLAIN },
        Self {
            name: "SIGSTOP: the server stands still",
            begin: |site| {
                site.server().pause();
                Ok(())
            },
            end: |site| {
                site.server().resume();
                Ok(())
            },
            ..PLAIN
        },
    ];

    /// By its name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|fault| fault.name == name)
    }

    /// It sets in.
    ///
    /// # Errors
    /// When the server does not do as told.
    pub fn begin(&self, site: &Site) -> Result<(), Error> {
        (self.begin)(site)
    }

    /// To be called now and then while it lasts: some faults are a series of blows.
    ///
    /// # Errors
    /// As [`Fault::begin`].
    pub fn again(&self, site: &Site) -> Result<(), Error> {
        (self.again)(site)
    }

    /// It is over, and all is as before; what the server has lost stays lost.
    ///
    /// # Errors
    /// As [`Fault::begin`].
    pub fn end(&self, site: &Site) -> Result<(), Error> {
        (self.end)(site)
    }
}

/// The one that hits a single client.
const CUT_OFF: &str = "one node is cut off";

fn nothing(_: &Site) -> Result<(), Error> {
    Ok(())
}

fn told(site: &Site, words: &[&str]) -> Result<(), Error> {
    site.server().ask(words).map(drop)
}

fn each(site: &Site, deed: impl Fn(&Proxy)) -> Result<(), Error> {
    site.proxies().iter().for_each(deed);
    Ok(())
}

fn heal(site: &Site) -> Result<(), Error> {
    each(site, Proxy::heal)
}

fn cut_off(site: &Site) -> Result<(), Error> {
    site.proxies().iter().take(1).for_each(|proxy| proxy.swallow(true));
    Ok(())
}

fn refuse(site: &Site) -> Result<(), Error> {
    each(site, |proxy| {
        proxy.refuse(true);
        proxy.cut();
    })
}

fn kill(site: &Site) -> Result<(), Error> {
    site.server().kill();
    Ok(())
}

fn kill_clients(site: &Site) -> Result<(), Error> {
    for kind in ["normal", "pubsub"] {
        told(site, &["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"])?;
    }
    Ok(())
}

/// Little more room than for what is there, and everything may go, a journal included.
fn little_room(site: &Site) -> Result<(), Error> {
    let used: u64 = site.server().info("used_memory")?.parse().unwrap_or(2 << 20);
    told(site, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"])?;
    told(site, &["CONFIG", "SET", "maxmemory", &(used + (200 << 10)).to_string()])
}

fn fill(site: &Site) -> Result<(), Error> {
    let mut connection = site.server().connection()?;
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

fn enough_room(site: &Site) -> Result<(), Error> {
    told(site, &["CONFIG", "SET", "maxmemory", "0"])?;
    told(site, &["CONFIG", "SET", "maxmemory-policy", "noeviction"])
}

/// Every answer that does not fit the fixed buffer ends its connection.
fn small_buffers(site: &Site) -> Result<(), Error> {
    told(site, &["CONFIG", "SET", "client-output-buffer-limit", "normal 1 1 0 pubsub 1 1 0"])
}

fn large_buffers(site: &Site) -> Result<(), Error> {
    told(site, &["CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0 pubsub 33554432 8388608 60"])
}
