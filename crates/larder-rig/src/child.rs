//! Programs that die with this process, even if it is killed. For servers, and for the nodes of the rig.
//!
//! The kernel kills them when the *thread* that started them ends (PR_SET_PDEATHSIG, set by util-linux's `setpriv`, since
//! this crate has no `unsafe`), so they are all started by one thread that lives as long as the process.

use std::{
    ffi::OsStr,
    io,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
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

    fn signal(&self, signal: Signal) {
        // A program that is gone needs no signal.
        let _ = kill_process(Pid::from_child(&self.0), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
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
