//! One private Postgres: started, killed, stopped, put back to what its directory once held. It takes connections on
//! 127.0.0.1 as anybody who asks, `larder` above all, who may do everything.
//!
//! Postgres refuses to run as root; then it runs as `nobody`. Its directory is a copy of one that is made once.

mod template;

use std::{
    fs,
    io::{Read as _, Write as _, stderr},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::Once,
    time::Duration,
};

use crate::{Error, Process, child::Life, ground::Ground, patience::until, tls::Certificates};
pub(crate) use template::{as_user, own};
use template::{copy, missing, programs, template};

/// How long a server may take to answer, recovery included.
const START: Duration = Duration::from_secs(30);
const TRIES: usize = 3;
/// In a directory that has it, a server starts as a standby.
const STANDBY: &str = "standby.signal";

/// A running Postgres of this machine. It is killed, and its directory removed, on drop.
#[derive(Debug)]
pub struct Postgres {
    /// First: it ends before its port and its directory are given back.
    life: Life,
    settings: Vec<(String, String)>,
    ground: Ground,
}

/// What a stopped or killed server's directory held at some moment.
#[derive(Debug)]
pub struct Backup(Ground);

impl Postgres {
    /// Whether this machine has one. Says on standard error, once per process, that it has not: tests skip it then.
    pub fn is_installed() -> bool {
        static SAID: Once = Once::new();
        let found = programs().is_some();
        if !found {
            SAID.call_once(|| {
                let _ = writeln!(
                    stderr(),
                    "SKIPPED: no tests on Postgres, it is not installed: cargo xtask ci --only system unpacks it below \
                     target/servers"
                );
            });
        }
        found
    }

