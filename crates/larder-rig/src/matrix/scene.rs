//! What a row is played on: servers, the way to them, and the nodes, all its own.

use std::{ffi::OsString, sync::Arc};

use larder_rig::{Error, Flavour, Kind, Place};
use tempfile::TempDir;

use super::{
    faults::{Play, Scenario},
    nodes::Node,
    origin::Origin,
    traffic::KEYS,
};

pub(super) const NODES: usize = 3;

/// The journal's keys, and others of the namespace that belong together, are where this one is.
const KEY: &str = "{larder:matrix}";

/// All of it. Ended on drop.
pub(super) struct Scene {
    pub(super) nodes: Vec<Arc<Node>>,
    pub(super) place: Place,
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
        let kind = match scenario.play {
            Play::Servers(fault) => fault.kind,
            Play::Peace | Play::Node(..) => Kind::Alone,
        };
        let place = match kind {
            Kind::Alone => Place::alone(flavour, NODES)?,
            Kind::Sentinel => Place::sentinel(flavour)?,
            Kind::Cluster => Place::cluster(flavour, KEY)?,
        };
        let start = |number: usize| {
            let mut args: Vec<OsString> = vec!["--url".into(), place.url(number).into()];
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
        Ok(Self { nodes, place, origin, _directory: directory })
    }

    /// The first node: the one that things happen to.
    pub(super) fn node(&self) -> Result<&Node, Error> {
        self.nodes.first().map(Arc::as_ref).ok_or_else(|| Error::new("there are no nodes"))
    }
}
