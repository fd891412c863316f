//! Servers of one of the three kinds, and the way to them for each of several clients: what faults happen to.

use std::sync::{Mutex, PoisonError};

use crate::{Cluster, Dump, Error, Flavour, Proxy, Sentinel, Server};

/// One server, a Sentinel set, or a cluster.
#[derive(Debug)]
pub struct Place {
    servers: Servers,
    dump: Mutex<Option<Dump>>,
}

/// Which servers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One.
    Alone,
    /// A master and a replica, with their Sentinels.
    Sentinel,
    /// Three shards.
    Cluster,
}

#[derive(Debug)]
enum Servers {
    Alone {
        server: Box<Server>,
        proxies: Vec<Proxy>,
    },
    Sentinel(Sentinel),
    /// What happens to a shard happens to the one that has this key.
    Cluster(Cluster, String),
}

impl Place {
    /// One server behind as many proxies as there are clients.
    ///
    /// # Errors
    /// As [`Server::start`] and [`Proxy::start`].
    pub fn alone(flavour: Flavour, clients: usize) -> Result<Self, Error> {
        let server = Box::new(Server::start(flavour)?);
        let proxies = (0..clients).map(|_| Proxy::start(server.address())).collect::<Result<_, _>>()?;
        Ok(Self::of(Servers::Alone { server, proxies }))
    }

    /// A Sentinel set.
    ///
    /// # Errors
    /// As [`Sentinel::start`].
    pub fn sentinel(flavour: Flavour) -> Result<Self, Error> {
        Sentinel::start(flavour).map(|set| Self::of(Servers::Sentinel(set)))
    }

    /// A cluster, in which faults hit the shard that has this key.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn cluster(flavour: Flavour, key: &str) -> Result<Self, Error> {
        Cluster::start(flavour).map(|cluster| Self::of(Servers::Cluster(cluster, key.to_owned())))
    }

    fn of(servers: Servers) -> Self {
        Self { servers, dump: Mutex::new(None) }
    }

    /// Of which kind it is.
    pub fn kind(&self) -> Kind {
        match self.servers {
            Servers::Alone { .. } => Kind::Alone,
            Servers::Sentinel(_) => Kind::Sentinel,
            Servers::Cluster(..) => Kind::Cluster,
        }
    }

    /// Where a client connects to. Of a server alone: its proxy, or beyond the last of them the server itself.
    pub fn url(&self, client: usize) -> String {
        match &self.servers {
            Servers::Alone { server, proxies } => {
                proxies.get(client).map_or_else(|| server.url(), Proxy::url)
            }
            Servers::Sentinel(set) => set.url(),
            Servers::Cluster(cluster, _) => cluster.url(),
        }
    }

    /// The server, if it is alone.
    pub(crate) fn server(&self) -> Result<&Server, Error> {
        match &self.servers {
            Servers::Alone { server, .. } => Ok(server),
            _ => Err(Error::new("there is more than one server")),
        }
    }

    /// The ways to a server alone.
    pub(crate) fn proxies(&self) -> &[Proxy] {
        match &self.servers {
            Servers::Alone { proxies, .. } => proxies,
            _ => &[],
        }
    }

    /// All that hold data.
    fn holders(&self) -> Vec<&Server> {
        match &self.servers {
            Servers::Alone { server, .. } => vec![server],
            Servers::Sentinel(set) => set.servers().iter().collect(),
            Servers::Cluster(cluster, _) => cluster.servers().iter().collect(),
        }
    }

    /// Who has the key that things happen to.
    pub(crate) fn master(&self) -> Result<&Server, Error> {
        match &self.servers {
            Servers::Alone { server, .. } => Ok(server),
            Servers::Sentinel(set) => set.master(),
            Servers::Cluster(cluster, key) => cluster.master(cluster.slot(key)?),
        }
    }

    /// Its replica takes over in order.
    pub(crate) fn hand_over(&self) -> Result<(), Error> {
        match &self.servers {
            Servers::Alone { .. } => Err(Error::new("a server alone has nobody to hand over to")),
            Servers::Sentinel(set) => set.hand_over(),
            Servers::Cluster(cluster, key) => cluster.hand_over(cluster.slot(key)?),
        }
    }

    /// The key's slot moves to another shard.
    pub(crate) fn move_slot(&self) -> Result<(), Error> {
        match &self.servers {
            Servers::Cluster(cluster, key) => cluster.move_slot(cluster.slot(key)?),
            _ => Err(Error::new("only a cluster has slots")),
        }
    }

    /// Waits until there is a master again wherever there was one.
    pub(crate) fn settle(&self) -> Result<(), Error> {
        match &self.servers {
            Servers::Alone { .. } => Ok(()),
            Servers::Sentinel(set) => set.settle(),
            Servers::Cluster(cluster, _) => cluster.settle(),
        }
    }

    /// Starts whatever is dead, and waits for it to have found its place.
    pub(crate) fn revive(&self) -> Result<(), Error> {
        for server in self.holders().into_iter().filter(|server| server.process_id().is_none()) {
            server.restart()?;
        }
        self.settle()
    }

    /// Lets whatever stands still go on, and waits for it to have found its place.
    pub(crate) fn resume(&self) -> Result<(), Error> {
        self.holders().into_iter().for_each(Server::resume);
        self.settle()
    }

    /// One command to every master; replicas refuse some.
    pub(crate) fn tell_all(&self, words: &[&str]) -> Result<(), Error> {
        for server in self.holders() {
            match server.ask(words) {
                Err(error) if !error.is_refused() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Remembers what the server holds now.
    pub(crate) fn take_dump(&self) -> Result<(), Error> {
        let dump = self.server()?.dump()?;
        *self.dump.lock().unwrap_or_else(PoisonError::into_inner) = Some(dump);
        Ok(())
    }

    /// Kills the server, and starts it with what was remembered.
    pub(crate) fn restart_from_dump(&self) -> Result<(), Error> {
        let dump = self.dump.lock().unwrap_or_else(PoisonError::into_inner);
        self.server()?.restart_from(dump.as_ref().ok_or_else(|| Error::new("no dump was taken"))?)
    }
}