    /// An empty server that does not care for the loss of power.
    ///
    /// # Errors
    /// When none is installed, or it does not start.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(&[("fsync", "off")])
    }

    /// An empty server with these settings: `("fsync", "on")`.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start_with(settings: &[(&str, &str)]) -> Result<Self, Error> {
        Self::run(settings, false)
    }

    /// A primary that keeps what standbys may ask for, with these settings.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start_primary(settings: &[(&str, &str)]) -> Result<Self, Error> {
        Self::run(&[&[("wal_keep_size", "256MB")], settings].concat(), false)
    }

    /// A standby of the one that is found there, be it behind a proxy: of a [`Postgres::start_primary`] that was started by
    /// this program, and has written less since than it keeps. It calls itself `name`, and answers questions.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start_standby(name: &str, primary: SocketAddr, settings: &[(&str, &str)]) -> Result<Self, Error> {
        let (host, port) = (primary.ip(), primary.port());
        let place = format!("host={host} port={port} user=larder application_name={name}");
        let own = [("primary_conninfo", place.as_str()), ("wal_retrieve_retry_interval", "100ms")];
        Self::run(&[own.as_slice(), settings].concat(), true)
    }

    /// An empty server that offers TLS, and the certificate, in PEM, of who signed its own, which is for `localhost`.
    ///
    /// # Errors
    /// As [`Postgres::start`]; and when its build has no TLS.
    pub fn start_tls() -> Result<(Self, PathBuf), Error> {
        let mut server = Self::start()?;
        server.kill();
        let certificates = Certificates::make(server.ground.directory())?;
        let (certificate, key) = certificates.server();
        own(&key)?;
        let text = |path: &Path| path.display().to_string();
        let tls = [("ssl", "on".into()), ("ssl_cert_file", text(&certificate)), ("ssl_key_file", text(&key))];
        server.settings.extend(tls.map(|(name, value)| (name.to_owned(), value)));
        server.restart()?;
        Ok((server, certificates.authority()))
    }

    fn run(settings: &[(&str, &str)], as_standby: bool) -> Result<Self, Error> {
        // Each takes some 40 MB.
        static SWEPT: Once = Once::new();
        SWEPT.call_once(Ground::sweep);
        let settings: Vec<_> =
            settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let mut tries = 0;
        loop {
            let ground = Ground::reserve()?;
            let data = ground.directory().join("data");
            // All are made from the same, and so are copies of one cluster as it began.
            copy(template()?, &data)?;
            own(ground.directory())?;
            if as_standby {
                fs::write(data.join(STANDBY), "").map_err(Error::file("write into", &data))?;
            }
            let server = Self { life: Life::default(), settings: settings.clone(), ground };
            tries += 1;
            match server.restart() {
                Ok(()) => return Ok(server),
                Err(_) if tries < TRIES && server.log().contains("Address already in use") => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ground.port()).into()
    }

    /// Where a user finds a database: `postgres://USER@127.0.0.1:PORT/DATABASE`.
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@{}/{database}", self.address())
    }

    /// kill -9 of the one process that all others obey.
    pub fn kill(&self) {
        // Those who stand still would never see its end.
        self.thaw();
        self.life.kill();
    }

    /// SIGSTOP of the process that takes connections; those that are there go on.
    pub fn pause(&self) {
        self.life.pause();
    }

    /// SIGSTOP of all of it: connections stay, and nobody is answered.
    pub fn freeze(&self) {
        if let Some(process) = &*self.life.process() {
            process.freeze();
        }
    }

    /// SIGCONT of all of it.
    pub fn thaw(&self) {
        if let Some(process) = &*self.life.process() {
            process.thaw();
        }
    }

    /// A standby takes over: returns once it takes writes.
    ///
    /// # Errors
    /// When it does not; with the end of its log.
    pub fn promote(&self) -> Result<(), Error> {
        let order = self.data().join("promote");
        fs::write(&order, "").map_err(Error::file("write", &order))?;
        if let Some(process) = &*self.life.process() {
            process.signal(rustix::process::Signal::USR1);
        }
        let promoted = until("it is promoted", START, || !self.data().join(STANDBY).exists());
        promoted.map_err(|_| Error::new(format!("Postgres does not take over: {}", self.log())))
    }

    /// Kills it if it runs, and starts it on the same port, with what is in its directory.
    ///
    /// # Errors
    /// When it does not answer; with the end of its log.
    pub fn restart(&self) -> Result<(), Error> {
        self.kill();
        let mut process = self.life.process();
        let mut started = None;
        // Those who obeyed the killed one see its end for themselves, a moment later; until then it does not start.
        let settled = until("an answer", START, || {
            if self.answers() && started.as_mut().is_some_and(Process::is_alive) {
                return true;
            }
            if !started.as_mut().is_some_and(Process::is_alive) {
                started = self.spawn().ok();
            }
            false
        });
        if settled.is_err() {
            return Err(Error::new(format!("Postgres does not start: {}", self.log())));
        }
        *process = started;
        Ok(())
    }

    /// Kills it, and keeps a copy of its directory as that left it.
    ///
    /// # Errors
    /// When it cannot be copied. It stays dead.
    pub fn kill_and_copy(&self) -> Result<Backup, Error> {
        self.kill();
        let ground = Ground::reserve()?;
        copy(&self.data(), &ground.directory().join("data"))?;
        Ok(Backup(ground))
    }

    /// Kills it, and starts it with what the copy holds.
    ///
    /// # Errors
    /// As [`Postgres::restart`].
    pub fn restart_from(&self, backup: &Backup) -> Result<(), Error> {
        self.kill();
        fs::remove_dir_all(self.data()).map_err(Error::file("remove", &self.data()))?;
        copy(&backup.0.directory().join("data"), &self.data())?;
        self.restart()
    }

    /// The end of what the server wrote.
    pub fn log(&self) -> String {
        self.ground.log()
    }

    /// Its directory, to be changed while it is dead.
    pub fn data(&self) -> PathBuf {
        self.ground.directory().join("data")
    }

    fn spawn(&self) -> Result<Process, Error> {
        let (programs, _) = programs().ok_or_else(missing)?;
        let (out, errors) = self.ground.new_log()?;
        let words = |name: &str, value: &str| format!("{name}={value}");
        let own = [
            words("listen_addresses", &Ipv4Addr::LOCALHOST.to_string()),
            words("port", &self.ground.port().to_string()),
            words("unix_socket_directories", ""),
            words("max_prepared_transactions", "10"),
            words("shared_buffers", "16MB"),
            words("dynamic_shared_memory_type", "mmap"),
        ];
        let settings = own.into_iter().chain(self.settings.iter().map(|(name, value)| words(name, value)));
        let args = settings.flat_map(|setting| ["-c".to_owned(), setting]);
        Process::start("setpriv", |command| {
            // Asked for again: the kernel forgets it when the user changes.
            command.args(["--pdeathsig", "KILL"]).args(as_user()).arg("--").arg(programs.join("postgres"));
            command.arg("-D").arg(self.data()).args(args).current_dir("/").stdout(out).stderr(errors);
        })
    }

    /// Whether it lets somebody in. What is sent is the first message of the protocol, version 3.0.
    fn answers(&self) -> bool {
        let ask = || -> std::io::Result<u8> {
            let mut stream = TcpStream::connect(self.address())?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            let words = b"user\0larder\0database\0postgres\0\0";
            let mut message = (8 + words.len() as u32).to_be_bytes().to_vec();
            message.extend_from_slice(&196_608_u32.to_be_bytes());
            message.extend_from_slice(words);
            stream.write_all(&message)?;
            let mut first = [0];
            stream.read_exact(&mut first)?;
            Ok(first[0])
        };
        ask().is_ok_and(|first| first == b'R')
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}
