//! A port that nobody else has, with a directory that goes with it. For everything that listens.
//!
//! Reserved by a lock on a file, which the system gives back when its holder dies however it dies; the directory of a
//! holder that was killed is wiped by the next one. Ports are taken from below the range that outgoing connections use:
//! a server that is down must find its port free when it is started again.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    ops::RangeInclusive,
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
    /// Held, not used: the reservation.
    _lock: File,
}

impl Ground {
    /// Some free port.
    pub(crate) fn reserve() -> Result<Self, Error> {
        let root = std::env::temp_dir().join(format!("larder-rig-{}", rustix::process::getuid().as_raw()));
        fs::create_dir_all(&root).map_err(Error::file("make", &root))?;
        for _ in 0..TRIES {
            if let Some(ground) = Self::take(&root, fastrand::u16(PORTS))? {
                return Ok(ground);
            }
        }
        Err(Error::new(format!("no free port after {TRIES} tries")))
    }

    fn take(root: &Path, port: u16) -> Result<Option<Self>, Error> {
        let path = root.join(format!("{port}.lock"));
        let lock = File::create(&path).map_err(Error::file("make", &path))?;
        if lock.try_lock().is_err() || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
            return Ok(None);
        }
        let directory = root.join(port.to_string());
        if directory.exists() {
            fs::remove_dir_all(&directory).map_err(Error::file("wipe", &directory))?;
        }
        fs::create_dir(&directory).map_err(Error::file("make", &directory))?;
        Ok(Some(Self { port, directory, _lock: lock }))
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
        // What is left behind, the next holder wipes.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
