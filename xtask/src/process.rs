//! Runs one program to its end with its output in a file, under a time limit, stoppable by Ctrl-C.
//!
//! Every program gets a process group of its own, and the whole group is ended with it: a test that leaves a server
//! behind does not leave it on the machine. Programs never read our standard input.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::fault::Fault;

/// How long a program has to end by itself once it was asked to: longer than nextest gives the tests it ends, which
/// are in groups of their own.
const GRACE: Duration = Duration::from_secs(20);

/// The variables without which a command typed again would do something else.
const TELLING: [&str; 4] = ["RUSTFLAGS", "RUSTDOCFLAGS", "RUSTC_WORKSPACE_WRAPPER", "LARDER_SEEDED_BUG"];

/// Whether the user, or the system, asked us to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over SIGINT and SIGTERM for the rest of the process's life.
    pub(crate) fn listen() -> Result<Self, Fault> {
        let raised = Self::default();
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&raised.0))
                .map_err(|error| Fault::new(format!("cannot listen for signal {signal}: {error}")))?;
        }
        Ok(raised)
    }

    /// True once a signal has arrived; stays true.
    pub(crate) fn raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With this exit code; none if a signal killed it.
    Exit(Option<i32>),
    /// We ended it: it ran longer than its limit.
    OverTime(Duration),
    /// We ended it: Ctrl-C.
    Interrupted,
}

impl Ended {
    /// Exit code 0.
    pub(crate) fn well(self) -> bool {
        self == Self::Exit(Some(0))
    }

    /// For the summary, after a program's name.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Exit(Some(code)) => format!("exit code {code}"),
            Self::Exit(None) => "killed by a signal".into(),
            Self::OverTime(limit) => format!("ended after {} s, its limit", limit.as_secs()),
            Self::Interrupted => "interrupted".into(),
        }
    }
}

/// A program to run, with where its output goes.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    name: OsString,
    args: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    directory: PathBuf,
    limit: Duration,
}

impl Program {
    /// `name` with its arguments, run in `directory`.
    pub(crate) fn new<A: AsRef<OsStr>>(
        directory: &Path,
        name: impl Into<OsString>,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let limit = Duration::from_secs(15 * 60);
        Self { name: name.into(), args, variables: Vec::new(), directory: directory.to_owned(), limit }
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Ends the program after this long; 15 minutes unless said otherwise.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The command as one would type it, for logs.
    pub(crate) fn line(&self) -> String {
        let mut words: Vec<String> = self
            .variables
            .iter()
            .filter(|(name, _)| TELLING.iter().any(|telling| name == telling))
            .map(|(name, value)| format!("{}='{}'", name.to_string_lossy(), value.to_string_lossy()))
            .collect();
        words.push(self.name.to_string_lossy().into_owned());
        words.extend(self.args.iter().map(|arg| arg.to_string_lossy().into_owned()));
        words.join(" ")
    }

    /// Runs it with both outputs in `log`.
    ///
    /// # Errors
    /// When the program cannot be started or waited for; a failing program is not an error.
    pub(crate) fn run(&self, log: File, interrupt: &Interrupt) -> Result<Ended, Fault> {
        let errors = log.try_clone().map_err(|error| Fault::new(format!("cannot share a log: {error}")))?;
        self.run_apart(log, errors, interrupt)
    }

    /// Runs it with standard output and standard error in files of their own.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub(crate) fn run_apart(&self, out: File, err: File, interrupt: &Interrupt) -> Result<Ended, Fault> {
        if interrupt.raised() {
            return Ok(Ended::Interrupted);
        }
        let mut command = Command::new(&self.name);
        command.args(&self.args).envs(self.variables.iter().cloned()).current_dir(&self.directory);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command
            .spawn()
            .map_err(|error| Fault::new(format!("cannot start {}: {error}", self.name.to_string_lossy())))?;
        let ended = self.wait(&mut child, interrupt);
        signal_group(&child, Signal::KILL);
        ended
    }

    fn wait(&self, child: &mut Child, interrupt: &Interrupt) -> Result<Ended, Fault> {
        let began = Instant::now();
        loop {
            if let Some(ended) = exited(child)? {
                return Ok(ended);
            }
            if interrupt.raised() {
                end(child)?;
                return Ok(Ended::Interrupted);
            }
            if began.elapsed() >= self.limit {
                end(child)?;
                return Ok(Ended::OverTime(self.limit));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn exited(child: &mut Child) -> Result<Option<Ended>, Fault> {
    let status =
        child.try_wait().map_err(|error| Fault::new(format!("cannot wait for a program: {error}")))?;
    Ok(status.map(|status| Ended::Exit(status.code())))
}

/// Asks the whole group to end, and insists after [`GRACE`]. Interrupt rather than terminate: test runners pass it
/// on to the groups they made themselves.
fn end(child: &mut Child) -> Result<(), Fault> {
    signal_group(child, Signal::INT);
    let asked = Instant::now();
    while exited(child)?.is_none() {
        if asked.elapsed() >= GRACE {
            signal_group(child, Signal::KILL);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The group may be gone already, which is what we want: the error is dropped.
fn signal_group(child: &Child, signal: Signal) {
    let _ = kill_process_group(Pid::from_child(child), signal);
}

#[cfg(test)]
mod tests {
    use std::{fs::File, path::Path, sync::atomic::Ordering, time::Duration};

    use super::{Ended, Interrupt, Program};

    fn null() -> File {
        File::options().write(true).open("/dev/null").unwrap()
    }

    fn shell(script: &str) -> Program {
        Program::new(Path::new("/"), "sh", ["-c", script])
    }

    #[test]
    fn reports_the_exit_code_of_the_program() {
        let ended = shell("exit 7").run(null(), &Interrupt::default()).unwrap();
        assert_eq!(ended, Ended::Exit(Some(7)));
        assert!(!ended.well());
        assert!(shell("true").run(null(), &Interrupt::default()).unwrap().well());
    }

    #[test]
    fn a_program_that_is_not_there_is_a_fault_that_names_it() {
        let program = Program::new(Path::new("/"), "no-such-program", [""; 0]);
        let fault = program.run(null(), &Interrupt::default()).unwrap_err();
        assert!(fault.to_string().contains("no-such-program"), "{fault}");
    }

    #[test]
    fn a_program_over_its_limit_is_ended() {
        let limit = Duration::from_millis(50);
        let ended = shell("exec tail -f /dev/null").limit(limit).run(null(), &Interrupt::default()).unwrap();
        assert_eq!(ended, Ended::OverTime(limit));
    }

    #[test]
    fn after_an_interrupt_nothing_is_started() {
        let interrupt = Interrupt::default();
        interrupt.0.store(true, Ordering::Relaxed);
        let ended = Program::new(Path::new("/"), "no-such-program", [""; 0]).run(null(), &interrupt).unwrap();
        assert_eq!(ended, Ended::Interrupted);
    }

    #[test]
    fn what_a_program_leaves_running_ends_with_it() {
        // The background process holds a pipe open: its end is seen as end of file on the reading side.
        let (mut reader, writer) = std::io::pipe().unwrap();
        let out = File::from(std::os::fd::OwnedFd::from(writer));
        let ended = shell("tail -f /dev/null & exit 0").run(out, &Interrupt::default()).unwrap();
        assert!(ended.well());
        let mut left = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut left).unwrap();
    }
}
