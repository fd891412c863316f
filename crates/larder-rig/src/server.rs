//! One private server: started, killed, stopped, started again on the same port, with what it had saved or without.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use crate::{
    Error, Flavour, Process, Setup,
    child::Life,
    ground::Ground,
    patience::until,
    tls::Certificates,
    wire::{Connection, Reply},
};

/// How long a server may take to answer its first PING.
const START: Duration = Duration::from_secs(20);
/// Another process may take a port between our look at it and the server's.
const TRIES: usize = 3;
const DUMP: &str = "dump.rdb";

/// A running server of this machine. It is killed, and its directory removed, on drop.
#[derive(Debug)]
pub struct Server {
    /// First: it ends before its port and its directory are given back.
    life: Life,
    setup: Setup,
    ground: Ground,
    tls: Option<(Ground, Arc<Certificates>)>,
    /// Where a server of a cluster talks to the others.
    bus: Option<Ground>,
}

/// What a server had saved at some moment.
#[derive(Debug, Clone)]
pub struct Dump(Vec<u8>);

impl Server {
    /// A server with nothing in it, that saves nothing on its own.
    ///
    /// # Errors
    /// When the flavour is not installed, or the server does not start.
    pub fn start(flavour: Flavour) -> Result<Self, Error> {
        Self::configure(flavour).start()
    }

    /// The same, with settings of one's own.
    pub fn configure(flavour: Flavour) -> Setup {
        Setup::new(flavour)
    }

