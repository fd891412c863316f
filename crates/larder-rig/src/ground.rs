//! A port that nobody else has, with a directory that goes with it. For everything that listens.
//!
//! Reserved by a lock on a file, which the system gives back when its holder dies however it dies; the directory of a
//! holder that was killed is wiped by the next one. Ports are taken from below the range that outgoing connections use:
//! a server that is down must find its port free when it is started again.

use std::{
    fs::{self, File},
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
    ops::RangeInclusive,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::Error;

const PORTS: RangeInclusive<u16> = 10_000..=31_999;
const TRIES: usize = 200;

/// One port of 127.0.0.1 and one directory, until it is dropped.
#[derive(Debug)]
pub(crate) struct Ground {
    port: u16,
    directory: PathBuf,
    /// The reservation, held for as long as this lives.
    lock: File,
    lock_path: PathBuf,
}

impl Ground {
    /// Some free port.
    pub(crate) fn reserve() -> Result<Self, Error> {
        let root = Self::root();
        for _ in 0..TRIES {
            // Whoever leaves last takes it away, at any moment.
            fs::create_dir_all(&root).map_err(Error::file("make", &root))?;
            if let Some(ground) = Self::take(&root, fastrand::u16(PORTS))? {
                return Ok(ground);
            }
        }
        Err(Error::new(format!("no free port after {TRIES} tries")))
    }

    /// A new file for what a server writes, to standard output and to standard error.
    pub(crate) fn new_log(&self) -> Result<(File, File), Error> {
        let path = self.log_path();
        let out = File::create(&path).map_err(Error::file("make", &path))?;
        let errors = out.try_clone().map_err(Error::file("share", &path))?;
        Ok((out, errors))
    }

    /// The end of it.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("server.log")
    }

    /// Takes away what was left behind by those who were killed, or never dropped what a `static` holds. For servers whose
    /// directories are large: until somebody draws the same port again, it would stay.
    pub(crate) fn sweep() {
        let Ok(entries) = fs::read_dir(Self::root()) else { return };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            if path.extension().is_none_or(|extension| extension != "lock") {
                continue;
            }
            let Ok(lock) = File::options().write(true).open(&path) else { continue };
            if lock.try_lock().is_err() {
                continue;
            }
            let directory = path.with_extension("");
            let _ = fs::remove_dir_all(&directory);
            // Whoever still writes into it is about to die; then the next one sweeps.
            if !directory.exists() {
                let _ = fs::remove_file(&path);
            }
        }
    }

    fn root() -> PathBuf {
        std::env::temp_dir().join(format!("larder-rig-{}", rustix::process::getuid().as_raw()))
    }

    fn take(root: &Path, port: u16) -> Result<Option<Self>, Error> {
        let lock_path = root.join(format!("{port}.lock"));
        let lock = match File::create(&lock_path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            made => made.map_err(Error::file("make", &lock_path))?,
        };
        if lock.try_lock().is_err() {
            return Ok(None);
        }
        // Its last holder may have removed it after we had opened it: then others lock another file of that name.
        let is_same = |one: fs::Metadata| lock.metadata().is_ok_and(|own| one.ino() == own.ino());
        if !fs::metadata(&lock_path).is_ok_and(is_same) {
            return Ok(None);
        }
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
            // Somebody's who knows nothing of the rig. The file goes while it is locked.
            let _ = fs::remove_file(&lock_path);
            return Ok(None);
        }
        let directory = root.join(port.to_string());
        if directory.exists() {
            fs::remove_dir_all(&directory).map_err(Error::file("wipe", &directory))?;
        }
        fs::create_dir(&directory).map_err(Error::file("make", &directory))?;
        Ok(Some(Self { port, directory, lock, lock_path }))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // What is left behind, the next holder wipes. The lock's file goes while it is locked.
        let _ = fs::remove_dir_all(&self.directory);
        let _ = fs::remove_file(&self.lock_path);
        let _ = self.lock.unlock();
        if let Some(root) = self.directory.parent() {
            // Not while others are there.
            let _ = fs::remove_dir(root);
        }
    }
}
