//! One private Postgres: started, killed, stopped, put back to what its directory once held. It takes connections on
//! 127.0.0.1 as anybody who asks, `larder` above all, who may do everything.
//!
//! Postgres refuses to run as root; then it runs as `nobody`. Its directory is a copy of one that is made once.

use std::{
    env,
    fs::{self, File},
    io::{Read as _, Write as _, stderr},
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError},
    time::Duration,
};

use crate::{Error, Process, flavour::target, ground::Ground, patience::until};

/// How long a server may take to answer, recovery included.
const START: Duration = Duration::from_secs(30);
const TRIES: usize = 3;
/// Who runs it instead of root.
const NOBODY: u32 = 65_534;

/// A running Postgres of this machine. It is killed, and its directory removed, on drop.
#[derive(Debug)]
pub struct Postgres {
    /// First: it ends before its port and its directory are given back.
    process: Mutex<Option<Process>>,
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
        // Each takes some 40 MB.
        static SWEPT: Once = Once::new();
        SWEPT.call_once(Ground::sweep);
        let settings: Vec<_> =
            settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let mut tries = 0;
        loop {
            let ground = Ground::reserve()?;
            copy(template()?, &ground.directory().join("data"))?;
            own(ground.directory())?;
            let server = Self { process: Mutex::new(None), settings: settings.clone(), ground };
            tries += 1;
            match server.restart() {
                Ok(()) => return Ok(server),
                Err(_) if tries < TRIES && server.log().contains("Address already in use") => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Where a user finds a database: `postgres://USER@127.0.0.1:PORT/DATABASE`.
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.ground.port())
    }

    /// kill -9 of the one process that all others obey.
    pub fn kill(&self) {
        *self.process() = None;
    }

    /// SIGSTOP of the process that takes connections; those that are there go on.
    pub fn pause(&self) {
        if let Some(process) = &*self.process() {
            process.pause();
        }
    }

    /// SIGCONT.
    pub fn resume(&self) {
        if let Some(process) = &*self.process() {
            process.resume();
        }
    }

    /// Kills it if it runs, and starts it on the same port, with what is in its directory.
    ///
    /// # Errors
    /// When it does not answer; with the end of its log.
    pub fn restart(&self) -> Result<(), Error> {
        let mut process = self.process();
        *process = None;
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
        let text = fs::read_to_string(self.ground.directory().join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }

    /// Its directory, to be changed while it is dead.
    pub fn data(&self) -> PathBuf {
        self.ground.directory().join("data")
    }

    fn spawn(&self) -> Result<Process, Error> {
        let (programs, _) = programs().ok_or_else(missing)?;
        let log = self.ground.directory().join("server.log");
        let out = File::create(&log).map_err(Error::file("make", &log))?;
        let errors = out.try_clone().map_err(Error::file("share", &log))?;
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
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ground.port()))?;
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

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn missing() -> Error {
    Error::new("Postgres is not installed: cargo xtask ci --only system unpacks it below target/servers")
}

/// Where its programs are, and what it says of its version.
fn programs() -> Option<&'static (PathBuf, String)> {
    static FOUND: OnceLock<Option<(PathBuf, String)>> = OnceLock::new();
    let look = || {
        let debian = Path::new("/usr/lib/postgresql");
        let mut folders: Vec<PathBuf> = fs::read_dir(debian)
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
            .map(|entry| entry.path().join("bin"))
            .collect();
        folders.sort();
        let path = env::var_os("PATH").unwrap_or_default();
        let all = env::split_paths(&path).chain(folders).chain([target().join("servers/postgres-17/bin")]);
        all.filter(|folder| folder.join("initdb").is_file()).find_map(|folder| {
            let said = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
            said.status.success().then(|| (folder, String::from_utf8_lossy(&said.stdout).trim().to_owned()))
        })
    };
    FOUND.get_or_init(look).as_ref()
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// What `setpriv` is told of the user.
fn as_user() -> Vec<String> {
    if !is_root() {
        return Vec::new();
    }
    vec![format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".into()]
}

/// Gives a directory to who will run the server.
fn own(directory: &Path) -> Result<(), Error> {
    if !is_root() {
        return Ok(());
    }
    chown(directory, Some(NOBODY), Some(NOBODY)).map_err(Error::file("give away", directory))
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let copied = Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to).output();
    let copied = copied.map_err(Error::while_doing("run cp"))?;
    if copied.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&copied.stderr).into_owned();
    Err(Error::new(format!("cannot copy {}: {why}", from.display())))
}

/// A directory that `initdb` made, once for this machine, version and user: the first test makes it, others wait.
fn template() -> Result<&'static Path, Error> {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    if let Some(made) = MADE.get() {
        return Ok(made);
    }
    let (programs, version) = programs().ok_or_else(missing)?;
    let name: String = version.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let root = target().join("servers");
    fs::create_dir_all(&root).map_err(Error::file("make", &root))?;
    let lock_path = root.join("template.lock");
    let lock = File::create(&lock_path).map_err(Error::file("make", &lock_path))?;
    lock.lock().map_err(Error::file("lock", &lock_path))?;
    let uid = rustix::process::getuid().as_raw();
    let made = root.join(format!("template-{name}-{uid}"));
    if !made.exists() {
        let making = Ground::reserve()?;
        own(making.directory())?;
        let data = making.directory().join("data");
        let mut initdb = Command::new("setpriv");
        initdb.args(as_user()).arg("--").arg(programs.join("initdb")).arg("-D").arg(&data).current_dir("/");
        initdb.args([
            "-U",
            "larder",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "--wal-segsize=1",
        ]);
        let ended = initdb.output().map_err(Error::while_doing("run setpriv (of util-linux)"))?;
        if !ended.status.success() {
            return Err(Error::new(format!("initdb fails: {}", String::from_utf8_lossy(&ended.stderr))));
        }
        let half = root.join(format!("template-{name}-{uid}.half"));
        let _ = fs::remove_dir_all(&half);
        copy(&data, &half)?;
        fs::rename(&half, &made).map_err(Error::file("move", &half))?;
    }
    // Left over from another user's run it is of no use to this one.
    let is_own = !is_root() || fs::metadata(&made).is_ok_and(|of| of.uid() == NOBODY);
    if !is_own {
        return Err(Error::new(format!("{} is not nobody's: remove it", made.display())));
    }
    Ok(MADE.get_or_init(|| made))
}
