//! Programs that die with this process, even if it is killed. For servers, and for the nodes of the rig.
//!
//! The kernel kills them when the *thread* that started them ends (PR_SET_PDEATHSIG, set by util-linux's `setpriv`, since
//! this crate has no `unsafe`), so they are all started by one thread that lives as long as the process.

use std::{
    ffi::OsStr,
    fs, io,
    process::{Child, Command, Stdio},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        mpsc::{self, Sender},
    },
    thread,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::Error;

type Order = (Command, Sender<io::Result<Child>>);

/// A running program. Killed, and waited for, on drop.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts `program`, with what `arrange` gives it: arguments, environment, streams.
    ///
    /// # Errors
    /// When it cannot be started, for want of `setpriv` above all. A program that is not there ends at once.
    pub fn start(program: impl AsRef<OsStr>, arrange: impl FnOnce(&mut Command)) -> Result<Self, Error> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).stdin(Stdio::null());
        arrange(&mut command);
        let (answer, child) = mpsc::channel();
        let ended = || Error::new("the thread that starts programs has ended");
        starter()
            .map_err(Error::while_doing("start a thread"))?
            .send((command, answer))
            .map_err(|_| ended())?;
        child
            .recv()
            .map_err(|_| ended())?
            .map(Self)
            .map_err(Error::while_doing("run setpriv (of util-linux)"))
    }

    /// Its id, for signals of one's own.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// What it was started with as pipes.
    pub fn streams(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Whether it still runs, or stands still.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// kill -9, and waits for its end.
    pub fn kill(&mut self) {
        // Fails only when it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// SIGSTOP: it keeps its connections, and answers nobody. Returns once it stands still.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        // Fails when it is gone: it stands still too.
        let _ = waitid(WaitId::Pid(Pid::from_child(&self.0)), stopped);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGSTOP, and the same for those it has started: nobody does anything any more.
    pub fn freeze(&self) {
        // First itself: it starts nobody then.
        self.pause();
        self.signal_children(Signal::STOP);
    }

    /// SIGCONT for it and for those it has started.
    pub fn thaw(&self) {
        self.signal_children(Signal::CONT);
        self.resume();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // A program that is gone needs no signal.
        let _ = kill_process(Pid::from_child(&self.0), signal);
    }

    /// To those whose parent this is, as `/proc` has it.
    fn signal_children(&self, signal: Signal) {
        let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        for id in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
            let of = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            // `ID (NAME) STATE PARENT ...`, with anything in the name.
            let parent = of.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
            if parent == Some(self.0.id())
                && let Some(id) = Pid::from_raw(id)
            {
                let _ = kill_process(id, signal);
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program that is started, killed, stopped and started again.
#[derive(Debug, Default)]
pub(crate) struct Life(Mutex<Option<Process>>);

impl Life {
    /// The program, none while it is dead. Whoever holds this decides alone what becomes of it.
    pub(crate) fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// kill -9: nothing is saved, no connection is closed in order.
    pub(crate) fn kill(&self) {
        *self.process() = None;
    }

    pub(crate) fn pause(&self) {
        if let Some(process) = &*self.process() {
            process.pause();
        }
    }

    pub(crate) fn resume(&self) {
        if let Some(process) = &*self.process() {
            process.resume();
        }
    }
}

fn starter() -> io::Result<&'static Sender<Order>> {
    static STARTER: OnceLock<Sender<Order>> = OnceLock::new();
    if let Some(starter) = STARTER.get() {
        return Ok(starter);
    }
    let (orders, taken) = mpsc::channel::<Order>();
    thread::Builder::new().name("rig-starter".into()).spawn(move || {
        for (mut command, answer) in taken {
            let _ = answer.send(command.spawn());
        }
    })?;
    // Of two threads that come here at once, one starter remains; the other ends as its sender is dropped.
    Ok(STARTER.get_or_init(|| orders))
}
