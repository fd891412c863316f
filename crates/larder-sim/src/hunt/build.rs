//! Builds this binary once more, with the known mistakes compiled in, and hands over to it.

use super::{HuntError, names};
use crate::console::Progress;
use crate::signals::Interrupt;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

const CFG: &str = "--cfg larder_seeded_bugs";

/// Has another binary do what this one was asked.
pub(super) fn hand_over(interrupt: &Interrupt) -> Result<ExitCode, HuntError> {
    let binary = build()?;
    if interrupt.is_asked() {
        return Err(HuntError::Interrupted);
    }
    let run = |source| HuntError::Run { what: binary.display().to_string(), source };
    let status = Command::new(&binary).args(std::env::args_os().skip(1)).status().map_err(run)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// In a target directory of its own: the flags would have everything else built anew.
fn build() -> Result<PathBuf, HuntError> {
    let target = names::root().join("target").join("seeded-bugs");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let flags = match std::env::var("RUSTFLAGS") {
        Ok(flags) if !flags.trim().is_empty() => format!("{flags} {CFG}"),
        _ => CFG.to_owned(),
    };
    let failed = |source| HuntError::Run { what: "cargo build".to_owned(), source };
    let mut child = Command::new(cargo)
        .args(["build", "--release", "-p", "larder-sim"])
        .current_dir(names::root())
        .env("RUSTFLAGS", flags)
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_TERM_COLOR", "never")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let said = child.stderr.take().map(follow).unwrap_or_default();
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        return Err(HuntError::Build(said));
    }
    Ok(target.join("release").join(format!("larder-sim{}", std::env::consts::EXE_SUFFIX)))
}

/// Shows what cargo says, and keeps it for the case that it fails.
fn follow(stderr: impl std::io::Read) -> String {
    let mut progress = Progress::start("crates built with the known mistakes", 0);
    let (mut said, mut built) = (String::new(), 0);
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        built += u64::from(line.trim_start().starts_with("Compiling"));
        progress.show(built, || line.trim().to_owned());
        said.push_str(&line);
        said.push('\n');
    }
    said
}