    pub(crate) fn run(setup: Setup) -> Result<Self, Error> {
        let mut tries = 0;
        loop {
            let ground = Ground::reserve()?;
            let tls = match setup.tls {
                true if !setup.flavour.has_tls() => {
                    return Err(Error::new(format!("{} is built without TLS", setup.flavour)));
                }
                true => {
                    let made = || Certificates::make(ground.directory()).map(Arc::new);
                    Some((Ground::reserve()?, setup.certificates.clone().map_or_else(made, Ok)?))
                }
                false => None,
            };
            let bus = setup.cluster.then(Ground::reserve).transpose()?;
            let server = Self { setup: setup.clone(), ground, tls, bus, life: Life::default() };
            tries += 1;
            match server.restart() {
                Ok(()) => return Ok(server),
                Err(_) if tries < TRIES && server.log().contains("Address already in use") => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Which one it is.
    pub fn flavour(&self) -> Flavour {
        self.setup.flavour
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// `rediss://localhost:PORT`, if it was set up with TLS.
    pub fn tls_url(&self) -> Option<String> {
        self.tls.as_ref().map(|(ground, _)| format!("rediss://localhost:{}", ground.port()))
    }

    /// The certificate, in PEM, of who signed the server's.
    pub fn authority(&self) -> Option<PathBuf> {
        self.tls.as_ref().map(|(_, certificates)| certificates.authority())
    }

    pub(crate) fn certificates(&self) -> Option<Arc<Certificates>> {
        self.tls.as_ref().map(|(_, certificates)| certificates.clone())
    }

    /// Where it listens, without TLS.
    pub fn port(&self) -> u16 {
        self.ground.port()
    }

    /// Where other servers, and clients of the set, find it: with TLS if it has that.
    pub(crate) fn public_port(&self) -> u16 {
        self.tls.as_ref().map_or(self.port(), |(ground, _)| ground.port())
    }

    /// The port of the cluster's bus.
    pub(crate) fn bus(&self) -> Option<u16> {
        self.bus.as_ref().map(Ground::port)
    }

    /// The same, as an address.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    /// The id of its process; none while it is dead.
    pub fn process_id(&self) -> Option<u32> {
        self.life.process().as_ref().map(Process::id)
    }

    /// One command, on a connection of its own.
    ///
    /// # Errors
    /// When the server cannot be reached, does not answer within five seconds, or answers with an error.
    pub fn ask<A: AsRef<[u8]>>(&self, words: &[A]) -> Result<Reply, Error> {
        self.connection()?.ask(words)
    }

    /// A connection that stays.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn connection(&self) -> Result<Connection, Error> {
        Connection::open(self.port())
    }

    /// One field of INFO, `role` for example.
    ///
    /// # Errors
    /// As [`Server::ask`]; and when there is no such field.
    pub fn info(&self, field: &str) -> Result<String, Error> {
        let all = self.ask(&["INFO", "everything"])?.text();
        let value = all.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value
            .map(|value| value.trim().to_owned())
            .ok_or_else(|| Error::new(format!("INFO has no field {field}")))
    }

    /// kill -9: nothing is saved, no connection is closed in order.
    pub fn kill(&self) {
        self.life.kill();
    }

    /// SIGSTOP: connections stay, the kernel goes on taking new ones, and nobody is answered.
    pub fn pause(&self) {
        self.life.pause();
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.life.resume();
    }

    /// Kills it if it runs, and starts it on the same port, with what is in its directory: its last dump, or nothing.
    ///
    /// # Errors
    /// When it does not answer; with the end of its log.
    pub fn restart(&self) -> Result<(), Error> {
        let mut process = self.life.process();
        *process = None;
        let mut started = self.spawn()?;
        let id = started.id();
        let settled = until("an answer", START, || !started.is_alive() || self.answers(id));
        if settled.is_err() || !started.is_alive() {
            return Err(Error::new(format!("{} does not start: {}", self.setup.flavour, self.log())));
        }
        *process = Some(started);
        Ok(())
    }

    /// As [`Server::restart`], with nothing in it.
    ///
    /// # Errors
    /// As [`Server::restart`].
    pub fn restart_empty(&self) -> Result<(), Error> {
        self.kill();
        self.replace_dump(None)?;
        self.restart()
    }

    /// Takes a copy of all that it holds now.
    ///
    /// # Errors
    /// When it cannot save.
    pub fn dump(&self) -> Result<Dump, Error> {
        self.ask(&["SAVE"])?;
        let path = self.ground.directory().join(DUMP);
        let bytes = fs::read(&path).map_err(Error::file("read", &path))?;
        self.replace_dump(None)?;
        Ok(Dump(bytes))
    }

    /// As [`Server::restart`], with what it held when the dump was taken.
    ///
    /// # Errors
    /// As [`Server::restart`].
    pub fn restart_from(&self, dump: &Dump) -> Result<(), Error> {
        self.kill();
        self.replace_dump(Some(dump))?;
        self.restart()?;
        self.replace_dump(None)
    }

    fn replace_dump(&self, dump: Option<&Dump>) -> Result<(), Error> {
        let path = self.ground.directory().join(DUMP);
        match dump {
            Some(Dump(bytes)) => fs::write(&path, bytes),
            None => fs::remove_file(&path).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
        }
        .map_err(Error::file("replace", &path))
    }

    fn spawn(&self) -> Result<Process, Error> {
        let directory = self.ground.directory();
        let mut lines = vec![
            ("port", self.port().to_string()),
            ("bind", Ipv4Addr::LOCALHOST.to_string()),
            ("dir", directory.display().to_string()),
            ("protected-mode", "no".into()),
        ];
        if let Some((ground, certificates)) = &self.tls {
            lines.push(("tls-port", ground.port().to_string()));
            lines.push(("tls-replication", "yes".into()));
            lines.extend(self.bus().map(|_| ("tls-cluster", "yes".into())));
            lines.extend(certificates.settings());
        }
        lines.extend(self.bus().map(|port| ("cluster-port", port.to_string())));
        let path = directory.join("server.conf");
        // A Sentinel writes into its file what it has learnt, and needs it when it starts again.
        if !(self.setup.sentinel && path.exists()) {
            fs::write(&path, self.setup.file(&lines)).map_err(Error::file("write", &path))?;
        }
        let (out, errors) = self.ground.new_log()?;
        let executable = self.setup.flavour.executable()?;
        let sentinel = self.setup.sentinel.then_some("--sentinel");
        Process::start(executable, |command| {
            command.arg(&path).args(sentinel).stdout(out).stderr(errors);
        })
    }

    /// Whether who answers on the port is the one that was started, and has read its dump.
    fn answers(&self, id: u32) -> bool {
        let ask = || {
            let mut connection = self.connection()?;
            connection.ask(&["PING"])?;
            connection.ask(&["INFO", "server"])
        };
        ask().is_ok_and(|info| info.text().lines().any(|line| line.trim() == format!("process_id:{id}")))
    }

    /// The end of what the server wrote.
    pub fn log(&self) -> String {
        self.ground.log()
    }
}

/// Where each of them is found, as it stands in the URL of several.
pub(crate) fn addresses(servers: &[Server]) -> String {
    let address = |server: &Server| format!("{}:{}", Ipv4Addr::LOCALHOST, server.public_port());
    servers.iter().map(address).collect::<Vec<_>>().join(",")
}
