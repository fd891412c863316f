//! What a row is played on: servers, the way to them, and the nodes, all its own.

use std::{
    ffi::OsString,
    sync::{Arc, Mutex, PoisonError},
};

use larder_rig::{Cluster, Dump, Error, Flavour, Proxy, Sentinel, Server};
use tempfile::TempDir;

use super::{
    faults::{Fault, Kind},
    nodes::Node,
    origin::Origin,
    traffic::KEYS,
};

pub(super) const NODES: usize = 3;

/// The servers of a row.
pub(super) enum Servers {
    /// One, behind a proxy for each node.
    Alone(Server, Vec<Proxy>),
    Sentinel(Sentinel),
    Cluster(Cluster),
}

/// All of it. Ended on drop.
pub(super) struct Scene {
    pub(super) nodes: Vec<Arc<Node>>,
    pub(super) servers: Servers,
    pub(super) origin: Arc<Origin>,
    dump: Mutex<Option<Dump>>,
    _directory: TempDir,
}

impl Scene {
    pub(super) fn build(
        flavour: Flavour,
        fault: &Fault,
        journal: &str,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let directory = tempfile::Builder::new().prefix("larder-matrix-").tempdir()?;
        let file = directory.path().join("origin");
        let origin = Arc::new(Origin::create(&file, KEYS)?);
        let servers = match fault.kind {
            Kind::Alone => {
                let server = Server::start(flavour)?;
                let proxies = (0..NODES).map(|_| Proxy::start(server.address())).collect::<Result<_, _>>()?;
                Servers::Alone(server, proxies)
            }
            Kind::Sentinel => Servers::Sentinel(Sentinel::start(flavour)?),
            Kind::Cluster => Servers::Cluster(Cluster::start(flavour)?),
        };
        let start = |number: usize| {
            let mut args: Vec<OsString> = vec!["--url".into(), servers.url(number).into()];
            args.extend(["--origin".into(), file.clone().into_os_string()]);
            if journal == "sqlite" {
                args.extend(["--journal".into(), directory.path().join("journal.db").into_os_string()]);
            }
            if fault.eventual {
                args.push("--eventual".into());
            }
            Node::start(args).map(Arc::new)
        };
        let nodes = (0..NODES).map(start).collect::<Result<_, _>>()?;
        Ok(Self { nodes, servers, origin, dump: Mutex::new(None), _directory: directory })
    }

    /// The one server of a row that has one.
    pub(super) fn server(&self) -> Result<&Server, Error> {
        match &self.servers {
            Servers::Alone(server, _) => Ok(server),
            _ => Err(Error::new("this row has more than one server")),
        }
    }

    /// The ways to it, one a node.
    pub(super) fn proxies(&self) -> &[Proxy] {
        match &self.servers {
            Servers::Alone(_, proxies) => proxies,
            _ => &[],
        }
    }

    /// The first node: the one that things happen to.
    pub(super) fn node(&self) -> Result<&Node, Error> {
        self.nodes.first().map(Arc::as_ref).ok_or_else(|| Error::new("there are no nodes"))
    }

    /// Remembers what the server holds now.
    pub(super) fn take_dump(&self) -> Result<(), Error> {
        let dump = self.server()?.dump()?;
        *self.dump.lock().unwrap_or_else(PoisonError::into_inner) = Some(dump);
        Ok(())
    }

    /// Kills the server, and starts it with what was remembered.
    pub(super) fn restart_from_dump(&self) -> Result<(), Error> {
        let dump = self.dump.lock().unwrap_or_else(PoisonError::into_inner);
        self.server()?.restart_from(dump.as_ref().ok_or_else(|| Error::new("no dump was taken"))?)
    }
}

impl Servers {
    fn url(&self, node: usize) -> String {
        match self {
            Self::Alone(server, proxies) => proxies.get(node).map_or_else(|| server.url(), Proxy::url),
            Self::Sentinel(set) => {
                let ports: Vec<String> =
                    set.sentinels().iter().map(|one| format!("127.0.0.1:{}", one.port())).collect();
                format!("redis+sentinel://{}/{}", ports.join(","), set.name())
            }
            Self::Cluster(cluster) => {
                let ports: Vec<String> =
                    cluster.servers().iter().map(|one| format!("127.0.0.1:{}", one.port())).collect();
                format!("redis+cluster://{}", ports.join(","))
            }
        }
    }
}
