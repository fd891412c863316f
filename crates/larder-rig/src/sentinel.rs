//! A master, its replica, and the three Sentinels that watch them.

use std::{path::PathBuf, time::Duration};

use crate::{Error, Flavour, Server, Setup, patience::until, server::addresses};

const NAME: &str = "larder";
const SENTINELS: usize = 3;
/// How long the Sentinels may take to agree: they talk to each other once a second or so.
const PATIENCE: Duration = Duration::from_secs(40);

/// Five servers: two hold data, three decide who is the master.
#[derive(Debug)]
pub struct Sentinel {
    servers: Vec<Server>,
    sentinels: Vec<Server>,
}

impl Sentinel {
    /// Starts it, and waits until every Sentinel knows the others and the replica.
    ///
    /// # Errors
    /// When the flavour is not installed, a server does not start, or they do not agree.
    pub fn start(flavour: Flavour) -> Result<Self, Error> {
        Self::arranged(flavour, |setup| setup)
    }

    /// The same, with settings of one's own in the servers that hold data. The rig, and the Sentinels, go on as their
    /// default user.
    ///
    /// # Errors
    /// As [`Sentinel::start`].
    pub fn arranged(flavour: Flavour, arrange: impl Fn(Setup) -> Setup) -> Result<Self, Error> {
        let setup = || arrange(Server::configure(flavour).setting("repl-ping-replica-period", "1"));
        let master = setup().start()?;
        let port = master.public_port();
        let replica = setup().certified_as(&master);
        let replica = replica.setting("replicaof", &format!("127.0.0.1 {port}")).start()?;
        let watch = || {
            Setup::sentinel(flavour)
                .certified_as(&master)
                .setting("sentinel", &format!("monitor {NAME} 127.0.0.1 {port} 2"))
                .setting("sentinel", &format!("down-after-milliseconds {NAME} 600"))
                .setting("sentinel", &format!("failover-timeout {NAME} 3000"))
                .start()
        };
        let sentinels = (0..SENTINELS).map(|_| watch()).collect::<Result<Vec<_>, _>>()?;
        for sentinel in &sentinels {
            // They look around more often than the ten and two seconds of production. Not all versions can be told.
            let _ = sentinel.ask(&["SENTINEL", "DEBUG", "INFO-PERIOD", "500", "PUBLISH-PERIOD", "200"]);
        }
        let set = Self { servers: vec![master, replica], sentinels };
        set.settle()?;
        Ok(set)
    }

    /// Waits until all Sentinels that run agree on the master and know each other, and a replica that runs follows it.
    ///
    /// # Errors
    /// When that does not come to be.
    pub fn settle(&self) -> Result<(), Error> {
        until("the Sentinels agree", PATIENCE, || self.is_settled())
    }

    fn is_settled(&self) -> bool {
        let Ok(master) = self.master() else { return false };
        let port = master.public_port();
        let role = |server: &Server| server.info("role").unwrap_or_default();
        let follows = |server: &Server| {
            server.public_port() == port
                || (role(server) == "slave"
                    && server.info("master_port").is_ok_and(|of| of == port.to_string())
                    && server.info("master_link_status").is_ok_and(|link| link == "up"))
        };
        let count = |sentinel: &Server, what: &str| {
            sentinel.ask(&["SENTINEL", what, NAME]).map(|known| known.list().len()).unwrap_or_default()
        };
        role(master) == "master"
            && self.servers.iter().filter(|server| server.process_id().is_some()).all(follows)
            && self.watching().all(|sentinel| {
                master_of(sentinel).is_ok_and(|of| of == port)
                    && count(sentinel, "SENTINELS") == SENTINELS - 1
                    && count(sentinel, "REPLICAS") == 1
            })
    }

    /// What the Sentinels call the master.
    pub fn name(&self) -> &str {
        NAME
    }

    /// The two that hold data; either may be the master.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The three that watch.
    pub fn sentinels(&self) -> &[Server] {
        &self.sentinels
    }

    /// How a client of Larder finds the master.
    pub fn url(&self) -> String {
        let scheme = if self.authority().is_some() { "rediss" } else { "redis" };
        format!("{scheme}+sentinel://{}/{NAME}", addresses(&self.sentinels))
    }

    /// The certificate of who signed its servers', if it was set up with TLS.
    pub fn authority(&self) -> Option<PathBuf> {
        self.servers.first().and_then(Server::authority)
    }

    fn watching(&self) -> impl Iterator<Item = &Server> {
        self.sentinels.iter().filter(|sentinel| sentinel.process_id().is_some())
    }

    /// Who is the master now, as the first Sentinel that runs has it.
    ///
    /// # Errors
    /// When none answers.
    pub fn master(&self) -> Result<&Server, Error> {
        let sentinel = self.watching().next().ok_or_else(|| Error::new("no Sentinel runs"))?;
        let port = master_of(sentinel)?;
        let server = self.servers.iter().find(|server| server.public_port() == port);
        server.ok_or_else(|| Error::new("the Sentinels name a server that is not the rig's"))
    }

    /// The other one.
    ///
    /// # Errors
    /// As [`Sentinel::master`].
    pub fn replica(&self) -> Result<&Server, Error> {
        let master = self.master()?.port();
        let replica = self.servers.iter().find(|server| server.port() != master);
        replica.ok_or_else(|| Error::new("there is no replica"))
    }

    /// The replica becomes the master in order, and the master its replica. Writes in between may be lost.
    ///
    /// # Errors
    /// When it does not.
    pub fn hand_over(&self) -> Result<(), Error> {
        let replica = self.replica()?.port();
        let sentinel = self.watching().next().ok_or_else(|| Error::new("no Sentinel runs"))?;
        // Refused for a while after another one.
        until("the Sentinels may begin", PATIENCE, || sentinel.ask(&["SENTINEL", "FAILOVER", NAME]).is_ok())?;
        until("the replica takes over", PATIENCE, || {
            self.master().is_ok_and(|master| master.port() == replica)
        })?;
        self.settle()
    }

    /// kill -9 of the master; returns at once, with the dead. The replica takes over within seconds, and may lack what
    /// was written last: [`Sentinel::settle`] waits for that.
    ///
    /// # Errors
    /// When no Sentinel answers.
    pub fn kill_master(&self) -> Result<&Server, Error> {
        let master = self.master()?;
        master.kill();
        Ok(master)
    }
}

fn master_of(sentinel: &Server) -> Result<u16, Error> {
    let address = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])?;
    let port = address.list().get(1).and_then(crate::Reply::number);
    port.and_then(|port| u16::try_from(port).ok()).ok_or_else(|| Error::new("the Sentinel knows no master"))
}
