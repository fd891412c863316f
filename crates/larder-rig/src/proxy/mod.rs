//! A fault between a client and its server: bytes that come late, in crumbs, or never; connections that end, or only
//! seem to live. Set while it runs, from any thread.
//!
//! It passes bytes on and reads none of them. It runs on a thread of its own, so that a busy or stopped runtime of the
//! test does not look like a fault.

mod carry;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{mpsc, watch},
};

use crate::{Error, ground::Ground};
use carry::carry;

/// What holds until it is changed, for all connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Rules {
    latency: Duration,
    hold: bool,
    swallow: bool,
    slice: bool,
    refuse: bool,
}

/// What happens once, to the connections of the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Cut,
    Reset,
    HalfOpen,
}

/// What every connection watches.
#[derive(Debug, Clone)]
struct Orders {
    rules: watch::Receiver<Rules>,
    /// A connection takes heed of those that come after it was made.
    blows: watch::Receiver<Option<Blow>>,
}

/// A port of this machine that leads to another. Closed on drop, with its connections.
#[derive(Debug)]
pub struct Proxy {
    ground: Ground,
    rules: watch::Sender<Rules>,
    blows: watch::Sender<Option<Blow>>,
    connections: Arc<AtomicUsize>,
    /// Dropped to end the thread.
    alive: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Passes everything on to `to`, at first without a fault.
    ///
    /// # Errors
    /// When there is no free port or no thread.
    pub fn start(to: SocketAddr) -> Result<Self, Error> {
        let ground = Ground::reserve()?;
        let (rules, watched_rules) = watch::channel(Rules::default());
        let (blows, watched_blows) = watch::channel(None);
        let (alive, end) = mpsc::channel(1);
        let connections = Arc::default();
        let from = SocketAddr::from((Ipv4Addr::LOCALHOST, ground.port()));
        let orders = Orders { rules: watched_rules, blows: watched_blows };
        let gate = Gate { from, to, orders, connections: Arc::clone(&connections) };
        let (up, is_up) = std::sync::mpsc::channel();
        let thread = thread::Builder::new()
            .name("rig-proxy".into())
            .spawn(move || gate.run(end, &up))
            .map_err(Error::while_doing("start a thread"))?;
        let started = is_up.recv().map_err(|_| Error::new("the proxy has panicked"))?;
        started.map_err(Error::while_doing("listen"))?;
        Ok(Self { ground, rules, blows, connections, alive: Some(alive), thread: Some(thread) })
    }

    /// Where to connect to.
    pub fn port(&self) -> u16 {
        self.ground.port()
    }

    /// The same, as an address.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// How many connections clients hold, dead ones that they do not know of included.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Everything takes this much longer, each way; what is sent at once still arrives at once.
    pub fn delay(&self, latency: Duration) {
        self.rules.send_modify(|rules| rules.latency = latency);
    }

    /// Nothing passes; what was sent meanwhile arrives when it is let go, as over a network that was gone for a while.
    pub fn hold(&self, on: bool) {
        self.rules.send_modify(|rules| rules.hold = on);
    }

    /// What is sent is lost without a word. A connection that lost something stays lost: it passes nothing any more, and
    /// never ends.
    pub fn swallow(&self, on: bool) {
        self.rules.send_modify(|rules| rules.swallow = on);
    }

    /// Everything arrives in pieces of one to three bytes.
    pub fn slice(&self, on: bool) {
        self.rules.send_modify(|rules| rules.slice = on);
    }

    /// New connections are refused, as if nobody listened. Those that are there go on.
    pub fn refuse(&self, on: bool) {
        self.rules.send_modify(|rules| rules.refuse = on);
    }

    /// Nothing of the above any more.
    pub fn heal(&self) {
        self.rules.send_modify(|rules| *rules = Rules::default());
    }

    /// Ends the connections of the moment in order (FIN), on both sides.
    pub fn cut(&self) {
        self.blow(Blow::Cut);
    }

    /// Ends them without order (RST).
    pub fn reset(&self) {
        self.blow(Blow::Reset);
    }

    /// Ends them at the server; the client is not told, and gets no answer any more. New connections are as good as ever.
    pub fn half_open(&self) {
        self.blow(Blow::HalfOpen);
    }

    fn blow(&self, blow: Blow) {
        self.blows.send_replace(Some(blow));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.alive = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the proxy has been printed where it happened.
            let _ = thread.join();
        }
    }
}

fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(1024)
}

/// The listening side.
struct Gate {
    from: SocketAddr,
    to: SocketAddr,
    orders: Orders,
    connections: Arc<AtomicUsize>,
}

impl Gate {
    /// The proxy's thread, with a runtime that is nobody else's. Says first whether it listens.
    fn run(self, end: mpsc::Receiver<()>, up: &std::sync::mpsc::Sender<io::Result<()>>) {
        let open = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let listener = runtime.block_on(async { listen(self.from) })?;
            Ok((runtime, listener))
        };
        // Whoever starts a proxy waits for this.
        match open() {
            Ok((runtime, listener)) => {
                let _ = up.send(Ok(()));
                runtime.block_on(self.open(listener, end));
            }
            Err(error) => drop(up.send(Err(error))),
        }
    }

    async fn open(mut self, listener: TcpListener, mut end: mpsc::Receiver<()>) {
        let mut listener = Some(listener);
        loop {
            let refuse = self.orders.rules.borrow_and_update().refuse;
            // The port is reserved, and free the moment the old listener is gone.
            listener = if refuse { None } else { listener.or_else(|| listen(self.from).ok()) };
            tokio::select! {
                _ = end.recv() => return,
                _ = self.orders.rules.changed() => {}
                accepted = accept(listener.as_ref()) => if let Ok(client) = accepted {
                    self.take(client);
                },
            }
        }
    }

    fn take(&self, client: TcpStream) {
        let (to, mut orders) = (self.to, self.orders.clone());
        orders.blows.mark_unchanged();
        let counted = Counted::new(&self.connections);
        tokio::spawn(async move {
            carry(client, to, orders).await;
            drop(counted);
        });
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => Ok(listener.accept().await?.0),
        None => std::future::pending().await,
    }
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(counter))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
