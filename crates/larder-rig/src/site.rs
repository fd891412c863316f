//! A server, and a way to it for each of several clients: what the single-server faults are made of.

use std::sync::{Mutex, PoisonError};

use crate::{Dump, Error, Flavour, Proxy, Server};

/// One server behind as many proxies as there are clients.
#[derive(Debug)]
pub struct Site {
    server: Server,
    proxies: Vec<Proxy>,
    dump: Mutex<Option<Dump>>,
}

impl Site {
    /// Starts all of it.
    ///
    /// # Errors
    /// As [`Server::start`] and [`Proxy::start`].
    pub fn start(flavour: Flavour, clients: usize) -> Result<Self, Error> {
        let server = Server::start(flavour)?;
        let proxies = (0..clients).map(|_| Proxy::start(server.address())).collect::<Result<_, _>>()?;
        Ok(Self { server, proxies, dump: Mutex::new(None) })
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The way of each client.
    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// Where a client connects to; beyond the last of them, the server itself.
    pub fn url(&self, client: usize) -> String {
        self.proxies.get(client).map_or_else(|| self.server.url(), Proxy::url)
    }

    /// Remembers what the server holds now.
    pub(crate) fn take_dump(&self) -> Result<(), Error> {
        let dump = self.server.dump()?;
        *self.dump.lock().unwrap_or_else(PoisonError::into_inner) = Some(dump);
        Ok(())
    }

    /// Kills the server, and starts it with what was remembered.
    pub(crate) fn restart_from_dump(&self) -> Result<(), Error> {
        let dump = self.dump.lock().unwrap_or_else(PoisonError::into_inner);
        self.server.restart_from(dump.as_ref().ok_or_else(|| Error::new("no dump was taken"))?)
    }
}
