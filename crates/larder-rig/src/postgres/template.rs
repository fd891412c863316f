//! Where Postgres's programs are, who runs them, and the directory that `initdb` makes once. Starts no server.

use std::{
    env,
    fs::{self, File},
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{Error, flavour::target, ground::Ground};

/// Who runs it instead of root.
const NOBODY: u32 = 65_534;

pub(super) fn missing() -> Error {
    Error::new("Postgres is not installed: cargo xtask ci --only system unpacks it below target/servers")
}

/// Where its programs are, and what it says of its version.
pub(super) fn programs() -> Option<&'static (PathBuf, String)> {
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
pub(crate) fn as_user() -> Vec<String> {
    if !is_root() {
        return Vec::new();
    }
    vec![format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".into()]
}

/// Gives a directory to who will run the server.
pub(crate) fn own(directory: &Path) -> Result<(), Error> {
    if !is_root() {
        return Ok(());
    }
    chown(directory, Some(NOBODY), Some(NOBODY)).map_err(Error::file("give away", directory))
}

pub(super) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let copied = Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to).output();
    let copied = copied.map_err(Error::while_doing("run cp"))?;
    if copied.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&copied.stderr).into_owned();
    Err(Error::new(format!("cannot copy {}: {why}", from.display())))
}

/// A directory that `initdb` made, once for this machine, version and user: the first test makes it, others wait.
pub(super) fn template() -> Result<&'static Path, Error> {
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
