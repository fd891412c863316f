//! A PgBouncer in front of a Postgres, in transaction mode: each transaction is given another of the server's sessions.
//!
//! It is a program of Debian's, unpacked below `target/servers` and started as the user that Postgres runs as.

use std::{
    env, fs,
    io::{Write as _, stderr},
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    sync::{Once, OnceLock},
    time::Duration,
};

use crate::{
    Error, Postgres, Process,
    flavour::target,
    ground::Ground,
    patience::until,
    postgres::{as_user, own},
};

const START: Duration = Duration::from_secs(10);
/// Sessions of the server, for any number of clients: few, so that each client is given others' all the time.
const SESSIONS: u32 = 3;

/// A running pooler. It is killed, and its directory removed, on drop.
#[derive(Debug)]
pub struct Pooler {
    /// First: it ends before its port and its directory are given back.
    _process: Process,
    ground: Ground,
}

impl Pooler {
    /// Whether this machine has one. Says on standard error, once per process, that it has not: tests skip it then.
    pub fn is_installed() -> bool {
        static SAID: Once = Once::new();
        let found = program().is_some();
        if !found {
            SAID.call_once(|| {
                let what = "SKIPPED: no tests on PgBouncer, it is not installed: cargo xtask ci --only system unpacks it";
                let _ = writeln!(stderr(), "{what} below target/servers");
            });
        }
        found
    }

    /// A pooler for all databases of a server.
    ///
    /// # Errors
    /// When none is installed, or it does not start.
    pub fn start(server: &Postgres) -> Result<Self, Error> {
        let program = program().ok_or_else(|| Error::new("PgBouncer is not installed"))?;
        let ground = Ground::reserve()?;
        let file = ground.directory().join("pgbouncer.ini");
        let (host, port) = (server.address().ip(), server.address().port());
        // Whoever may be anybody is somebody: the user that the server believes.
        let settings = format!(
            "[databases]\n* = host={host} port={port} user=larder\n[pgbouncer]\nlisten_addr = {host}\nlisten_port = {}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = {SESSIONS}\n\
             ignore_startup_parameters = extra_float_digits\n",
            ground.port()
        );
        fs::write(&file, settings).map_err(Error::file("write", &file))?;
        own(ground.directory())?;
        let libraries = target().join("servers/pgbouncer/usr/lib/x86_64-linux-gnu");
        let (out, errors) = ground.new_log()?;
        let mut process = Process::start("setpriv", |command| {
            command.args(["--pdeathsig", "KILL"]).args(as_user()).arg("--").arg(program).arg(&file);
            command.env("LD_LIBRARY_PATH", libraries).current_dir("/").stdout(out).stderr(errors);
        })?;
        let settled = until("an answer", START, || {
            !process.is_alive() || TcpStream::connect((Ipv4Addr::LOCALHOST, ground.port())).is_ok()
        });
        if settled.is_err() || !process.is_alive() {
            return Err(Error::new(format!("PgBouncer does not start: {}", ground.log())));
        }
        Ok(Self { _process: process, ground })
    }

    /// Where a user finds a database of the server: `postgres://USER@127.0.0.1:PORT/DATABASE`.
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.ground.port())
    }
}

fn program() -> Option<&'static PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let look = || {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = env::split_paths(&path).chain([target().join("servers/pgbouncer/usr/sbin")]);
        folders.map(|folder| folder.join("pgbouncer")).find(|program| program.is_file())
    };
    FOUND.get_or_init(look).as_ref()
}
