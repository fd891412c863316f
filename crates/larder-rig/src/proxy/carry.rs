//! One connection through the proxy: two directions, each a reader that notes when bytes came and a writer that lets
//! them go when the rules say so.

use std::{
    future::pending,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{Blow, Orders, Rules};

/// How many pieces wait in one direction: beyond that the sender feels it, as over a real network.
const PIECES: usize = 64;
const PIECE: usize = 16 * 1024;
/// The largest crumb.
const CRUMB: usize = 3;

/// Bytes, and when they came.
type Piece = (Instant, Vec<u8>);

/// Carries until one side ends it, or a blow does.
pub(super) async fn carry(client: TcpStream, to: SocketAddr, mut orders: Orders) {
    // Nobody there: the client's connection ends too.
    let Ok(server) = TcpStream::connect(to).await else { return };
    // A socket that refuses options is one that is gone: the first read tells.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let lost = AtomicBool::new(false);
    let up = Direction { from: &client, to: &server, lost: &lost, rules: orders.rules.clone() };
    let down = Direction { from: &server, to: &client, lost: &lost, rules: orders.rules.clone() };
    let flow = async {
        tokio::select! {
            () = up.flow() => {}
            () = down.flow() => if lost.load(Ordering::SeqCst) {
                // What lost something does not hear of its server's end either.
                deaf(&client).await;
            },
        }
    };
    let blow = tokio::select! {
        () = flow => return,
        blow = next(&mut orders.blows) => blow,
    };
    if blow == Blow::HalfOpen {
        drop(server);
        tokio::select! {
            () = deaf(&client) => {}
            next = next(&mut orders.blows) => if next == Blow::Reset {
                let _ = client.set_zero_linger();
            },
        }
    } else if blow == Blow::Reset {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

async fn next(blows: &mut watch::Receiver<Option<Blow>>) -> Blow {
    match blows.changed().await {
        Ok(()) => blows.borrow_and_update().unwrap_or(Blow::Cut),
        // The proxy ends.
        Err(_) => Blow::Cut,
    }
}

/// Takes what comes and answers nothing, until the other side ends it.
async fn deaf(stream: &TcpStream) {
    while read(stream).await.is_some() {}
}

struct Direction<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
    /// Whether this connection, either way, has lost anything.
    lost: &'a AtomicBool,
    rules: watch::Receiver<Rules>,
}

impl Direction<'_> {
    /// Until the sender ends it and all it sent has arrived, or the receiver is gone.
    async fn flow(self) {
        let (sender, receiver) = mpsc::channel(PIECES);
        tokio::join!(self.read_all(sender), self.write_all(receiver));
    }

    async fn read_all(&self, pieces: mpsc::Sender<Piece>) {
        while let Some(bytes) = read(self.from).await {
            if self.rules.borrow().swallow {
                self.lost.store(true, Ordering::SeqCst);
            }
            let lost = self.lost.load(Ordering::SeqCst);
            if !lost && pieces.send((Instant::now(), bytes)).await.is_err() {
                return;
            }
        }
    }

    async fn write_all(&self, mut pieces: mpsc::Receiver<Piece>) {
        let mut rules = self.rules.clone();
        while let Some((came, bytes)) = pieces.recv().await {
            let latency = rules.borrow().latency;
            sleep_until(came + latency).await;
            let Ok(slice) = rules.wait_for(|rules| !rules.hold).await.map(|rules| rules.slice) else {
                return pending().await;
            };
            let written = match slice {
                true => self.write_crumbs(&bytes).await,
                false => write(self.to, &bytes).await,
            };
            if written.is_err() {
                return;
            }
        }
    }

    async fn write_crumbs(&self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (crumb, more) = rest.split_at(fastrand::usize(1..=CRUMB).min(rest.len()));
            write(self.to, crumb).await?;
            // The receiver may run before the next one comes.
            tokio::task::yield_now().await;
            rest = more;
        }
        Ok(())
    }
}

/// The next bytes; none at the end, in order or not.
async fn read(stream: &TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; PIECE];
    loop {
        stream.readable().await.ok()?;
        match stream.try_read(&mut bytes) {
            Ok(0) => return None,
            Ok(length) => {
                bytes.truncate(length);
                return Some(bytes);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}

async fn write(stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(length) => rest = rest.get(length..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
