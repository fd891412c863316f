//! What a row is played on: servers, the way to them, and the nodes, all its own.

use std::{ffi::OsString, sync::Arc};

use larder_rig::{Cluster, Error, Flavour, Sentinel, Server, Site};
use tempfile::TempDir;

use super::{
    faults::{Play, Scenario},
    nodes::Node,
    origin::Origin,
    traffic::KEYS,
};

pub(super) const NODES: usize = 3;

/// The servers of a row.
pub(super) enum Servers {
    /// One, behind a proxy for each node.
    Alone(Box<Site>),
    Sentinel(Sentinel),
    Cluster(Cluster),
}

/// All of it. Ended on drop.
pub(super) struct Scene {
    pub(super) nodes: Vec<Arc<Node>>,
    pub(super) servers: Servers,
    pub(super) origin: Arc<Origin>,
    _directory: TempDir,
}

impl Scene {
    pub(super) fn build(
        flavour: Flavour,
        scenario: &Scenario,
        journal: &str,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let directory = tempfile::Builder::new().prefix("larder-matrix-").tempdir()?;
        let file = directory.path().join("origin");
        let origin = Arc::new(Origin::create(&file, KEYS)?);
        let servers = match scenario.play {
            Play::Peace | Play::Site(_) | Play::Node(..) => {
                Servers::Alone(Box::new(Site::start(flavour, NODES)?))
            }
            Play::Sentinel(_) => Servers::Sentinel(Sentinel::start(flavour)?),
            Play::Cluster(_) => Servers::Cluster(Cluster::start(flavour)?),
        };
        let start = |number: usize| {
            let mut args: Vec<OsString> = vec!["--url".into(), servers.url(number).into()];
            args.extend(["--origin".into(), file.clone().into_os_string()]);
            if journal == "sqlite" {
                args.extend(["--journal".into(), directory.path().join("journal.db").into_os_string()]);
            }
            if scenario.control {
                args.push("--eventual".into());
            }
            Node::start(args).map(Arc::new)
        };
        let nodes = (0..NODES).map(start).collect::<Result<_, _>>()?;
        Ok(Self { nodes, servers, origin, _directory: directory })
    }

    /// The first node: the one that things happen to.
    pub(super) fn node(&self) -> Result<&Node, Error> {
        self.nodes.first().map(Arc::as_ref).ok_or_else(|| Error::new("there are no nodes"))
    }
}

impl Servers {
    fn url(&self, node: usize) -> String {
        match self {
            Self::Alone(site) => site.url(node),
            Self::Sentinel(set) => {
                format!("redis+sentinel://{}/{}", addresses(set.sentinels()), set.name())
            }
            Self::Cluster(cluster) => format!("redis+cluster://{}", addresses(cluster.servers())),
        }
    }
}

fn addresses(servers: &[Server]) -> String {
    let addresses: Vec<String> = servers.iter().map(|server| server.address().to_string()).collect();
    addresses.join(",")
}
